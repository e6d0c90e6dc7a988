// Package conftree holds configuration documents as trees whose every node
// knows where it was written, reads them from YAML and JSON, and merges them.
//
//	base, err := conftree.ParseYAML("app-config.yaml", data)
//	over, err := conftree.ParseYAML("app-config.local.yaml", more)
//	merged := conftree.Merge(base, over)
//	fmt.Println(merged.Get("backend").Get("listen").Pos) // app-config.local.yaml:3
//
// Trees are not changed once they are built, so they may be shared.
package conftree

import (
	"math"

	"github.com/flytower/flytower/core"
)

// Kind is the type of a node.
type Kind uint8

// The kinds of nodes. Absent is a value that a source asked for but that does
// not exist, for example a reference to an unset environment variable: it
// counts as not written at all, but keeps its place and reason for messages.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
	Absent
)

// String returns the name that messages use.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "a boolean"
	case Number:
		return "a number"
	case String:
		return "a string"
	case Array:
		return "a list"
	case Object:
		return "an object"
	default:
		return "nothing"
	}
}

// Node is a value and its place.
type Node struct {
	Kind Kind
	Pos  core.Position

	Bool  bool
	Num   float64
	Str   string // the value of a String; why an Absent node has none
	Items []*Node

	names   []string // members in the order of the source
	members map[string]*Node
}

// NewObject returns an object without members.
func NewObject(pos core.Position) *Node {
	return &Node{Kind: Object, Pos: pos, members: map[string]*Node{}}
}

// NewString returns a string.
func NewString(pos core.Position, s string) *Node {
	return &Node{Kind: String, Pos: pos, Str: s}
}

// NewAbsent returns a node for a value that does not exist because of why.
func NewAbsent(pos core.Position, why string) *Node {
	return &Node{Kind: Absent, Pos: pos, Str: why}
}

// Set adds or replaces a member while an object is being built.
func (n *Node) Set(name string, v *Node) {
	if _, ok := n.members[name]; !ok {
		n.names = append(n.names, name)
	}
	n.members[name] = v
}

// Names returns the names of the members of an object in the order of the
// source. The caller must not change the slice.
func (n *Node) Names() []string {
	if n == nil {
		return nil
	}
	return n.names
}

// Get returns the member, nil if there is none or n is no object.
func (n *Node) Get(name string) *Node {
	if n == nil || n.Kind != Object {
		return nil
	}
	return n.members[name]
}

// Exists reports whether n has a value: it is neither nil, null nor absent.
func (n *Node) Exists() bool {
	return n != nil && n.Kind != Null && n.Kind != Absent
}

// Value returns a copy as map[string]any, []any, string, float64, bool or
// nil. Members without a value are left out, as are NaN and the infinities,
// for which JSON has no form.
func (n *Node) Value() any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Bool:
		return n.Bool
	case Number:
		if math.IsNaN(n.Num) || math.IsInf(n.Num, 0) {
			return nil
		}
		return n.Num
	case String:
		return n.Str
	case Array:
		list := make([]any, 0, len(n.Items))
		for _, item := range n.Items {
			if item.Kind != Absent {
				list = append(list, item.Value())
			}
		}
		return list
	case Object:
		m := make(map[string]any, len(n.names))
		for _, name := range n.names {
			if v := n.members[name]; v.Exists() {
				m[name] = v.Value()
			}
		}
		return m
	default:
		return nil
	}
}

// FromValue builds a tree from a value of the kinds that [Node.Value]
// returns; other numbers and maps with other values are accepted, too. All
// nodes have the same place. ok is false if v holds something else.
func FromValue(pos core.Position, v any) (n *Node, ok bool) {
	return fromValue(pos, v)
}

// Equal reports whether two trees have the same values, wherever they stand.
func Equal(a, b *Node) bool {
	if !a.Exists() || !b.Exists() {
		return a.Exists() == b.Exists()
	}
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case Bool:
		return a.Bool == b.Bool
	case Number:
		return a.Num == b.Num || math.IsNaN(a.Num) && math.IsNaN(b.Num)
	case String:
		return a.Str == b.Str
	case Array:
		if len(a.Items) != len(b.Items) {
			return false
		}
		for i := range a.Items {
			if !Equal(a.Items[i], b.Items[i]) {
				return false
			}
		}
		return true
	default:
		for _, name := range a.names {
			if !Equal(a.members[name], b.members[name]) {
				return false
			}
		}
		for _, name := range b.names {
			if a.members[name] == nil && b.members[name].Exists() {
				return false
			}
		}
		return true
	}
}

// Merge lays over on base: objects merge member by member, everything else
// of over replaces what base has, and null hides it. Members of over come
// first. An absent node of over changes nothing where base has a value. A
// merged object stands where over has it, or where base has it if over has no
// lines, as the environment has none.
// Neither argument changes; either may be nil.
func Merge(base, over *Node) *Node {
	switch {
	case over == nil:
		return base
	case base == nil:
		return over
	case over.Kind == Absent:
		return base
	case over.Kind != Object || base.Kind != Object:
		return over
	}
	merged := &Node{
		Kind: Object, Pos: over.Pos,
		names:   make([]string, 0, len(over.names)+len(base.names)),
		members: make(map[string]*Node, len(over.names)+len(base.names)),
	}
	if merged.Pos.Line == 0 {
		merged.Pos = base.Pos
	}
	for _, name := range over.names {
		merged.Set(name, Merge(base.members[name], over.members[name]))
	}
	for _, name := range base.names {
		if over.members[name] == nil {
			merged.Set(name, base.members[name])
		}
	}
	return merged
}
