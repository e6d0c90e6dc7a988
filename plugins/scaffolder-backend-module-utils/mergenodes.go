package scaffoldermoduleutils

import (
	"bytes"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

// mergeNodes merges into the nodes of a YAML text, which keep their comments.
func mergeNodes(in mergeInput, text []byte, content *template.Record) ([]byte, error) {
	var roots []*yaml.Node
	var documents []template.Value
	for root, err := range yaml12.Roots(text, yaml12.Options{}) {
		var v template.Value
		if err == nil {
			v, err = yamlvalue.Of(root)
		}
		if err != nil {
			return nil, apierr.Input("%s cannot be read as yaml: %v", in.Path, err)
		}
		roots, documents = append(roots, root), append(documents, v)
	}
	chosen, err := in.choose(documents)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i, root := range roots {
		if root == nil {
			root = &yaml.Node{Kind: yaml.MappingNode}
		}
		if chosen[i] {
			merged, err := mergeDocument(in, documents[i], content)
			if err != nil {
				return nil, err
			}
			if err := become(root, documents[i], merged); err != nil {
				return nil, err
			}
			// What aliases refer to changes with them.
			if now, err := yamlvalue.Of(root); err != nil || !same(now, merged) {
				return nil, apierr.Input("%s uses anchors for what is merged: its comments cannot be kept", in.Path)
			}
		}
		if i > 0 {
			out = append(out, "---\n"...)
		}
		if out, err = yamlvalue.AppendNode(out, root, in.Options.yaml()); err != nil {
			return nil, apierr.Input("write %s: %v", in.Path, err)
		}
	}
	return out, nil
}

func same(a, b template.Value) bool {
	return bytes.Equal(template.AppendJSON(nil, a), template.AppendJSON(nil, b))
}

// become changes a node so that it has another value, and leaves alone all
// parts of it that have theirs already.
func become(n *yaml.Node, before, after template.Value) error {
	if same(before, after) {
		return nil
	}
	oldRecord, isRecord := before.(*template.Record)
	newRecord, staysRecord := after.(*template.Record)
	if n.Kind == yaml.MappingNode && isRecord && staysRecord {
		return becomeRecord(n, oldRecord, newRecord)
	}
	oldList, isList := before.(*template.Array)
	newList, staysList := after.(*template.Array)
	if n.Kind == yaml.SequenceNode && isList && staysList {
		return becomeList(n, oldList, newList)
	}
	fresh, err := yamlvalue.Node(after)
	if err != nil {
		return err
	}
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = n.HeadComment, n.LineComment, n.FootComment
	if n.Kind == yaml.ScalarNode && fresh.Kind == yaml.ScalarNode && fresh.Style == 0 && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		if _, isText := after.(template.String); isText {
			fresh.Style = n.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
		}
	}
	fresh.Anchor = n.Anchor
	*n = *fresh
	return nil
}

func becomeRecord(n *yaml.Node, before, after *template.Record) error {
	places := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := yaml12.Key(n.Content[i])
		if err != nil {
			return err
		}
		places[key] = i + 1
	}
	for key, v := range after.All() {
		old, _ := before.Get(key)
		if i, ok := places[key]; ok {
			if err := become(n.Content[i], old, v); err != nil {
				return err
			}
			continue
		}
		name := &yaml.Node{}
		name.SetString(key)
		value, err := yamlvalue.Node(v)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, name, value)
	}
	return nil
}

func becomeList(n *yaml.Node, before, after *template.Array) error {
	for i, v := range after.All() {
		if i < len(n.Content) && i < before.Len() {
			if err := become(n.Content[i], before.At(i), v); err != nil {
				return err
			}
			continue
		}
		item, err := yamlvalue.Node(v)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, item)
	}
	n.Content = n.Content[:after.Len()]
	return nil
}
