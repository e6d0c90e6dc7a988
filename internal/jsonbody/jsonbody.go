// Package jsonbody reads the JSON bodies of requests within a limit.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// Read returns the body of r, an object or a list in JSON, of at most limit
// bytes. A body of another media type, and an empty one, count as {}, as in
// all backends of the family. The errors carry the wire names that clients
// know: SyntaxError and PayloadTooLargeError.
func Read(w http.ResponseWriter, r *http.Request, limit int64) (json.RawMessage, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return json.RawMessage(`{}`), nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &apierr.Error{
			Kind: apierr.KindPayloadTooLarge, Message: "request entity too large",
			Fields: map[string]any{"expected": r.ContentLength, "length": r.ContentLength, "limit": limit, "type": "entity.too.large"},
		}
	case err != nil:
		return nil, apierr.Wrap(apierr.KindInput, err, "reading the request body")
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return json.RawMessage(`{}`), nil
	}
	if !json.Valid(text) || text[0] != '{' && text[0] != '[' {
		return nil, &apierr.Error{
			Kind: "SyntaxError", Message: "the request body is not a JSON object or list", HTTPStatus: http.StatusBadRequest,
			Fields: map[string]any{"expose": true, "statusCode": http.StatusBadRequest, "status": http.StatusBadRequest, "type": "entity.parse.failed"},
		}
	}
	return text, nil
}

// Decode reads the body into out. A body of another shape is an input error.
func Decode(w http.ResponseWriter, r *http.Request, limit int64, out any) error {
	text, err := Read(w, r, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return apierr.Input("the request body has the wrong shape: %v", err)
	}
	return nil
}
