package scaffolderbackend_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// sources lets the plugins publish their actions.
func sources(ids ...string) backend.Feature {
	return backendtest.Config(map[string]any{"backend": map[string]any{"actions": map[string]any{"pluginSources": ids}}})
}

// invoke runs a published action of the scaffolder.
func invoke(c backendtest.Client, name string, in any) *backendtest.Response {
	return c.Post("/api/scaffolder/.backstage/actions/v1/actions/scaffolder:"+name+"/invoke", in)
}

func TestAgentsRunTemplates(t *testing.T) {
	t.Parallel()
	s := open(t, backendtest.SQLite(t), greet, sources("scaffolder"))
	c := s.Client(t)
	var started struct{ Output struct{ TaskID string } }
	invoke(c, "execute-template", map[string]any{"templateRef": "template:default/t", "values": map[string]any{"name": "Ada"}, "secrets": map[string]string{"word": "sesame"}}).Expect(http.StatusOK).JSON(&started)
	path := tasksPath + "/" + started.Output.TaskID
	all := follow(t, c, path)

	var logs struct {
		Output struct {
			Events []struct {
				ID     int64
				TaskID string
				Type   string
				Body   struct{ Message, StepID, Status string }
			}
		}
	}
	invoke(c, "get-scaffolder-task-logs", map[string]any{"taskId": started.Output.TaskID, "after": all[2].ID}).Expect(http.StatusOK).JSON(&logs)
	if events := logs.Output.Events; len(events) != len(all)-3 || events[len(events)-1].Type != "completion" || events[0].TaskID != started.Output.TaskID {
		t.Errorf("the log is %+v", logs.Output)
	}
	invoke(c, "get-scaffolder-task-logs", map[string]any{"taskId": "none"}).ExpectError(http.StatusNotFound, "NotFoundError")

	type listed struct {
		Output struct {
			Tasks      []struct{ ID, Status string }
			TotalTasks int
		}
	}
	for in, want := range map[string]int{
		`{}`: 1, `{"owned":true}`: 1, `{"status":"completed","limit":1}`: 1, `{"status":["failed","open"]}`: 0, `{"offset":1}`: 1,
	} {
		var page listed
		invoke(c, "list-scaffolder-tasks", json.RawMessage(in)).Expect(http.StatusOK).JSON(&page)
		if page.Output.TotalTasks != want || in == `{}` && page.Output.Tasks[0].ID != started.Output.TaskID {
			t.Errorf("%s: %+v", in, page.Output)
		}
	}
	var other listed
	invoke(c.As(backendtest.User("user:default/other")), "list-scaffolder-tasks", map[string]any{"owned": true}).Expect(http.StatusOK).JSON(&other)
	if other.Output.TotalTasks != 0 || other.Output.Tasks == nil {
		t.Errorf("another user owns %+v", other.Output)
	}
	invoke(c.As(backendtest.Caller("ci")), "list-scaffolder-tasks", map[string]any{"owned": true}).ExpectError(http.StatusForbidden, "NotAllowedError")
	invoke(c, "list-scaffolder-tasks", map[string]any{"status": "no such"}).ExpectError(http.StatusBadRequest, "InputError")

	var actions struct {
		Output struct {
			Actions []struct {
				ID     string
				Schema struct{ Input, Output json.RawMessage }
			}
		}
	}
	invoke(c, "list-scaffolder-actions", map[string]any{}).Expect(http.StatusOK).JSON(&actions)
	ids := map[string]bool{}
	for _, a := range actions.Output.Actions {
		ids[a.ID] = len(a.Schema.Input) > 0 && len(a.Schema.Output) > 0
	}
	if !ids["debug:log"] || !ids["scaffolder:execute-template"] {
		t.Errorf("the actions are %+v", actions.Output)
	}
}

func TestAgentsTryTemplates(t *testing.T) {
	t.Parallel()
	decide := func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
		if who.Principal.UserEntityRef == "user:default/limited" && r.Permission.Name == "scaffolder.template.dry-run" {
			return core.Decision{Result: core.Denied}
		}
		return core.Decision{Result: core.Allowed}
	}
	c := open(t, backendtest.SQLite(t), greet, backendtest.Permissions(decide)).Client(t)
	const template = `
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata: {name: try}
spec:
  type: service
  parameters: {required: [name], properties: {name: {type: string}}}
  steps:
    - {id: copy, name: Copy, action: fetch:plain, input: {url: ./files}}
    - {id: list, name: List, action: fs:readdir, input: {paths: [.]}}
  output: {file: '${{ steps.list.output.files[0].path }}'}
`
	type verdict struct {
		Output struct {
			Valid  bool
			Errors []string
			Log    []struct{ Message, StepID, Status string }
			Output struct{ File string }
			Steps  []struct{ ID, Name, Action string }
		}
	}
	try := func(in map[string]any) (v verdict) {
		t.Helper()
		invoke(c, "dry-run-template", in).Expect(http.StatusOK).JSON(&v)
		return v
	}
	files := []any{map[string]any{"path": "files/x.txt", "content": "x"}}
	if v := try(map[string]any{"templateYaml": template, "values": map[string]any{"name": "x"}, "files": files}).Output; !v.Valid || v.Output.File != "x.txt" || len(v.Steps) != 2 || len(v.Log) < 4 {
		t.Errorf("a good template: %+v", v)
	}
	if v := try(map[string]any{"templateYaml": template}).Output; v.Valid || !cmp.Equal([]string{`instance requires property "name"`}, v.Errors) {
		t.Errorf("no values: %+v", v)
	}
	for _, text := range []string{"a: [", "a: 1\n---\nb: 2", "", "[]"} {
		if v := try(map[string]any{"templateYaml": text}).Output; v.Valid || len(v.Errors) == 0 {
			t.Errorf("%q: %+v", text, v)
		}
	}
	invoke(c, "dry-run-template", map[string]any{"templateYaml": "kind: Component"}).ExpectError(http.StatusBadRequest, "InputError")
	// Who may not try templates does not see that others may.
	limited := c.As(backendtest.User("user:default/limited"))
	invoke(limited, "dry-run-template", map[string]any{"templateYaml": template}).ExpectError(http.StatusNotFound, "NotFoundError")
	if list := limited.Get("/api/scaffolder/.backstage/actions/v1/actions").Expect(http.StatusOK).Text(); strings.Contains(list, "dry-run-template") || !strings.Contains(list, "execute-template") {
		t.Errorf("the limited user sees %s", list)
	}
}

// things is a plugin that publishes actions, and counts how often it was asked
// for the list.
func things(listed *atomic.Int64, done *[]string) backend.Feature {
	return backend.NewPlugin("things", func(env *backend.PluginEnv) backend.InitFunc {
		registry, router := core.ActionsRegistry.From(env), core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().Use(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/actions") {
						listed.Add(1)
					}
					next.ServeHTTP(w, r)
				})
			})
			run := func(_ context.Context, call core.ActionCall) (any, error) {
				*done = append(*done, call.As.Principal.UserEntityRef+" "+string(call.Input))
				return json.RawMessage(`{"z":1,"a":{"name":"made"}}`), nil
			}
			input := json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}`)
			for _, a := range []core.Action{
				{Name: "make", Title: "Make", Description: "Makes a thing.", Input: input, Output: json.RawMessage(`{"type":"object","properties":{"z":{"type":"number"},"a":{"type":"object"}}}`), Run: run},
				{Name: "read", Title: "Read", Description: "Reads a thing.", Input: input, Run: run, Attributes: core.ActionAttributes{ReadOnly: true, Idempotent: true}},
				{Name: "refuse", Title: "Refuse", Description: "Refuses.", Run: func(context.Context, core.ActionCall) (any, error) {
					return nil, apierr.Conflict("there is a thing already")
				}},
				{Name: "own", Title: "Own", Description: "Has the id of one of the scaffolder.", Run: run},
			} {
				if err := registry().Register(a); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func TestStepsUseTheActionsOfOtherPlugins(t *testing.T) {
	t.Parallel()
	var listed atomic.Int64
	var done []string
	own := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "things:own"}, func(context.Context, *scaffoldernode.ActionContext, struct{}) (struct{ Whose string }, error) {
		return struct{ Whose string }{"the scaffolder's"}, nil
	})
	s := open(t, backendtest.SQLite(t), `"steps":[
			{"id":"make","name":"Make","action":"things:make","each":["one","two"],"input":{"name":"${{ each.value }}"}},
			{"id":"read","name":"Read","action":"things:make","input":{"name":"three"}},
			{"id":"own","name":"Own","action":"things:own"},
			{"id":"bad","name":"Bad","action":"things:make","input":{"nam":"x"}},
			{"id":"refused","name":"Refused","action":"things:refuse","if":"${{ always() }}"},
			{"id":"none","name":"None","action":"things:none","if":"${{ always() }}"},
			{"id":"hidden","name":"Hidden","action":"elsewhere:make","if":"${{ always() }}"},
			{"id":"say","name":"Say","action":"debug:log","if":"${{ always() }}","input":{"message":"${{ steps.make.output.a[1].name }} ${{ steps.read.output | dump | safe }} ${{ steps.own.output.Whose }}"}}]`,
		things(&listed, &done), withActions(own), sources("things"))
	c := s.Client(t)
	got := transcript(follow(t, c, create(c, map[string]any{}, nil)))
	for _, want := range []string{
		`made {"z":1,"a":{"name":"made"}} the scaffolder's`,
		`InputError: Invalid input passed to action things:make, instance requires property "name", instance is not allowed to have the additional property "nam" (failed)`,
		"ConflictError: invoking action things:refuse: ", ": there is a thing already (failed)",
		"NotFoundError: Template action with ID 'things:none' is not registered.",
		"NotFoundError: Template action with ID 'elsewhere:make' is not registered.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if diff := cmp.Diff([]string{`user:default/mock {"name":"one"}`, `user:default/mock {"name":"two"}`, `user:default/mock {"name":"three"}`}, done); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
	// For make, refuse and none; nobody is asked for what is elsewhere.
	if n := listed.Load(); n != 3 {
		t.Errorf("the plugin was asked %d times for its actions", n)
	}
	var all []struct {
		ID, Description string
		Examples        []any
		Schema          struct{ Input json.RawMessage }
	}
	c.Get("/api/scaffolder/v2/actions").Expect(http.StatusOK).JSON(&all)
	var ids []string
	for _, a := range all {
		if strings.HasPrefix(a.ID, "things:") {
			ids = append(ids, a.ID+" "+a.Description)
		}
	}
	if diff := cmp.Diff([]string{"things:make Makes a thing.", "things:own ", "things:read Reads a thing.", "things:refuse Refuses."}, ids); diff != "" {
		t.Errorf("the actions (-want +got):\n%s", diff)
	}
}

func TestPublishedActionsInADryRun(t *testing.T) {
	t.Parallel()
	var listed atomic.Int64
	var done []string
	c := open(t, backendtest.SQLite(t), `"steps":[]`, things(&listed, &done), sources("things"),
		backendtest.Permissions(func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
			if who.Principal.UserEntityRef == "user:default/limited" && r.Permission.Name == "scaffolder.action.execute" {
				return core.Decision{Result: core.Conditional, PluginID: "scaffolder", ResourceType: "scaffolder-action", Conditions: &core.PermissionCriteria{
					Not: &core.PermissionCriteria{Rule: "HAS_ACTION_ID", ResourceType: "scaffolder-action", Params: json.RawMessage(`{"actionId":"things:read"}`)},
				}}
			}
			return core.Decision{Result: core.Allowed}
		})).Client(t)
	in := map[string]any{
		"template": json.RawMessage(strings.ReplaceAll(tmpl(`"steps":[{"id":"make","action":"things:make","input":{"name":"m"}},{"id":"read","action":"things:read","input":{"name":"r"}}],"output":{"made":"${{ steps.make.output }}","read":"${{ steps.read.output.a.name }}"}`), "\n", "")),
		"values":   map[string]any{}, "directoryContents": []any{},
	}
	var out struct{ Output json.RawMessage }
	c.Post("/api/scaffolder/v2/dry-run", in).Expect(http.StatusOK).JSON(&out)
	if string(out.Output) != `{"made":{"z":0,"a":{}},"read":"made"}` || !cmp.Equal([]string{`user:default/mock {"name":"r"}`}, done) {
		t.Errorf("output %s; done: %v", out.Output, done)
	}
	r := c.As(backendtest.User("user:default/limited")).Post("/api/scaffolder/v2/dry-run", in).ExpectError(http.StatusForbidden, "NotAllowedError")
	if !strings.Contains(r.Text(), "Unauthorized action: things:read. The action is not allowed.") || len(done) != 1 {
		t.Errorf("%s; done: %v", r.Text(), done)
	}
}
