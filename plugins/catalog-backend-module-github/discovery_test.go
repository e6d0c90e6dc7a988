package catalogmodulegithub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/ingest"
	"github.com/flytower/flytower/internal/providertest"
	"github.com/flytower/flytower/internal/testdb"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "github-provider:acme"
	refresh = name + ":refresh"
)

// config returns a configuration with one provider; more are its further keys
// in flow style.
func config(gh *fakegithub.Server, more string) string {
	return gh.Integration() + provider(gh, "organization: acme, "+more)
}

func provider(gh *fakegithub.Server, keys string) string {
	return fmt.Sprintf("catalog: {providers: {github: {acme: {host: %q, %s}}}}\n", gh.Host, keys)
}

func start(t *testing.T, gh *fakegithub.Server, text string) *providertest.Catalog {
	t.Helper()
	return providertest.Start(t, text, catalogmodulegithub.Module, githubapi.NewFactory(gh.Options()))
}

func mustRun(t *testing.T, c *providertest.Catalog) {
	t.Helper()
	if err := c.Run(t.Context(), refresh); err != nil {
		t.Fatal(err)
	}
}

func wantTargets(t *testing.T, c *providertest.Catalog, want ...string) {
	t.Helper()
	slices.Sort(want)
	if want == nil {
		want = []string{}
	}
	if d := cmp.Diff(want, c.Targets(name)); d != "" {
		t.Errorf("targets (-want +got):\n%s", d)
	}
}

// repos adds n plain repositories r000, r001, …
func repos(gh *fakegithub.Server, n int) {
	gh.Change(func(w *fakegithub.World) {
		for i := range n {
			w.AddRepository(fakegithub.Repository{Owner: "acme", Name: fmt.Sprintf("r%03d", i), DefaultBranch: "main"})
		}
	})
}

func TestLocationEntity(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 1)
	c := start(t, gh, config(gh, ""))
	mustRun(t, c)
	target := gh.URL + "/acme/r000/blob/main/catalog-info.yaml"
	for ref, e := range c.Entities(name) {
		if want := "location:default/" + e.Name(); ref != want || !strings.HasPrefix(e.Name(), "generated-") {
			t.Errorf("ref %s, name %s", ref, e.Name())
		}
		want := map[string]any{"type": "url", "target": target, "presence": "optional"}
		if d := cmp.Diff(want, e.Spec()); d != "" {
			t.Errorf("spec (-want +got):\n%s", d)
		}
		if at, err := e.OriginLocation(); err != nil || at.String() != "url:"+target {
			t.Errorf("origin %v, %v", at, err)
		}
	}
	wantTargets(t, c, target)
	if d := cmp.Diff([]string{name}, c.LocationKeys(name)); d != "" {
		t.Errorf("location keys (-want +got):\n%s", d)
	}
	if task, _ := c.Task(refresh); task.Schedule.Frequency.Every != 3*time.Hour || task.Schedule.Timeout != time.Hour {
		t.Errorf("schedule %+v", task.Schedule)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) {
		for _, r := range []fakegithub.Repository{
			{Name: "shop", Topics: []string{"web", "go"}, DefaultBranch: "main", Files: map[string]string{"main:catalog-info.yaml": "kind: x", "dev:catalog-info.yaml": "kind: x"}},
			{Name: "shop-tools", Topics: []string{"go"}, DefaultBranch: "trunk", Visibility: "private", Files: map[string]string{"trunk:catalog-info.yaml": ""}},
			{Name: "fork", Fork: true, DefaultBranch: "main", Visibility: "internal"},
			{Name: "old", Archived: true, DefaultBranch: "main", Files: map[string]string{"main:catalog-info.yaml": "kind: x"}},
			{Name: "empty"},
		} {
			r.Owner = "acme"
			w.AddRepository(r)
		}
		w.AddRepository(fakegithub.Repository{Owner: "other", Name: "shop", DefaultBranch: "main"})
	})
	const file = "catalog-info.yaml"
	for label, tc := range map[string]struct {
		keys string
		want []string
	}{
		"none":               {"", []string{"shop/blob/main/" + file, "shop-tools/blob/trunk/" + file, "fork/blob/main/" + file, "empty/blob/-/" + file}},
		"archived":           {"filters: {allowArchived: true, repository: old}", []string{"old/blob/main/" + file}},
		"no forks":           {"filters: {allowForks: false, repository: '(shop|fork)'}", []string{"shop/blob/main/" + file}},
		"anchored":           {"filters: {repository: shop}", []string{"shop/blob/main/" + file}},
		"alternatives":       {"filters: {repository: shop|empty}", []string{"shop/blob/main/" + file, "empty/blob/-/" + file}},
		"branch":             {"filters: {branch: dev, repository: shop}", []string{"shop/blob/dev/" + file}},
		"include":            {"filters: {topic: {include: [web, x]}}", []string{"shop/blob/main/" + file}},
		"exclude wins":       {"filters: {topic: {include: [go], exclude: [web]}}", []string{"shop-tools/blob/trunk/" + file}},
		"exclude":            {"filters: {topic: {exclude: [go]}}", []string{"fork/blob/main/" + file, "empty/blob/-/" + file}},
		"visibility":         {"filters: {visibility: [private, internal]}", []string{"shop-tools/blob/trunk/" + file, "fork/blob/main/" + file}},
		"path":               {"catalogPath: a/b.yaml, filters: {repository: shop}", []string{"shop/blob/main/a/b.yaml"}},
		"wildcard":           {"catalogPath: '/**/*.yaml', filters: {repository: shop}", []string{"shop/blob/main/**/*.yaml"}},
		"exists":             {"validateLocationsExist: true", []string{"shop/blob/main/" + file}},
		"exists on a branch": {"validateLocationsExist: true, filters: {branch: dev}", []string{"shop/blob/dev/" + file}},
		"exists in archived": {"validateLocationsExist: true, filters: {allowArchived: true, repository: o.*}", []string{"old/blob/main/" + file}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			c := start(t, gh, config(gh, tc.keys))
			mustRun(t, c)
			var want []string
			for _, w := range tc.want {
				want = append(want, gh.URL+"/acme/"+w)
			}
			wantTargets(t, c, want...)
		})
	}
}

// A run asks once per page, and follows the pages to the end.
func TestPaging(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 260)
	c := start(t, gh, config(gh, "pageSizes: {repositories: 100}"))
	mustRun(t, c)
	if n := len(c.Targets(name)); n != 260 {
		t.Errorf("%d targets", n)
	}
	if n := gh.Requests(); n != 3 {
		t.Errorf("%d requests for 260 repositories in pages of 100", n)
	}
}

// model says what a healthy source leads to, independently of the module.
func model(gh *fakegithub.Server) []string {
	keep := regexp.MustCompile(`^r[0-4].*$`)
	want := []string{}
	gh.Change(func(w *fakegithub.World) {
		for _, r := range w.Repositories() {
			if r.Owner == "acme" && keep.MatchString(r.Name) && !r.Archived && !slices.Contains(r.Topics, "skip") {
				want = append(want, w.URL(r)+"/blob/"+r.DefaultBranch+"/catalog-info.yaml")
			}
		}
	})
	slices.Sort(want)
	return want
}

// Whatever goes wrong, the catalog has what it had, or what the source has
// now: never anything between. And once the source is well, it has the latter.
func TestFailuresLoseNothing(t *testing.T) {
	t.Parallel()
	failures := map[string]fakegithub.Failure{
		"502": fakegithub.BadGateway, "broken off": fakegithub.BrokenOff, "429": fakegithub.TooMany, "secondary limit": fakegithub.SecondaryLimit,
		"soft limit": fakegithub.SoftLimit, "401": fakegithub.Unauthorized, "null nodes": fakegithub.HalfAnswer, "errors beside data": fakegithub.PartialErrors,
		"timeout": fakegithub.TimedOut, "garbage": fakegithub.Garbage, "owner gone": fakegithub.OwnerGone,
	}
	for label, f := range failures {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			repos(gh, 60)
			c := start(t, gh, config(gh, "pageSizes: {repositories: 10}, filters: {repository: 'r[0-4].*', topic: {exclude: [skip]}}"))
			mustRun(t, c)
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 6 {
				before := c.Targets(name)
				gh.Change(func(w *fakegithub.World) { disturb(w, random, round) })
				now := model(gh)
				n := 1 + random.IntN(6)

				gh.FailFrom(n, f)
				if err := c.Run(t.Context(), refresh); err == nil {
					t.Fatalf("round %d: a run succeeded though every request from the %d. on fails", round, n)
				}
				if d := cmp.Diff(before, c.Targets(name)); d != "" {
					t.Fatalf("round %d: a failed run changed the catalog (-had +has):\n%s", round, d)
				}
				gh.FailOnly(n, f)
				if err := c.Run(t.Context(), refresh); err != nil {
					if d := cmp.Diff(before, c.Targets(name)); d != "" {
						t.Fatalf("round %d: a failed run changed the catalog (-had +has):\n%s", round, d)
					}
				} else if d := cmp.Diff(now, c.Targets(name)); d != "" {
					t.Fatalf("round %d: a run that got over a failure (-want +got):\n%s", round, d)
				}
				gh.Inject(nil)
				mustRun(t, c)
				if d := cmp.Diff(now, c.Targets(name)); d != "" {
					t.Fatalf("round %d: a healthy run (-want +got):\n%s", round, d)
				}
			}
		})
	}
}

// disturb changes a few repositories.
func disturb(w *fakegithub.World, random *rand.Rand, round int) {
	for i := range 6 {
		all := w.Repositories()
		r := all[random.IntN(len(all))]
		switch random.IntN(5) {
		case 0:
			r.Name += "x"
		case 1:
			r.Archived = !r.Archived
		case 2:
			w.RemoveRepository(r.Owner, r.Name)
		case 3:
			r.Topics = []string{"skip"}
		default:
			w.AddRepository(fakegithub.Repository{Owner: "acme", Name: fmt.Sprintf("r4-%d-%d", round, i), DefaultBranch: "main"})
		}
	}
}

// What passes by itself does not fail a run.
func TestGetsOverTransientFailures(t *testing.T) {
	t.Parallel()
	for label, f := range map[string]fakegithub.Failure{
		"502": fakegithub.BadGateway, "broken off": fakegithub.BrokenOff, "429": fakegithub.TooMany, "secondary limit": fakegithub.SecondaryLimit,
		"soft limit": fakegithub.SoftLimit, "timeout": fakegithub.TimedOut,
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			repos(gh, 30)
			c := start(t, gh, config(gh, "pageSizes: {repositories: 10}"))
			gh.FailOnly(2, f)
			mustRun(t, c)
			if n := len(c.Targets(name)); n != 30 {
				t.Errorf("%d targets", n)
			}
			if n := gh.Requests(); n != 4 {
				t.Errorf("%d requests, want 3 and one repeated", n)
			}
		})
	}
}

// Pages that the host cannot answer in time are asked for in smaller pieces.
func TestSmallerPages(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 30)
	c := start(t, gh, config(gh, "pageSizes: {repositories: 20}"))
	gh.Inject(fakegithub.FailPagesAbove(5))
	mustRun(t, c)
	if n := len(c.Targets(name)); n != 30 {
		t.Errorf("%d targets", n)
	}
}

// A run waits for the rate limit where its timeout allows it, and gives up at
// once where it does not.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 30)
	gh.LimitTo(2)
	c := start(t, gh, config(gh, "pageSizes: {repositories: 10}"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	if err := c.Run(ctx, refresh); err == nil {
		t.Fatal("a run got by a limit that lasts longer than it may")
	}
	if gh.Slept() > time.Minute || len(c.Targets(name)) != 0 {
		t.Errorf("slept %s, %d targets", gh.Slept(), len(c.Targets(name)))
	}
	mustRun(t, c)
	if n := len(c.Targets(name)); n != 30 {
		t.Errorf("%d targets", n)
	}
	if gh.Slept() < time.Hour {
		t.Errorf("slept only %s", gh.Slept())
	}
}

func TestMassRemovalIsRefused(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		gh := fakegithub.New(t)
		repos(gh, 40)
		begin := func(more string) *providertest.Catalog {
			c, err := providertest.TryStart(t, config(gh, more), db, catalogmodulegithub.Module, githubapi.NewFactory(gh.Options()))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		mustRun(t, begin(""))

		// Another process has a catalog in memory of its own, but remembers
		// how much there was.
		c := begin("")
		gh.Change(func(w *fakegithub.World) {
			for i := range 25 {
				w.RemoveRepository("acme", fmt.Sprintf("r%03d", i))
			}
		})
		err := c.Run(t.Context(), refresh)
		var refused *ingest.RefusedError
		if !errors.As(err, &refused) || refused.Had != 40 || refused.Found != 15 || !strings.Contains(err.Error(), "catalog.providers.github.acme.rejectRemovalsAbovePercentage") {
			t.Fatalf("%v", err)
		}
		if c.Mutations() != 0 {
			t.Error("the refused run changed the catalog")
		}
		c = begin("rejectRemovalsAbovePercentage: 70")
		mustRun(t, c)
		if n := len(c.Targets(name)); n != 15 {
			t.Errorf("%d targets", n)
		}
		// Who changes what is looked for may remove all.
		mustRun(t, begin("filters: {topic: {include: [none]}}"))
	})
}

// Repositories that webhooks took away do not count for the valve.
func TestMassRemovalByWebhooks(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 20)
	c := start(t, gh, config(gh, ""))
	mustRun(t, c)
	for i := range 15 {
		repo := fmt.Sprintf("r%03d", i)
		gh.Change(func(w *fakegithub.World) { w.RemoveRepository("acme", repo) })
		publish(t, c, "github.repository", map[string]any{"action": "deleted", "repository": payload(gh, repo, nil)})
	}
	mustRun(t, c)
	if n := len(c.Targets(name)); n != 5 {
		t.Errorf("%d targets", n)
	}
}

func TestAppInstallations(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) {
		for _, owner := range []string{"acme", "globex", "initech"} {
			w.AddRepository(fakegithub.Repository{Owner: owner, Name: "x", DefaultBranch: "main"})
		}
	})
	c := start(t, gh, gh.AppIntegration("acme", "globex")+provider(gh, fmt.Sprintf("app: %d", fakegithub.AppID)))
	mustRun(t, c)
	at := func(owner string) string { return gh.URL + "/" + owner + "/x/blob/main/catalog-info.yaml" }
	wantTargets(t, c, at("acme"), at("globex"))

	gh.FailFrom(1, fakegithub.BadGateway)
	if err := c.Run(t.Context(), refresh); err == nil {
		t.Error("a run succeeded without an answer")
	}
	wantTargets(t, c, at("acme"), at("globex"))
	gh.Inject(nil)
	// Tokens live an hour.
	if err := gh.Sleep(t.Context(), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	mustRun(t, c)
	wantTargets(t, c, at("acme"), at("globex"))
}

// Changes that arrive while a run reads the list outlive the run.
func TestWebhooksDuringARun(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	repos(gh, 30)
	c := start(t, gh, config(gh, "pageSizes: {repositories: 10}"))
	gh.Inject(func(n int, _ *fakegithub.Request) *fakegithub.Failure {
		if n == 3 { // r000 was read already
			publish(t, c, "github.repository", map[string]any{"action": "deleted", "repository": payload(gh, "r000", nil)})
		}
		return nil
	})
	mustRun(t, c)
	if got := c.Targets(name); len(got) != 29 || strings.Contains(got[0], "r000") {
		t.Errorf("%d targets, the first %s", len(got), got[0])
	}
}
