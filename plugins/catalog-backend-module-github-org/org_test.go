package catalogmodulegithuborg_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/ingest"
	"github.com/flytower/flytower/internal/providertest"
	"github.com/flytower/flytower/internal/testdb"
	catalogmodulegithuborg "github.com/flytower/flytower/plugins/catalog-backend-module-github-org"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "GithubMultiOrgEntityProvider:prod"
	refresh = name + ":refresh"
)

func config(gh *fakegithub.Server, keys string) string { return gh.Integration() + provider(gh, keys) }

func provider(gh *fakegithub.Server, keys string) string {
	return fmt.Sprintf("catalog: {providers: {githubOrg: {id: prod, githubUrl: %q, %s}}}\n", gh.URL, keys)
}

func start(t *testing.T, gh *fakegithub.Server, text string, opts ...catalogmodulegithuborg.Option) *providertest.Catalog {
	t.Helper()
	return providertest.Start(t, text, catalogmodulegithuborg.New(opts...), githubapi.NewFactory(gh.Options()))
}

func mustRun(t *testing.T, c *providertest.Catalog) {
	t.Helper()
	if err := c.Run(t.Context(), refresh); err != nil {
		t.Fatal(err)
	}
}

// acme has three people and two teams, globex shares a person.
func acme(t *testing.T) *fakegithub.Server {
	t.Helper()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) {
		ann := &fakegithub.User{Login: "Ann", ID: "U_1", Name: "Ann A.", Email: "ann@home.example", Bio: "builds", AvatarURL: "https://x/ann.png", VerifiedEmails: []string{"ann@acme.example"}}
		o := w.Organization("Acme")
		o.Users = []*fakegithub.User{ann, {Login: "bob", ID: "U_2"}, {Login: "eve", ID: "U_3", Suspended: true}}
		o.Teams = []*fakegithub.Team{
			{Slug: "core", Name: "Core", Description: "the core", AvatarURL: "https://x/core.png", Members: []string{"Ann", "bob"}},
			{Slug: "ui", Name: "UI", Parent: "core", Members: []string{"bob", "eve"}},
		}
		g := w.Organization("globex")
		g.Users = []*fakegithub.User{ann}
		g.Teams = []*fakegithub.Team{{Slug: "core", Name: "Core", Members: []string{"Ann"}}}
	})
	return gh
}

func located(at string, annotations map[string]any) map[string]any {
	annotations[catalogcommon.AnnotationLocation] = "url:" + at
	annotations[catalogcommon.AnnotationOriginLocation] = "url:" + at
	return annotations
}

func user(gh *fakegithub.Server, login, id string, profile map[string]any, groups ...any) catalogcommon.Entity {
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "User",
		"metadata": map[string]any{"name": login, "annotations": located(gh.URL+"/"+login, map[string]any{"github.com/user-login": login, "github.com/user-id": id})},
		"spec":     map[string]any{"profile": profile, "memberOf": append([]any{}, groups...)},
	}
}

func group(gh *fakegithub.Server, org, slug, title, namespace, parent string, members ...any) catalogcommon.Entity {
	at := gh.URL + "/orgs/" + org + "/teams/" + slug
	e := catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "Group",
		"metadata": map[string]any{"name": slug, "annotations": located(at, map[string]any{"github.com/team-slug": org + "/" + slug, "backstage.io/edit-url": at + "/edit"})},
		"spec":     map[string]any{"type": "team", "profile": map[string]any{"displayName": title}, "children": []any{}, "members": members},
	}
	if namespace != "" {
		e.Metadata()["namespace"] = namespace
	}
	if parent != "" {
		e.Spec()["parent"] = parent
	}
	return e
}

func wantEntities(t *testing.T, c *providertest.Catalog, want ...catalogcommon.Entity) {
	t.Helper()
	byRef := map[string]catalogcommon.Entity{}
	for _, e := range want {
		byRef[strings.ToLower(e.Ref().String())] = e
	}
	if d := cmp.Diff(byRef, c.Entities(name)); d != "" {
		t.Errorf("entities (-want +got):\n%s", d)
	}
}

func TestOneOrganization(t *testing.T) {
	t.Parallel()
	gh := acme(t)
	c := start(t, gh, config(gh, "orgs: [Acme]"))
	mustRun(t, c)
	core := group(gh, "Acme", "core", "Core", "", "", "Ann", "bob")
	core.Metadata()["description"] = "the core"
	core.Spec()["profile"] = map[string]any{"displayName": "Core", "picture": "https://x/core.png"}
	ann := user(gh, "Ann", "U_1", map[string]any{"displayName": "Ann A.", "email": "ann@home.example", "picture": "https://x/ann.png"}, "core")
	ann.Metadata()["description"] = "builds"
	wantEntities(t, c, core, group(gh, "Acme", "ui", "UI", "", "core", "bob", "eve"),
		ann, user(gh, "bob", "U_2", map[string]any{}, "core", "ui"), user(gh, "eve", "U_3", map[string]any{}, "ui"))
	if d := cmp.Diff([]string{"github-multi-org-provider:prod"}, c.LocationKeys(name)); d != "" {
		t.Errorf("location keys (-want +got):\n%s", d)
	}
	if n := gh.Requests(); n != 2 {
		t.Errorf("%d requests", n)
	}
	// The policy of the catalog takes the entities as they are.
	for ref, e := range c.Entities(name) {
		if err := catalogcommon.DefaultPolicy(catalogcommon.Validators{})(e); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestManyOrganizations(t *testing.T) {
	t.Parallel()
	gh := acme(t)
	want := func(email bool) []catalogcommon.Entity {
		core := group(gh, "Acme", "core", "Core", "acme", "", "default/Ann", "default/bob")
		core.Metadata()["description"] = "the core"
		core.Spec()["profile"] = map[string]any{"displayName": "Core", "picture": "https://x/core.png"}
		profile := map[string]any{"displayName": "Ann A.", "picture": "https://x/ann.png"}
		if email {
			profile["email"] = "ann@home.example"
		}
		ann := user(gh, "Ann", "U_1", profile, "acme/core", "globex/core")
		ann.Metadata()["description"] = "builds"
		return []catalogcommon.Entity{
			core, ann, group(gh, "Acme", "ui", "UI", "acme", "core", "default/bob", "default/eve"), group(gh, "globex", "core", "Core", "globex", "", "default/Ann"),
			user(gh, "bob", "U_2", map[string]any{}, "acme/core", "acme/ui"), user(gh, "eve", "U_3", map[string]any{}, "acme/ui"),
		}
	}
	t.Run("token", func(t *testing.T) {
		c := start(t, gh, config(gh, "orgs: [Acme, globex]"))
		mustRun(t, c)
		wantEntities(t, c, want(true)...)
	})
	t.Run("all that have installed the app", func(t *testing.T) {
		c := start(t, gh, gh.AppIntegration("Acme", "globex")+provider(gh, ""))
		mustRun(t, c)
		wantEntities(t, c, want(false)...)
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	gh := acme(t)
	t.Run("suspended", func(t *testing.T) {
		t.Parallel()
		c := start(t, gh, config(gh, "orgs: [acme], excludeSuspendedUsers: true"))
		mustRun(t, c)
		if all := c.Entities(name); all["user:default/eve"] != nil || all["user:default/bob"] == nil {
			t.Errorf("%v", all)
		}
	})
	t.Run("verified addresses", func(t *testing.T) {
		t.Parallel()
		c := start(t, gh, config(gh, "orgs: [Acme], defaultUserTransformer: {useVerifiedEmails: true}"))
		mustRun(t, c)
		profile, _ := c.Entities(name)["user:default/ann"].Spec()["profile"].(map[string]any)
		if profile["email"] != "ann@acme.example" {
			t.Errorf("%v", profile)
		}
	})
	t.Run("transformers", func(t *testing.T) {
		t.Parallel()
		c := start(t, gh, config(gh, "orgs: [Acme]"),
			catalogmodulegithuborg.WithUsers(func(_ context.Context, u catalogmodulegithuborg.User) (catalogcommon.Entity, error) {
				if u.Login == "eve" {
					return nil, nil
				}
				return catalogcommon.Entity{"apiVersion": "backstage.io/v1alpha1", "kind": "User", "metadata": map[string]any{"name": u.Login}, "spec": map[string]any{"memberOf": []string{"everybody"}}}, nil
			}),
			catalogmodulegithuborg.WithTeams(func(_ context.Context, team catalogmodulegithuborg.Team) (catalogcommon.Entity, error) {
				if team.Slug == "ui" {
					return nil, nil
				}
				e := catalogmodulegithuborg.DefaultTeam(team)
				e.Metadata()["name"] = "the-" + team.Slug
				return e, nil
			}))
		mustRun(t, c)
		all := c.Entities(name)
		if len(all) != 3 || all["group:default/the-core"] == nil {
			t.Fatalf("%v", all)
		}
		if d := cmp.Diff([]any{"everybody", "the-core"}, all["user:default/bob"].Spec()["memberOf"]); d != "" {
			t.Errorf("groups of bob (-want +got):\n%s", d)
		}
	})
	t.Run("failing transformer", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		c := start(t, gh, config(gh, "orgs: [Acme]"), catalogmodulegithuborg.WithUsers(func(context.Context, catalogmodulegithuborg.User) (catalogcommon.Entity, error) { return nil, broken }))
		if err := c.Run(t.Context(), refresh); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		wantEntities(t, c)
	})
}

// crowd fills an organization.
func crowd(w *fakegithub.World, org string, users, teams int) {
	o := w.Organization(org)
	for i := range users {
		o.Users = append(o.Users, &fakegithub.User{Login: fmt.Sprintf("u%d", i), ID: fmt.Sprintf("U_%s_%d", org, i)})
	}
	for i := range teams {
		team := &fakegithub.Team{Slug: fmt.Sprintf("t%d", i), Name: fmt.Sprintf("T%d", i)}
		if i > 0 {
			team.Parent = "t0"
		}
		for j, u := range o.Users {
			if j%(i+1) == 0 {
				team.Members = append(team.Members, u.Login)
			}
		}
		o.Teams = append(o.Teams, team)
	}
}

// Lists that are longer than a page, on every level, are read to their end.
func TestPaging(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 130, 30) })
	c := start(t, gh, config(gh, "orgs: [acme], pageSizes: {teams: 10, teamMembers: 20, organizationMembers: 100}"))
	mustRun(t, c)
	all := c.Entities(name)
	if len(all) != 160 {
		t.Fatalf("%d entities", len(all))
	}
	if n := len(all["group:default/t0"].SpecStrings("members")); n != 130 {
		t.Errorf("t0 has %d members", n)
	}
	if n := len(all["user:default/u0"].SpecStrings("memberOf")); n != 30 {
		t.Errorf("u0 is in %d groups", n)
	}
	// 3 pages of teams, 2 of users, and the further members of teams.
	more := 0
	for i := range 30 {
		more += (130+i)/(i+1)/20 + min((130+i)/(i+1)%20, 1) - 1
	}
	if n := gh.Requests(); n != 5+more {
		t.Errorf("%d requests, want %d", n, 5+more)
	}
}

// snapshot is what a healthy full run of a new provider gives.
func snapshot(t *testing.T, gh *fakegithub.Server, text string) map[string]catalogcommon.Entity {
	t.Helper()
	c := start(t, gh, text)
	mustRun(t, c)
	return c.Entities(name)
}

// Whatever goes wrong, the catalog has what it had, or what the source has
// now.
func TestFailuresLoseNothing(t *testing.T) {
	t.Parallel()
	for label, f := range map[string]fakegithub.Failure{
		"502": fakegithub.BadGateway, "broken off": fakegithub.BrokenOff, "429": fakegithub.TooMany, "secondary limit": fakegithub.SecondaryLimit,
		"soft limit": fakegithub.SoftLimit, "401": fakegithub.Unauthorized, "errors beside data": fakegithub.PartialErrors,
		"timeout": fakegithub.TimedOut, "garbage": fakegithub.Garbage, "organization gone": fakegithub.OwnerGone,
		"null members": {Status: 200, Body: `{"data":{"organization":{"membersWithRole":{"nodes":[null],"pageInfo":{}},"teams":{"nodes":[{"slug":"x","combinedSlug":"a/x","members":{"nodes":[null],"pageInfo":{}}}],"pageInfo":{}}}}}`},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 40, 5); crowd(w, "globex", 15, 3) })
			text := config(gh, "orgs: [acme, globex], pageSizes: {teams: 3, teamMembers: 10, organizationMembers: 10}")
			c := start(t, gh, text)
			mustRun(t, c)
			random := rand.New(rand.NewPCG(3, 4))
			for round := range 4 {
				before := c.Entities(name)
				gh.Change(func(w *fakegithub.World) { disturb(w, random, round) })
				now := snapshot(t, gh, text)
				n := 1 + random.IntN(8)
				gh.FailFrom(n, f)
				if err := c.Run(t.Context(), refresh); err == nil {
					t.Fatalf("round %d: a run succeeded though every request from the %d. on fails", round, n)
				}
				if d := cmp.Diff(before, c.Entities(name)); d != "" {
					t.Fatalf("round %d: a failed run changed the catalog (-had +has):\n%s", round, d)
				}
				gh.FailOnly(n, f)
				if err := c.Run(t.Context(), refresh); err != nil {
					if d := cmp.Diff(before, c.Entities(name)); d != "" {
						t.Fatalf("round %d: a failed run changed the catalog (-had +has):\n%s", round, d)
					}
				}
				gh.Inject(nil)
				mustRun(t, c)
				if d := cmp.Diff(now, c.Entities(name)); d != "" {
					t.Fatalf("round %d: a healthy run (-want +got):\n%s", round, d)
				}
			}
		})
	}
}

func disturb(w *fakegithub.World, random *rand.Rand, round int) {
	o := w.Organization([]string{"acme", "globex"}[random.IntN(2)])
	o.Users = append(o.Users, &fakegithub.User{Login: fmt.Sprintf("new%d", round), ID: fmt.Sprintf("N%d", round)})
	o.Users = slices.Delete(o.Users, 2, 4)
	team := o.Teams[random.IntN(len(o.Teams))]
	team.Members = append(team.Members[:len(team.Members)/2:len(team.Members)/2], fmt.Sprintf("new%d", round))
	o.Teams = append(o.Teams, &fakegithub.Team{Slug: fmt.Sprintf("fresh%d", round), Name: "Fresh", Parent: "t0"})
}

func TestMassRemovalIsRefused(t *testing.T) {
	t.Parallel()
	gh := fakegithub.New(t)
	gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 100, 20) })
	c := start(t, gh, config(gh, "orgs: [acme]"))
	mustRun(t, c)
	gh.Change(func(w *fakegithub.World) { w.Organization("acme").Teams = nil })
	var refused *ingest.RefusedError
	if err := c.Run(t.Context(), refresh); !errors.As(err, &refused) || refused.Kind != "Group" || refused.Had != 20 {
		t.Errorf("%v", err)
	}
	if n := len(c.Entities(name)); n != 120 {
		t.Errorf("%d entities", n)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for label, tc := range map[string]struct{ config, want string }{
		"keys": {"catalog:\n  providers:\n    githubOrg:\n      - githubUrl: github.com\n        pageSizes: {teams: 0}\n", `app-config.yaml:4: config key "catalog.providers.githubOrg[0].id" is missing`},
		"url":  {"catalog:\n  providers:\n    githubOrg:\n      id: a\n      githubUrl: https://github.com/acme\n", `app-config.yaml:5: config key "catalog.providers.githubOrg.githubUrl" is not the address of a host`},
		"orgs": {"catalog:\n  providers:\n    githubOrg:\n      id: a\n      githubUrl: https://github.com\n", `config key "catalog.providers.githubOrg.orgs" is missing, and no GitHub App is configured for github.com`},
		"host": {"catalog:\n  providers:\n    githubOrg:\n      id: a\n      githubUrl: https://ghe.example.com\n", `no GitHub integration for the host "ghe.example.com"`},
		"twice": {"catalog:\n  providers:\n    githubOrg:\n      - {id: a, githubUrl: https://github.com, orgs: [x]}\n      - {id: a, githubUrl: https://github.com, orgs: [y]}\n",
			`app-config.yaml:5: config key "catalog.providers.githubOrg[1].id" is "a" as in another provider`},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			_, err := providertest.TryStart(t, tc.config, testdb.NewSQLite(t), catalogmodulegithuborg.Module)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("not reported: %s\nin: %v", tc.want, err)
			}
		})
	}
}

func TestProviders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"app: {}": nil,
		"catalog: {providers: {githubOrg: {id: a, githubUrl: 'https://github.com', orgs: [x]}}}": {"GithubMultiOrgEntityProvider:a", "GithubOrgEntityProvider:a"},
		"catalog: {providers: {githubOrg: [{id: a, githubUrl: 'https://github.com/', orgs: [x], schedule: {frequency: PT5M, timeout: PT1M}}, {id: b, githubUrl: 'https://github.com', orgs: [x]}]}}": {
			"GithubMultiOrgEntityProvider:a", "GithubMultiOrgEntityProvider:b", "GithubOrgEntityProvider:a", "GithubOrgEntityProvider:b"},
	} {
		c := providertest.Start(t, text, catalogmodulegithuborg.Module)
		if d := cmp.Diff(want, c.Providers()); d != "" {
			t.Errorf("%s: providers (-want +got):\n%s", text, d)
		}
		if len(want) == 4 {
			a, _ := c.Task("GithubMultiOrgEntityProvider:a:refresh")
			b, _ := c.Task("GithubMultiOrgEntityProvider:b:refresh")
			if a.Schedule.Frequency.Every != 5*time.Minute || b.Schedule.Frequency.Every != 3*time.Hour {
				t.Errorf("schedules %+v, %+v", a.Schedule, b.Schedule)
			}
		}
	}
}

var _ backend.Feature = catalogmodulegithuborg.Module
