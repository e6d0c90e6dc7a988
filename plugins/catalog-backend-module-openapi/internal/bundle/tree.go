package bundle

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
)

// A tree of a file: values in slots. Mappings keep the order of their keys.
type (
	// slot holds a value: a *mapping, a *sequence or a scalar.
	slot struct{ value any }
	// mapping is an object.
	mapping struct{ members []*member }
	member  struct {
		key string
		slot
	}
	// sequence is an array.
	sequence struct{ items []*slot }
	// scalar is a string, or the text of a number, a boolean or null.
	scalar struct {
		text   string
		string bool
	}
)

func (m *mapping) get(key string) *member {
	if i := slices.IndexFunc(m.members, func(f *member) bool { return f.key == key }); i >= 0 {
		return m.members[i]
	}
	return nil
}

// reference returns the text of a value that is a reference.
func reference(value any) (ref string, m *mapping, ok bool) {
	m, ok = value.(*mapping)
	if !ok {
		return "", nil, false
	}
	field := m.get("$ref")
	if field == nil {
		return "", nil, false
	}
	text, ok := field.value.(scalar)
	if !ok || !text.string || text.text == "" || text.text[0] == '#' && text.text != "#" && !strings.HasPrefix(text.text, "#/") {
		return "", nil, false // an anchor in the same file stays as it is
	}
	return text.text, m, true
}

// plain reports whether a reference has nothing beside it.
func (m *mapping) plain() bool { return len(m.members) == 1 }

// textFiles are read as one string, as their extensions say.
var textFiles = regexp.MustCompile(`(?i)\.(txt|html?|md|xml|js|min|map|css|scss|less|svg)$`)

// dataFiles must be YAML or JSON; what has another extension is a string
// unless it is.
var dataFiles = regexp.MustCompile(`(?i)\.(ya?ml|json)$`)

// name returns the name of the file at a URL. Some hosts have the path of the
// file in a parameter.
func name(address string) string {
	if u, err := url.Parse(address); err == nil {
		address = cmp.Or(u.Query().Get("path"), u.Path)
	}
	return path.Base(address)
}

// parse returns the tree of a text.
func (b *bundler) parse(text []byte, name string) (*slot, error) {
	if textFiles.MatchString(name) {
		return &slot{scalar{text: string(text), string: true}}, nil
	}
	root, err := yaml12.Parse(text, yaml12.Options{})
	if err == nil {
		p := parser{left: b.limits.Nodes}
		var tree slot
		if root == nil {
			tree.value = scalar{text: "null"}
		} else if tree.value, err = p.value(root); err == nil {
			_, isScalar := tree.value.(scalar)
			if !isScalar || dataFiles.MatchString(name) {
				return &tree, nil
			}
		}
		if err == nil {
			return &slot{scalar{text: string(text), string: true}}, nil
		}
	}
	if strings.Contains(name, ".") && !dataFiles.MatchString(name) {
		return &slot{scalar{text: string(text), string: true}}, nil
	}
	return nil, err
}

// parser turns nodes of YAML into values. Aliases are copied.
type parser struct {
	left int
	open []*yaml.Node
}

func (p *parser) value(n *yaml.Node) (any, error) {
	if p.left--; p.left < 0 {
		return nil, positioned(n, "the document is too large, perhaps by its aliases")
	}
	switch n.Kind {
	case yaml.AliasNode:
		if slices.Contains(p.open, n.Alias) {
			return nil, positioned(n, "alias %s is inside of what it refers to", n.Value)
		}
		return p.value(n.Alias)
	case yaml.ScalarNode:
		return scalarOf(n)
	case yaml.SequenceNode:
		p.open = append(p.open, n)
		out := &sequence{items: make([]*slot, len(n.Content))}
		for i, item := range n.Content {
			v, err := p.value(item)
			if err != nil {
				return nil, err
			}
			out.items[i] = &slot{v}
		}
		p.open = p.open[:len(p.open)-1]
		return out, nil
	case yaml.MappingNode:
		p.open = append(p.open, n)
		out := &mapping{members: make([]*member, 0, len(n.Content)/2)}
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, err := keyOf(n.Content[i])
			if err != nil {
				return nil, err
			}
			if seen[key] {
				return nil, positioned(n.Content[i], "the key %q is there twice", key)
			}
			seen[key] = true
			v, err := p.value(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out.members = append(out.members, &member{key: key, slot: slot{v}})
		}
		p.open = p.open[:len(p.open)-1]
		return out, nil
	default:
		return nil, positioned(n, "there is no value")
	}
}

func positioned(n *yaml.Node, format string, args ...any) error {
	return &yaml12.Error{Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)}
}

// number matches what JSON and all versions of YAML read alike.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+][0-9]+)?$`)

func scalarOf(n *yaml.Node) (scalar, error) {
	v, err := yaml12.Scalar(n)
	if err != nil {
		return scalar{}, err
	}
	switch v := v.(type) {
	case string:
		return scalar{text: v, string: true}, nil
	case nil:
		return scalar{text: "null"}, nil
	case bool:
		return scalar{text: fmt.Sprint(v)}, nil
	case float64:
		if number.MatchString(n.Value) {
			return scalar{text: n.Value}, nil // 1.0 stays 1.0, and a large integer exact
		}
		return scalar{text: jsonvalue.FormatNumber(v)}, nil
	default:
		return scalar{text: n.Value, string: true}, nil // binary data, as its base64
	}
}

func keyOf(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", positioned(n, "a key must be a string")
	}
	key, err := scalarOf(n)
	switch {
	case err != nil:
		return "", err
	case !key.string && key.text == "null":
		return "", nil
	case !key.string:
		v, err := yaml12.Scalar(n)
		if f, ok := v.(float64); ok && err == nil {
			return jsonvalue.FormatNumber(f), nil
		}
	}
	return key.text, nil
}
