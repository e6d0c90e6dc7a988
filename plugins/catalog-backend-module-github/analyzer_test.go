package catalogmodulegithub_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/fakegithub"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func component(name string) catalogcommon.Entity {
	return catalogcommon.Entity{"kind": "Component", "metadata": map[string]any{"name": name}}
}

func TestAnalyzer(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) {
		w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "shop", DefaultBranch: "trunk", Files: map[string]string{
			"trunk:catalog-info.yaml": "x", "trunk:my app/catalog-info.yaml": "x", "trunk:not-catalog-info.yaml": "x", "dev:b/catalog-info.yaml": "x",
			"trunk:catalog.yml": "x", "trunk:bad/broken.yaml": "x",
		}})
		w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "empty", DefaultBranch: "main"})
	})
	c := start(t, gh, gh.Integration())
	root, sub, yml := gh.URL+"/acme/shop/blob/trunk/catalog-info.yaml", gh.URL+"/acme/shop/blob/trunk/my%20app/catalog-info.yaml", gh.URL+"/acme/shop/blob/trunk/catalog.yml"
	c.SetContent("url:"+root, []catalogcommon.Entity{component("location"), component("shop")})
	c.SetContent("url:"+sub, catalognode.LocationCheck{Exists: true, Entities: []catalogcommon.Entity{component("app")}})
	c.SetContent("url:"+yml, []catalogcommon.Entity{component("yml")})
	c.SetContent("url:"+gh.URL+"/acme/shop/blob/trunk/bad/broken.yaml", apierr.Input("InputError: no kind"))

	if c.Analyzer("https://gitlab.com/acme/shop") != nil || c.Analyzer("https://unknown.example.com/acme/shop") != nil || c.Analyzer("no url") != nil || c.Analyzer("https://github.com/acme/shop") != nil {
		t.Error("the analyzer supports hosts that are not GitHub, or that it has no credentials for")
	}
	at := func(url string) catalogcommon.LocationRef { return catalogcommon.LocationRef{Type: "url", Target: url} }
	for _, tc := range []struct {
		target, filename string
		want             []catalognode.ExistingFile
	}{
		{"/acme/shop", "", []catalognode.ExistingFile{{Location: at(root), Entity: component("location")}, {Location: at(root), Entity: component("shop")}, {Location: at(sub), IsRegistered: true, Entity: component("app")}}},
		{"/acme/shop/tree/trunk/my%20app", "catalog-info.yaml", []catalognode.ExistingFile{{Location: at(root), Entity: component("location")}, {Location: at(root), Entity: component("shop")}, {Location: at(sub), IsRegistered: true, Entity: component("app")}}},
		{"/acme/shop.git", "catalog.yml", []catalognode.ExistingFile{{Location: at(yml), Entity: component("yml")}}},
		{"/acme/empty", "", nil},
	} {
		got, err := c.Analyzer(gh.URL+tc.target).Existing(t.Context(), gh.URL+tc.target, tc.filename)
		if err != nil {
			t.Errorf("%s: %v", tc.target, err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s %s (-want +got):\n%s", tc.target, tc.filename, d)
		}
	}
	for _, tc := range []struct {
		target, filename string
		failure          *fakegithub.Failure
		kind             apierr.Kind
		text             string
	}{
		{"/acme/shop", "broken.yaml", nil, apierr.KindInput, "bad/broken.yaml cannot be registered; caused by InputError: InputError: no kind"},
		{"/acme/shop", "a b.yaml", nil, apierr.KindInput, "is not the name of a file"},
		{"/acme", "", nil, apierr.KindInput, "names no repository"},
		{"/acme/none", "", nil, apierr.KindError, "422"},
		{"/acme/shop", "", &fakegithub.BadGateway, apierr.KindServiceUnavailable, "acme/shop"},
		{"/acme/shop", "", &fakegithub.Unauthorized, apierr.KindNotAllowed, "401"},
		{"/acme/shop", "", &fakegithub.SecondaryLimit, apierr.KindServiceUnavailable, "acme/shop"},
	} {
		if tc.failure != nil {
			gh.FailFrom(1, *tc.failure)
		}
		slept := gh.Slept()
		_, err := c.Analyzer(gh.URL).Existing(t.Context(), gh.URL+tc.target, tc.filename)
		if apierr.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s %s: %v", tc.target, tc.filename, err)
		}
		if d := gh.Slept() - slept; d.Minutes() > 1 {
			t.Errorf("somebody who waits at a page waited %s", d)
		}
		gh.Inject(nil)
	}
}

// A search that does not know all files is no proof that there are none.
func TestAnalyzerOfWhatIsNotIndexed(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) {
		w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "new", DefaultBranch: "main"})
		w.Unindexed = true
	})
	c := start(t, gh, gh.Integration())
	_, err := c.Analyzer(gh.URL+"/acme/new").Existing(t.Context(), gh.URL+"/acme/new", "")
	if apierr.KindOf(err) != apierr.KindServiceUnavailable {
		t.Errorf("%v", err)
	}
}
