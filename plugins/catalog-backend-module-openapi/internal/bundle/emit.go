package bundle

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// emit writes a tree as YAML that versions 1.1 and 1.2 read alike.
func emit(tree *slot) ([]byte, error) {
	var out bytes.Buffer
	dumper, err := yaml.NewDumper(&out, yaml.WithIndent(2), yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("set up the YAML writer: %w", err)
	}
	if err := dumper.Dump(node(tree.value)); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := dumper.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), nil
}

func node(value any) *yaml.Node {
	switch v := value.(type) {
	case *mapping:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, m := range v.members {
			key := scalarNode(m.key)
			if key.Style == yaml.LiteralStyle {
				key.Style = yaml.DoubleQuotedStyle
			}
			n.Content = append(n.Content, key, node(m.value))
		}
		return n
	case *sequence:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v.items {
			n.Content = append(n.Content, node(item.value))
		}
		return n
	case scalar:
		if v.string {
			return scalarNode(v.text)
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: plainTag(v.text), Value: v.text}
	default:
		panic(fmt.Sprintf("a tree has a %T in it", value))
	}
}

func plainTag(text string) string {
	switch {
	case text == "null":
		return "!!null"
	case text == "true" || text == "false":
		return "!!bool"
	case strings.ContainsAny(text, ".eE"):
		return "!!float"
	default:
		return "!!int"
	}
}

func scalarNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.DoubleQuotedStyle}
	switch {
	case isWord(text):
		n.Style = 0
	case isBlock(text):
		n.Style = yaml.LiteralStyle
	}
	return n
}

// words need no quotes anywhere in block style. Versions of three numbers are
// among them.
var words = regexp.MustCompile(`^([\pL/_$]|[0-9]+\.[0-9]+\.[0-9])([-\pL0-9_./(){}@;=+*?!$~^<>]|:[-\pL0-9_./]| [-\pL0-9_./(){}])*$`)

// typed are words that some version of YAML takes for something else.
var typed = regexp.MustCompile(`(?i)^(true|false|null|yes|no|on|off|y|n)$`)

func isWord(text string) bool { return words.MatchString(text) && !typed.MatchString(text) }

// isBlock reports whether a text of several lines can be a literal block.
func isBlock(text string) bool {
	if !strings.Contains(text, "\n") || strings.ContainsAny(text[:1], " \t\n") || strings.Contains(text, " \n") || strings.HasSuffix(text, " ") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && (r == unicode.ReplacementChar || r == '\uFEFF' || !unicode.IsPrint(r))
	})
}
