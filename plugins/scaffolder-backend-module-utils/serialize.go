package scaffoldermoduleutils

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

type serialized struct {
	Serialized string `json:"serialized" description:"The text"`
}

type serializeJSONInput struct {
	Data     json.RawMessage `json:"data" description:"What is written"`
	Replacer []string        `json:"replacer,omitempty" description:"The keys that objects keep, in this order; all without it"`
	Space    string          `json:"space,omitempty" description:"What lines are indented by, ten characters at most; without it there is one line"`
}

func serializeJSON() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:serialize:json", Description: "Gives the JSON text of a value.", SupportsDryRun: true,
		Examples: example("Write a value as JSON", "steps:\n  - id: text\n    action: roadiehq:utils:serialize:json\n    input:\n      data:\n        hello: world\n"),
	}, func(_ context.Context, _ *scaffoldernode.ActionContext, in serializeJSONInput) (out serialized, err error) {
		v, err := template.ParseJSON(in.Data)
		if err != nil {
			return out, err
		}
		if in.Replacer != nil {
			v = only(v, in.Replacer)
		}
		if in.Space == "" {
			return serialized{string(template.AppendJSON(nil, v))}, nil
		}
		const mark = "\t"
		space := []rune(in.Space)
		space = space[:min(len(space), 10)]
		return serialized{indentWith(string(indentJSON(v, mark)), mark, string(space))}, nil
	})
}

// indentWith replaces what the lines of a JSON text are indented by.
func indentWith(text, from, to string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		rest := strings.TrimLeft(line, from)
		out.WriteString(strings.Repeat(to, len(line)-len(rest)))
		out.WriteString(rest)
	}
	return out.String()
}

// only leaves in objects the keys of a list, in its order.
func only(v template.Value, keys []string) template.Value {
	switch v := v.(type) {
	case *template.Record:
		r := template.NewRecord()
		for _, key := range keys {
			if item, ok := v.Get(key); ok {
				r.Set(key, only(item, keys))
			}
		}
		return r
	case *template.Array:
		items := make([]template.Value, v.Len())
		for i, item := range v.All() {
			items[i] = only(item, keys)
		}
		return template.NewArray(items...)
	}
	return v
}

// yamlOptions are those of public templates that have an effect here; others
// are accepted.
type yamlOptions struct {
	Indent    *float64 `json:"indent,omitempty"`
	IndentSeq *bool    `json:"indentSeq,omitempty"`
	LineWidth *float64 `json:"lineWidth,omitempty"`
}

const yamlOptionsSchema = `{"type":"object","properties":{` +
	`"indent":{"type":"number","description":"Spaces of a level, 2 to 9. Default: 2"},` +
	`"indentSeq":{"type":"boolean","description":"Whether lists are indented below their keys. Default: true"},` +
	`"lineWidth":{"type":"number","description":"Where long texts are folded, in characters; 0 or less does not fold. Default: 80"}},` +
	`"description":"How YAML is written. Other options are accepted and have no effect"}`

func (o yamlOptions) yaml() yamlvalue.Options {
	out := yamlvalue.Options{Indent: 2, LineWidth: 80}
	if o.Indent != nil {
		out.Indent = int(min(max(*o.Indent, 2), 9))
	}
	if o.IndentSeq != nil {
		out.FlushLists = !*o.IndentSeq
	}
	if o.LineWidth != nil {
		out.LineWidth = int(min(max(*o.LineWidth, 0), 1<<20))
	}
	return out
}

type serializeYAMLInput struct {
	Data     json.RawMessage `json:"data"`
	Replacer []string        `json:"replacer,omitempty"`
	Options  yamlOptions     `json:"options,omitempty"`
}

func serializeYAML() scaffoldernode.Action {
	a := scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "roadiehq:utils:serialize:yaml", Description: "Gives the YAML text of a value.", SupportsDryRun: true,
		Examples: example("Write a value as YAML", "steps:\n  - id: text\n    action: roadiehq:utils:serialize:yaml\n    input:\n      data:\n        hello: world\n"),
	}, func(_ context.Context, _ *scaffoldernode.ActionContext, in serializeYAMLInput) (out serialized, err error) {
		v, err := template.ParseJSON(in.Data)
		if err != nil {
			return out, err
		}
		text, err := yamlvalue.Append(nil, v, in.Options.yaml())
		if err != nil {
			return out, apierr.Input("write the data as YAML: %v", err)
		}
		return serialized{string(text)}, nil
	})
	a.Input = json.RawMessage(`{"type":"object","properties":{"data":{"description":"What is written"},"replacer":{"type":"array","items":{"type":"string"},"description":"Accepted, and without effect"},"options":` +
		yamlOptionsSchema + `},"required":["data"],"additionalProperties":false,"$schema":"http://json-schema.org/draft-07/schema#"}`)
	return a
}
