package api

import (
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// parameterSchema answers with the pages of the form of a template.
func (h *Handler) parameterSchema(w http.ResponseWriter, r *http.Request) error {
	ref := r.PathValue("kind") + ":" + r.PathValue("namespace") + "/" + r.PathValue("name")
	return h.audited(r, "template-parameter-schema", core.SeverityLow, map[string]any{"templateRef": ref}, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		t, err := h.template(r.Context(), who, ref)
		if err != nil {
			return nil, err
		}
		apierr.WriteJSON(w, http.StatusOK, t.form())
		return nil, nil
	})
}

// actions answers with the actions that steps may name.
func (h *Handler) actions(w http.ResponseWriter, r *http.Request) error {
	return h.audited(r, "action-fetch", core.SeverityLow, nil, func() (map[string]any, error) {
		who, err := h.credentials(r)
		if err != nil {
			return nil, err
		}
		published, err := h.Published.List(r.Context(), who, h.Actions)
		if err != nil {
			return nil, err
		}
		all := []template.Value{}
		for _, a := range registry.Sorted(h.Actions.List(), published) {
			all = append(all, describe(a.Action, a.InputSchema, a.OutputSchema))
		}
		apierr.WriteJSON(w, http.StatusOK, template.NewArray(all...))
		return nil, nil
	})
}

func describe(a scaffoldernode.Action, input, output template.Value) template.Value {
	entry := template.NewRecord(template.Entry{Key: "id", Value: template.String(a.ID)})
	if a.Description != "" {
		entry.Set("description", template.String(a.Description))
	}
	if len(a.Examples) > 0 {
		examples := make([]template.Value, len(a.Examples))
		for i, e := range a.Examples {
			one := template.NewRecord(template.Entry{Key: "description", Value: template.String(e.Description)}, template.Entry{Key: "example", Value: template.String(e.Example)})
			if e.Notes != "" {
				one.Set("notes", template.String(e.Notes))
			}
			examples[i] = one
		}
		entry.Set("examples", template.NewArray(examples...))
	}
	schema := template.NewRecord()
	if input != (template.Undefined{}) {
		schema.Set("input", input)
	}
	if output != (template.Undefined{}) {
		schema.Set("output", output)
	}
	if schema.Len() > 0 {
		entry.Set("schema", schema)
	}
	return entry
}

// extensions answers with what templates may use besides the built-in
// language.
func (h *Handler) extensions(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.credentials(r); err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, h.Templating.Documentation())
	return nil
}

// autocomplete answers with values that a field of a form may have.
func (h *Handler) autocomplete(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.credentials(r); err != nil {
		return err
	}
	in, err := body(r, member{name: "token", kind: "string"}, member{name: "context", kind: "strings"})
	if err != nil {
		return err
	}
	token := text(in, "token")
	if token == "" {
		return apierr.Input("Missing token query parameter")
	}
	complete, ok := h.Completers[r.PathValue("provider")]
	if !ok {
		return apierr.Input("Unsupported provider: %s", r.PathValue("provider"))
	}
	results, err := complete(r.Context(), scaffoldernode.AutocompleteRequest{
		Resource: r.PathValue("resource"), Token: token, Context: texts(template.Member(in, "context")),
	})
	if err != nil {
		return err
	}
	if results == nil {
		results = []scaffoldernode.Completion{}
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"results": results})
	return nil
}
