package scaffoldermodulegithub_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/backendtest"
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
