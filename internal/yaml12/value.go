package yaml12

import (
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Value returns the JSON value of a node and everything below it. Nodes that
// aliases share are copied, so the result is a tree. The error is an *Error at
// the place of the offending node.
//
// The style and the tag of a scalar node decide about its type, so a node that
// did not come from Parse needs its Style set.
func Value(n *yaml.Node, opts Options) (any, error) {
	b := builder{opts: opts.withDefaults()}
	return b.value(n, 0)
}

// builder makes values from nodes and keeps count of what aliases cost.
type builder struct {
	opts       Options
	open       []*yaml.Node // collections being built, outermost first
	inAlias    int
	aliasNodes int
	aliasBytes int
	inKey      int
	keyDepth   int // of the outermost collection that is a key
	keyNodes   int
}

// Collections as keys become text, which costs more than their size. Real ones
// are placeholders of a few nodes.
const (
	maxKeyDepth = 16
	maxKeyNodes = 20_000 // of all keys of a document
)

func fail(n *yaml.Node, format string, args ...any) error {
	return &Error{Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)}
}

func (b *builder) value(n *yaml.Node, depth int) (any, error) {
	if depth > b.opts.MaxDepth {
		return nil, fail(n, "Nesting is deeper than the limit of %d", b.opts.MaxDepth)
	}
	if b.inAlias > 0 {
		b.aliasNodes++
		b.aliasBytes += len(n.Value)
		if b.aliasNodes > b.opts.MaxAliasNodes || b.aliasBytes > b.opts.MaxAliasBytes {
			return nil, fail(n, "Excessive use of aliases: they copy more than %d nodes or %d bytes", b.opts.MaxAliasNodes, b.opts.MaxAliasBytes)
		}
	}
	if b.inKey > 0 {
		b.keyNodes++
		if depth-b.keyDepth > maxKeyDepth || b.keyNodes > maxKeyNodes {
			return nil, fail(n, "Collections as keys are too large: they nest deeper than %d or have more than %d nodes", maxKeyDepth, maxKeyNodes)
		}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, nil
		}
		return b.value(n.Content[0], depth)
	case yaml.AliasNode:
		if slices.Contains(b.open, n.Alias) {
			return nil, fail(n, "Alias %s is inside of what it refers to", n.Value)
		}
		b.inAlias++
		v, err := b.value(n.Alias, depth)
		b.inAlias--
		return v, err
	case yaml.ScalarNode:
		return scalarValue(n)
	case yaml.SequenceNode:
		b.open = append(b.open, n)
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			v, err := b.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		b.open = b.open[:len(b.open)-1]
		return out, nil
	case yaml.MappingNode:
		b.open = append(b.open, n)
		out, err := b.mapping(n, depth)
		b.open = b.open[:len(b.open)-1]
		return out, err
	default:
		return nil, fail(n, "Unexpected node of kind %d", n.Kind)
	}
}

func (b *builder) mapping(n *yaml.Node, depth int) (map[string]any, error) {
	out := make(map[string]any, len(n.Content)/2)
	if err := b.checkKeys(n); err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if b.opts.MergeKeys && isMergeKey(key) {
			if err := b.merge(out, value, depth); err != nil {
				return nil, err
			}
			continue
		}
		name, err := b.key(key, depth)
		if err != nil {
			return nil, err
		}
		if out[name], err = b.value(value, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkKeys refuses equal keys. Scalars are equal if type and value are; the
// number 1 and the string "1" are different keys of YAML, of which the last
// one wins when both become the same name.
func (b *builder) checkKeys(n *yaml.Node) error {
	// Only keys with the same text can be equal in most mappings, which are
	// small: compare them pairwise and build an index for large ones.
	if len(n.Content) > 2*16 {
		seen := make(map[any]struct{}, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || b.opts.MergeKeys && isMergeKey(key) {
				continue
			}
			id, err := scalarIdentity(key)
			if err != nil {
				return err
			}
			if _, dup := seen[id]; dup {
				return fail(key, "Map keys must be unique; %q is there twice", key.Value)
			}
			seen[id] = struct{}{}
		}
		return nil
	}
	for i := 2; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || b.opts.MergeKeys && isMergeKey(key) {
			continue
		}
		for j := 0; j < i; j += 2 {
			other := n.Content[j]
			if other.Kind != yaml.ScalarNode {
				continue
			}
			if isString(key) && isString(other) {
				if key.Value == other.Value {
					return fail(key, "Map keys must be unique; %q is there twice", key.Value)
				}
				continue
			}
			x, err := scalarIdentity(key)
			if err != nil {
				return err
			}
			y, err := scalarIdentity(other)
			if err != nil {
				return err
			}
			if x == y {
				return fail(key, "Map keys must be unique; %q is there twice", key.Value)
			}
		}
	}
	return nil
}

// key returns the name that a key node has in an object.
func (b *builder) key(n *yaml.Node, depth int) (string, error) {
	target := n
	if n.Kind == yaml.AliasNode {
		target = n.Alias
	}
	if target.Kind != yaml.ScalarNode {
		// The value is built for its checks: budget, depth, duplicate keys.
		if b.inKey == 0 {
			b.keyDepth = depth
		}
		b.inKey++
		_, err := b.value(n, depth+1)
		b.inKey--
		if err != nil {
			return "", err
		}
		return flowText(n, 0), nil
	}
	if isString(target) {
		return target.Value, nil
	}
	raw, err := Resolve(target)
	if err != nil {
		return "", err
	}
	switch v := raw.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return jsonvalue.FormatNumber(v), nil
	default:
		return string(jsonvalue.Append(nil, v)), nil
	}
}

func isMergeKey(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (isPlain(n) || n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!merge")
}

// merge adds the members of a mapping, or of several, that out does not have yet.
func (b *builder) merge(out map[string]any, from *yaml.Node, depth int) error {
	source := from
	if source.Kind == yaml.AliasNode {
		source = source.Alias
	}
	sources := []*yaml.Node{from}
	if source.Kind == yaml.SequenceNode {
		sources = source.Content
	}
	for _, s := range sources {
		v, err := b.value(s, depth)
		if err != nil {
			return err
		}
		m, ok := v.(map[string]any)
		if !ok {
			return fail(s, "Merge sources must be maps or map aliases")
		}
		for k, item := range m {
			if _, there := out[k]; !there {
				out[k] = item
			}
		}
	}
	return nil
}
