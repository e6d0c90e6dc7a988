// Package published lets tools and agents use the scaffolder: each action is a
// request to the scaffolder's own routes, made on behalf of the caller, so that
// permissions and audit are those of the routes.
//
//	err := published.Register(registry, published.Scaffolder{Client: client, Peers: peers})
//
// It is not about the actions that steps of templates name; those are in
// package registry.
package published

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Scaffolder is what the actions work with.
type Scaffolder struct {
	Client scaffoldernode.Client
	// Peers reach the scaffolder, for answers that pass as they are.
	Peers core.PluginClientService
}

// Register publishes the actions.
func Register(registry core.ActionsRegistryService, s Scaffolder) error {
	read := core.ActionAttributes{ReadOnly: true, Idempotent: true, NonDestructive: true}
	return errors.Join(
		registry.Register(core.Action{
			Name: "list-scaffolder-tasks", Title: "List tasks", Attributes: read,
			Description: "Lists the runs of software templates that the caller may see, the newest first: id, status (open, processing, completed, failed, cancelled or skipped), " +
				"specification, and when the task was created and last gave a sign of life. owned keeps those that the current user created.",
			Input: json.RawMessage(listTasksInput), Output: json.RawMessage(listTasksOutput), Run: call(s.listTasks),
		}),
		registry.Register(core.Action{
			Name: "dry-run-template", Title: "Try a template", Attributes: read, Visibility: &permissions.DryRun,
			Description: "Checks the YAML of a software template and runs it without any effect: steps that would change something are left out. Returns the log and the output, or what is wrong.",
			Input:       json.RawMessage(dryRunInput), Output: json.RawMessage(dryRunOutput), Run: call(s.dryRun),
		}),
		registry.Register(core.Action{
			Name: "list-scaffolder-actions", Title: "List template actions", Attributes: read,
			Description: "Lists what steps of software templates can do: the id of each action, what it does, the JSON Schemas of its input and output, and examples.",
			Input:       json.RawMessage(noInput), Output: json.RawMessage(listActionsOutput), Run: call(s.listActions),
		}),
		registry.Register(core.Action{
			Name: "execute-template", Title: "Run a template",
			Description: "Runs a software template with values for its form, as the caller, and returns the id of the task at once. " +
				"catalog:get-catalog-entity gives the template, whose spec.parameters and spec.secrets say what it asks for; get-scaffolder-task-logs tells how the task goes.",
			Input: json.RawMessage(executeInput), Output: json.RawMessage(executeOutput), Run: call(s.execute),
		}),
		registry.Register(core.Action{
			Name: "get-scaffolder-task-logs", Title: "Read the log of a task", Attributes: read,
			Description: "Returns the events of a task in order: lines of its log, its completion, and that it was cancelled or taken up again. " +
				"after continues behind the last event that is known; while there is none, the answer waits up to half a minute.",
			Input: json.RawMessage(logsInput), Output: json.RawMessage(logsOutput), Run: call(s.logs),
		}),
	)
}

// call decodes the input of an action.
func call[In any](run func(ctx context.Context, in In, as core.Credentials) (any, error)) func(context.Context, core.ActionCall) (any, error) {
	return func(ctx context.Context, c core.ActionCall) (any, error) {
		var in In
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return nil, apierr.Input("the input of the action is malformed: %w", err)
		}
		return run(ctx, in, c.As)
	}
}

type listTasks struct {
	Owned  bool
	Limit  int
	Offset int
	Status statuses
}

// statuses are one or many.
type statuses []string

// UnmarshalJSON reads a text or a list.
func (s *statuses) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*s = statuses{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(s))
}

// listedTask has the specification as it is, with the keys in their order.
type listedTask struct {
	ID            string          `json:"id"`
	Spec          json.RawMessage `json:"spec"`
	Status        string          `json:"status"`
	CreatedAt     string          `json:"createdAt"`
	LastHeartbeat string          `json:"lastHeartbeatAt,omitempty"`
}

type tasksPage struct {
	Tasks []listedTask `json:"tasks"`
	Total int          `json:"totalTasks"`
}

func (s Scaffolder) listTasks(ctx context.Context, in listTasks, as core.Credentials) (any, error) {
	query := url.Values{}
	if in.Owned {
		if !as.IsUser() {
			return nil, apierr.NotAllowed("Only a user has tasks of their own; leave owned out to list all that the caller may see")
		}
		query.Set("createdBy", as.Principal.UserEntityRef)
	}
	if in.Limit > 0 {
		query.Set("limit", strconv.Itoa(in.Limit))
	}
	if in.Offset > 0 {
		query.Set("offset", strconv.Itoa(in.Offset))
	}
	if len(in.Status) > 0 {
		query["status"] = in.Status
	}
	page := tasksPage{Tasks: []listedTask{}}
	err := s.Peers.Call(ctx, core.PluginRequest{Plugin: "scaffolder", Path: "/v2/tasks", Query: query, As: as}, &page)
	return page, err
}

type listedAction struct {
	ID          string                                    `json:"id"`
	Description string                                    `json:"description"`
	Schema      actionSchemas                             `json:"schema"`
	Examples    []scaffoldernode.ActionExampleDescription `json:"examples,omitempty"`
}

type actionSchemas struct {
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
}

// orEmpty is a schema also where there is none.
func orEmpty(schema json.RawMessage) json.RawMessage {
	if schema == nil {
		return json.RawMessage(`{}`)
	}
	return schema
}

func (s Scaffolder) listActions(ctx context.Context, _ struct{}, as core.Credentials) (any, error) {
	all, err := s.Client.Actions(ctx, as)
	if err != nil {
		return nil, err
	}
	out := make([]listedAction, len(all))
	for i, a := range all {
		out[i] = listedAction{a.ID, a.Description, actionSchemas{orEmpty(a.Schema.Input), orEmpty(a.Schema.Output)}, a.Examples}
	}
	return map[string]any{"actions": out}, nil
}

type execution struct {
	TemplateRef string
	Values      map[string]any
	Secrets     map[string]string
}

func (s Scaffolder) execute(ctx context.Context, in execution, as core.Credentials) (any, error) {
	id, err := s.Client.Scaffold(ctx, scaffoldernode.ScaffoldRequest{TemplateRef: in.TemplateRef, Values: in.Values, Secrets: in.Secrets}, as)
	return map[string]string{"taskId": id}, err
}

type rehearsal struct {
	TemplateYAML string
	Values       map[string]any
	Files        []struct{ Path, Content string }
}

// verdict is what a dry run says.
type verdict struct {
	Valid   bool            `json:"valid"`
	Message string          `json:"message"`
	Errors  []string        `json:"errors,omitempty"`
	Log     []logLine       `json:"log,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Steps   []step          `json:"steps,omitempty"`
}

type logLine struct {
	Message string `json:"message"`
	StepID  string `json:"stepId,omitempty"`
	Status  string `json:"status,omitempty"`
}

type step struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Action string `json:"action"`
}

const (
	// maxFile is how many characters a file of a dry run may have.
	maxFile  = 64 << 10
	tooLarge = "<file too large>"
)

func (s Scaffolder) dryRun(ctx context.Context, in rehearsal, as core.Credentials) (any, error) {
	template, err := parse(in.TemplateYAML)
	if err != nil {
		return verdict{Message: "The YAML of the template cannot be read", Errors: []string{err.Error()}}, nil //nolint:nilerr // the answer says it
	}
	request := scaffoldernode.DryRunRequest{Template: template, Values: in.Values}
	for _, file := range in.Files {
		content := file.Content
		if len(content) > maxFile {
			content = tooLarge
		}
		request.Files = append(request.Files, scaffoldernode.DryRunFile{Path: file.Path, Content: []byte(content)})
	}
	result, err := s.Client.DryRun(ctx, request, as)
	if invalid := new(scaffoldernode.InvalidValuesError); errors.As(err, &invalid) {
		v := verdict{Message: "The values are not what the template asks for"}
		for _, p := range invalid.Problems {
			v.Errors = append(v.Errors, p.Stack)
		}
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	v := verdict{Valid: true, Message: "The template is valid and ran to the end", Output: result.Output}
	for _, line := range result.Log {
		v.Log = append(v.Log, logLine{line.Message, line.StepID, string(line.Status)})
	}
	for _, one := range result.Steps {
		v.Steps = append(v.Steps, step{one.ID, one.Name, one.Action})
	}
	return v, nil
}

// parse reads the YAML of one template as JSON, with its keys in their order.
func parse(text string) (json.RawMessage, error) {
	documents := slices.Collect(yaml12.Documents([]byte(text), yaml12.Options{}))
	for _, doc := range documents {
		if doc.Err != nil {
			return nil, doc.Err
		}
	}
	if len(documents) != 1 {
		return nil, errors.New("expected the YAML of one template, found " + strconv.Itoa(len(documents)))
	}
	if _, ok := documents[0].Value.(map[string]any); !ok {
		return nil, errors.New("a template is an object with apiVersion, kind, metadata and spec")
	}
	return jsonvalue.AppendLike(nil, documents[0].Value, documents[0].Order), nil
}

type logsOf struct {
	TaskID string
	After  *int64
}

type listedEvent struct {
	ID        int64   `json:"id"`
	TaskID    string  `json:"taskId"`
	CreatedAt string  `json:"createdAt"`
	Type      string  `json:"type"`
	Body      logLine `json:"body"`
}

// timeFormat is that of all times on the wire.
const timeFormat = "2006-01-02T15:04:05.000Z"

func (s Scaffolder) logs(ctx context.Context, in logsOf, as core.Credentials) (any, error) {
	if strings.TrimSpace(in.TaskID) == "" {
		return nil, apierr.Input("taskId must not be empty")
	}
	after := int64(-1)
	if in.After != nil {
		after = *in.After
	}
	events, err := s.Client.Logs(ctx, in.TaskID, after, as)
	if err != nil {
		return nil, err
	}
	out := make([]listedEvent, len(events))
	for i, e := range events {
		body := logLine{e.Body.Message, e.Body.StepID, string(e.Body.Status)}
		if body.Message == "" && e.Body.RecoverStrategy != "" {
			body.Message = "The task was taken up again, with the strategy " + string(e.Body.RecoverStrategy)
		}
		out[i] = listedEvent{e.ID, e.TaskID, e.CreatedAt.UTC().Format(timeFormat), string(e.Type), body}
	}
	return map[string]any{"events": out}, nil
}
