// Package jsonvalue works on JSON values the way the catalog's wire format
// needs them: every number is a double, every object has one canonical text.
//
// A JSON value is one of nil, bool, float64, string, []any and map[string]any.
// Nothing else appears in an entity; [Normalize] brings other Go values into
// that form. [Append] writes the canonical text: object keys sorted by UTF-16
// code units, numbers and escapes as JavaScript's JSON.stringify writes them,
// no HTML escaping, no white space. Equal values have equal bytes, so the text
// serves as storage format, wire format and hash input at once.
//
//	v, err := jsonvalue.Parse([]byte(`{"b":1.50,"a":"<x>"}`))
//	text := jsonvalue.Append(nil, v) // {"a":"<x>","b":1.5}
package jsonvalue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxDepth is the deepest nesting of arrays and objects that Normalize and
// Parse accept. Values that passed either of them can be walked recursively.
const MaxDepth = 500

// ErrTooDeep reports a value that nests deeper than MaxDepth, or contains itself.
var ErrTooDeep = errors.New("nested too deeply")

// Parse reads exactly one JSON value.
func Parse(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parse JSON: unexpected data after the value, at byte %d", dec.InputOffset())
	}
	if !withinDepth(v, MaxDepth) {
		return nil, fmt.Errorf("parse JSON: more than %d levels: %w", MaxDepth, ErrTooDeep)
	}
	return v, nil
}

func withinDepth(v any, left int) bool {
	switch v := v.(type) {
	case []any:
		if left == 0 {
			return false
		}
		for _, item := range v {
			if !withinDepth(item, left-1) {
				return false
			}
		}
	case map[string]any:
		if left == 0 {
			return false
		}
		for _, item := range v {
			if !withinDepth(item, left-1) {
				return false
			}
		}
	}
	return true
}

// Clone returns a deep copy of a JSON value.
func Clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return CloneObject(v)
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = Clone(item)
		}
		return out
	default:
		return v
	}
}

// CloneObject returns a deep copy of a JSON object; nil stays nil.
func CloneObject(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = Clone(v)
	}
	return out
}

// Equal reports whether two JSON values have the same canonical text.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !Equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !Equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || a != a && b != b)
	case string, bool, nil:
		return a == b
	default:
		return bytes.Equal(Append(nil, a), Append(nil, b))
	}
}

// TypeOf names the type of a JSON value as JavaScript's typeof operator does:
// "string", "number", "boolean" or "object" (arrays and null are objects).
func TypeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	default:
		return "object"
	}
}
