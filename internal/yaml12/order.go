package yaml12

import (
	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// order returns the order of the keys of a node of which a value was made: what
// that refused for its size or for its aliases does not come here.
func order(n *yaml.Node, opts Options) string {
	b := builder{opts: opts}
	if text := b.order(nil, n); text[0] != '0' {
		return string(text)
	}
	return ""
}

// order appends 0 for what has no keys.
func (b *builder) order(dst []byte, n *yaml.Node) []byte {
	start := len(dst)
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) > 0 {
			return b.order(dst, n.Content[0])
		}
	case yaml.AliasNode:
		return b.order(dst, n.Alias)
	case yaml.SequenceNode:
		keys := false
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			at := len(dst)
			dst = b.order(dst, item)
			keys = keys || dst[at] != '0'
		}
		if keys {
			return append(dst, ']')
		}
	case yaml.MappingNode:
		dst = append(dst, '{')
		dst = b.orderMembers(dst, n)
		if last := len(dst) - 1; dst[last] == ',' {
			dst = dst[:last]
		}
		return append(dst, '}')
	}
	return append(dst[:start], '0')
}

// orderMembers appends the members of a mapping, and of those that it merges, a
// comma behind each.
func (b *builder) orderMembers(dst []byte, n *yaml.Node) []byte {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode { // of sources to merge
		for _, item := range n.Content {
			dst = b.orderMembers(dst, item)
		}
		return dst
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if b.opts.MergeKeys && isMergeKey(key) {
			dst = b.orderMembers(dst, value)
			continue
		}
		name, err := b.key(key, 0)
		if err != nil {
			continue // the value was made, so it has one
		}
		dst = append(jsonvalue.AppendString(dst, name), ':')
		dst = append(b.order(dst, value), ',')
	}
	return dst
}
