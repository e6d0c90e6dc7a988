package scaffoldermodulegithub_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/fakegithub"
	scaffolderbackend "github.com/flytower/flytower/plugins/scaffolder-backend"
	scaffoldermodulegithub "github.com/flytower/flytower/plugins/scaffolder-backend-module-github"
)

var ids = []string{
	"github:actions:dispatch", "github:autolinks:create", "github:branch-protection:create", "github:deployKey:create", "github:environment:create",
	"github:issues:create", "github:issues:label", "github:pages:enable", "github:repo:create", "github:repo:push", "github:webhook",
	"publish:github", "publish:github:pull-request",
}

func TestTheModuleBringsActionsAndCompletion(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.AddGitRepository("acme", "shop", map[string]string{"a": "1"})
	var config map[string]any
	if err := yaml.Unmarshal([]byte(gh.Integration()), &config); err != nil {
		t.Fatal(err)
	}
	config["backend"] = map[string]any{"workingDirectory": t.TempDir()}
	s := backendtest.Start(t, backendtest.Silent(), scaffolderbackend.Plugin, scaffoldermodulegithub.Module, backendtest.Config(config))
	client := s.Client(t)
	var actions []struct {
		ID     string
		Schema struct{ Input map[string]any }
	}
	client.Get("/api/scaffolder/v2/actions").Expect(http.StatusOK).JSON(&actions)
	var got []string
	for _, a := range actions {
		if strings.Contains(a.ID, "github") {
			got = append(got, a.ID)
			if a.Schema.Input["additionalProperties"] != false {
				t.Errorf("%s takes any input", a.ID)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("the actions are %q", got)
	}
	var completed struct{ Results []struct{ ID string } }
	client.Post("/api/scaffolder/v2/autocomplete/github/branches", map[string]any{
		"token": fakegithub.Token, "context": map[string]any{"host": gh.Host, "owner": "acme", "repository": "shop"},
	}).Expect(http.StatusOK).JSON(&completed)
	if len(completed.Results) != 1 || completed.Results[0].ID != "main" {
		t.Errorf("the branches are %v", completed.Results)
	}
}

// entities is a catalog with a template, by the name t.
func entities(spec string) backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().HandleErr("GET /entities/by-name/{kind}/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) error {
				if r.PathValue("kind") != "template" {
					return apierr.NotFound("there is no such entity")
				}
				apierr.WriteJSON(w, http.StatusOK, json.RawMessage(`{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"t"},"spec":{"type":"service",`+spec+`}}`))
				return nil
			})
			return nil
		}
	})
}

// A task of the real engine publishes what an earlier step wrote.
func TestATaskPublishes(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) { w.Organization("acme") })
	var config map[string]any
	if err := yaml.Unmarshal([]byte(gh.Integration()), &config); err != nil {
		t.Fatal(err)
	}
	config["backend"] = map[string]any{"workingDirectory": t.TempDir()}
	s := backendtest.Start(t, backendtest.Silent(), scaffolderbackend.Plugin, scaffoldermodulegithub.Module, backendtest.Config(config), entities(`
		"steps":[
			{"id":"write","action":"catalog:write","input":{"entity":{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"shop"}}}},
			{"id":"publish","action":"publish:github","input":{"repoUrl":"${{ parameters.repoUrl }}","secrets":{"KEY":"${{ secrets.key }}"}}},
			{"id":"issue","action":"github:issues:create","input":{"repoUrl":"${{ parameters.repoUrl }}","title":"Look at ${{ steps.publish.output.remoteUrl }}"}}
		],
		"output":{"url":"${{ steps.publish.output.remoteUrl }}","commit":"${{ steps.publish.output.commitHash }}"}`))
	client := s.Client(t)
	var made struct{ ID string }
	client.Post("/api/scaffolder/v2/tasks", map[string]any{
		"templateRef": "template:default/t", "values": map[string]any{"repoUrl": gh.Host + "?owner=acme&repo=shop"}, "secrets": map[string]any{"key": "s3cret-value"},
	}).Expect(http.StatusCreated).JSON(&made)
	log := client.Get("/api/scaffolder/v2/tasks/" + made.ID + "/eventstream").Expect(http.StatusOK).Text()
	if !strings.Contains(log, `"status":"completed"`) || !strings.Contains(log, gh.Git().Head("acme/shop", "main")) {
		t.Errorf("the task ended with\n%s", log)
	}
	if strings.Contains(log, "s3cret-value") || strings.Contains(log, fakegithub.Token) {
		t.Errorf("the events tell secrets:\n%s", log)
	}
	var setup fakegithub.Setup
	gh.Change(func(w *fakegithub.World) { setup = w.Repository("acme", "shop").Setup })
	if setup.Secrets["KEY"] != "s3cret-value" || len(setup.Issues) != 1 || setup.Issues[0].Title != "Look at "+gh.URL+"/acme/shop.git" {
		t.Errorf("the repository has %+v", setup)
	}
	if files := gh.Git().Files("acme/shop", "main"); !strings.Contains(files["catalog-info.yaml"], "kind: Component") || len(files) != 1 {
		t.Errorf("the files are %v", files)
	}
}
