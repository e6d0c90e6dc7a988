package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/flytower/flytower/backend"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	lang "github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// goldenModule is what the scaffolder of the records had besides its own.
var goldenModule = backend.NewModule("scaffolder", "golden", func(env *backend.ModuleEnv) backend.InitFunc {
	templating := scaffoldernode.Templating.From(env)
	autocomplete := scaffoldernode.Autocomplete.From(env)
	return func(context.Context) error {
		return errors.Join(
			templating().AddTemplateFilters(scaffoldernode.TemplateFilter{
				ID: "shout", Description: "Upper-cases a value and adds exclamation marks",
				Examples:  []scaffoldernode.TemplateExample{{Description: "Shout", Example: "${{ 'a' | shout }}"}},
				Input:     json.RawMessage(`{"type":"string","$schema":"http://json-schema.org/draft-07/schema#"}`),
				Arguments: []json.RawMessage{json.RawMessage(`{"anyOf":[{"not":{}},{"type":"number"}],"$schema":"http://json-schema.org/draft-07/schema#"}`)},
				Output:    json.RawMessage(`{"type":"string","$schema":"http://json-schema.org/draft-07/schema#"}`),
				Filter:    shout,
			}),
			templating().AddTemplateGlobals(
				scaffoldernode.TemplateGlobal{
					ID: "sum", Description: "Adds numbers", Function: sum,
					Arguments: []json.RawMessage{
						json.RawMessage(`{"type":"number","$schema":"http://json-schema.org/draft-07/schema#"}`),
						json.RawMessage(`{"type":"number","$schema":"http://json-schema.org/draft-07/schema#"}`),
					},
					Output: json.RawMessage(`{"type":"number","$schema":"http://json-schema.org/draft-07/schema#"}`),
				},
				scaffoldernode.TemplateGlobal{ID: "answer", Description: "A constant", Value: lang.Number(42)},
			),
			autocomplete().AddAutocompleteProvider("golden", func(_ context.Context, r scaffoldernode.AutocompleteRequest) ([]scaffoldernode.Completion, error) {
				return []scaffoldernode.Completion{{ID: r.Resource + "-1", Title: "One " + r.Context["q"]}, {ID: r.Resource + "-2"}}, nil
			}),
		)
	}
}, backend.WithDescription("Adds what the scaffolder of the records had"))

func shout(_ context.Context, input lang.Value, args ...lang.Value) (lang.Value, error) {
	marks := 1
	if len(args) > 0 {
		if n, ok := args[0].(lang.Number); ok && n >= 0 && n < 100 {
			marks = int(n)
		}
	}
	return lang.String(strings.ToUpper(lang.Text(input)) + strings.Repeat("!", marks)), nil
}

func sum(_ context.Context, args ...lang.Value) (lang.Value, error) {
	total := lang.Number(0)
	for _, a := range args {
		if n, ok := a.(lang.Number); ok {
			total += n
		}
	}
	return total, nil
}
