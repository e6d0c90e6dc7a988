package scaffoldernode

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// ActionsExtensionPoint takes the actions of modules, until the plugin starts.
type ActionsExtensionPoint interface {
	// AddActions adds actions. An id that is taken is an error.
	AddActions(actions ...Action) error
}

// Actions is the extension point of [ActionsExtensionPoint].
var Actions = backend.NewExtensionPoint[ActionsExtensionPoint]("scaffolder", "actions")

// TemplatingExtensionPoint takes what all templates may use.
type TemplatingExtensionPoint interface {
	// AddTemplateFilters adds filters. One with the id of a built-in filter, or
	// of one of [TemplateFilters], takes its place.
	AddTemplateFilters(filters ...TemplateFilter) error
	// AddTemplateGlobals adds functions and values.
	AddTemplateGlobals(globals ...TemplateGlobal) error
}

// Templating is the extension point of [TemplatingExtensionPoint].
var Templating = backend.NewExtensionPoint[TemplatingExtensionPoint]("scaffolder", "templating")

// TemplateFilter is a filter with its documentation.
type TemplateFilter struct {
	ID          string
	Description string
	Examples    []TemplateExample
	// Input, Arguments and Output are JSON Schemas; they may be nil.
	Input     json.RawMessage
	Arguments []json.RawMessage
	Output    json.RawMessage
	Filter    template.FilterFunc
}

// TemplateGlobal is a function, or a value if Function is nil.
type TemplateGlobal struct {
	ID          string
	Description string
	Value       template.Value
	Function    template.Func
	Examples    []TemplateExample
	// Arguments and Output are JSON Schemas of functions; they may be nil.
	Arguments []json.RawMessage
	Output    json.RawMessage
}

// TemplateExample shows a use in a template.
type TemplateExample struct {
	Description string `json:"description,omitempty"`
	Example     string `json:"example"`
	Notes       string `json:"notes,omitempty"`
}

// AutocompleteExtensionPoint takes what completes fields of template forms.
type AutocompleteExtensionPoint interface {
	// AddAutocompleteProvider adds a provider. An id that is taken is an error.
	AddAutocompleteProvider(id string, complete AutocompleteFunc) error
}

// Autocomplete is the extension point of [AutocompleteExtensionPoint].
var Autocomplete = backend.NewExtensionPoint[AutocompleteExtensionPoint]("scaffolder", "autocomplete")

// AutocompleteFunc lists what a field may contain.
type AutocompleteFunc func(ctx context.Context, request AutocompleteRequest) ([]Completion, error)

// AutocompleteRequest asks for the values of a resource, such as workspaces.
type AutocompleteRequest struct {
	Resource string
	// Token is the user's, for the provider.
	Token string
	// Context is what the form has so far.
	Context map[string]string
}

// Completion is a value that a field may have.
type Completion struct {
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
}

// WorkspacesExtensionPoint takes places where workspaces of tasks are kept
// while nobody runs them.
type WorkspacesExtensionPoint interface {
	// AddWorkspaceProvider adds a provider under the name that the configuration
	// scaffolder.taskRecovery.workspaceProvider has. A name that is taken is an
	// error.
	AddWorkspaceProvider(name string, provider WorkspaceProvider) error
}

// Workspaces is the extension point of [WorkspacesExtensionPoint].
var Workspaces = backend.NewExtensionPoint[WorkspacesExtensionPoint]("scaffolder", "workspace.provider")

// WorkspaceProvider keeps snapshots of workspaces, so that a task can go on
// where its files are not. A snapshot is an archive as package workspacearchive
// writes it. Each has a name of its own: nothing is ever overwritten, and a
// snapshot counts once Save has returned and the task says so. What a save left
// that came to no end is removed with the task.
type WorkspaceProvider interface {
	// Save keeps an archive for good before it returns. An error of the archive
	// is an error of Save.
	Save(ctx context.Context, snapshot WorkspaceSnapshot, archive io.Reader) error
	// Open returns an archive. One that is not there is [fs.ErrNotExist], from
	// Open or from the first read.
	Open(ctx context.Context, snapshot WorkspaceSnapshot) (io.ReadCloser, error)
	// Remove forgets a snapshot or, if its ID is empty, all that is kept of the
	// task. Nothing being there is no error.
	Remove(ctx context.Context, snapshot WorkspaceSnapshot) error
	// List returns the tasks of which anything is kept, in any order; a task may
	// be there more than once.
	List(ctx context.Context) iter.Seq2[KeptWorkspace, error]
}

// WorkspaceSnapshot names a snapshot. Both ids consist of hexadecimal digits
// and hyphens.
type WorkspaceSnapshot struct{ TaskID, ID string }

// KeptWorkspace tells that something is kept of a task.
type KeptWorkspace struct {
	TaskID string
	// Saved is when it was saved.
	Saved time.Time
}
