package scaffoldernode

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/plugincall"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// ClientOption changes a part of the client.
type ClientOption func(*client)

// WithSleep sets how the client waits before it tries again, for tests. The
// default sleeps until the context ends.
func WithSleep(sleep func(ctx context.Context, d time.Duration) error) ClientOption {
	return func(c *client) { c.calls.Sleep = sleep }
}

// NewClient returns the client over a service that calls plugins.
func NewClient(peers core.PluginClientService, opts ...ClientOption) Client {
	c := &client{plugincall.New(peers, "scaffolder")}
	for _, o := range opts {
		o(c)
	}
	return c
}

type client struct{ calls *plugincall.Client }

func taskPath(id, after string) string { return "/v2/tasks/" + url.PathEscape(id) + after }

// object is an object of JSON also where there are no values.
func object[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// checked makes a call whose values the scaffolder compares with a schema.
func checked[T any](ctx context.Context, c *client, r plugincall.Request) (T, error) {
	invalid := &InvalidValuesError{}
	r.Answer = func(status int, body []byte) bool {
		var list struct{ Errors []ValueProblem }
		if status != http.StatusBadRequest || json.Unmarshal(body, &list) != nil {
			return false
		}
		invalid.Problems = list.Errors
		return len(list.Errors) > 0
	}
	got, err := plugincall.JSON[T](ctx, c.calls, r)
	if err == nil && len(invalid.Problems) > 0 {
		err = apierr.Input("%w", invalid)
	}
	return got, err
}

func (c *client) ParameterSchema(ctx context.Context, templateRef string, as core.Credentials) (ParameterSchema, error) {
	ref, err := catalogcommon.ParseRef(templateRef, catalogcommon.RefDefaults{Kind: "template"})
	if err != nil {
		return ParameterSchema{}, apierr.Input("%w", err)
	}
	path := "/v2/templates/" + url.PathEscape(ref.Namespace) + "/" + url.PathEscape(ref.Kind) + "/" + url.PathEscape(ref.Name) + "/parameter-schema"
	return plugincall.JSON[ParameterSchema](ctx, c.calls, plugincall.Request{Path: path, As: as, Repeatable: true})
}

type created struct{ ID string }

func (c *client) Scaffold(ctx context.Context, r ScaffoldRequest, as core.Credentials) (string, error) {
	body := map[string]any{"templateRef": r.TemplateRef, "values": object(r.Values)}
	if r.Secrets != nil {
		body["secrets"] = r.Secrets
	}
	got, err := checked[created](ctx, c, plugincall.Request{Method: http.MethodPost, Path: "/v2/tasks", Body: body, As: as, Want: http.StatusCreated})
	if err == nil && got.ID == "" {
		err = apierr.New(apierr.KindError, "the scaffolder created a task and did not say which")
	}
	return got.ID, err
}

func (c *client) Task(ctx context.Context, id string, as core.Credentials) (scaffoldercommon.Task, error) {
	return plugincall.JSON[scaffoldercommon.Task](ctx, c.calls, plugincall.Request{Path: taskPath(id, ""), As: as, Repeatable: true})
}

func (c *client) CancelTask(ctx context.Context, id string, as core.Credentials) error {
	return c.calls.Do(ctx, plugincall.Request{Method: http.MethodPost, Path: taskPath(id, "/cancel"), As: as, Repeatable: true})
}

func (c *client) Retry(ctx context.Context, id string, secrets map[string]string, as core.Credentials) error {
	body := map[string]any{}
	if secrets != nil {
		body["secrets"] = secrets
	}
	_, err := checked[created](ctx, c, plugincall.Request{Method: http.MethodPost, Path: taskPath(id, "/retry"), Body: body, As: as, Want: http.StatusCreated})
	return err
}

func (c *client) Tasks(ctx context.Context, q TasksQuery, as core.Credentials) (TasksPage, error) {
	query := url.Values{}
	for _, by := range q.CreatedBy {
		query.Add("createdBy", by)
	}
	for _, status := range q.Statuses {
		query.Add("status", string(status))
	}
	for _, field := range q.Order {
		query.Add("order", field)
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Offset > 0 {
		query.Set("offset", strconv.Itoa(q.Offset))
	}
	type page struct {
		Tasks      []scaffoldercommon.Task
		TotalTasks int
	}
	got, err := plugincall.JSON[page](ctx, c.calls, plugincall.Request{Path: "/v2/tasks", Query: query, As: as, Repeatable: true})
	return TasksPage{Items: got.Tasks, TotalItems: got.TotalTasks}, err
}

func (c *client) Logs(ctx context.Context, taskID string, after int64, as core.Credentials) ([]scaffoldercommon.TaskEvent, error) {
	query := url.Values{}
	if after >= 0 {
		query.Set("after", strconv.FormatInt(after, 10))
	}
	return plugincall.JSON[[]scaffoldercommon.TaskEvent](ctx, c.calls, plugincall.Request{Path: taskPath(taskID, "/events"), Query: query, As: as, Repeatable: true})
}

func (c *client) Follow(ctx context.Context, taskID string, after int64, as core.Credentials) iter.Seq2[scaffoldercommon.TaskEvent, error] {
	return func(yield func(scaffoldercommon.TaskEvent, error) bool) {
		for {
			page, err := c.Logs(ctx, taskID, after, as)
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(scaffoldercommon.TaskEvent{}, err)
				return
			}
			for _, event := range page {
				// A completion is among the answers also where it is older.
				ends := event.Type == scaffoldercommon.EventCompletion
				if event.ID > after {
					after = event.ID
					if !yield(event, nil) {
						return
					}
				}
				if ends {
					return
				}
			}
		}
	}
}

func (c *client) Actions(ctx context.Context, as core.Credentials) ([]ActionDescription, error) {
	return plugincall.JSON[[]ActionDescription](ctx, c.calls, plugincall.Request{Path: "/v2/actions", As: as, Repeatable: true})
}

func (c *client) TemplatingExtensions(ctx context.Context, as core.Credentials) (TemplatingExtensions, error) {
	return plugincall.JSON[TemplatingExtensions](ctx, c.calls, plugincall.Request{Path: "/v2/templating-extensions", As: as, Repeatable: true})
}

func (c *client) DryRun(ctx context.Context, r DryRunRequest, as core.Credentials) (DryRunResult, error) {
	files := r.Files
	if files == nil {
		files = []DryRunFile{}
	}
	body := map[string]any{"template": r.Template, "values": object(r.Values), "directoryContents": files}
	if r.Secrets != nil {
		body["secrets"] = r.Secrets
	}
	type answer struct {
		Log               []struct{ Body scaffoldercommon.EventBody }
		DirectoryContents []DryRunFile
		Output            json.RawMessage
		Steps             []scaffoldercommon.TaskStep
	}
	got, err := checked[answer](ctx, c, plugincall.Request{Method: http.MethodPost, Path: "/v2/dry-run", Body: body, As: as, Repeatable: true})
	if err != nil {
		return DryRunResult{}, err
	}
	out := DryRunResult{Log: make([]scaffoldercommon.EventBody, len(got.Log)), Files: got.DirectoryContents, Output: got.Output, Steps: got.Steps}
	for i, line := range got.Log {
		out.Log[i] = line.Body
	}
	return out, nil
}

func (c *client) Autocomplete(ctx context.Context, provider string, r AutocompleteRequest, as core.Credentials) ([]Completion, error) {
	type answer struct{ Results []Completion }
	got, err := plugincall.JSON[answer](ctx, c.calls, plugincall.Request{
		Method: http.MethodPost, Path: "/v2/autocomplete/" + url.PathEscape(provider) + "/" + url.PathEscape(r.Resource),
		Body: map[string]any{"token": r.Token, "context": object(r.Context)}, As: as, Repeatable: true,
	})
	return got.Results, err
}
