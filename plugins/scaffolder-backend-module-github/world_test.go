package scaffoldermodulegithub_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/integration/hostclient"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/fakegithub"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	scaffoldermodulegithub "github.com/flytower/flytower/plugins/scaffolder-backend-module-github"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"

	"github.com/flytower/flytower/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a GitHub with the organization acme, and the actions for it.
type world struct {
	*fakegithub.Server
	t testing.TB
	// config is added to the configuration, userTokens that of the module.
	userTokens bool
	defaults   gitrepo.Defaults
	now        func() time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{Server: fakegithub.New(t), t: t}
	w.Change(func(w *fakegithub.World) {
		o := w.Organization("acme")
		o.Users = append(o.Users, &fakegithub.User{Login: "ada"})
		o.Teams = append(o.Teams, &fakegithub.Team{Slug: "shop-team", Name: "Shop"})
	})
	return w
}

// sleepless passes the time of what waits.
func sleepless(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }

// parts are what a process has: each call is another process.
func (w *world) parts(integrationYAML string) scaffoldermodulegithub.Parts {
	w.t.Helper()
	config := configtest.FromYAML(w.t, integrationYAML)
	hosts, err := integration.FromConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	api, err := githubapi.New(config, githubapi.Options{Client: hostclient.Options{Sleep: sleepless, Random: func() float64 { return 0 }}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(api.Close)
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	return scaffoldermodulegithub.Parts{
		GitHub: api, Hosts: hosts, Catalog: people{}, UserTokens: w.userTokens, Sleep: sleepless,
		Git: &gitrepo.Publisher{Client: gitrepo.NewClient(gitrepo.Options{Transport: transport, Sleep: sleepless}), Defaults: w.defaults, Now: w.now},
	}
}

func (w *world) action(id string) scaffoldernode.Action {
	w.t.Helper()
	return find(w.t, w.parts(w.Integration()), id)
}

func find(t testing.TB, p scaffoldermodulegithub.Parts, id string) scaffoldernode.Action {
	t.Helper()
	for _, a := range p.Actions() {
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("there is no action %s", id)
	return scaffoldernode.Action{}
}

// url is the repoUrl of acme/shop, or of another one.
func (w *world) url(names ...string) string {
	owner, repo := "acme", "shop"
	if len(names) == 2 {
		owner, repo = names[0], names[1]
	}
	return w.Host + "?owner=" + owner + "&repo=" + repo
}

// run runs an action, which has to succeed.
func (w *world) run(id string, input map[string]any, options ...actiontest.Option) *actiontest.Result {
	w.t.Helper()
	r := w.try(id, input, options...)
	if r.Err != nil {
		w.t.Fatalf("%s: %v\n%s", id, r.Err, r.Log)
	}
	return r
}

func (w *world) try(id string, input map[string]any, options ...actiontest.Option) *actiontest.Result {
	w.t.Helper()
	if _, ok := input["repoUrl"]; !ok {
		input["repoUrl"] = w.url()
	}
	r := actiontest.Run(w.t, w.action(id), input, options...)
	for _, secret := range []string{fakegithub.Token, "s3cret"} {
		if strings.Contains(r.Log, secret) || r.Err != nil && strings.Contains(r.Err.Error(), secret) {
			w.t.Errorf("%s tells the secret %s:\n%s\n%v", id, secret, r.Log, r.Err)
		}
	}
	return r
}

// setup returns what became of a repository.
func (w *world) setup(names ...string) *fakegithub.Setup {
	w.t.Helper()
	owner, name := "acme", "shop"
	if len(names) == 2 {
		owner, name = names[0], names[1]
	}
	var found *fakegithub.Repository
	w.Change(func(w *fakegithub.World) { found = w.Repository(owner, name) })
	if found == nil {
		w.t.Fatalf("there is no repository %s/%s", owner, name)
	}
	return &found.Setup
}

// people is a catalog with users and groups; those that are named missing are
// not there.
type people struct{ catalognode.Client }

func (people) EntitiesByRefs(_ context.Context, refs []string, _ catalognode.EntitiesQuery, _ core.Credentials) ([]catalogcommon.Entity, error) {
	var out []catalogcommon.Entity
	for _, ref := range refs {
		kind, name, _ := strings.Cut(ref, ":default/")
		if name == "missing" {
			out = append(out, nil)
			continue
		}
		out = append(out, catalogcommon.Entity{
			"kind": strings.ToUpper(kind[:1]) + kind[1:], "metadata": map[string]any{"name": name, "namespace": "default"},
		})
	}
	return out, nil
}

// blockGit breaks off all requests of git.
func (w *world) blockGit() {
	w.Inject(func(_ int, r *fakegithub.Request) *fakegithub.Failure {
		if strings.Contains(r.Path, ".git/") {
			return &fakegithub.BrokenOff
		}
		return nil
	})
}
