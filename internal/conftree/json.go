package conftree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/flytower/flytower/core"
)

// maxDepth bounds the nesting of documents.
const maxDepth = 200

// ParseJSON reads one JSON value. Members keep their order; of a repeated
// member the last one counts. Every node gets the place pos.
func ParseJSON(pos core.Position, data []byte) (*Node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	n, err := parseJSON(dec, pos, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the JSON value")
	}
	return n, nil
}

func parseJSON(dec *json.Decoder, pos core.Position, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			n := &Node{Kind: Array, Pos: pos}
			for dec.More() {
				item, err := parseJSON(dec, pos, depth+1)
				if err != nil {
					return nil, err
				}
				n.Items = append(n.Items, item)
			}
			_, err := dec.Token()
			return n, err
		}
		n := NewObject(pos)
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseJSON(dec, pos, depth+1)
			if err != nil {
				return nil, err
			}
			n.Set(name.(string), v)
		}
		_, err := dec.Token()
		return n, err
	default:
		n, _ := fromValue(pos, token)
		return n, nil
	}
}

func fromValue(pos core.Position, v any) (*Node, bool) {
	switch v := v.(type) {
	case nil:
		return &Node{Kind: Null, Pos: pos}, true
	case bool:
		return &Node{Kind: Bool, Pos: pos, Bool: v}, true
	case string:
		return NewString(pos, v), true
	case float64:
		return &Node{Kind: Number, Pos: pos, Num: v}, true
	case int:
		return &Node{Kind: Number, Pos: pos, Num: float64(v)}, true
	case int64:
		return &Node{Kind: Number, Pos: pos, Num: float64(v)}, true
	case json.Number:
		f, err := v.Float64()
		return &Node{Kind: Number, Pos: pos, Num: f}, err == nil
	case []string:
		n := &Node{Kind: Array, Pos: pos}
		for _, s := range v {
			n.Items = append(n.Items, NewString(pos, s))
		}
		return n, true
	case []any:
		n := &Node{Kind: Array, Pos: pos}
		for _, item := range v {
			child, ok := fromValue(pos, item)
			if !ok {
				return nil, false
			}
			n.Items = append(n.Items, child)
		}
		return n, true
	case []map[string]any:
		n := &Node{Kind: Array, Pos: pos}
		for _, item := range v {
			child, ok := fromValue(pos, item)
			if !ok {
				return nil, false
			}
			n.Items = append(n.Items, child)
		}
		return n, true
	case map[string]any:
		n := NewObject(pos)
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			child, ok := fromValue(pos, v[name])
			if !ok {
				return nil, false
			}
			n.Set(name, child)
		}
		return n, true
	case map[string]string:
		n := NewObject(pos)
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			n.Set(name, NewString(pos, v[name]))
		}
		return n, true
	default:
		return nil, false
	}
}
