package apierr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
)

// maxErrorBody bounds what [FromResponse] reads, in bytes.
const maxErrorBody = 64 << 10

// Body is the JSON document of an error answer.
type Body struct {
	Error    map[string]any `json:"error"`
	Request  *BodyRequest   `json:"request,omitempty"`
	Response BodyResponse   `json:"response"`
}

// BodyRequest names the request that failed. URL is relative to the router
// that answered.
type BodyRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// BodyResponse repeats the status.
type BodyResponse struct {
	StatusCode int `json:"statusCode"`
}

// Serialize returns the members of the error object on the wire: name,
// message, listed fields, and the causes by name and message.
func Serialize(err error) map[string]any { return serialize(err, 0) }

// maxCauses bounds how deep a chain of causes is written.
const maxCauses = 8

func serialize(err error, depth int) map[string]any {
	out := map[string]any{}
	var e *Error
	isOurs := errors.As(err, &e)
	if isOurs {
		maps.Copy(out, e.Fields)
	}
	out["name"] = nameOf(err)
	out["message"] = err.Error()
	if isOurs && e.Cause != nil && depth < maxCauses {
		if _, quiet := e.Cause.(hidden); !quiet {
			out["cause"] = serialize(e.Cause, depth+1)
		}
	}
	return out
}

// Write sends err as the answer to r. The text of an error that has no wire
// name is not sent, and neither is, with a status from 500 on, the text of
// such an error that a named one wraps, which may name hosts and files: the
// caller logs it under the id that it passes in logID, and the client sees
// that id. An empty logID sends the text.
//
// The url in the body is r.URL, that is, relative to the router that stripped
// its prefix.
func Write(w http.ResponseWriter, r *http.Request, err error, logID string) {
	status := Status(err)
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	var e *Error
	ours := errors.As(err, &e)
	if !ours && logID != "" {
		err = errors.New("An internal error occurred logId=" + logID) //nolint:revive,staticcheck // clients and operators search for this wording
	}
	text := Serialize(err)
	if ours && logID != "" && status >= http.StatusInternalServerError {
		mask(text, unnamedTexts(err), "an internal error logId="+logID)
	}
	body := Body{
		Error:    text,
		Request:  &BodyRequest{Method: r.Method, URL: relativeURL(r)},
		Response: BodyResponse{StatusCode: status},
	}
	WriteJSON(w, status, body)
}

// unnamedTexts returns the texts of the errors in the tree of err that no
// named error is a part of, outermost first.
func unnamedTexts(err error) (texts []string) {
	var e *Error
	var named Named
	if !errors.As(err, &e) && !errors.As(err, &named) {
		return []string{err.Error()}
	}
	switch u := err.(type) { //nolint:errorlint // the tree is walked by hand
	case interface{ Unwrap() error }:
		if cause := u.Unwrap(); cause != nil {
			texts = unnamedTexts(cause)
		}
	case interface{ Unwrap() []error }:
		for _, cause := range u.Unwrap() {
			texts = append(texts, unnamedTexts(cause)...)
		}
	}
	return texts
}

// mask replaces the texts in the messages of a serialized error.
func mask(serialized map[string]any, texts []string, by string) {
	for ; serialized != nil; serialized, _ = serialized["cause"].(map[string]any) {
		message, _ := serialized["message"].(string)
		for _, text := range texts {
			if text != "" {
				message = strings.ReplaceAll(message, text, by)
			}
		}
		serialized["message"] = message
	}
}

func relativeURL(r *http.Request) string {
	u := r.URL.EscapedPath()
	if u == "" {
		u = "/"
	}
	if r.URL.RawQuery != "" {
		u += "?" + r.URL.RawQuery
	}
	return u
}

// WriteJSON sends v as JSON with the status. Characters of HTML are not
// escaped, as in all backends of the family.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	write := w.Write
	if whole, ok := w.(interface{ WriteWhole([]byte) (int, error) }); ok {
		write = whole.WriteWhole // a server that need not wait whether more follows
	}
	_, _ = write(body) // a client that went away is not our error
}

// ResponseError is the error that a peer answered with.
type ResponseError struct {
	// StatusCode is the status of the answer.
	StatusCode int
	// Request is the method and the path that were asked. Host and query are
	// left out: the text may reach clients.
	Request string
	// Remote is the peer's own error; its kind decides [KindOf].
	Remote *Error
}

// Error names the request, the status and the peer's message.
func (e *ResponseError) Error() string {
	return fmt.Sprintf("%s failed with status %d: %s", e.Request, e.StatusCode, e.Remote.Message)
}

// Unwrap returns the peer's error, so that its kind and status pass through.
func (e *ResponseError) Unwrap() error { return e.Remote }

// FromResponse reads the error out of an answer whose status is not 2xx. It
// reads at most 64 KiB of the body and leaves closing it to the caller.
func FromResponse(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a cut body still tells something
	remote := &Error{Kind: KindError, HTTPStatus: resp.StatusCode}
	var body struct {
		Error struct {
			Name    string `json:"name"`
			Message string `json:"message"`
		} `json:"error"`
		Response *BodyResponse `json:"response"`
	}
	if err := json.Unmarshal(text, &body); err == nil && body.Response != nil && body.Error.Name != "" {
		remote.Kind, remote.Message = Kind(body.Error.Name), body.Error.Message
		if s := body.Response.StatusCode; s >= 100 && s <= 599 {
			remote.HTTPStatus = s
		}
	} else {
		remote.Kind = kindOfStatus(resp.StatusCode)
		remote.Message = http.StatusText(resp.StatusCode)
		if len(text) > 0 {
			remote.Message += ": " + string(text[:min(len(text), 512)])
		}
	}
	what := "request"
	if resp.Request != nil {
		what = resp.Request.Method + " " + resp.Request.URL.EscapedPath()
	}
	return &ResponseError{StatusCode: resp.StatusCode, Request: what, Remote: remote}
}

func kindOfStatus(status int) Kind {
	for _, k := range []Kind{
		KindInput, KindAuthentication, KindNotAllowed, KindNotFound, KindConflict, KindNotModified,
		KindPayloadTooLarge, KindNotImplemented, KindServiceUnavailable,
	} {
		if k.Status() == status {
			return k
		}
	}
	return KindError
}
