// Package registry has the actions that steps of templates may name.
package registry

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Registry has actions by their ids. The zero value is empty. It is safe for
// concurrent use.
type Registry struct {
	mu      sync.RWMutex
	actions map[string]*Entry
	ids     []string // as they were added
}

// Entry is an action with the schema of its input as a value.
type Entry struct {
	scaffoldernode.Action
	InputSchema, OutputSchema template.Value // Undefined where there is none
}

// Add adds actions. An id that is taken is a conflict.
func (r *Registry) Add(actions ...scaffoldernode.Action) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.actions == nil {
		r.actions = map[string]*Entry{}
	}
	for _, a := range actions {
		if a.ID == "" || a.Run == nil {
			return apierr.Input("the action %q needs an id and a function; make it with scaffoldernode.NewAction", a.ID)
		}
		if _, ok := r.actions[a.ID]; ok {
			return apierr.Conflict("Template action with ID '%s' has already been registered", a.ID)
		}
		e := &Entry{Action: a}
		var err error
		if e.InputSchema, err = parse(a.ID, "input", a.Input); err != nil {
			return err
		}
		if e.OutputSchema, err = parse(a.ID, "output", a.Output); err != nil {
			return err
		}
		r.actions[a.ID] = e
		r.ids = append(r.ids, a.ID)
	}
	return nil
}

func parse(id, what string, schema json.RawMessage) (template.Value, error) {
	if len(schema) == 0 || string(schema) == "null" {
		return template.Undefined{}, nil
	}
	v, err := template.ParseJSON(schema)
	if err != nil {
		return nil, apierr.Input("the schema of the %s of action %s cannot be read: %v", what, id, err)
	}
	if kind := template.Member(v, "type"); kind != (template.Undefined{}) && kind != template.String("object") {
		return nil, apierr.Input("the schema of the %s of action %s is one of %s; it has to be one of an object", what, id, template.Text(kind))
	}
	return v, nil
}

// Get returns an action, or a not-found error that says where to read on.
func (r *Registry) Get(id string) (*Entry, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a, ok := r.actions[id]; ok {
		return a, nil
	}
	return nil, apierr.NotFound("Template action with ID '%s' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module.", id)
}

// Names returns the ids in the order in which they were added.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.ids)
}

// List returns all actions, sorted by id in any case.
func (r *Registry) List() []*Entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*Entry, 0, len(r.actions))
	for _, a := range r.actions {
		all = append(all, a)
	}
	return Sorted(all)
}
