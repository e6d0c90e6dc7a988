package scaffoldernode_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

const integrations = `
integrations:
  gitea: [{host: gitea.com}]
  gerrit: [{host: gerrit.example.com, gitilesBaseUrl: "https://gerrit.example.com/gitiles"}]
  bitbucketServer: [{host: bitbucket.example.com, apiBaseUrl: "https://bitbucket.example.com/rest/api/1.0", token: t}]
`

func hosts(t *testing.T) *integration.Hosts {
	t.Helper()
	h, err := integration.FromConfig(configtest.FromYAML(t, integrations))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseRepoURL(t *testing.T) {
	t.Parallel()
	known := hosts(t)
	for text, want := range map[string]scaffoldernode.RepoURL{
		"github.com?owner=acme&repo=shop":                       {Host: "github.com", Owner: "acme", Repo: "shop"},
		"github.com?owner=/acme/&repo=shop/":                    {Host: "github.com", Owner: "acme", Repo: "shop"},
		"gitlab.com?owner=g%2Fsub&repo=r":                       {Host: "gitlab.com", Owner: "g/sub", Repo: "r"},
		"gitlab.com?project=g%2Fp":                              {Host: "gitlab.com", Project: "g/p"},
		"bitbucket.org?workspace=w&project=p&repo=r":            {Host: "bitbucket.org", Workspace: "w", Project: "p", Repo: "r"},
		"bitbucket.example.com?project=p&repo=r":                {Host: "bitbucket.example.com", Project: "p", Repo: "r"},
		"dev.azure.com?organization=o&project=p&repo=r&owner=x": {Host: "dev.azure.com", Owner: "x", Organization: "o", Project: "p", Repo: "r"},
		"gitea.com?repo=r":                                      {Host: "gitea.com", Repo: "r"},
		"gerrit.example.com?repo=r":                             {Host: "gerrit.example.com", Repo: "r"},
	} {
		got, err := scaffoldernode.ParseRepoURL(known, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"github.com?owner=o":               "Invalid repo URL passed to publisher: https://github.com/?owner=o, missing repo",
		"github.com?repo=o":                "Invalid repo URL passed to publisher: https://github.com/?repo=o, missing owner",
		"gitlab.com?repo=r":                "Invalid repo URL passed to publisher: https://gitlab.com/?repo=r, missing owner",
		"bitbucket.org?project=p&repo=r":   "Invalid repo URL passed to publisher: https://bitbucket.org/?project=p&repo=r, missing workspace",
		"dev.azure.com?project=p":          "Invalid repo URL passed to publisher: https://dev.azure.com/?project=p, missing repo",
		"unknown.example.com?owner=o&repo": "No matching integration configuration for host unknown.example.com, please check your integrations config",
		"":                                 `Invalid repo URL passed to publisher, got , parse "https://": invalid character "" in host name`,
	} {
		if _, err := scaffoldernode.ParseRepoURL(known, text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestPick reads paths as the reference does.
func TestPick(t *testing.T) {
	t.Parallel()
	filter := scaffoldernode.TemplateFilters(hosts(t))["pick"]
	input, err := template.ParseJSON([]byte(`{"a":{"b":[{"c":1}],"x.y":2},"a.b":3,"":{"z":4}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a.b": "3", "a.b[0].c": "1", "a['x.y']": "2", `a["x.y"]`: "2", "a[b][0][c]": "1", "a.x": "null", ".z": "4", "a.b.length": "1", "a..b": "null",
	} {
		got, err := filter(t.Context(), input, template.String(path))
		if err != nil || string(template.AppendJSON(nil, got)) != want {
			t.Errorf("%s: got %s, %v; want %s", path, template.AppendJSON(nil, got), err, want)
		}
	}
	if got, err := filter(t.Context(), template.Null{}, template.String("a.b")); err != nil || got != (template.Undefined{}) {
		t.Errorf("of null: %v, %v", got, err)
	}
	list := template.NewArray(template.String("a"), template.String("x.y"))
	if got, err := filter(t.Context(), input, list); err != nil || got != template.Number(2) {
		t.Errorf("with a list: %v, %v", got, err)
	}
}
