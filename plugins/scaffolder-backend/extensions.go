package scaffolderbackend

import (
	"sync"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// extensions collects what modules add. It implements the extension points of
// the plugin.
type extensions struct {
	actions registry.Registry

	mu         sync.Mutex
	frozen     bool
	filters    []scaffoldernode.TemplateFilter
	globals    []scaffoldernode.TemplateGlobal
	completers map[string]scaffoldernode.AutocompleteFunc
	workspaces map[string]scaffoldernode.WorkspaceProvider
}

func newExtensions() *extensions {
	return &extensions{completers: map[string]scaffoldernode.AutocompleteFunc{}, workspaces: map[string]scaffoldernode.WorkspaceProvider{}}
}

// freeze ends the time for additions.
func (x *extensions) freeze() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frozen = true
}

func (x *extensions) change(fn func() error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.frozen {
		return apierr.Conflict("the scaffolder has started: extend it in the init function of a module, not later")
	}
	return fn()
}

func (x *extensions) AddActions(actions ...scaffoldernode.Action) error {
	return x.change(func() error { return x.actions.Add(actions...) })
}

func (x *extensions) AddTemplateFilters(filters ...scaffoldernode.TemplateFilter) error {
	return x.change(func() error { x.filters = append(x.filters, filters...); return nil })
}

func (x *extensions) AddTemplateGlobals(globals ...scaffoldernode.TemplateGlobal) error {
	return x.change(func() error { x.globals = append(x.globals, globals...); return nil })
}

func (x *extensions) AddAutocompleteProvider(id string, complete scaffoldernode.AutocompleteFunc) error {
	return x.change(func() error {
		if _, ok := x.completers[id]; ok {
			return apierr.Conflict("there is an autocomplete provider %q already", id)
		}
		x.completers[id] = complete
		return nil
	})
}

func (x *extensions) AddWorkspaceProvider(name string, provider scaffoldernode.WorkspaceProvider) error {
	return x.change(func() error {
		if _, ok := x.workspaces[name]; ok {
			return apierr.Conflict("there is a workspace provider %q already", name)
		}
		x.workspaces[name] = provider
		return nil
	})
}
