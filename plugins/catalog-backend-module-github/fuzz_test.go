package catalogmodulegithub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/providertest"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
)

// No webhook of another host changes anything, and none breaks the provider.
func FuzzWebhook(f *testing.F) {
	gh := fakegithub.New(f)
	gh.Change(func(w *fakegithub.World) {
		w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "r000", DefaultBranch: "main"})
	})
	c := providertest.Start(f, config(gh, "catalogPath: '/**/catalog-info.yaml'"), catalogmodulegithub.Module, githubapi.NewFactory(gh.Options()))
	if err := c.Run(f.Context(), refresh); err != nil {
		f.Fatal(err)
	}
	before := c.Targets(name)
	for _, seed := range []any{
		map[string]any{"ref": "refs/heads/main", "repository": payload(gh, "r000", nil), "commits": []any{commit(nil, list{"catalog-info.yaml"}, list{"a/catalog-info.yaml"})}},
		map[string]any{"action": "renamed", "repository": payload(gh, "new", nil), "changes": map[string]any{"repository": map[string]any{"name": map[string]any{"from": "r000"}}}},
		map[string]any{"action": "transferred", "repository": payload(gh, "new", nil), "changes": transferredFrom("x")},
		map[string]any{"action": "deleted", "repository": map[string]any{"html_url": "https://github.com/acme/r000", "name": "r000"}},
		nil, []int{1}, "",
	} {
		text, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, topic := range []string{"github.push", "github.repository", "github"} {
			_ = c.Publish(t.Context(), topic, body) // malformed ones are errors
		}
		for _, target := range c.Targets(name) {
			if !strings.HasPrefix(strings.ToLower(target), gh.URL+"/acme/") {
				t.Errorf("a webhook brought %s", target)
			}
		}
		mustRun(t, c)
		if d := cmp.Diff(before, c.Targets(name)); d != "" {
			t.Errorf("a full run does not mend it (-want +got):\n%s", d)
		}
	})
}
