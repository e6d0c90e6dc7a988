// Package jsonbody reads the JSON body of a request, within bounds.
//
//	var in struct {
//		EntityRefs []string `json:"entityRefs"`
//	}
//	if err := jsonbody.Decode(r, &in, jsonbody.DefaultLimit); err != nil {
//		return err // from a HandleErr handler: 400, 413 or 415 with the usual names
//	}
//
// Errors look like those of the JSON parser that backends of the family in
// Node use, so that clients see the same statuses, names and fields. They
// never repeat the body: it may contain secrets.
package jsonbody

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
)

// DefaultLimit is the limit of a body where nothing else is needed: 100 KiB.
const DefaultLimit = 100 << 10

// maxDepth bounds how deep arrays and objects may lie in each other. The
// decoder of the standard library stops at 10000, which costs it megabytes.
const maxDepth = 1000

// maxAhead is how much memory is taken for a body before it has arrived, in
// bytes.
const maxAhead = 256 << 10

// maxOverhead is how many bytes a compressed body may have more than what it
// decompresses to. Without a limit, one could send parts without content for
// as long as the server waits.
const maxOverhead = 64 << 10

// Decode decodes the body of r into v, which is a pointer.
//
// An absent body, or one of another media type than JSON, leaves v as it is:
// the caller's own checks then tell what is missing. Use [Require] to refuse
// them. Members that v does not know are ignored.
//
// limit is the largest body in bytes, after decompression ("gzip" and
// "deflate" are understood); 0 means [DefaultLimit]. Errors are:
//
//   - a body over the limit: PayloadTooLargeError, 413
//   - text that is not JSON: SyntaxError, 400
//   - JSON of another shape than v: InputError, 400
//   - another content encoding: UnsupportedMediaTypeError, 415
//   - a client that stopped sending: InputError, 400
func Decode(r *http.Request, v any, limit int64) error {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil
	}
	body, err := Read(r, limit)
	if err != nil || len(body) == 0 {
		return err
	}
	return Unmarshal(body, v)
}

// Require is [Decode], except that it is an InputError if there is no body or
// one of another media type.
func Require(r *http.Request, v any, limit int64) error {
	if ct := r.Header.Get("Content-Type"); !isJSON(ct) {
		if ct == "" {
			return apierr.Input("the request needs a body of the media type application/json")
		}
		return apierr.Input("unsupported media type %s", clip(ct))
	}
	body, err := Read(r, limit)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return apierr.Input("the request needs a body")
	}
	return Unmarshal(body, v)
}

// Read returns the body of r, decompressed, of at most limit bytes; 0 means
// [DefaultLimit].
func Read(r *http.Request, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	plain := encoding == "" || encoding == "identity"
	if plain && r.ContentLength > limit {
		return nil, tooLarge(limit, r.ContentLength)
	}
	var src io.Reader = r.Body
	compressed := io.LimitReader(r.Body, limit+maxOverhead)
	switch encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(compressed)
		if err != nil {
			return nil, badBody("the body is not in the gzip format")
		}
		defer z.Close()
		src = z
	case "deflate":
		z, err := zlib.NewReader(compressed)
		if err != nil {
			return nil, badBody("the body is not in the deflate format")
		}
		defer z.Close()
		src = z
	default:
		return nil, &apierr.Error{
			Kind: "UnsupportedMediaTypeError", HTTPStatus: http.StatusUnsupportedMediaType,
			Message: "unsupported content encoding " + fmt.Sprintf("%q", clip(encoding)),
			Fields:  map[string]any{"type": "encoding.unsupported"},
		}
	}
	var buf bytes.Buffer
	if plain && r.ContentLength > 0 {
		// A length that is claimed need not come.
		buf.Grow(int(min(r.ContentLength, maxAhead)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(src, limit+1))
	var overLimit *http.MaxBytesError
	switch {
	case n > limit:
		return nil, tooLarge(limit, r.ContentLength)
	case errors.As(err, &overLimit):
		return nil, tooLarge(overLimit.Limit, r.ContentLength)
	case err != nil && plain:
		return nil, badBody("request aborted")
	case err != nil:
		return nil, badBody("the body cannot be decompressed")
	}
	return buf.Bytes(), nil
}

// Unmarshal decodes JSON text that a client sent; see [Decode] for the errors.
func Unmarshal(text []byte, v any) error {
	if !shallow(text) {
		return syntaxError(fmt.Sprintf("the JSON text is nested deeper than %d levels", maxDepth))
	}
	err := json.Unmarshal(text, v)
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	var invalid *json.InvalidUnmarshalError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		panic("jsonbody: " + invalid.Error()) // v is no pointer
	case errors.As(err, &syntax):
		if int(syntax.Offset) >= len(text) && strings.HasPrefix(syntax.Error(), "unexpected end") {
			return syntaxError("Unexpected end of JSON input")
		}
		return syntaxError(fmt.Sprintf("%s at position %d", syntax.Error(), syntax.Offset))
	case errors.As(err, &shape):
		where := shape.Field
		if where == "" {
			return apierr.Input("the body must be %s, found %s", kindName(shape), clip(shape.Value))
		}
		return apierr.Input("%s must be %s, found %s", clip(where), kindName(shape), clip(shape.Value))
	default:
		var known *apierr.Error
		if errors.As(err, &known) {
			return err // from an UnmarshalJSON method that knows better
		}
		return apierr.Input("invalid body: %s", clip(err.Error()))
	}
}

// shallow reports whether nothing lies deeper than maxDepth.
func shallow(text []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

func kindName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "string":
		return "a string"
	case "bool":
		return "a boolean"
	case "slice", "array":
		return "an array"
	case "struct", "map":
		return "an object"
	case "ptr", "interface":
		return "another type"
	default:
		return "a number"
	}
}

func syntaxError(message string) error {
	return &apierr.Error{
		Kind: "SyntaxError", HTTPStatus: http.StatusBadRequest, Message: message,
		Fields: map[string]any{"expose": true, "statusCode": 400, "status": 400, "type": "entity.parse.failed"},
	}
}

func tooLarge(limit, length int64) error {
	fields := map[string]any{"limit": limit, "type": "entity.too.large"}
	if length > 0 {
		fields["length"], fields["expected"] = length, length
	}
	return &apierr.Error{Kind: apierr.KindPayloadTooLarge, Message: "request entity too large", Fields: fields}
}

func badBody(message string) error { return apierr.Input("%s", message) }

// isJSON reports whether a Content-Type is JSON.
func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// clip shortens what came from a client before it is repeated in an error.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
