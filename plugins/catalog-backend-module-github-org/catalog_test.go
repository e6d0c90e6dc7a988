package catalogmodulegithuborg_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
	catalogmodulegithuborg "github.com/flytower/flytower/plugins/catalog-backend-module-github-org"
)

// Both modules in the real catalog: what they hand in is served, webhooks and
// runs change it, and a GitHub in trouble does not.
func TestInTheCatalog(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		gh := fakegithub.New(t)
		gh.Change(func(w *fakegithub.World) {
			w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "shop", DefaultBranch: "main"})
			o := w.Organization("acme")
			o.Users = []*fakegithub.User{{Login: "ann", ID: "U_1"}, {Login: "bob", ID: "U_2"}}
			o.Teams = []*fakegithub.Team{{Slug: "core", Name: "Core", Members: []string{"ann"}}, {Slug: "ui", Name: "UI", Parent: "core"}}
		})
		text := gh.Integration() + fmt.Sprintf("catalog: {processingInterval: {seconds: 1}, providers: {github: {acme: {organization: acme, host: %q}}, githubOrg: {id: prod, orgs: [acme], githubUrl: %q}}}\n", gh.Host, gh.URL)
		srv := backendtest.Start(t, catalogbackend.Plugin, catalogmodulegithub.Module, catalogmodulegithuborg.Module,
			githubapi.NewFactory(gh.Options()), database, backendtest.YAML(text), backendtest.Silent())
		client := srv.Client(t).As(backendtest.User("user:default/ann"))

		has := func() []string {
			var entities []struct {
				Kind      string
				Metadata  struct{ Name string }
				Relations []struct{ Type, TargetRef string }
			}
			client.Get("/api/catalog/entities?fields=kind,metadata.name,relations").Expect(200).JSON(&entities)
			var lines []string
			for _, e := range entities {
				line := e.Kind + " " + e.Metadata.Name
				if e.Kind == "Location" {
					line = e.Kind
				}
				for _, r := range e.Relations {
					line += " " + r.Type + " " + r.TargetRef
				}
				lines = append(lines, line)
			}
			slices.Sort(lines)
			return lines
		}
		eventually := func(want ...string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for got := has(); ; got = has() {
				if slices.Equal(got, want) {
					return
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("(-want +got):\n%s", cmp.Diff(want, got))
				}
			}
		}
		whole := []string{
			"Group core hasMember user:default/ann parentOf group:default/ui", "Group ui childOf group:default/core", "Location",
			"User ann memberOf group:default/core", "User bob",
		}
		eventually(whole...)

		gh.FailFrom(1, fakegithub.OwnerGone)
		for _, task := range []string{refresh, "github-provider:acme:refresh"} {
			if err := srv.RunTask(t, "catalog", task); err == nil {
				t.Errorf("%s succeeded", task)
			}
		}
		gh.Inject(nil)
		if d := cmp.Diff(whole, has()); d != "" {
			t.Errorf("runs that failed changed the catalog (-had +has):\n%s", d)
		}

		events := backendtest.Service(t, srv, "catalog", core.Events)
		publish := func(topic, payload string) {
			t.Helper()
			if err := events.Publish(t.Context(), core.Event{Topic: topic, Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
		}
		gh.Change(func(w *fakegithub.World) {
			o := w.Organization("acme")
			o.Teams[0].Members, o.Teams[1].Members = nil, []string{"ann"}
			w.RemoveRepository("acme", "shop")
		})
		for _, slug := range []string{"core", "ui"} {
			publish("github.membership", `{"action": "removed", "organization": {"login": "acme"}, "team": {"slug": "`+slug+`"}, "member": {"login": "ann"}}`)
		}
		publish("github.repository", `{"action": "deleted", "repository": {"name": "shop", "owner": {"login": "acme"}, "default_branch": "main", "html_url": "`+gh.URL+`/acme/shop"}}`)
		eventually("Group core parentOf group:default/ui", "Group ui childOf group:default/core hasMember user:default/ann",
			"User ann memberOf group:default/ui", "User bob")

		gh.Change(func(w *fakegithub.World) { w.Organization("acme").Teams = nil })
		if err := srv.RunTask(t, "catalog", refresh); err != nil {
			t.Fatal(err)
		}
		eventually("User ann", "User bob")
	})
}
