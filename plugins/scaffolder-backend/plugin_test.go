package scaffolderbackend_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const greet = `"parameters":[{"title":"Who","required":["name"],"properties":{"name":{"type":"string","maxLength":5}}},{"properties":{}}],
	"steps":[
		{"id":"hello","name":"Hello","action":"debug:log","input":{"message":"Hello ${{ parameters.name }} ${{ secrets.word }}"}},
		{"id":"no","action":"debug:log","if":"${{ parameters.missing }}"},
		{"action":"debug:log","each":["a","b"],"input":{"message":"${{ each.key }}${{ each.value }}"}},
		{"id":"write","name":"Write","action":"catalog:write","input":{"entity":{"metadata":{"name":"x"}}}},
		{"id":"list","name":"List","action":"fs:readdir","input":{"paths":["."]}}
	],
	"output":{"file":"${{ steps.list.output.files[0].path }}","links":[{"title":"kept","url":"u"},{"title":"left out","if":"${{ parameters.missing }}","url":"u"}]}`

func TestATaskRunsToTheEnd(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		s := open(t, database, greet)
		c := s.Client(t)
		path := create(c, map[string]any{"name": "Ada"}, map[string]any{"word": "open sesame"})
		all := follow(t, c, path)
		want := `Starting up task with 5 steps
Beginning step Hello (processing)
info: {
  "message": "***"
}
info: ***
Finished step Hello (completed)
Beginning step debug:log (processing)
Skipping step no because its if condition was false (skipped)
Beginning step debug:log (processing)
info: Running step each: {"key":"0","value":"a"}
info: {
  "message": "0a"
}
info: 0a
info: Running step each: {"key":"1","value":"b"}
info: {
  "message": "1b"
}
info: 1b
Finished step debug:log (completed)
Beginning step Write (processing)
info: Writing catalog-info.yaml
Finished step Write (completed)
Beginning step List (processing)
Finished step List (completed)
Run completed with status: completed: {"file":"catalog-info.yaml","links":[{"title":"kept","url":"u"}]}
`
		if diff := cmp.Diff(want, transcript(all)); diff != "" {
			t.Errorf("the events (-want +got):\n%s", diff)
		}
		if all[7].Body.StepID != "step-3" {
			t.Errorf("the step without an id is %q", all[7].Body.StepID)
		}
		var task struct {
			Status, CreatedBy string
			Spec              struct {
				TemplateInfo struct{ EntityRef, BaseURL string }
			}
		}
		c.Get(path).Expect(http.StatusOK).JSON(&task)
		if task.Status != "completed" || task.CreatedBy != "user:default/mock" || task.Spec.TemplateInfo.EntityRef != "template:default/t" || task.Spec.TemplateInfo.BaseURL != "https://github.com/acme/t/blob/main/template.yaml" {
			t.Errorf("the task is %+v", task)
		}
		if left := column(t, s, "secrets"); left != "" {
			t.Errorf("its secrets are still there: %s", left)
		}
		stream := c.Get(path + "/eventstream?after=" + text(all[len(all)-3].ID)).Expect(http.StatusOK)
		frames := strings.Split(strings.TrimSuffix(string(stream.Body), "\n\n"), "\n\n")
		if len(frames) != 2 || !strings.HasPrefix(frames[0], "event: log\ndata: {\"id\":") || !strings.HasPrefix(frames[1], "event: completion\ndata: {") {
			t.Errorf("the stream is %q", stream.Body)
		}
		c.Post(path+"/cancel", nil).Expect(http.StatusOK)
		if again := follow(t, c, path); len(again) != len(all) {
			t.Error("cancelling an ended task did something")
		}
	})
}

// column returns a column of the only task.
func column(t *testing.T, s *backendtest.Server, name string) string {
	t.Helper()
	db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var value sql.NullString
	if err := db.QueryRowContext(t.Context(), "SELECT "+name+" FROM scaffolder_task").Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value.String
}

// untilBegun waits until the events say that a step began.
func untilBegun(t *testing.T, c backendtest.Client, path string) {
	t.Helper()
	var all []event
	for after := int64(-1); ; after = all[len(all)-1].ID {
		c.Get(path + "/events?after=" + text(after)).Expect(http.StatusOK).JSON(&all)
		if len(all) == 0 {
			t.Fatal("no step begins")
		}
		if strings.Contains(transcript(all), "Beginning step") {
			return
		}
	}
}

// waiting is an action that runs until the task is cancelled.
func waiting(begun chan<- struct{}) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:wait"}, func(ctx context.Context, _ *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return struct{}{}, context.Cause(ctx)
	})
}

func TestACancelledTaskEnds(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		begun := make(chan struct{}, 2)
		s := open(t, database, `"steps":[{"id":"w","name":"W","action":"test:wait"},{"id":"after","name":"After","action":"debug:log"}]`, withActions(waiting(begun)))
		c := s.Client(t)
		path := create(c, map[string]any{}, map[string]any{"word": "open sesame"})
		<-begun
		untilBegun(t, c, path)
		if sealed := column(t, s, "secrets"); !strings.HasPrefix(sealed, "v1.") || strings.Contains(sealed, "sesame") {
			t.Errorf("the secrets are stored as %q", sealed)
		}
		c.Post(path+"/cancel", nil).Expect(http.StatusOK)
		want := `Starting up task with 2 steps
Beginning step W (processing)
Step w has been cancelled. (cancelled)
Error: Step w (W) of task ID has been cancelled. (failed)
Skipping step after because a previous step failed (skipped)
Run completed with status: failed: Error: Step w (W) of task ID has been cancelled.
`
		id := strings.TrimPrefix(path, tasksPath+"/")
		if diff := cmp.Diff(want, strings.ReplaceAll(transcript(follow(t, c, path)), id, "ID")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
		<-begun
		c.Post(path+"/retry", map[string]any{}).ExpectError(http.StatusConflict, "ConflictError")
		c.Post(path+"/cancel", nil).Expect(http.StatusOK)
		follow(t, c, path)
	})
}

func TestFailureRunsWhatAsksForIt(t *testing.T) {
	t.Parallel()
	s := open(t, backendtest.SQLite(t), `"steps":[
		{"id":"a","name":"A","action":"fs:delete","input":{"files":["../x"]}},
		{"id":"b","name":"B","action":"debug:log"},
		{"id":"c","name":"C","action":"debug:wait","if":"${{ failure() }}","input":{"milliseconds":1,"extra":2}},
		{"id":"d","name":"D","action":"no:such","if":"${{ always() }}"}]`)
	c := s.Client(t)
	want := `Starting up task with 4 steps
Beginning step A (processing)
NotAllowedError: Relative path is not allowed to refer to a directory outside its parent (failed)
Skipping step b because a previous step failed (skipped)
Beginning step C (processing)
InputError: Invalid input passed to action debug:wait, instance is not allowed to have the additional property "extra" (failed)
Additional error occurred: Invalid input passed to action debug:wait, instance is not allowed to have the additional property "extra" (failed)
Beginning step D (processing)
NotFoundError: Template action with ID 'no:such' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module. (failed)
Additional error occurred: Template action with ID 'no:such' is not registered. See https://backstage.io/docs/features/software-templates/builtin-actions/ on how to add a new action module. (failed)
Run completed with status: failed: NotAllowedError: Relative path is not allowed to refer to a directory outside its parent
`
	if diff := cmp.Diff(want, transcript(follow(t, c, create(c, map[string]any{}, nil)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), greet).Client(t)
	for body, want := range map[string]string{
		`{"values":{}}`: `request/body must have required property 'templateRef'`,
		`[]`:            `request/body must be object`,
		`{"templateRef":"t","values":{},"secrets":{"a":1}}`: `request/body/secrets/a must be string`,
		`{"templateRef":"component:t","values":{}}`:         `Invalid kind, only 'Template' kind is supported`,
		`{"templateRef":"","values":{}}`:                    `Entity reference must not be empty`,
	} {
		r := c.Header("Content-Type", "application/json").Post(tasksPath, strings.NewReader(body)).ExpectError(http.StatusBadRequest, "InputError")
		if !strings.Contains(r.Text(), strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %s", body, r.Text())
		}
	}
	r := c.Post(tasksPath, map[string]any{"templateRef": "t", "values": map[string]any{"name": "too long"}}).Expect(http.StatusBadRequest)
	want := `{"errors":[{"path":["name"],"property":"instance.name","message":"does not meet maximum length of 5","schema":{"type":"string","maxLength":5},"instance":"too long","name":"maxLength","argument":5,"stack":"instance.name does not meet maximum length of 5"}]}`
	if diff := cmp.Diff(want, r.Text()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.Get(tasksPath+"?limit=-1").ExpectError(http.StatusBadRequest, "InputError")
	c.Get(tasksPath+"?order=asc:spec").ExpectError(http.StatusBadRequest, "InputError")
	c.Get(tasksPath+"/nothing").ExpectError(http.StatusNotFound, "NotFoundError")
	c.As(backendtest.Nobody()).Get(tasksPath).ExpectError(http.StatusUnauthorized, "AuthenticationError")
	schema := c.Get("/api/scaffolder/v2/templates/default/template/t/parameter-schema").Expect(http.StatusOK).Text()
	want = `{"title":"t","steps":[{"title":"Who","schema":{"title":"Who","required":["name"],"properties":{"name":{"type":"string","maxLength":5}}}},{"title":"Please enter the following information","schema":{"properties":{}}}]}`
	if diff := cmp.Diff(want, schema); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		owner := `{"createdBy":["user:default/mock"]}`
		s := open(t, database, `"steps":[]`, backendtest.Permissions(func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
			if who.Principal.UserEntityRef == "user:default/limited" && r.Permission.ResourceType == "scaffolder-task" {
				return core.Decision{Result: core.Conditional, PluginID: "scaffolder", ResourceType: "scaffolder-task", Conditions: &core.PermissionCriteria{
					Not: &core.PermissionCriteria{AllOf: []core.PermissionCriteria{{Rule: "IS_TASK_OWNER", ResourceType: "scaffolder-task", Params: []byte(owner)}}},
				}}
			}
			return core.Decision{Result: core.Allowed}
		}))
		c := s.Client(t)
		first := create(c, map[string]any{}, nil)
		follow(t, c, first)
		second := create(c.As(backendtest.Caller("ci")), map[string]any{}, nil)
		follow(t, c, second)
		limited := c.As(backendtest.User("user:default/limited"))
		for query, want := range map[string][]string{
			"?order=asc:created_at":                                                  {first, second},
			"?order=asc:created_at&limit=1&offset=1":                                 {second},
			"?createdBy=user:default/mock":                                           {first},
			"?createdBy=user:default/mock&createdBy=x&status=x":                      {},
			"?status=completed&status=failed&order=desc:status&order=asc:created_at": {first, second},
		} {
			if got := paths(c, query); !cmp.Equal(want, got) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
		if got := paths(limited, ""); !cmp.Equal([]string{second}, got) {
			t.Errorf("the limited user sees %v", got)
		}
		limited.Get(first).ExpectError(http.StatusForbidden, "NotAllowedError")
		limited.Get(second).Expect(http.StatusOK)
	})
}

func paths(c backendtest.Client, query string) []string {
	var page struct{ Tasks []struct{ ID string } }
	c.Get(tasksPath + query).Expect(http.StatusOK).JSON(&page)
	out := []string{}
	for _, task := range page.Tasks {
		out = append(out, tasksPath+"/"+task.ID)
	}
	return out
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"steps":[]`).Client(t)
	in := map[string]any{
		"template": map[string]any{
			"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": map[string]any{"name": "dry"},
			"spec": map[string]any{"type": "service", "steps": []any{
				map[string]any{"id": "tpl", "name": "Render", "action": "fetch:template", "input": map[string]any{
					"url": "./skeleton", "targetPath": "app", "values": map[string]any{"name": "${{ parameters.name }}", "off": false},
					"copyWithoutTemplating": []string{"raw"},
				}},
				map[string]any{"id": "wait", "action": "debug:wait"},
			}},
		},
		"values": map[string]any{"name": "shop"},
		"directoryContents": []any{
			file("skeleton/${{ values.name }}.md", "# ${{ values.name }}\n"),
			file("skeleton/{% if values.off %}off{% endif %}/x", "x"),
			file("skeleton/raw/${{ values.name }}", "${{ values.name }}"),
			file("outside", "x"),
		},
	}
	var out struct {
		DirectoryContents []struct{ Path, Base64Content string }
	}
	c.Post("/api/scaffolder/v2/dry-run", in).Expect(http.StatusOK).JSON(&out)
	got := map[string]string{}
	for _, f := range out.DirectoryContents {
		content, err := base64.StdEncoding.DecodeString(f.Base64Content)
		if err != nil {
			t.Fatal(err)
		}
		got[f.Path] = string(content)
	}
	if diff := cmp.Diff(map[string]string{"app/shop.md": "# shop\n", "app/raw/shop": "${{ values.name }}"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	in["directoryContents"] = []any{file("../evil", "x")}
	c.Post("/api/scaffolder/v2/dry-run", in).ExpectError(http.StatusForbidden, "NotAllowedError")
	in["template"] = map[string]any{"kind": "Component"}
	c.Post("/api/scaffolder/v2/dry-run", in).ExpectError(http.StatusBadRequest, "InputError")
}

func file(path, content string) map[string]any {
	return map[string]any{"path": path, "base64Content": base64.StdEncoding.EncodeToString([]byte(content))}
}
