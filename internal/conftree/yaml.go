package conftree

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
)

// maxNodes bounds a document after its aliases are expanded.
const maxNodes = 1_000_000

// SyntaxError says which line of a document cannot be read.
type SyntaxError struct {
	Pos     core.Position
	Problem string
}

func (e *SyntaxError) Error() string { return e.Pos.String() + ": " + e.Problem }

// ParseYAML reads one document under the core schema of YAML 1.2, of which
// JSON is a subset: yes, on, dates and numbers with underscores are strings,
// 010 is ten, and << is an ordinary key. Repeated keys and several documents
// in one file are errors. An empty document gives nil. Source is the file
// name of all places; errors are of type [*SyntaxError].
func ParseYAML(source string, data []byte) (*Node, error) {
	root, err := yaml12.Parse(data, yaml12.Options{MaxDepth: maxDepth})
	var syntax *yaml12.Error
	switch {
	case errors.As(err, &syntax) && errors.Is(err, yaml12.ErrSecondDocument):
		return nil, &SyntaxError{
			Pos:     core.Position{Source: source, Line: syntax.Line},
			Problem: "a second YAML document begins here, a configuration file has only one",
		}
	case errors.As(err, &syntax):
		return nil, &SyntaxError{Pos: core.Position{Source: source, Line: syntax.Line}, Problem: "is not valid YAML: " + syntax.Message}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", source, err)
	case root == nil:
		return nil, nil
	}
	c := converter{source: source, open: map[*yaml.Node]bool{}}
	n, err := c.convert(root, 0)
	if err != nil || n.Kind == Null {
		return nil, err
	}
	return n, nil
}

type converter struct {
	source string
	nodes  int
	open   map[*yaml.Node]bool // anchored nodes that enclose the current one
}

func (c *converter) errorf(at *yaml.Node, format string, args ...any) error {
	return &SyntaxError{Pos: core.Position{Source: c.source, Line: at.Line}, Problem: fmt.Sprintf(format, args...)}
}

func (c *converter) convert(y *yaml.Node, depth int) (*Node, error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, c.errorf(y, "the document has more than %d values; are aliases repeated in aliases?", maxNodes)
	}
	if depth > maxDepth {
		return nil, c.errorf(y, "nested deeper than %d levels", maxDepth)
	}
	pos := core.Position{Source: c.source, Line: y.Line}
	switch y.Kind {
	case yaml.AliasNode:
		if y.Alias == nil {
			return nil, c.errorf(y, "alias *%s has no anchor", y.Value)
		}
		if c.open[y.Alias] {
			return nil, c.errorf(y, "alias *%s refers to a value that contains it", y.Value)
		}
		return c.convert(y.Alias, depth+1)
	case yaml.SequenceNode:
		c.open[y] = true
		defer delete(c.open, y)
		n := &Node{Kind: Array, Pos: pos, Items: make([]*Node, 0, len(y.Content))}
		for _, item := range y.Content {
			child, err := c.convert(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, child)
		}
		return n, nil
	case yaml.MappingNode:
		c.open[y] = true
		defer delete(c.open, y)
		n := NewObject(pos)
		for i := 0; i+1 < len(y.Content); i += 2 {
			name, err := c.key(y.Content[i], depth+1)
			if err != nil {
				return nil, err
			}
			if first := n.members[name]; first != nil {
				return nil, c.errorf(y.Content[i], "key %q is already set in line %d; remove one of the two", name, first.Pos.Line)
			}
			child, err := c.convert(y.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			// A block below its key is looked for at the key.
			if child.Kind == Object || child.Kind == Array || child.Kind == Null {
				at := *child
				at.Pos.Line = y.Content[i].Line
				child = &at
			}
			n.Set(name, child)
		}
		return n, nil
	case yaml.ScalarNode:
		return scalar(pos, y)
	default:
		return nil, c.errorf(y, "unexpected YAML construct")
	}
}

// key returns the name that a YAML key has: scalars by their value,
// collections as they are written in flow style.
func (c *converter) key(y *yaml.Node, depth int) (string, error) {
	n, err := c.convert(y, depth)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	writeFlow(&b, n)
	return b.String(), nil
}

func writeFlow(b *strings.Builder, n *Node) {
	switch n.Kind {
	case String:
		b.WriteString(n.Str)
	case Number:
		b.WriteString(jsonvalue.FormatNumber(n.Num))
	case Bool:
		b.WriteString(strconv.FormatBool(n.Bool))
	case Array:
		b.WriteString("[ ")
		for i, item := range n.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			writeFlow(b, item)
		}
		b.WriteString(" ]")
	case Object:
		b.WriteString("{ ")
		for i, name := range n.names {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(name)
			if v := n.members[name]; v.Kind != Null {
				b.WriteString(": ")
				writeFlow(b, v)
			}
		}
		b.WriteString(" }")
	}
}

func scalar(pos core.Position, y *yaml.Node) (*Node, error) {
	v, err := yaml12.Resolve(y)
	if err != nil {
		return nil, &SyntaxError{Pos: pos, Problem: err.Error()}
	}
	if _, ok := v.(map[string]any); ok { // of !!binary, which no setting is
		v = y.Value
	}
	return leaf(pos, v), nil
}

// Resolve returns the value of a plain scalar under the core schema.
func Resolve(pos core.Position, s string) *Node { return leaf(pos, yaml12.Plain(s)) }

func leaf(pos core.Position, v any) *Node {
	switch v := v.(type) {
	case bool:
		return &Node{Kind: Bool, Pos: pos, Bool: v}
	case float64:
		return &Node{Kind: Number, Pos: pos, Num: v}
	case string:
		return NewString(pos, v)
	default:
		return &Node{Kind: Null, Pos: pos}
	}
}
