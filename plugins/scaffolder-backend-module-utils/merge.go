package scaffoldermoduleutils

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

type mergeInput struct {
	Path                      string          `json:"path"`
	Content                   json.RawMessage `json:"content"`
	MergeArrays               bool            `json:"mergeArrays,omitempty"`
	MatchFileIndent           bool            `json:"matchFileIndent,omitempty"`
	PreserveYAMLComments      bool            `json:"preserveYamlComments,omitempty"`
	UseDocumentIncludingField *field          `json:"useDocumentIncludingField,omitempty"`
	Options                   yamlOptions     `json:"options,omitempty"`
}

// field chooses a document of several.
type field struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

const (
	mergeSchemaStart = `{"type":"object","properties":{` +
		`"path":{"type":"string","description":"The file to merge into, relative to the workspace"},` +
		`"content":{"anyOf":[{"type":"string"},{"type":"object"}],"description":"What is merged into the file: an object, or its text"},` +
		`"mergeArrays":{"type":"boolean","description":"Adds the items of lists to those that are there, in place of merging them one by one. Items that are there already are not added"},`
	mergeSchemaEnd = `},"required":["path","content"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`
	indentSchema   = `"matchFileIndent":{"type":"boolean","description":"Keeps the indentation that the file has, in place of two spaces"}`
	yamlSchema     = `"preserveYamlComments":{"type":"boolean","description":"Keeps the comments of YAML files"},` +
		`"useDocumentIncludingField":{"type":"object","properties":{"key":{"type":"string","description":"The key of a field; dots lead to fields within"},"value":{"type":"string","description":"The value of the field"}},"required":["key","value"],"description":"Chooses the document of a YAML file with several"},` +
		`"options":` + yamlOptionsSchema
)

func mergeJSON() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:json:merge", Description: "Merges an object into a JSON file, which is made if it is not there.", SupportsDryRun: true,
		Examples: example("Demand a version of Node", "steps:\n  - id: engines\n    action: roadiehq:utils:json:merge\n    input:\n      path: package.json\n      content:\n        engines:\n          node: \"24\"\n"),
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in mergeInput) (written, error) {
		name, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return written{}, err
		}
		text, err := read(c.Workspace, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.Logger.Info("The file " + in.Path + " does not exist, creating it.")
			text = []byte("{}")
		case err != nil:
			return written{}, err
		}
		if text, err = mergeIntoJSON(in, text); err != nil {
			return written{}, err
		}
		return at(c, name), scaffoldernode.WriteFile(c.Workspace, name, text)
	})
	a.Input = json.RawMessage(mergeSchemaStart + indentSchema + mergeSchemaEnd)
	return a
}

func merge() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:merge", Description: "Merges an object into a JSON or YAML file, as the end of its name says.", SupportsDryRun: true,
		Examples: example("Annotate a component", "steps:\n  - id: annotate\n    action: roadiehq:utils:merge\n    input:\n      path: catalog-info.yaml\n      content:\n        metadata:\n          annotations:\n            acme.example/team: shop\n"),
	}, func(_ context.Context, c *scaffoldernode.ActionContext, in mergeInput) (out written, err error) {
		name, err := scaffoldernode.InWorkspace(c.Workspace, in.Path)
		if err != nil {
			return out, err
		}
		text, err := read(c.Workspace, name)
		if errors.Is(err, fs.ErrNotExist) {
			return out, apierr.New(apierr.KindError, "The file %s does not exist.", in.Path)
		} else if err != nil {
			return out, err
		}
		switch filepath.Ext(name) {
		case ".json":
			text, err = mergeIntoJSON(in, text)
		case ".yaml", ".yml":
			text, err = mergeIntoYAML(in, text)
		default:
			return out, apierr.Input("%s is neither a .json, .yaml nor .yml file", in.Path)
		}
		if err != nil {
			return out, err
		}
		return at(c, name), scaffoldernode.WriteFile(c.Workspace, name, text)
	})
	a.Input = json.RawMessage(mergeSchemaStart + yamlSchema + mergeSchemaEnd)
	return a
}

// content is the object to merge; a text of it is read by a parser.
func (in mergeInput) content(parser string) (*template.Record, error) {
	v, err := template.ParseJSON(in.Content)
	if err != nil {
		return nil, err
	}
	if text, ok := v.(template.String); ok {
		if v, err = parse(parser, []byte(text)); err != nil {
			return nil, apierr.Input("the content cannot be read as %s: %v", parser, err)
		}
	}
	r, ok := v.(*template.Record)
	if !ok {
		return nil, apierr.Input("the content has to be an object")
	}
	return r, nil
}

func mergeIntoJSON(in mergeInput, text []byte) ([]byte, error) {
	content, err := in.content("json")
	if err != nil {
		return nil, err
	}
	old, err := template.ParseJSON(text)
	if err != nil {
		return nil, apierr.Input("%s cannot be read as json: %v", in.Path, err)
	}
	merged, err := mergeDocument(in, old, content)
	if err != nil {
		return nil, err
	}
	indent := "  "
	if in.MatchFileIndent {
		indent = indentOf(text)
	}
	return indentJSON(merged, indent), nil
}

// mergeDocument merges into a whole document; an empty one becomes an object.
func mergeDocument(in mergeInput, old template.Value, content *template.Record) (template.Value, error) {
	switch old.(type) {
	case *template.Record:
	case template.Null:
		old = template.NewRecord()
	default:
		return nil, apierr.Input("%s does not contain an object to merge into", in.Path)
	}
	return mergeValues(old, content, in.MergeArrays), nil
}

// mergeValues merges objects key by key and lists item by item, or by adding
// the items that are not there; all else is replaced.
func mergeValues(old, other template.Value, addItems bool) template.Value {
	switch o := old.(type) {
	case *template.Record:
		if r, ok := other.(*template.Record); ok {
			merged := template.NewRecord()
			for key, v := range o.All() {
				merged.Set(key, v)
			}
			for key, v := range r.All() {
				if before, ok := merged.Get(key); ok {
					v = mergeValues(before, v, addItems)
				}
				merged.Set(key, v)
			}
			return merged
		}
	case *template.Array:
		a, ok := other.(*template.Array)
		switch {
		case addItems && ok:
			return addMissing(o, a)
		case addItems:
			return addMissing(o, template.NewArray(other))
		case ok:
			items := make([]template.Value, max(o.Len(), a.Len()))
			for i := range items {
				switch {
				case i >= a.Len():
					items[i] = o.At(i)
				case i >= o.Len():
					items[i] = a.At(i)
				default:
					items[i] = mergeValues(o.At(i), a.At(i), addItems)
				}
			}
			return template.NewArray(items...)
		}
	}
	return other
}

// addMissing returns the items of both lists, each once.
func addMissing(lists ...*template.Array) *template.Array {
	seen := map[string]bool{}
	var items []template.Value
	for _, list := range lists {
		for _, item := range list.All() {
			if text := string(template.AppendJSON(nil, item)); !seen[text] {
				seen[text] = true
				items = append(items, item)
			}
		}
	}
	return template.NewArray(items...)
}

func indentJSON(v template.Value, indent string) []byte {
	var out bytes.Buffer
	// What AppendJSON wrote is JSON.
	_ = json.Indent(&out, template.AppendJSON(nil, v), "", indent)
	return out.Bytes()
}

// indentOf returns what the first indented line of a text begins with.
func indentOf(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if rest := strings.TrimLeft(line, " \t"); rest != line && strings.TrimSpace(rest) != "" {
			if indent := line[:len(line)-len(rest)]; len(indent) <= 10 {
				return indent
			}
			break
		}
	}
	return "  "
}

func mergeIntoYAML(in mergeInput, text []byte) ([]byte, error) {
	content, err := in.content("yaml")
	if err != nil {
		return nil, err
	}
	if in.PreserveYAMLComments {
		return mergeNodes(in, text, content)
	}
	documents, err := yamlvalue.Parse(text)
	if err != nil {
		return nil, apierr.Input("%s cannot be read as yaml: %v", in.Path, err)
	}
	chosen, err := in.choose(documents)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i, d := range documents {
		if chosen[i] {
			if d, err = mergeDocument(in, d, content); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			out = append(out, "---\n"...)
		}
		if out, err = yamlvalue.Append(out, d, in.Options.yaml()); err != nil {
			return nil, apierr.Input("write %s: %v", in.Path, err)
		}
	}
	return out, nil
}

// choose tells into which documents to merge.
func (in mergeInput) choose(documents []template.Value) ([]bool, error) {
	chosen := make([]bool, len(documents))
	f := in.UseDocumentIncludingField
	switch {
	case len(documents) == 0:
		return nil, apierr.New(apierr.KindError, "No documents found in the input content. Please provide a valid YAML file.")
	case len(documents) == 1:
		chosen[0] = true
		return chosen, nil
	case f == nil:
		return nil, apierr.New(apierr.KindError, "Multiple documents found in the input content. Please provide a key and value to use to find the document to merge into.")
	}
	for i, d := range documents {
		at := template.Member(d, f.Key)
		if at == (template.Undefined{}) {
			at = d
			for key := range strings.SplitSeq(f.Key, ".") {
				at = template.Member(at, key)
			}
		}
		switch at.(type) {
		case template.String, template.Number:
			chosen[i] = template.Text(at) == f.Value
		}
	}
	return chosen, nil
}
