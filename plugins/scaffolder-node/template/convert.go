package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/utf16text"
)

// maxValueDepth is how deep values may nest.
const maxValueDepth = 256

// ErrTooDeep reports a value that nests deeper than 256 levels, or contains
// itself.
var ErrTooDeep = errors.New("the value nests deeper than 256 levels, or contains itself")

// From makes a Value of a Go value: nil, bool, numbers, strings, slices, maps
// with string keys, Values, and whatever encoding/json can write. The keys of
// Go maps are sorted, since they have no order; [ParseJSON] keeps the order of
// a text.
func From(v any) (Value, error) { return from(v, 0) }

func from(v any, depth int) (Value, error) {
	if depth > maxValueDepth {
		return nil, ErrTooDeep
	}
	switch v := v.(type) {
	case nil:
		return Null{}, nil
	case Value:
		return v, nil
	case bool:
		return Bool(v), nil
	case string:
		return String(utf16text.Valid(v)), nil
	case float64:
		return Number(v), nil
	case int:
		return Number(v), nil
	case int64:
		return Number(v), nil
	case json.RawMessage:
		return ParseJSON(v)
	case []any:
		return fromList(v, depth)
	case []string:
		return fromList(v, depth)
	case map[string]any:
		return fromMap(v, depth)
	case map[string]string:
		return fromMap(v, depth)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("make a template value of %s: %w", reflect.TypeOf(v), err)
	}
	return ParseJSON(text)
}

func fromList[T any](list []T, depth int) (Value, error) {
	items := make([]Value, len(list))
	for i, item := range list {
		value, err := from(item, depth+1)
		if err != nil {
			return nil, err
		}
		items[i] = value
	}
	return &Array{items: items}, nil
}

func fromMap[T any](m map[string]T, depth int) (Value, error) {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, jsonvalue.CompareKeys)
	r := &Record{keys: make([]string, 0, len(m)), values: make([]Value, 0, len(m))}
	for _, key := range keys {
		value, err := from(m[key], depth+1)
		if err != nil {
			return nil, err
		}
		r.Set(utf16text.Valid(key), value)
	}
	return r, nil
}

// RecordOf is [From] for what has to be a record, such as the variables of a
// render.
func RecordOf(v any) (*Record, error) {
	value, err := From(v)
	if err != nil {
		return nil, err
	}
	r, ok := value.(*Record)
	if !ok {
		return nil, fmt.Errorf("template variables have to be an object, not %s", value.kind())
	}
	return r, nil
}

// ParseJSON reads one JSON text and keeps the order of its keys.
func ParseJSON(text []byte) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	v, err := readJSON(dec, 0)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = fmt.Errorf("unexpected data after the value, at byte %d", dec.InputOffset())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("parse JSON for a template: %w", err)
	}
	return v, nil
}

func readJSON(dec *json.Decoder, depth int) (Value, error) {
	if depth > maxValueDepth {
		return nil, ErrTooDeep
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case nil:
		return Null{}, nil
	case bool:
		return Bool(token), nil
	case float64:
		return Number(token), nil
	case string:
		return String(token), nil
	case json.Delim:
		if token == '[' {
			items := []Value{}
			for dec.More() {
				item, err := readJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				items = append(items, item)
			}
			_, err = dec.Token()
			return &Array{items: items}, err
		}
		r := &Record{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			value, err := readJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			r.Set(key.(string), value)
		}
		_, err = dec.Token()
		return r, err
	}
	return nil, fmt.Errorf("unexpected %T", token)
}

// ToGo returns the JSON value that v stands for: nil, bool, float64, string,
// []any or map[string]any. Undefined is nil in arrays and at the top, and left
// out of records.
func ToGo(v Value) any {
	switch v := v.(type) {
	case Bool:
		return bool(v)
	case Number:
		return float64(v)
	case String:
		return string(v)
	case SafeString:
		return string(v)
	case *Array:
		list := make([]any, len(v.items))
		for i, item := range v.items {
			list[i] = ToGo(item)
		}
		return list
	case *Record:
		m := make(map[string]any, v.Len())
		for key, value := range v.All() {
			if _, absent := value.(Undefined); !absent {
				m[key] = ToGo(value)
			}
		}
		return m
	case *Regexp:
		return v.String()
	}
	return nil
}

// AppendJSON appends the JSON text of v, with its keys in their order. What
// JSON has no text for (NaN, the infinities, Undefined in an array or at the
// top) is null; Undefined in a record is left out.
func AppendJSON(text []byte, v Value) []byte {
	switch v := v.(type) {
	case Bool:
		return fmt.Appendf(text, "%t", bool(v))
	case Number:
		return appendJSONNumber(text, float64(v))
	case String:
		return jsonvalue.AppendString(text, string(v))
	case SafeString:
		return jsonvalue.AppendString(text, string(v))
	case *Regexp:
		return jsonvalue.AppendString(text, v.String())
	case *Array:
		text = append(text, '[')
		for i, item := range v.items {
			if i > 0 {
				text = append(text, ',')
			}
			text = AppendJSON(text, item)
		}
		return append(text, ']')
	case *Record:
		text = append(text, '{')
		first := true
		for key, value := range v.All() {
			if _, absent := value.(Undefined); absent {
				continue
			}
			if !first {
				text = append(text, ',')
			}
			first = false
			text = append(jsonvalue.AppendString(text, key), ':')
			text = AppendJSON(text, value)
		}
		return append(text, '}')
	}
	return append(text, "null"...)
}

func appendJSONNumber(text []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(text, "null"...)
	}
	return jsonvalue.AppendNumber(text, f)
}

// MarshalJSON writes the array as [AppendJSON] does.
func (a *Array) MarshalJSON() ([]byte, error) { return AppendJSON(nil, a), nil }

// MarshalJSON writes the record as [AppendJSON] does, in order.
func (r *Record) MarshalJSON() ([]byte, error) { return AppendJSON(nil, r), nil }
