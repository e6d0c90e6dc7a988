package scaffoldernode_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const greetTemplate = `{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"greet","title":"Greet","description":"Greets"},"spec":{"type":"service",
	"secrets":{"schema":{"properties":{"word":{"type":"string","minLength":3}}}},
	"parameters":{"title":"Who","required":["name"],"properties":{"name":{"type":"string"}}},
	"steps":[{"id":"hello","name":"Hello","action":"debug:log","input":{"message":"Hello ${{ parameters.name }}"}}],
	"output":{"greeted":"${{ parameters.name }}"}}}`

// templates is a catalog that has a template.
var templates = backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
	router := core.HTTPRouter.From(env)
	return func(context.Context) error {
		router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
			if r.PathValue("name") != "greet" {
				return apierr.NotFound("there is no such entity")
			}
			apierr.WriteJSON(w, http.StatusOK, json.RawMessage(greetTemplate))
			return nil
		})
		return nil
	}
})

// completer adds a provider of completions.
var completer = backend.NewModule("scaffolder", "completer", func(env *backend.ModuleEnv) backend.InitFunc {
	autocomplete := scaffoldernode.Autocomplete.From(env)
	return func(context.Context) error {
		return autocomplete().AddAutocompleteProvider("test", func(_ context.Context, r scaffoldernode.AutocompleteRequest) ([]scaffoldernode.Completion, error) {
			return []scaffoldernode.Completion{{ID: r.Resource, Title: r.Token + r.Context["q"]}}, nil
		})
	}
})

// flaky is a way to other plugins that fails at first.
type flaky struct {
	core.PluginClientService
	mu       sync.Mutex
	requests []string
	failures []int // statuses of the next answers; 0 loses the answer after the plugin did it
}

func (f *flaky) Do(ctx context.Context, r core.PluginRequest) (*http.Response, error) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.Path)
	status := -1
	if len(f.failures) > 0 {
		status, f.failures = f.failures[0], f.failures[1:]
	}
	f.mu.Unlock()
	if status > 0 {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
	}
	resp, err := f.PluginClientService.Do(ctx, r)
	if status == 0 && err == nil {
		return nil, errors.Join(errors.New("the connection broke"), resp.Body.Close())
	}
	return resp, err
}

func (f *flaky) failing(statuses ...int) { f.requests, f.failures = nil, statuses }

type world struct {
	client scaffoldernode.Client
	way    *flaky
	as     core.Credentials
}

func open(t *testing.T) world {
	t.Helper()
	s := backendtest.Start(t, backendtest.SQLite(t), backendtest.Silent(), scaffolderbackend.Plugin, templates, completer,
		backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}}))
	way := &flaky{PluginClientService: backendtest.Service(t, s, "catalog", core.PluginClient)}
	return world{
		client: scaffoldernode.NewClient(way, scaffoldernode.WithSleep(func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) })),
		way:    way, as: backendtest.User("user:default/ada").Credentials(),
	}
}

func TestAClientFollowsATask(t *testing.T) {
	t.Parallel()
	w := open(t)
	ctx, c := t.Context(), w.client
	form, err := c.ParameterSchema(ctx, "greet", w.as)
	if err != nil || form.Title != "Greet" || form.Description != "Greets" || len(form.Steps) != 1 || form.Steps[0].Title != "Who" || !strings.Contains(string(form.Steps[0].Schema), `"required"`) {
		t.Errorf("the form is %+v, %v", form, err)
	}
	id, err := c.Scaffold(ctx, scaffoldernode.ScaffoldRequest{TemplateRef: "template:default/greet", Values: map[string]any{"name": "Ada"}, Secrets: map[string]string{"word": "sesame"}}, w.as)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	var last scaffoldercommon.TaskEvent
	for event, err := range c.Follow(ctx, id, -1, w.as) {
		if err != nil {
			t.Fatal(err)
		}
		ids, last = append(ids, event.ID), event
	}
	if last.Type != scaffoldercommon.EventCompletion || string(last.Body.Output) != `{"greeted":"Ada"}` || len(ids) < 5 {
		t.Errorf("%d events, the last is %+v", len(ids), last)
	}
	var rest []int64
	for event, err := range c.Follow(ctx, id, ids[2], w.as) {
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, event.ID)
	}
	if diff := cmp.Diff(ids[3:], rest); diff != "" {
		t.Errorf("after the third (-want +got):\n%s", diff)
	}
	for range c.Follow(ctx, id, last.ID, w.as) {
		t.Error("there is an event after the last one")
	}
	logs, err := c.Logs(ctx, id, -1, w.as)
	if err != nil || len(logs) != len(ids) {
		t.Errorf("%d events, %v", len(logs), err)
	}
	task, err := c.Task(ctx, id, w.as)
	if err != nil || task.Status != scaffoldercommon.TaskCompleted || task.CreatedBy != "user:default/ada" || task.Spec.Steps[0].Action != "debug:log" {
		t.Errorf("the task is %+v, %v", task, err)
	}
	if err := c.CancelTask(ctx, id, w.as); err != nil {
		t.Error(err)
	}
	if err := c.Retry(ctx, id, nil, w.as); err != nil {
		t.Error(err)
	}
	for _, err := range c.Follow(ctx, id, last.ID, w.as) {
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := c.Tasks(ctx, scaffoldernode.TasksQuery{CreatedBy: []string{"user:default/ada"}, Statuses: []scaffoldercommon.TaskStatus{scaffoldercommon.TaskCompleted}, Order: []string{"asc:created_at"}, Limit: 5}, w.as)
	if err != nil || page.TotalItems != 1 || len(page.Items) != 1 || page.Items[0].ID != id {
		t.Errorf("the page is %+v, %v", page, err)
	}
	page, err = c.Tasks(ctx, scaffoldernode.TasksQuery{Offset: 1}, w.as)
	if err != nil || page.TotalItems != 1 || len(page.Items) != 0 {
		t.Errorf("the second page is %+v, %v", page, err)
	}
}

func TestAClientReads(t *testing.T) {
	t.Parallel()
	w := open(t)
	ctx, c := t.Context(), w.client
	actions, err := c.Actions(ctx, w.as)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, a := range actions {
		found = found || a.ID == "debug:log" && a.Description != "" && len(a.Examples) > 0 && len(a.Schema.Input) > 0 && a.Schema.Output == nil
	}
	if !found {
		t.Errorf("the actions are %+v", actions)
	}
	x, err := c.TemplatingExtensions(ctx, w.as)
	if err != nil || x.Filters["parseRepoUrl"] == nil {
		t.Errorf("the extensions are %+v, %v", x, err)
	}
	completions, err := c.Autocomplete(ctx, "test", scaffoldernode.AutocompleteRequest{Resource: "r/s", Token: "T", Context: map[string]string{"q": "Q"}}, w.as)
	if diff := cmp.Diff([]scaffoldernode.Completion{{ID: "r/s", Title: "TQ"}}, completions); err != nil || diff != "" {
		t.Errorf("the completions (-want +got): %v\n%s", err, diff)
	}
	result, err := c.DryRun(ctx, scaffoldernode.DryRunRequest{
		Template: json.RawMessage(`{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"dry"},"spec":{"type":"service","steps":[{"id":"copy","name":"Copy","action":"fetch:plain","input":{"url":"./files"}}],"output":{"a":1}}}`),
		Files:    []scaffoldernode.DryRunFile{{Path: "files/x.txt", Content: []byte("x")}},
	}, w.as)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]scaffoldernode.DryRunFile{{Path: "x.txt", Content: []byte("x")}}, result.Files); diff != "" || string(result.Output) != `{"a":1}` || len(result.Steps) != 1 || len(result.Log) == 0 {
		t.Errorf("the dry run gives %+v (files -want +got):\n%s", result, diff)
	}
}

func TestWhatAClientIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	ctx, c := t.Context(), w.client
	_, err := c.Scaffold(ctx, scaffoldernode.ScaffoldRequest{TemplateRef: "greet"}, w.as)
	invalid := new(scaffoldernode.InvalidValuesError)
	if !errors.As(err, &invalid) || apierr.KindOf(err) != apierr.KindInput || len(invalid.Problems) != 1 || invalid.Problems[0].Stack != `instance requires property "name"` || invalid.Problems[0].Name != "required" {
		t.Errorf("missing values: %v, %+v", err, invalid.Problems)
	}
	_, err = c.Scaffold(ctx, scaffoldernode.ScaffoldRequest{TemplateRef: "greet", Values: map[string]any{"name": "x"}, Secrets: map[string]string{"word": "x"}}, w.as)
	if !errors.As(err, &invalid) || invalid.Problems[0].Property != "secrets.word" || strings.Contains(err.Error(), `"x"`) {
		t.Errorf("a secret that is too short: %v", err)
	}
	for name, c := range map[string]struct {
		want apierr.Kind
		call func() error
	}{
		"no such template":  {apierr.KindNotFound, func() error { _, err := c.ParameterSchema(ctx, "none", w.as); return err }},
		"no reference":      {apierr.KindInput, func() error { _, err := c.ParameterSchema(ctx, ":", w.as); return err }},
		"no such task":      {apierr.KindNotFound, func() error { _, err := c.Task(ctx, "none", w.as); return err }},
		"no task to cancel": {apierr.KindNotFound, func() error { return c.CancelTask(ctx, "none", w.as) }},
		"no task to retry":  {apierr.KindNotFound, func() error { return c.Retry(ctx, "none", nil, w.as) }},
		"no such provider": {apierr.KindInput, func() error {
			_, err := c.Autocomplete(ctx, "none", scaffoldernode.AutocompleteRequest{Token: "t", Resource: "r"}, w.as)
			return err
		}},
		"no template at all": {apierr.KindInput, func() error {
			_, err := c.DryRun(ctx, scaffoldernode.DryRunRequest{Template: json.RawMessage(`{}`)}, w.as)
			return err
		}},
	} {
		if err := c.call(); apierr.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, err := range c.Follow(ctx, "none", -1, w.as) {
		if apierr.KindOf(err) != apierr.KindNotFound {
			t.Errorf("following no task: %v", err)
		}
	}
}

func TestAClientTriesAgainWhereThatIsHarmless(t *testing.T) {
	t.Parallel()
	w := open(t)
	ctx, c := t.Context(), w.client
	w.way.failing(http.StatusServiceUnavailable, 0, http.StatusBadGateway)
	if page, err := c.Tasks(ctx, scaffoldernode.TasksQuery{}, w.as); err != nil || page.TotalItems != 0 || len(w.way.requests) != 4 {
		t.Errorf("%+v, %v after %v", page, err, w.way.requests)
	}
	w.way.failing(http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable)
	if _, err := c.Actions(ctx, w.as); apierr.KindOf(err) != apierr.KindServiceUnavailable || len(w.way.requests) != 4 {
		t.Errorf("%v after %v", err, w.way.requests)
	}
	w.way.failing(0)
	if _, err := c.Scaffold(ctx, scaffoldernode.ScaffoldRequest{TemplateRef: "greet", Values: map[string]any{"name": "x"}}, w.as); err == nil || len(w.way.requests) != 1 {
		t.Errorf("a task whose answer was lost: %v after %v", err, w.way.requests)
	}
	if page, err := c.Tasks(ctx, scaffoldernode.TasksQuery{}, w.as); err != nil || page.TotalItems != 1 {
		t.Errorf("there are %d tasks, %v", page.TotalItems, err)
	}
}
