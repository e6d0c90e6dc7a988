package engine

import (
	"bytes"
	"encoding/json"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// announceDryRun tells with which input an action runs, with its secrets as
// ***.
func (x *execution) announceDryRun(step scaffoldercommon.TaskStep, action *registry.Entry, log func(text string)) error {
	input, err := optional(step.Input)
	if err != nil {
		return err
	}
	if input == (template.Undefined{}) {
		input = template.NewRecord()
	}
	masked := template.NewRecord()
	for name := range x.run.Secrets {
		masked.Set(name, template.String("***"))
	}
	shown, err := x.expander.Expand(x.ctx, "input", input, x.variables.With(masked, "secrets"))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, template.AppendJSON(nil, shown), "", "  "); err != nil {
		return err
	}
	log("Running " + action.ID + " in dry-run mode with inputs (secrets redacted): " + text.String())
	return nil
}

// maxExampleDepth bounds how deep examples are made.
const maxExampleDepth = 32

// example makes a value of a schema, for steps that are left out.
func example(schema template.Value, depth int) template.Value {
	r, ok := schema.(*template.Record)
	if !ok || depth > maxExampleDepth {
		return template.NewRecord()
	}
	if examples, ok := template.Member(r, "examples").(*template.Array); ok && examples.Len() > 0 {
		return examples.At(0)
	}
	switch template.Member(r, "type") {
	case template.String("object"):
		out := template.NewRecord()
		if properties, ok := template.Member(r, "properties").(*template.Record); ok {
			for key, property := range properties.All() {
				out.Set(key, example(property, depth+1))
			}
		}
		return out
	case template.String("array"):
		items := template.Member(r, "items")
		if list, ok := items.(*template.Array); ok && list.Len() > 0 {
			items = list.At(0)
		}
		if _, ok := items.(*template.Record); !ok {
			return template.NewArray()
		}
		return template.NewArray(example(items, depth+1))
	case template.String("string"):
		return template.String("<example>")
	case template.String("number"), template.String("integer"):
		return template.Number(0)
	case template.String("boolean"):
		return template.Bool(false)
	}
	return template.String("<unknown>")
}
