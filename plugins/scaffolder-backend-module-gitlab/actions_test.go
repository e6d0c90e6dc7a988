package scaffoldermodulegitlab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/internal/fakegitlab"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func dry(c *scaffoldernode.ActionContext) { c.DryRun = true }

func TestEnsureGroup(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	input := map[string]any{"repoUrl": "HOST", "path": []any{"acme/shops", map[string]any{"name": "The One", "slug": "one"}}, "description": "Of the shop"}
	first := w.succeeds("gitlab:group:ensureExists", input)
	if again := w.succeeds("gitlab:group:ensureExists", input); !cmp.Equal(first, again) {
		t.Errorf("first %v, then %v", first, again)
	}
	w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
		var all []string
		for _, g := range groups {
			all = append(all, g.FullPath+"|"+g.Name+"|"+g.Description)
		}
		if diff := cmp.Diff([]string{"acme|acme|", "acme/shops|shops|", "acme/shops/one|The One|Of the shop"}, all); diff != "" {
			t.Error(diff)
		}
	})
	calls := w.Wire.Requests()
	if out := w.succeeds("gitlab:group:ensureExists", input, actiontest.WithContext(dry)); out["groupId"] != 42.0 || w.Wire.Requests() != calls {
		t.Errorf("a dry run gives %v", out)
	}
	w.fails("Failed to save group", "gitlab:group:ensureExists", map[string]any{"repoUrl": "HOST", "path": []any{"no way!"}})
	w.fails("path", "gitlab:group:ensureExists", map[string]any{"repoUrl": "HOST", "path": []any{map[string]any{"name": "x"}}})
}

func TestGroupAccess(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	w.AddGroup("others")
	const id = "gitlab:group:access"
	if diff := cmp.Diff(map[string]any{"path": "acme", "userIds": []any{2.0}, "groupIds": []any{102.0}, "accessLevel": 30.0},
		w.succeeds(id, map[string]any{"repoUrl": "HOST", "path": "acme", "userIds": []int{2}, "groupIds": []int{102}})); diff != "" {
		t.Error(diff)
	}
	// another level takes the place of the first
	w.succeeds(id, map[string]any{"repoUrl": "HOST", "path": 101, "userIds": []int{2}, "groupIds": []int{102}, "accessLevel": "Owner"})
	group := func() string {
		text := ""
		w.Look(func(_ []*fakegitlab.Project, groups []*fakegitlab.Group, _ []*fakegitlab.Migration) {
			text = fmt.Sprint(groups[0].Members, groups[0].Shared)
		})
		return text
	}
	if got := group(); got != "map[2:50] [{102 50}]" {
		t.Errorf("the access is %s", got)
	}
	for range 2 { // who has none can lose it, too
		if diff := cmp.Diff(map[string]any{"path": "acme", "userIds": []any{2.0}, "groupIds": []any{102.0}},
			w.succeeds(id, map[string]any{"repoUrl": "HOST", "path": "acme", "userIds": []int{2}, "groupIds": []int{102}, "action": "remove"})); diff != "" {
			t.Error(diff)
		}
	}
	if got := group(); got != "map[] []" {
		t.Errorf("the access is %s", got)
	}
	w.fails("404 Group Not Found", id, map[string]any{"repoUrl": "HOST", "path": "nobody", "userIds": []int{2}, "action": "remove"})
	w.fails("At least one of userIds or groupIds must be provided and non-empty", id, map[string]any{"repoUrl": "HOST", "path": "acme"})
	w.fails(`Invalid access level: "boss". Valid values are: no_access, minimal_access, guest, planner, reporter, developer, maintainer, owner or a numeric GitLab access level`,
		id, map[string]any{"repoUrl": "HOST", "path": "acme", "userIds": []int{2}, "accessLevel": "boss"})
	calls := w.Wire.Requests()
	if diff := cmp.Diff(map[string]any{"path": 7.0, "userIds": []any{2.0}, "accessLevel": 10.0},
		w.succeeds(id, map[string]any{"repoUrl": "HOST", "path": 7, "userIds": []int{2}, "accessLevel": "guest"}, actiontest.WithContext(dry))); diff != "" || w.Wire.Requests() != calls {
		t.Error("a dry run", diff)
	}
}

func TestIssues(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	out := w.succeeds("gitlab:issues:create", with(nil, map[string]any{
		"title": "Review", "description": "Look", "assignees": []int{2}, "confidential": true, "createdAt": "2030-01-31T12:00:00Z", "dueDate": "2030-02-01T00:00:00.000Z",
		"labels": "a,b", "issueType": "task", "milestoneId": 4, "weight": 3, "discussionToResolve": "d", "mergeRequestToResolveDiscussionsOf": 5,
	}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		i := p.Issues[0]
		if diff := cmp.Diff(map[string]any{"issueUrl": i.WebURL, "issueId": float64(i.ID), "issueIid": 1.0}, out); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]any{
			"title": "Review", "description": "Look", "assignee_ids": []any{2.0}, "confidential": true, "created_at": "2030-01-31T12:00:00.000Z", "due_date": "2030-02-01T00:00:00.000Z",
			"labels": "a,b", "issue_type": "task", "milestone_id": 4.0, "weight": 3.0, "discussion_to_resolve": "d", "merge_request_to_resolve_discussions_of": 5.0,
		}, i.Parameters); diff != "" {
			t.Error(diff)
		}
	})
	// a number in a text, and a path, name a project, too
	for _, project := range []any{idText(w.Project("acme/shop").ID), "acme/shop"} {
		w.succeeds("gitlab:issues:create", map[string]any{"repoUrl": "HOST?owner=x&repo=y", "title": "Again", "projectId": project})
	}
	w.succeeds("gitlab:issues:create", map[string]any{"repoUrl": "HOST?project=acme%2Fshop", "title": "Again"})
	w.fails("Failed to create GitLab issue: POST /projects/acme%2Fshop/issues: GitLab answered 400 Bad Request: title can't be blank", "gitlab:issues:create", with(nil, map[string]any{"title": " "}))
	w.fails("Failed to create GitLab issue: Error converting input date", "gitlab:issues:create", with(nil, map[string]any{"title": "x", "dueDate": "2030-13-41T00:00:00Z"}))
	w.fails("404 Project Not Found", "gitlab:issues:create", with(nil, map[string]any{"title": "x", "projectId": 1}))

	edited := w.succeeds("gitlab:issue:edit", with(nil, map[string]any{"projectId": "acme/shop", "issueIid": 1, "title": "Reviewed", "stateEvent": "close", "addLabels": "c", "weight": 0}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		i := p.Issues[0]
		if diff := cmp.Diff(map[string]any{
			"issueUrl": i.WebURL, "issueId": float64(i.ID), "issueIid": 1.0, "projectId": float64(p.ID), "state": "closed", "title": "Reviewed", "updatedAt": i.UpdatedAt,
		}, edited); diff != "" {
			t.Error(diff)
		}
		// what is not in the input stays as it is
		if diff := cmp.Diff(map[string]any{"title": "Reviewed", "state_event": "close", "add_labels": "c", "weight": 0.0}, i.Parameters); diff != "" {
			t.Error(diff)
		}
	})
	w.fails("Failed to edit/modify GitLab issue: PUT /projects/acme%2Fshop/issues/99: GitLab answered 404 Not Found: 404 Issue Not Found",
		"gitlab:issue:edit", with(nil, map[string]any{"projectId": "acme/shop", "issueIid": 99, "title": "x"}))
}

func TestEpicsOfIssues(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	inner, other := w.AddGroup("acme/inner"), w.AddGroup("acme/in")
	w.AddProject("acme/inner/shop")
	fits, strange := w.AddEpic(inner), w.AddEpic(other)
	input := func(epic int64) map[string]any {
		return map[string]any{"repoUrl": "HOST?owner=acme/inner&repo=shop", "title": fmt.Sprint("Issue ", epic), "epicId": epic}
	}
	w.succeeds("gitlab:issues:create", input(fits.ID))
	run := w.run("gitlab:issues:create", input(strange.ID))
	if run.Err != nil || !strings.Contains(run.Log, "Chosen epic is not within the Project Scope. The issue will be created without an associated epic.") {
		t.Errorf("%v: %s", run.Err, run.Log)
	}
	w.project("acme/inner/shop", func(p *fakegitlab.Project) {
		if p.Issues[0].Parameters["epic_id"] != float64(fits.ID) || p.Issues[1].Parameters["epic_id"] != nil {
			t.Errorf("%v, %v", p.Issues[0].Parameters, p.Issues[1].Parameters)
		}
	})
	w.fails("Could not find epic scope: Epic with id 7 not found in the top-level parent group acme.", "gitlab:issues:create", input(7))
	w.succeeds("gitlab:issue:edit", map[string]any{"repoUrl": "HOST", "projectId": "acme/inner/shop", "issueIid": 2, "epicId": fits.ID})
	w.project("acme/inner/shop", func(p *fakegitlab.Project) {
		if p.Issues[1].Parameters["epic_id"] != float64(fits.ID) {
			t.Errorf("%v", p.Issues[1].Parameters)
		}
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	run := w.run("gitlab:projectAccessToken:create", with(nil, map[string]any{"projectId": w.Project("acme/shop").ID}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		token := *p.AccessTokens[0]
		if run.Err != nil || run.Outputs["access_token"] != token.Token {
			t.Errorf("%v, %v", run.Err, run.Outputs)
		}
		token.ID, token.Token = 0, ""
		if diff := cmp.Diff(fakegitlab.IssuedToken{Name: "tokenname", Scopes: []string{"read_repository"}, Level: 40, ExpiresAt: "2031-01-01"}, token); diff != "" {
			t.Error(diff)
		}
	})
	w.succeeds("gitlab:projectAccessToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "ci", "accessLevel": 20, "scopes": []string{"api"}, "expiresAt": "2030-06-01"}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if token := p.AccessTokens[1]; token.Level != 20 || token.ExpiresAt != "2030-06-01" || token.Scopes[0] != "api" {
			t.Errorf("%+v", token)
		}
	})
	out := w.succeeds("gitlab:projectDeployToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "cd", "scopes": []string{"read_registry"}, "username": "puller"}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if diff := cmp.Diff(map[string]any{"deploy_token": p.DeployTokens[0].Token, "user": "puller"}, out); diff != "" {
			t.Error(diff)
		}
	})
	w.fails(`Could not create token for project "acme/shop": scopes cannot be empty.`, "gitlab:projectDeployToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "cd", "scopes": []string{}}))
	w.fails("scopes does not have a valid value", "gitlab:projectDeployToken:create", with(nil, map[string]any{"projectId": "acme/shop", "name": "cd", "scopes": []string{"nonsense"}}))
	w.fails("Scopes can only contain available scopes", "gitlab:projectAccessToken:create", with(nil, map[string]any{"projectId": "acme/shop", "scopes": []string{"nonsense"}}))
}

func TestVariables(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	input := with(nil, map[string]any{"projectId": "acme/shop", "key": "KEY", "value": "a value", "variableType": "file", "variableProtected": true, "raw": true, "environmentScope": "production"})
	for range 2 { // one that is the same is fine
		w.succeeds("gitlab:projectVariable:create", input)
	}
	w.project("acme/shop", func(p *fakegitlab.Project) {
		value := "a value"
		if diff := cmp.Diff([]*fakegitlab.Variable{{Key: "KEY", Value: &value, Type: "file", Protected: true, Raw: true, Scope: "production"}}, p.Variables); diff != "" {
			t.Error(diff)
		}
	})
	w.fails("(KEY) has already been taken", "gitlab:projectVariable:create", with(input, map[string]any{"value": "another"}))
	w.succeeds("gitlab:projectVariable:create", with(nil, map[string]any{"projectId": "acme/shop", "key": "KEY", "value": "v", "variableType": "env_var"}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if len(p.Variables) != 2 || *p.Variables[0].Value != "a value" || p.Variables[1].Scope != "*" {
			t.Errorf("%v", p.Variables)
		}
	})
	w.fails("variable_type does not have a valid value", "gitlab:projectVariable:create", with(nil, map[string]any{"projectId": "acme/shop", "key": "OTHER", "value": "v", "variableType": "x"}))
	w.fails("value is invalid", "gitlab:projectVariable:create", with(nil, map[string]any{"projectId": "acme/shop", "key": "OTHER", "value": "v", "variableType": "env_var", "masked": true}))
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	shop(w)
	out := w.succeeds("gitlab:pipeline:trigger", with(nil, map[string]any{"projectId": "acme/shop", "tokenDescription": "once", "branch": "main", "variables": map[string]any{"A": "b"}}))
	w.fails("base Reference not found", "gitlab:pipeline:trigger", with(nil, map[string]any{"projectId": "acme/shop", "tokenDescription": "once", "branch": "nowhere"}))
	w.project("acme/shop", func(p *fakegitlab.Project) {
		if len(p.Triggers) != 0 || len(p.Pipelines) != 1 || out["pipelineUrl"] != p.Pipelines[0].WebURL || p.Pipelines[0].Variables["A"] != "b" {
			t.Errorf("outputs %v, pipelines %v, tokens %v", out, p.Pipelines, p.Triggers)
		}
	})
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	w := begin(t, "scaffolder: {requireScmUserCredentials: true}") // which this action does not
	if diff := cmp.Diff(map[string]any{
		"id": 2.0, "username": "ada", "name": "Ada", "state": "active", "webUrl": "", "email": "ada@example.com", "createdAt": "2020-01-01T00:00:00.000Z",
	}, w.succeeds("gitlab:user:info", map[string]any{"repoUrl": "HOST", "token": fakegitlab.UserToken})); diff != "" {
		t.Error(diff)
	}
	if out := w.succeeds("gitlab:user:info", map[string]any{"repoUrl": "HOST", "userId": 2}); out["email"] != nil || out["username"] != "ada" {
		t.Errorf("%v", out)
	}
	w.fails("Failed to retrieve GitLab user info: GET /users/99: GitLab answered 404 Not Found: 404 User Not Found", "gitlab:user:info", map[string]any{"repoUrl": "HOST", "userId": 99})
	w.fails("GitLab answered 401 Unauthorized: 401 Unauthorized", "gitlab:user:info", map[string]any{"repoUrl": "HOST", "token": "wrong"})
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	input := map[string]any{
		"destinationAccessToken": fakegitlab.UserToken, "destinationUrl": repoURL, "sourceAccessToken": "source-token", "sourceFullPath": "old/shop", "sourceUrl": "https://gitlab.example.com",
	}
	w.succeeds("gitlab:group:migrate", input)
	w.Look(func(_ []*fakegitlab.Project, _ []*fakegitlab.Group, migrations []*fakegitlab.Migration) {
		m := migrations[0]
		if diff := cmp.Diff(map[string]any{"url": "https://gitlab.example.com", "access_token": "source-token"}, m.Source); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]map[string]any{{"source_type": "project_entity", "source_full_path": "old/shop", "destination_slug": "shop", "destination_namespace": "acme"}}, m.Entities); diff != "" {
			t.Error(diff)
		}
	})
	input["sourceAccessToken"] = "wrong"
	w.fails("Failed to transfer repo old/shop. Make sure that old/shop exists in https://gitlab.example.com, and token has enough rights.\nError: ", "gitlab:group:migrate", input)
	input["destinationUrl"] = "HOST?project=acme%2Fshop"
	w.fails("Failed to determine target repository to migrate to.", "gitlab:group:migrate", input)
}

func TestAutocomplete(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	w.AddGroup("acme/inner")
	w.AddProject("acme/shop")
	w.AddProject("ada/own")
	w.PageTo(1)
	ask := func(resource string, context map[string]string) ([]scaffoldernode.Completion, error) {
		if context == nil {
			context = map[string]string{}
		}
		context["host"] = w.Host
		return w.g.complete(t.Context(), scaffoldernode.AutocompleteRequest{Resource: resource, Token: fakegitlab.UserToken, Context: context})
	}
	for what, tt := range map[string]struct {
		context map[string]string
		want    []scaffoldernode.Completion
	}{
		"groups":       {want: []scaffoldernode.Completion{{ID: "101", Title: "acme"}, {ID: "102", Title: "acme/inner"}, {ID: "2", Title: "ada"}}},
		"repositories": {map[string]string{"id": "101"}, []scaffoldernode.Completion{{ID: "shop", Title: "shop"}}},
	} {
		got, err := ask(what, tt.context)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Error(what, err, diff)
		}
	}
	if got, err := ask("repositories", map[string]string{"id": "2"}); err != nil || len(got) != 1 || got[0].ID != "own" {
		t.Errorf("the projects of the user: %v, %v", got, err)
	}
	for want, tt := range map[string]struct {
		resource string
		context  map[string]string
	}{
		"Missing groupId and userId context parameter": {"repositories", nil},
		"Invalid resource: stars":                      {"stars", nil},
	} {
		if _, err := ask(tt.resource, tt.context); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := w.g.complete(t.Context(), scaffoldernode.AutocompleteRequest{Resource: "groups"}); err == nil || err.Error() != "No token available for host gitlab.com" {
		t.Errorf("without a host: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	for want, input := range map[string]map[string]any{
		"No token available for host gitlab.com": {"repoUrl": "gitlab.com"},
		"No matching integration configuration for host other.example.com, please check your integrations config": {"repoUrl": "other.example.com"},
		"No matching integration configuration for host github.com, please check your integrations config":        {"repoUrl": "github.com"},
		"Invalid repo URL passed to publisher, got :x":                                                            {"repoUrl": ":x"},
	} {
		w.fails(want, "gitlab:group:ensureExists", map[string]any{"repoUrl": input["repoUrl"], "path": []string{"acme"}})
	}
	w.fails("Invalid repo URL passed to publisher: https://HOST/?owner=acme, missing repo", "publish:gitlab", map[string]any{"repoUrl": "HOST?owner=acme"})

	strict := begin(t, "scaffolder: {requireScmUserCredentials: true}")
	all := map[string]map[string]any{
		"publish:gitlab":                   {},
		"publish:gitlab:merge-request":     {"title": "t", "branchName": "b"},
		"gitlab:repo:push":                 {"commitMessage": "m", "branchName": "b"},
		"gitlab:group:ensureExists":        {"path": []string{"acme"}},
		"gitlab:group:access":              {"path": "acme", "userIds": []int{2}},
		"gitlab:issues:create":             {"title": "t"},
		"gitlab:issue:edit":                {"projectId": 1, "issueIid": 1},
		"gitlab:pipeline:trigger":          {"projectId": 1, "tokenDescription": "d", "branch": "b"},
		"gitlab:projectAccessToken:create": {"projectId": 1},
		"gitlab:projectDeployToken:create": {"projectId": 1, "name": "n", "scopes": []string{"s"}},
		"gitlab:projectVariable:create":    {"projectId": 1, "key": "K", "value": "v", "variableType": "file"},
	}
	for id, input := range all {
		strict.fails("No user credentials provided for host HOST, but scaffolder.requireScmUserCredentials is enabled", id, with(input, nil))
	}
	strict.fails("cannot be used when scaffolder.requireScmUserCredentials is enabled because they require credentials from the GitLab integration",
		"publish:gitlab", with(nil, map[string]any{"token": fakegitlab.UserToken, "setUserAsOwner": true}))
	if n := strict.Wire.Requests(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	for _, a := range strict.g.actions() {
		if !slices.Contains([]string{"gitlab:user:info", "gitlab:group:migrate"}, a.ID) && all[a.ID] == nil {
			t.Errorf("%s is not tested", a.ID)
		}
	}
}

// TestExamples checks the inputs of the examples against the schemas.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, a := range begin(t, "").g.actions() {
		schema, err := jsonschema.Compile(a.Input)
		if err != nil {
			t.Fatalf("%s: %v", a.ID, err)
		}
		if a.Description == "" || len(a.Examples) == 0 {
			t.Errorf("%s has no description, or no example", a.ID)
		}
		for _, example := range a.Examples {
			var parsed struct {
				Steps []struct {
					ID, Name, Action string
					Input            map[string]any
				}
			}
			if err := yaml.Unmarshal([]byte(example.Example), &parsed); err != nil || len(parsed.Steps) != 1 {
				t.Errorf("%s: %v\n%s", a.ID, err, example.Example)
				continue
			}
			step := parsed.Steps[0]
			input, err := json.Marshal(step.Input)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := schema.Check(input); err != nil || step.Action != a.ID || step.ID == "" || step.Name == "" {
				t.Errorf("the example of %s: %v\n%s", a.ID, err, example.Example)
			}
		}
	}
}

// TestSchemas has the inputs that templates were written for.
func TestSchemas(t *testing.T) {
	t.Parallel()
	w := begin(t, "")
	for _, tt := range []struct {
		id, input string
		ok        bool
	}{
		{"publish:gitlab", `{"repoUrl":"x","sourcePath":true}`, true},
		{"publish:gitlab", `{"repoUrl":"x","sourcePath":7}`, false},
		{"publish:gitlab", `{"repoUrl":"x","settings":{"merge_method":"octopus"}}`, false},
		{"publish:gitlab", `{"repoUrl":"x","projectVariables":[{"key":"k"}]}`, false},
		{"publish:gitlab:merge-request", `{"repoUrl":"x","title":"t","branchName":"b","labels":["a"]}`, true},
		{"publish:gitlab:merge-request", `{"repoUrl":"x","title":"t","branchName":"b","labels":"a,b"}`, true},
		{"publish:gitlab:merge-request", `{"repoUrl":"x","title":"t","branchName":"b","labels":{}}`, false},
		{"publish:gitlab:merge-request", `{"repoUrl":"x","title":"t"}`, false},
		{"gitlab:group:ensureExists", `{"repoUrl":"x","path":[]}`, false},
		{"gitlab:group:ensureExists", `{"repoUrl":"x","path":["a/b",{"name":"n","slug":"s"}]}`, true},
		{"gitlab:group:access", `{"repoUrl":"x","path":"a","userIds":[1],"accessLevel":"guest"}`, true},
		{"gitlab:group:access", `{"repoUrl":"x","path":1,"userIds":["1"]}`, false},
		{"gitlab:issues:create", `{"repoUrl":"x","title":"t","projectId":""}`, false},
		{"gitlab:issues:create", `{"repoUrl":"x","title":"t","weight":-1}`, false},
		{"gitlab:issues:create", `{"repoUrl":"x","title":"t","dueDate":"2030-01-01"}`, false},
		{"gitlab:issue:edit", `{"repoUrl":"x","projectId":1,"issueIid":1,"dueDate":"2030-01-01"}`, true},
		{"gitlab:issue:edit", `{"repoUrl":"x","projectId":1,"issueIid":1,"weight":11}`, false},
		{"gitlab:projectVariable:create", `{"repoUrl":"x","projectId":"a/b","key":"A-B","value":"v","variableType":"file"}`, false},
		{"gitlab:pipeline:trigger", `{"repoUrl":"x","projectId":1,"tokenDescription":"d","branch":"b","variables":{"a":1}}`, false},
	} {
		schema, err := jsonschema.Compile(w.action(tt.id).Input)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schema.Check([]byte(tt.input)); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.id, tt.input, err)
		}
	}
}
