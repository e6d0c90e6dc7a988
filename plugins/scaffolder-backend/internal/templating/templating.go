// Package templating has the language of templates as the scaffolder speaks
// it, with what modules add, and tells clients what there is.
package templating

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/flytower/flytower/integration"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Templating makes environments. It is safe for concurrent use.
type Templating struct {
	// Cache is shared by all.
	Cache     *template.Cache
	filters   []scaffoldernode.TemplateFilter
	globals   []scaffoldernode.TemplateGlobal
	functions map[string]template.Func
	values    map[string]template.Value
	byName    map[string]template.FilterFunc
}

// New returns the language with the filters of the scaffolder and those of
// modules, which take the place of others with their ids.
func New(hosts *integration.Hosts, filters []scaffoldernode.TemplateFilter, globals []scaffoldernode.TemplateGlobal) (*Templating, error) {
	t := &Templating{
		Cache: template.NewCache(0), globals: globals, filters: builtin(),
		functions: map[string]template.Func{}, values: map[string]template.Value{}, byName: scaffoldernode.TemplateFilters(hosts),
	}
	for _, f := range filters {
		t.byName[f.ID] = f.Filter
		if i := slices.IndexFunc(t.filters, func(other scaffoldernode.TemplateFilter) bool { return other.ID == f.ID }); i >= 0 {
			t.filters[i] = f
		} else {
			t.filters = append(t.filters, f)
		}
	}
	for _, g := range globals {
		if g.Function != nil {
			t.functions[g.ID] = g.Function
		} else {
			t.values[g.ID] = g.Value
		}
	}
	_, err := t.Environment(nil) // so that bad names are found now
	return t, err
}

// Environment returns an environment with more functions.
func (t *Templating) Environment(functions map[string]template.Func) (*template.Environment, error) {
	all := maps.Clone(t.functions)
	maps.Copy(all, functions)
	return template.NewEnvironment(template.Options{Filters: t.byName, Functions: all, Values: t.values})
}

// Documentation is what clients are told about the language.
func (t *Templating) Documentation() json.Marshaler {
	filters, functions, values := template.NewRecord(), template.NewRecord(), template.NewRecord()
	for _, f := range t.filters {
		filters.Set(f.ID, document(f.Description, f.Examples, schemas{f.Input, f.Arguments, f.Output}))
	}
	for _, g := range t.globals {
		if g.Function != nil {
			functions.Set(g.ID, document(g.Description, g.Examples, schemas{nil, g.Arguments, g.Output}))
			continue
		}
		entry := template.NewRecord(template.Entry{Key: "value", Value: g.Value})
		if g.Description != "" {
			entry.Set("description", template.String(g.Description))
		}
		values.Set(g.ID, entry)
	}
	return template.NewRecord(
		template.Entry{Key: "filters", Value: filters},
		template.Entry{Key: "globals", Value: template.NewRecord(template.Entry{Key: "functions", Value: functions}, template.Entry{Key: "values", Value: values})},
	)
}

type schemas struct {
	input     json.RawMessage
	arguments []json.RawMessage
	output    json.RawMessage
}

func document(description string, examples []scaffoldernode.TemplateExample, s schemas) template.Value {
	entry := template.NewRecord()
	if description != "" {
		entry.Set("description", template.String(description))
	}
	if len(examples) > 0 {
		if list, err := template.From(examples); err == nil {
			entry.Set("examples", list)
		}
	}
	schema := template.NewRecord()
	set := func(key string, v any) {
		if value, err := template.From(v); err == nil {
			schema.Set(key, value)
		}
	}
	if s.input != nil {
		set("input", s.input)
	}
	if s.arguments != nil {
		list := make([]any, len(s.arguments))
		for i, a := range s.arguments {
			list[i] = a
		}
		set("arguments", list)
	}
	if s.output != nil {
		set("output", s.output)
	}
	if schema.Len() > 0 {
		entry.Set("schema", schema)
	}
	return entry
}
