// Package yamlvalue reads and writes YAML as values of templates, which keep
// the order of keys.
//
//	documents, err := yamlvalue.Parse(text)
//	…
//	text, err := yamlvalue.Append(nil, documents[0], yamlvalue.Options{})
//
// What scalars mean, and the limits of size, depth and aliases, are those of
// package yaml12.
package yamlvalue

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Parse reads the documents of a text. An empty document is null; a text
// without content has no documents.
func Parse(text []byte) ([]template.Value, error) {
	var documents []template.Value
	for root, err := range yaml12.Roots(text, yaml12.Options{}) {
		if err != nil {
			return nil, err
		}
		v, err := Of(root)
		if err != nil {
			return nil, err
		}
		documents = append(documents, v)
	}
	return documents, nil
}

// Of returns the value of a node that package yaml12 gave; that of nil is null.
func Of(n *yaml.Node) (template.Value, error) {
	if n == nil {
		return template.Null{}, nil
	}
	// This counts what aliases copy, and refuses what is too deep or not clear.
	if _, err := yaml12.Value(n, yaml12.Options{}); err != nil {
		return nil, err
	}
	return ordered(n)
}

func ordered(n *yaml.Node) (template.Value, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return ordered(n.Alias)
	case yaml.SequenceNode:
		items := make([]template.Value, len(n.Content))
		for i, item := range n.Content {
			v, err := ordered(item)
			if err != nil {
				return nil, err
			}
			items[i] = v
		}
		return template.NewArray(items...), nil
	case yaml.MappingNode:
		r := template.NewRecord()
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, err := yaml12.Key(n.Content[i])
			if err != nil {
				return nil, err
			}
			v, err := ordered(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			r.Set(key, v)
		}
		return r, nil
	}
	scalar, err := yaml12.Scalar(n)
	if err != nil {
		return nil, err
	}
	return template.From(scalar)
}

// Options say how YAML is written.
type Options struct {
	// Indent is how many spaces a level has, 2 to 9. Default 2.
	Indent int
	// LineWidth is where long texts are folded, in characters; 0 does not fold.
	LineWidth int
	// FlushLists indents lists that are values of keys by two spaces less.
	FlushLists bool
}

// Append appends a document without a marker before it.
func Append(text []byte, v template.Value, o Options) ([]byte, error) {
	n, err := Node(v)
	if err != nil {
		return nil, err
	}
	return AppendNode(text, n, o)
}

// AppendNode is [Append] for a node.
func AppendNode(text []byte, n *yaml.Node, o Options) ([]byte, error) {
	indent, width := o.Indent, o.LineWidth
	if indent == 0 {
		indent = 2
	}
	if indent < 2 || indent > 9 {
		return nil, fmt.Errorf("the indentation of YAML is 2 to 9 spaces, not %d", indent)
	}
	if width <= 0 {
		width = -1
	}
	var out bytes.Buffer
	dump, err := yaml.NewDumper(&out, yaml.WithV3Defaults(), yaml.WithIndent(indent), yaml.WithLineWidth(width), yaml.WithCompactSeqIndent(o.FlushLists))
	if err != nil {
		return nil, err
	}
	if err := dump.Dump(n); err != nil {
		return nil, err
	}
	if err := dump.Close(); err != nil {
		return nil, err
	}
	return append(text, out.Bytes()...), nil
}

// Node returns the node of a value.
func Node(v template.Value) (*yaml.Node, error) {
	switch v := v.(type) {
	case *template.Record:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for key, item := range v.All() {
			if item == (template.Undefined{}) {
				continue
			}
			name := &yaml.Node{}
			name.SetString(key)
			value, err := Node(item)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, name, value)
		}
		return node, nil
	case *template.Array:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v.All() {
			value, err := Node(item)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, value)
		}
		return node, nil
	case template.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: string(template.AppendJSON(nil, v))}, nil
	}
	node := &yaml.Node{}
	return node, node.Encode(template.ToGo(v))
}
