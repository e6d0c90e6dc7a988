// Package answer sends the error of a handler to the client and to the log.
//
//	if err := handler(w, r); err != nil {
//		answer.Error(log, w, r, err)
//	}
//
// A client error goes to the client alone. A server error is logged too; of
// what carries no wire name in it, the client is not shown the text but an id
// under which the log has it.
package answer

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/flytower/flytower/apierr"
)

// Writer is a response writer that knows how far the answer is.
type Writer interface {
	http.ResponseWriter
	// Sent reports whether the client may have seen a part of the answer.
	Sent() bool
	// Status returns the status of the answer, 0 as long as there is none.
	Status() int
	// Discard drops the status and the body that were written but not sent.
	Discard()
}

// Whole is a response writer that may be told that a body is all there is. Others
// cannot know that until the handler returns.
type Whole interface {
	// WriteWhole is Write, to be called once.
	WriteWhole(body []byte) (int, error)
}

// Write writes the whole body of an answer.
func Write(w http.ResponseWriter, body []byte) (int, error) {
	if whole, ok := w.(Whole); ok {
		return whole.WriteWhole(body)
	}
	return w.Write(body)
}

// Error answers with err. If a part of another answer was sent already, it
// aborts the connection instead, by the panic of [http.ErrAbortHandler]. w
// should be a [Writer], wrap one (with an Unwrap method), or have been made by
// [Track]; any other is taken for untouched.
func Error(log *slog.Logger, w http.ResponseWriter, r *http.Request, err error) {
	err = named(err)
	status := apierr.Status(err)
	logID := ""
	if status >= http.StatusInternalServerError {
		logID = NewLogID()
		args := []any{"type", "errorHandler", "method", r.Method, "path", r.URL.Path, "error", err, "logId", logID}
		if r.Context().Err() != nil {
			// The client went away and this is most likely the echo of it.
			log.DebugContext(r.Context(), "Request ended by the client", args...)
		} else {
			log.ErrorContext(r.Context(), "Request failed with status "+itoa(status), args...)
		}
	}
	reset(w)
	apierr.Write(w, r, err, logID)
}

// Panic answers a request whose handler panicked, which was logged by whoever
// recovered it.
func Panic(log *slog.Logger, w http.ResponseWriter, r *http.Request, err error) {
	logID := NewLogID()
	log.ErrorContext(r.Context(), "Request failed with status 500", "type", "errorHandler",
		"method", r.Method, "path", r.URL.Path, "error", err, "logId", logID)
	reset(w)
	apierr.Write(w, r, errors.New("panic"), logID)
}

// reset makes room for another answer than the one that was begun.
func reset(w http.ResponseWriter) {
	if aw := find(w); aw != nil {
		if aw.Sent() {
			panic(http.ErrAbortHandler)
		}
		aw.Discard()
	}
	h := w.Header()
	for _, key := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Accept-Ranges"} {
		delete(h, key)
	}
}

// named gives errors of the standard library their wire name.
func named(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) && apierr.KindOf(err) == apierr.KindError {
		return &apierr.Error{
			Kind: apierr.KindPayloadTooLarge, Message: "request entity too large",
			Fields: map[string]any{"type": "entity.too.large", "limit": tooLarge.Limit},
		}
	}
	return err
}

// NewLogID returns a random id of 20 characters.
func NewLogID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// itoa is for statuses, which have three digits.
func itoa(status int) string {
	return string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)})
}

// Track returns w if it is or wraps a [Writer]. Any other is wrapped; what is
// written then counts as sent at once.
func Track(w http.ResponseWriter) http.ResponseWriter {
	if find(w) != nil {
		return w
	}
	return &tracker{ResponseWriter: w}
}

func find(w http.ResponseWriter) Writer {
	for {
		switch t := w.(type) {
		case Writer:
			return t
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}

// Status returns the status that a client sees of an answer that has ended,
// if w is or wraps a [Writer], and otherwise 0.
func Status(w http.ResponseWriter) int {
	aw := find(w)
	switch {
	case aw == nil:
		return 0
	case aw.Status() == 0:
		return http.StatusOK
	default:
		return aw.Status()
	}
}

type tracker struct {
	http.ResponseWriter
	sent   bool
	status int
}

func (t *tracker) Sent() bool  { return t.sent }
func (t *tracker) Status() int { return t.status }
func (t *tracker) Discard()    {}

func (t *tracker) send(status int) {
	if !t.sent {
		t.sent, t.status = true, status
	}
}

func (t *tracker) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		t.send(status)
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracker) Write(p []byte) (int, error) {
	t.send(http.StatusOK)
	return t.ResponseWriter.Write(p)
}

// FlushError sends what was written.
func (t *tracker) FlushError() error {
	t.send(http.StatusOK)
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Flush is [tracker.FlushError] for handlers that ask for [http.Flusher].
func (t *tracker) Flush() { _ = t.FlushError() } // the next write meets the same error

// Hijack hands the connection over.
func (t *tracker) Hijack() (c net.Conn, rw *bufio.ReadWriter, err error) {
	c, rw, err = http.NewResponseController(t.ResponseWriter).Hijack()
	if err == nil {
		t.send(http.StatusSwitchingProtocols)
	}
	return c, rw, err
}

// Unwrap is for [http.ResponseController].
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
