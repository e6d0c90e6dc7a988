package jsonvalue

import (
	"encoding/json"
	"fmt"
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
func Normalize(v any) (any, error) { return normalize(v, path{}, 0) }

// path is a linked list from leaf to root: it costs nothing unless it is printed.
type path struct {
	up    *path
	key   string
	index int
	array bool
}

func (p *path) String() string {
	if p == nil || p.up == nil {
		return ""
	}
	if p.array {
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	prefix := p.up.String()
	if prefix == "" {
		return p.key
	}
	return prefix + "." + p.key
}

func (p *path) fail(err error) error {
	at := p.String()
	if at == "" {
		at = "the root"
	}
	return fmt.Errorf("value at %s has no JSON form: %w", at, err)
}

func normalize(v any, at path, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, at.fail(ErrTooDeep)
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
			normal, err := normalize(item, path{up: &at, key: k}, depth+1)
			if err != nil {
				return nil, err
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
			normal, err := normalize(item, path{up: &at, index: i, array: true}, depth+1)
			if err != nil {
				return nil, err
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
			normal, err := normalize(item, path{up: &at, index: i, array: true}, depth+1)
			if err != nil {
				return nil, err
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
		return normalize(float64(v), at, depth)
	case json.Number:
		f, err := v.Float64()
		if err != nil && !math.IsInf(f, 0) {
			return nil, at.fail(err)
		}
		return normalize(f, at, depth)
	default:
		out, err := marshalled(v)
		if err != nil {
			return nil, at.fail(err)
		}
		return out, nil
	}
}
