package catalogbackend_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func analyze(target, more string) string {
	return fmt.Sprintf(`{"location":{"type":"url","target":%q}%s}`, target, more)
}

func draft(name, annotations string) string {
	return `{"existingEntityFiles":[],"generateEntities":[{"entity":{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"` + name + `"` + annotations +
		`},"spec":{"type":"other","lifecycle":"unknown"}},"fields":[]}]}`
}

// Without analyzers of hosts an entity is drafted.
func TestDraftsOfEntities(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "")
	slug := func(name, value string) string { return fmt.Sprintf(`,"annotations":{%q:%q}`, name, value) }
	for body, want := range map[string]string{
		analyze("https://github.com/acme/foo", ""):                                   draft("foo", slug("github.com/project-slug", "acme/foo")),
		analyze("https://github.com/acme/foo", `,"catalogFilename":"catalog.yaml"`):  draft("foo", slug("github.com/project-slug", "acme/foo")),
		analyze("https://gitlab.com/g/sub/foo", `,"catalogFileName":"catalog.yaml"`): draft("foo", slug("gitlab.com/project-slug", "g/sub/foo")),
		analyze("https://dev.azure.com/org/project/_git/foo", ""):                    draft("foo", slug("dev.azure.com/project-slug", "org/project/foo")),
		analyze("https://bitbucket.org/acme/foo/src/main/x.yaml", ""):                draft("foo", slug("bitbucket.org/project-slug", "acme/foo")),
		analyze("http://127.0.0.1:7199/www/register-one.yaml", ""):                   draft("register-one.yaml", ""),
	} {
		a := p.do(postMethod, "/analyze-location", body)
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", body, a.status, a.text)
			continue
		}
		if d := cmp.Diff(canonical(t, want), canonical(t, a.text)); d != "" {
			t.Errorf("%s (-want +got):\n%s", body, d)
		}
	}
	for body, want := range map[string]string{
		`{}`: "request/body must have required property 'location'",
		`{"location":{"type":"url","target":"https://github.com/acme/foo","nope":1}}`: "request/body/location must NOT have additional properties",
		analyze("not a url", ""): "The given location.target is not a URL",
	} {
		if a := p.do(postMethod, "/analyze-location", body); a.status != http.StatusBadRequest || a.get("error.message") != want {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
}

// shelf is an analyzer of one host.
type shelf struct {
	host string
	err  error
}

func (s shelf) Supports(url string) bool { return strings.HasPrefix(url, "https://"+s.host+"/") }

func (s shelf) Existing(_ context.Context, target, filename string) ([]catalognode.ExistingFile, error) {
	if strings.HasSuffix(target, "/empty") {
		return nil, s.err
	}
	return []catalognode.ExistingFile{{
		Location: catalogcommon.LocationRef{Type: "url", Target: target + "/" + filename}, IsRegistered: true,
		Entity: catalogcommon.Entity{"kind": "API", "metadata": map[string]any{"name": s.host}},
	}}, s.err
}

// Analyze makes it an analyzer of everything.
func (s shelf) Analyze(_ context.Context, _, filename string) (catalognode.LocationAnalysis, error) {
	return catalognode.LocationAnalysis{Generated: []catalognode.GeneratedEntity{{Entity: catalogcommon.Entity{"kind": s.host + filename}}}}, nil
}

func analyzers(name string, add func(catalognode.AnalysisExtensionPoint) error) backend.Feature {
	return backend.NewModule("catalog", name, func(env *backend.ModuleEnv) backend.InitFunc {
		analysis := catalognode.Analysis.From(env)
		return func(context.Context) error { return add(analysis()) }
	})
}

func TestAnalyzersOfModules(t *testing.T) {
	t.Parallel()
	p := open(t, testdb.NewSQLite(t), "", analyzers("shelves", func(x catalognode.AnalysisExtensionPoint) error {
		return x.AddLocationAnalyzer(shelf{host: "a.example.com"}, shelf{host: "b.example.com", err: apierr.ServiceUnavailable("b is down")}, shelf{host: "a.example.com", err: apierr.Input("asked twice")})
	}))
	const existing = `{"existingEntityFiles":[{"location":{"type":"url","target":"https://a.example.com/x/c.yaml"},"isRegistered":true,"entity":{"kind":"API","metadata":{"name":"a.example.com"}}}],"generateEntities":[]}`
	if a := p.do(postMethod, "/analyze-location", analyze("https://a.example.com/x", `,"catalogFilename":"c.yaml"`)); canonical(t, a.text) != canonical(t, existing) {
		t.Errorf("existing files: %d %s", a.status, a.text)
	}
	if a := p.do(postMethod, "/analyze-location", analyze("https://a.example.com/empty", "")); canonical(t, a.text) != canonical(t, draft("empty", "")) {
		t.Errorf("no files: %d %s", a.status, a.text)
	}
	if a := p.do(postMethod, "/analyze-location", analyze("https://b.example.com/x", "")); a.status != http.StatusServiceUnavailable {
		t.Errorf("a source that is down: %d %s", a.status, a.text)
	}
}

// A module may set the analysis as a whole, once, and gets the analyzers that
// others add, before or after it.
func TestAnalysisThatAModuleSets(t *testing.T) {
	t.Parallel()
	var got []catalognode.LocationAnalyzer
	adds := analyzers("adds", func(x catalognode.AnalysisExtensionPoint) error { return x.AddLocationAnalyzer(shelf{host: "a"}) })
	sets := func(name string) backend.Feature {
		return analyzers(name, func(x catalognode.AnalysisExtensionPoint) error {
			return x.SetLocationAnalyzer(func(added []catalognode.LocationAnalyzer) (catalognode.Analyzer, error) {
				got = added
				return shelf{host: "mine:"}, nil
			})
		})
	}
	p := open(t, testdb.NewSQLite(t), "", sets("sets"), adds)
	if a := p.do(postMethod, "/analyze-location", analyze("x", `,"catalogFilename":"c"`)); a.text != `{"existingEntityFiles":[],"generateEntities":[{"entity":{"kind":"mine:c"},"fields":[]}]}` || len(got) != 1 {
		t.Errorf("%d %s, added %v", a.status, a.text, got)
	}
	if _, err := tryOpen(t, testdb.NewSQLite(t), "", sets("one"), sets("two")); err == nil || !strings.Contains(err.Error(), "the analyzer of locations was set already") {
		t.Errorf("set twice: %v", err)
	}
}
