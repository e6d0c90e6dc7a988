// Package signintest drives a sign-in provider as a browser does: a backend
// with the auth plugin, an identity provider, and a browser that keeps cookies
// and goes where it is sent.
//
//	p := signintest.Start(t, signintest.Settings{
//		Provider: "corp", Config: "{clientId: id, clientSecret: secret}", IDP: idp,
//		Features: []backend.Feature{authbackend.Plugin, corp.New(changed)},
//	})
//	got := p.Browser().SignIn(t, "")
//
// Everything but the catalog, which is a list, is real. The backend is at
// https://portal.test, the frontend at https://app.test, and every other
// address is the identity provider.
package signintest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/fakeidp"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// The addresses.
const (
	Host    = "portal.test"
	Backend = "https://" + Host + "/api/auth"
	App     = "https://app.test"
	Evil    = "https://evil.test"
)

// Callback returns where an identity provider sends users back.
func Callback(provider string) string { return Backend + "/" + provider + "/handler/frame" }

// Settings describe a portal.
type Settings struct {
	// Provider is the id of the provider.
	Provider string
	// Config is the level auth.providers.<id>.development, or that above for a
	// provider without environments, in one line of YAML.
	Config string
	// Flat says that the provider has no environments.
	Flat bool
	// IDP is nil where there is none.
	IDP *fakeidp.Server
	// Users are those of the catalog.
	Users []catalogcommon.Entity
	// Features are the auth plugin and the module.
	Features []backend.Feature
}

// Portal is a backend.
type Portal struct {
	provider string
	address  string
	idp      *fakeidp.Server
	client   *http.Transport
}

// Start starts a backend, and stops it with the test.
func Start(t testing.TB, s Settings) *Portal {
	t.Helper()
	p, err := TryStart(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TryStart is Start where it may fail.
func TryStart(t testing.TB, s Settings) (*Portal, error) {
	t.Helper()
	level := s.Config
	if !s.Flat {
		level = "{development: " + level + "}"
	}
	config := fmt.Sprintf(`
app: { baseUrl: %q }
backend: { baseUrl: "https://portal.test", listen: "127.0.0.1:0", database: { client: better-sqlite3, connection: ":memory:" } }
auth: { providers: { %s: %s } }
`, App+"/backstage", s.Provider, level)
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(config)}}}))
	b.Add(quiet, catalog(s.Users)).Add(s.Features...)
	p := &Portal{provider: s.Provider, idp: s.IDP, client: &http.Transport{}}
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx); err != nil && p.address != "" {
			t.Errorf("Stop: %v", err)
		}
	})
	if err := b.Start(t.Context()); err != nil {
		return nil, err
	}
	root, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		return nil, err
	}
	p.address = root.Addr().String()
	return p, nil
}

// quiet keeps the log out of the output of the tests.
var quiet = backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
	return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
})

// User returns an entity with a name and annotations, which come in pairs.
func User(name string, annotations ...string) catalogcommon.Entity {
	all := map[string]any{}
	for i := 0; i < len(annotations); i += 2 {
		all[annotations[i]] = annotations[i+1]
	}
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "User", "metadata": map[string]any{"name": name, "annotations": all},
		"spec": map[string]any{"memberOf": []any{}, "profile": map[string]any{"email": name + "@example.com"}},
	}
}

// catalog replaces the client of the catalog.
func catalog(users []catalogcommon.Entity) backend.Feature {
	return backend.NewServiceFactory(catalognode.Catalog, func(*backend.FactoryEnv) backend.MakeFunc[catalognode.Client] {
		return func(context.Context) (catalognode.Client, error) { return list{users: users}, nil }
	})
}

// list is a catalog of users. Like the real one, it does not tell cases apart.
type list struct {
	catalognode.Client
	users []catalogcommon.Entity
}

// EntityByRef implements [catalognode.Client].
func (l list) EntityByRef(_ context.Context, ref string, _ core.Credentials) (catalogcommon.Entity, error) {
	for _, u := range l.users {
		if u.Ref().String() == ref {
			return u, nil
		}
	}
	return nil, nil
}

// Query implements [catalognode.Client].
func (l list) Query(_ context.Context, q catalognode.EntitiesQuery, _ core.Credentials) (page catalognode.EntitiesPage, err error) {
	for u := range l.matching(q.Query) {
		if len(page.Items) < q.Limit {
			page.Items = append(page.Items, u)
		}
	}
	return page, nil
}

func (l list) matching(query map[string]any) iter.Seq[catalogcommon.Entity] {
	return func(yield func(catalogcommon.Entity) bool) {
		for _, u := range l.users {
			ok := true
			for key, want := range query {
				var have string
				switch name, annotation := strings.CutPrefix(key, "metadata.annotations."); {
				case annotation:
					have = u.Annotation(name)
				case key == "spec.profile.email":
					have, _ = u.Spec()["profile"].(map[string]any)["email"].(string)
				case key == "kind":
					have = u.Kind()
				}
				ok = ok && strings.EqualFold(have, fmt.Sprint(want))
			}
			if ok && !yield(u) {
				return
			}
		}
	}
}
