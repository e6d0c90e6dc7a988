package conftree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/core"
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
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, &SyntaxError{Pos: core.Position{Source: source}, Problem: err.Error()}
	}
	var doc yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(source, err)
	}
	var next yaml.Node
	if err := loader.Load(&next); err == nil {
		return nil, &SyntaxError{
			Pos:     core.Position{Source: source, Line: next.Line},
			Problem: "a second YAML document begins here, a configuration file has only one",
		}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(source, err)
	}
	root := &doc
	if root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return nil, nil
		}
		root = root.Content[0]
	}
	c := converter{source: source, open: map[*yaml.Node]bool{}}
	n, err := c.convert(root, 0)
	if err != nil {
		return nil, err
	}
	if n.Kind == Null {
		return nil, nil
	}
	return n, nil
}

// yamlError keeps the line and the plain words of a parser's error.
func yamlError(source string, err error) error {
	e := &SyntaxError{Pos: core.Position{Source: source}, Problem: "is not valid YAML: " + err.Error()}
	var load *yaml.LoadError
	if errors.As(err, &load) {
		e.Pos.Line = load.Mark.Line
		e.Problem = "is not valid YAML: " + load.Message
		if load.ContextMsg != "" {
			e.Problem += " " + load.ContextMsg
		}
	}
	return e
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
		b.WriteString(FormatNumber(n.Num))
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

var (
	decimal = regexp.MustCompile(`^[-+]?[0-9]+$`)
	octal   = regexp.MustCompile(`^0o[0-7]+$`)
	hex     = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	float   = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)
)

// scalar resolves a scalar by its tag, or, if it is plain, by its form.
func scalar(pos core.Position, y *yaml.Node) (*Node, error) {
	quoted := y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if y.Style&yaml.TaggedStyle != 0 {
		switch y.ShortTag() {
		case "!!null", "!!bool", "!!int", "!!float":
			quoted = false
		default:
			quoted = true
		}
	}
	if quoted {
		return NewString(pos, y.Value), nil
	}
	return Resolve(pos, y.Value), nil
}

// Resolve returns the value of a plain scalar under the core schema.
func Resolve(pos core.Position, s string) *Node {
	number := func(f float64) *Node { return &Node{Kind: Number, Pos: pos, Num: f} }
	switch s {
	case "", "~", "null", "Null", "NULL":
		return &Node{Kind: Null, Pos: pos}
	case "true", "True", "TRUE":
		return &Node{Kind: Bool, Pos: pos, Bool: true}
	case "false", "False", "FALSE":
		return &Node{Kind: Bool, Pos: pos}
	case ".nan", ".NaN", ".NAN":
		return number(math.NaN())
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF":
		return number(math.Inf(1))
	case "-.inf", "-.Inf", "-.INF":
		return number(math.Inf(-1))
	}
	switch {
	case decimal.MatchString(s), float.MatchString(s):
		f, _ := strconv.ParseFloat(s, 64) // out of range gives an infinity, as in JavaScript
		return number(f)
	case octal.MatchString(s):
		return number(parseBase(s[2:], 8))
	case hex.MatchString(s):
		return number(parseBase(s[2:], 16))
	}
	return NewString(pos, s)
}

func parseBase(digits string, base float64) float64 {
	var f float64
	for _, d := range digits {
		v, _ := strconv.ParseUint(string(d), 16, 8)
		f = f*base + float64(v)
	}
	return f
}
