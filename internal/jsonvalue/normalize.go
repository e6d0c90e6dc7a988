package jsonvalue

import (
	"encoding/json"
	"math"
	"strconv"
)

// Normalize returns a deep copy of v that consists of JSON values only.
//
// Integers and json.Number become float64, []string becomes []any,
// map[string]string becomes map[string]any, NaN and the infinities become nil,
// a nil map or slice becomes nil, and every other Go value takes the form that
// encoding/json gives it. The error names the path of a value that has no JSON
// form; it wraps ErrTooDeep for values that nest deeper than MaxDepth.
func Normalize(v any) (any, error) {
	normal, err := normalize(v, 0)
	if err != nil {
		return nil, err // not a nil in an interface
	}
	return normal, nil
}

// formError says that the value at a path has no JSON form. The path grows on
// the way out, so that it costs nothing where all is well.
type formError struct {
	at  string
	err error
}

func (e *formError) Error() string {
	at := e.at
	if at == "" {
		at = "the root"
	}
	return "value at " + at + " has no JSON form: " + e.err.Error()
}

func (e *formError) Unwrap() error { return e.err }

// within puts what leads to the value before the path.
func (e *formError) within(step string) *formError {
	if e.at != "" && e.at[0] != '[' {
		step += "."
	}
	e.at = step + e.at
	return e
}

func normalize(v any, depth int) (any, *formError) {
	if depth > MaxDepth {
		return nil, &formError{err: ErrTooDeep}
	}
	switch v := v.(type) {
	case nil, string, bool:
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, nil
		}
		return v, nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		out := make(map[string]any, len(v))
		for k, item := range v {
			normal, err := normalize(item, depth+1)
			if err != nil {
				return nil, err.within(k)
			}
			out[k] = normal
		}
		return out, nil
	case []any:
		if v == nil {
			return nil, nil
		}
		out := make([]any, len(v))
		for i, item := range v {
			normal, err := normalize(item, depth+1)
			if err != nil {
				return nil, err.within("[" + strconv.Itoa(i) + "]")
			}
			out[i] = normal
		}
		return out, nil
	case []string:
		if v == nil {
			return nil, nil
		}
		out := make([]any, len(v))
		for i, s := range v {
			out[i] = s
		}
		return out, nil
	case map[string]string:
		if v == nil {
			return nil, nil
		}
		out := make(map[string]any, len(v))
		for k, s := range v {
			out[k] = s
		}
		return out, nil
	case []map[string]any:
		if v == nil {
			return nil, nil
		}
		out := make([]any, len(v))
		for i, item := range v {
			normal, err := normalize(item, depth+1)
			if err != nil {
				return nil, err.within("[" + strconv.Itoa(i) + "]")
			}
			out[i] = normal
		}
		return out, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case int32:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case float32:
		return normalize(float64(v), depth)
	case json.Number:
		f, err := v.Float64()
		if err != nil && !math.IsInf(f, 0) {
			return nil, &formError{err: err}
		}
		return normalize(f, depth)
	default:
		out, err := marshalled(v)
		if err != nil {
			return nil, &formError{err: err}
		}
		return out, nil
	}
}
