package scaffoldermodulegitlab_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/fakegitlab"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermodulegitlab "github.com/flytower/flytower/plugins/scaffolder-backend-module-gitlab"
)

// catalog is a catalog with the template template:default/t.
func catalog(spec string) backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
				if r.PathValue("kind") != "template" {
					return apierr.NotFound("there is no such entity")
				}
				apierr.WriteJSON(w, http.StatusOK, json.RawMessage(`{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"t",
					"annotations":{"backstage.io/managed-by-location":"url:https://github.com/acme/t/blob/main/template.yaml"}},"spec":`+spec+`}`))
				return nil
			})
			return nil
		}
	})
}

// start starts a backend with the module.
func start(t *testing.T, gl *fakegitlab.Server, spec string) backendtest.Client {
	t.Helper()
	return backendtest.Start(t, backendtest.Silent(), scaffolderbackend.Plugin, scaffoldermodulegitlab.Module, catalog(spec),
		backendtest.YAML(gl.Integration()), backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}})).Client(t)
}

func TestTheModuleBringsActionsAndCompletion(t *testing.T) {
	t.Parallel()
	gl := fakegitlab.New(t)
	client := start(t, gl, `{}`)
	var actions []struct {
		ID     string
		Schema struct{ Input map[string]any }
	}
	client.Get("/api/scaffolder/v2/actions").Expect(http.StatusOK).JSON(&actions)
	var got []string
	for _, a := range actions {
		if strings.Contains(a.ID, "gitlab") {
			got = append(got, a.ID)
			if a.Schema.Input["additionalProperties"] != false {
				t.Errorf("%s takes any input", a.ID)
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{
		"gitlab:group:access", "gitlab:group:ensureExists", "gitlab:group:migrate", "gitlab:issue:edit", "gitlab:issues:create", "gitlab:pipeline:trigger",
		"gitlab:projectAccessToken:create", "gitlab:projectDeployToken:create", "gitlab:projectVariable:create", "gitlab:repo:push", "gitlab:user:info",
		"publish:gitlab", "publish:gitlab:merge-request",
	}, got); diff != "" {
		t.Error(diff)
	}
	var completed struct{ Results []struct{ ID, Title string } }
	client.Post("/api/scaffolder/v2/autocomplete/gitlab/groups", map[string]any{
		"token": fakegitlab.UserToken, "context": map[string]any{"host": gl.Host},
	}).Expect(http.StatusOK).JSON(&completed)
	if len(completed.Results) != 2 || completed.Results[0].Title != "acme" || completed.Results[1].Title != "ada" {
		t.Errorf("the groups are %v", completed.Results)
	}
}

// TestATemplateForGitLab publishes, and hands a token that a step created to
// another one.
func TestATemplateForGitLab(t *testing.T) {
	t.Parallel()
	gl := fakegitlab.New(t)
	client := start(t, gl, `{"type":"service","steps":[
		{"id":"write","name":"Write","action":"catalog:write","input":{"entity":{"apiVersion":"v1","kind":"Component","metadata":{"name":"shop"}}}},
		{"id":"publish","name":"Publish","action":"publish:gitlab","input":{"repoUrl":"${{ parameters.repoUrl }}","token":"${{ secrets.USER_OAUTH_TOKEN }}","defaultBranch":"main"}},
		{"id":"token","name":"Token","action":"gitlab:projectAccessToken:create","input":{"repoUrl":"${{ parameters.repoUrl }}","projectId":"${{ steps.publish.output.projectId }}"}},
		{"id":"say","name":"Say","action":"debug:log","input":{"message":"it is ${{ steps.token.output.access_token }}"}},
		{"id":"variable","name":"Variable","each":["A","B"],"action":"gitlab:projectVariable:create","input":{"repoUrl":"${{ parameters.repoUrl }}","projectId":"${{ steps.publish.output.projectId }}",
			"key":"${{ each.value }}","value":"${{ steps.token.output.access_token }}","variableType":"env_var"}},
		{"id":"fail","name":"Fail","action":"gitlab:issue:edit","input":{"repoUrl":"${{ parameters.repoUrl }}","projectId":1,"issueIid":1,"title":"${{ steps.token.output.access_token }}"}}]}`)
	var made struct{ ID string }
	client.Post("/api/scaffolder/v2/tasks", map[string]any{
		"templateRef": "template:default/t", "values": map[string]any{"repoUrl": gl.Host + "?owner=acme&repo=shop"},
		"secrets": map[string]any{"USER_OAUTH_TOKEN": fakegitlab.UserToken},
	}).Expect(http.StatusCreated).JSON(&made)

	log := ""
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log, `"type":"completion"`); {
		if time.Now().After(deadline) {
			t.Fatalf("the task does not end: %s", log)
		}
		var events json.RawMessage
		client.Get("/api/scaffolder/v2/tasks/" + made.ID + "/events").Expect(http.StatusOK).JSON(&events)
		log = string(events)
	}
	if strings.Contains(log, "5ecret") || !strings.Contains(log, "it is ***") {
		t.Errorf("the log is %s", log)
	}
	if !strings.Contains(log, "Failed to edit/modify GitLab issue: PUT /projects/1/issues/1: GitLab answered 404 Not Found: 404 Project Not Found") {
		t.Errorf("the log does not say how the task ended: %s", log)
	}
	gl.Look(func(projects []*fakegitlab.Project, _ []*fakegitlab.Group, _ []*fakegitlab.Migration) {
		p := projects[0]
		if len(p.Variables) != 2 || *p.Variables[1].Value != p.AccessTokens[0].Token || p.CreatorID != 2 {
			t.Errorf("the project has %v", p.Variables)
		}
	})
	if n := gl.Git.Commits("acme/shop", "main"); n != 1 {
		t.Errorf("there are %d commits", n)
	}
}
