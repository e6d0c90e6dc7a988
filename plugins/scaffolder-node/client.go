package scaffoldernode

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Client asks the scaffolder, wherever it runs, on behalf of somebody.
//
// What the scaffolder refuses is an error with the kind that the scaffolder
// gave it, around an *apierr.ResponseError; values that are not what a template
// asks for are an input error around an [*InvalidValuesError]. Calls that may
// be repeated are, where the scaffolder does not answer or says that it cannot
// now (429, 502, 503, 504): up to four times in all, with growing pauses.
// [Client.Scaffold] and [Client.Retry] are not repeated.
type Client interface {
	// ParameterSchema returns the pages of the form of a template; a not-found
	// error if there is no such template that the caller may see.
	ParameterSchema(ctx context.Context, templateRef string, as core.Credentials) (ParameterSchema, error)
	// Scaffold creates a task of a template and returns its id.
	Scaffold(ctx context.Context, r ScaffoldRequest, as core.Credentials) (taskID string, err error)
	// Task returns a task; a not-found error if there is none.
	Task(ctx context.Context, id string, as core.Credentials) (scaffoldercommon.Task, error)
	// CancelTask asks for the end of a task. One that ended stays as it is.
	CancelTask(ctx context.Context, id string, as core.Credentials) error
	// Retry runs a task again that ended, with new secrets; a conflict if it has
	// not ended.
	Retry(ctx context.Context, id string, secrets map[string]string, as core.Credentials) error
	// Tasks returns a page of tasks.
	Tasks(ctx context.Context, q TasksQuery, as core.Credentials) (TasksPage, error)
	// Logs returns the events of a task after the one with an id, all of them
	// after -1. It waits up to half a minute for one.
	Logs(ctx context.Context, taskID string, after int64, as core.Credentials) ([]scaffoldercommon.TaskEvent, error)
	// Follow yields the events of a task after the one with an id, each once,
	// until the task ended.
	Follow(ctx context.Context, taskID string, after int64, as core.Credentials) iter.Seq2[scaffoldercommon.TaskEvent, error]
	// Actions returns the actions that steps may name, in the order of their ids.
	Actions(ctx context.Context, as core.Credentials) ([]ActionDescription, error)
	// TemplatingExtensions returns what templates may use besides the built-in
	// language.
	TemplatingExtensions(ctx context.Context, as core.Credentials) (TemplatingExtensions, error)
	// DryRun runs a template without changing anything, and returns what it
	// would make.
	DryRun(ctx context.Context, r DryRunRequest, as core.Credentials) (DryRunResult, error)
	// Autocomplete returns values that a field of a form may have.
	Autocomplete(ctx context.Context, provider string, r AutocompleteRequest, as core.Credentials) ([]Completion, error)
}

// ParameterSchema is what the form of a template is made of.
type ParameterSchema struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	// Steps are the pages.
	Steps []ParameterStep `json:"steps"`
	// Presentation, UIOptions and FormDecorators are for the frontend.
	Presentation   json.RawMessage `json:"presentation,omitempty"`
	UIOptions      json.RawMessage `json:"ui:options,omitempty"`
	FormDecorators json.RawMessage `json:"formDecorators,omitempty"`
}

// ParameterStep is a page of a form. Its schema is lenient JSON Schema.
type ParameterStep struct {
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
}

// ScaffoldRequest is a task to be created.
type ScaffoldRequest struct {
	// TemplateRef is the entity reference of the template; its kind may be left
	// out.
	TemplateRef string
	// Values are those of the form.
	Values map[string]any
	// Secrets are seen by steps only, and hidden in logs.
	Secrets map[string]string
}

// TasksQuery chooses tasks.
type TasksQuery struct {
	// CreatedBy and Statuses keep tasks with one of the values; empty ones keep
	// all.
	CreatedBy []string
	Statuses  []scaffoldercommon.TaskStatus
	// Order has fields such as desc:created_at, which is the default, of
	// created_at, status and created_by.
	Order []string
	// Limit is the size of the page; 0 is all.
	Limit int
	// Offset skips tasks.
	Offset int
}

// TasksPage is a page of tasks.
type TasksPage struct {
	Items []scaffoldercommon.Task
	// TotalItems is how many there are on all pages.
	TotalItems int
}

// ActionDescription tells what an action does, and what it takes and gives.
type ActionDescription struct {
	ID          string                     `json:"id"`
	Description string                     `json:"description,omitempty"`
	Examples    []ActionExampleDescription `json:"examples,omitempty"`
	Schema      ActionSchemas              `json:"schema,omitzero"`
}

// ActionExampleDescription shows a use of an action, as YAML.
type ActionExampleDescription struct {
	Description string `json:"description"`
	Example     string `json:"example"`
	Notes       string `json:"notes,omitempty"`
}

// ActionSchemas are JSON Schemas; nil where there is none.
type ActionSchemas struct {
	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
}

// TemplatingExtensions are filters and globals by their names.
type TemplatingExtensions struct {
	Filters map[string]json.RawMessage `json:"filters"`
	Globals struct {
		Functions map[string]json.RawMessage `json:"functions"`
		Values    map[string]json.RawMessage `json:"values"`
	} `json:"globals"`
}

// DryRunRequest is a template that need not be in the catalog.
type DryRunRequest struct {
	// Template is the entity.
	Template json.RawMessage
	Values   map[string]any
	Secrets  map[string]string
	// Files are those beside the template.
	Files []DryRunFile
}

// DryRunFile is a file of a dry run.
type DryRunFile struct {
	// Path has slashes, and leads nowhere outside.
	Path       string `json:"path"`
	Executable bool   `json:"executable,omitempty"`
	Content    []byte `json:"base64Content"`
}

// DryRunResult is what a template would make.
type DryRunResult struct {
	Log []scaffoldercommon.EventBody
	// Files are those of the workspace after the last step.
	Files []DryRunFile
	// Output is an object.
	Output json.RawMessage
	Steps  []scaffoldercommon.TaskStep
}

// InvalidValuesError lists what is wrong with values or secrets.
type InvalidValuesError struct{ Problems []ValueProblem }

// ValueProblem is a violation of a schema.
type ValueProblem struct {
	// Path leads to the value; its parts are texts and numbers.
	Path []any `json:"path"`
	// Property is the path as text, such as instance.name.
	Property string `json:"property"`
	Message  string `json:"message"`
	// Name is the keyword of the schema.
	Name string `json:"name"`
	// Stack is the property and the message.
	Stack string `json:"stack"`
}

// Error names the first problem, and how many there are.
func (e *InvalidValuesError) Error() string {
	if len(e.Problems) == 0 {
		return "the values are not what the template asks for"
	}
	text := "the values are not what the template asks for: " + e.Problems[0].Stack
	if more := len(e.Problems) - 1; more > 0 {
		text += " (and " + strconv.Itoa(more) + " more)"
	}
	return text
}

// Scaffolder is the client of the scaffolder. It needs no factory to be added.
var Scaffolder = backend.NewServiceRef[Client]("scaffolder-client").WithDefault(
	func(ref backend.ServiceRef[Client]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[Client] {
			peers := core.PluginClient.From(env)
			return func(context.Context) (Client, error) { return NewClient(peers()), nil }
		})
	})
