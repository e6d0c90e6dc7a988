package yaml12

import (
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// flowText writes a node as a YAML flow collection, in the layout that the
// reference's YAML library gives to collections used as keys: one line with
// padding inside the brackets, or one line per item beyond 80 characters.
func flowText(n *yaml.Node, indent int) string {
	props := ""
	if n.Anchor != "" && n.Kind != yaml.AliasNode {
		props = "&" + n.Anchor + " "
	}
	switch n.Kind {
	case yaml.AliasNode:
		return "*" + n.Value
	case yaml.ScalarNode:
		return props + flowScalar(n)
	case yaml.SequenceNode:
		items := make([]string, len(n.Content))
		for i, item := range n.Content {
			items[i] = flowText(item, indent+2)
		}
		return props + flowLines(items, "[", "]", indent)
	case yaml.MappingNode:
		items := make([]string, 0, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			items = append(items, flowPair(n.Content[i], n.Content[i+1], indent+2))
		}
		return props + flowLines(items, "{", "}", indent)
	}
	return ""
}

func flowPair(key, value *yaml.Node, indent int) string {
	name := flowText(key, indent+2)
	explicit := key.Kind == yaml.MappingNode || key.Kind == yaml.SequenceNode
	if key.Kind == yaml.AliasNode {
		name += " " // keeps the colon from becoming part of the alias
	}
	if absent(value) {
		switch {
		case name == "":
			return "?"
		case explicit:
			return "? " + name
		}
		return name
	}
	text := flowText(value, indent+2)
	if explicit {
		return "? " + name + "\n" + strings.Repeat(" ", indent) + ": " + text
	}
	if text == "" {
		return name + ":"
	}
	return name + ": " + text
}

// absent reports whether a value is not written at all: {a} or {a: }.
func absent(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && isPlain(n) && n.Anchor == ""
}

func flowScalar(n *yaml.Node) string {
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0 && !strings.Contains(n.Value, "\n"):
		return "'" + strings.ReplaceAll(n.Value, "'", "''") + "'"
	case n.Style&quotedOrBlock != 0, strings.Contains(n.Value, "\n"):
		return string(jsonvalue.AppendString(nil, n.Value))
	}
	return n.Value
}

func flowLines(items []string, open, end string, indent int) string {
	if len(items) == 0 {
		return open + end
	}
	width, broken := 2, false
	for i := range items {
		broken = broken || strings.Contains(items[i], "\n")
		if i < len(items)-1 {
			items[i] += ","
		}
		width += len(utf16.Encode([]rune(items[i]))) + 2
	}
	if !broken && width <= 80 {
		return open + " " + strings.Join(items, " ") + " " + end
	}
	margin := "\n" + strings.Repeat(" ", indent)
	return open + margin + "  " + strings.Join(items, margin+"  ") + margin + end
}
