package authbackend_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const base = `
app: { baseUrl: "http://localhost:3000" }
backend:
  baseUrl: http://localhost:7007
  listen: 127.0.0.1:0
  auth: { externalAccess: [{ type: static, options: { token: static-token, subject: ci } }] }
`

const memory = `  database: { client: better-sqlite3, connection: ":memory:" }
`

// running is a backend with the auth plugin.
type running struct {
	url    string
	client *http.Client
	offset *atomic.Int64 // of the clock of the auth plugin
}

// quiet keeps the log out of the output of the tests.
var quiet = backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
	return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
})

// newBackend returns a backend with the auth plugin and features; config is
// YAML, which follows the level backend.
func newBackend(config string, opts []authbackend.Option, features ...backend.Feature) *backend.Backend {
	b := flytower.New(flytower.WithConfig(rootconfig.Options{
		Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(base + config)}},
	}))
	return b.Add(quiet, authbackend.New(opts...)).Add(features...)
}

func start(t *testing.T, config string, features ...backend.Feature) *running {
	t.Helper()
	offset := &atomic.Int64{}
	r := run(t, newBackend(config, []authbackend.Option{
		authbackend.WithClock(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }),
		authbackend.WithEnvironment(func(string) string { return "test" }),
	}, features...))
	r.offset = offset
	return r
}

// run starts a backend, and stops it when the test ends.
func run(t *testing.T, b *backend.Backend) *running {
	t.Helper()
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	root, err := backend.Get(b, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	return &running{url: "http://" + root.Addr().String(), client: &http.Client{Transport: transport}}
}

// send sends a request; header holds names and values in turn.
func (r *running) send(t *testing.T, method, path string, header ...string) (resp *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err = r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(raw)
}

// check sends a request and compares the status, and for an error its name
// and URL.
func (r *running) check(t *testing.T, method, path string, status int, kind apierr.Kind, url string, header ...string) (body string) {
	t.Helper()
	resp, body := r.send(t, method, path, header...)
	var got struct {
		Error   struct{ Name, Message string }
		Request struct{ URL string }
	}
	_ = json.Unmarshal([]byte(body), &got) // where it is no error, there may be any text
	if resp.StatusCode != status || got.Error.Name != string(kind) || got.Request.URL != url {
		t.Errorf("%s %s: %d %s, want %d %s for %s", method, path, resp.StatusCode, body, status, kind, url)
	}
	return body
}

// issuer is a provider "issuer" that issues a token to whom the query names.
// It is what an attacker would like to have.
var issuer = provider("issuer", func(_ context.Context, o authnode.ProviderOptions) (authnode.Provider, error) {
	return authnode.Provider{Refresh: func(w http.ResponseWriter, r *http.Request) error {
		claims := authnode.TokenClaims{Subject: r.FormValue("sub"), Ownership: r.Form["ent"]}
		if level := r.FormValue("level"); level != "" {
			claims.Extra = map[string]any{"level": level}
		}
		user, err := o.SignIn.IssueToken(r.Context(), claims)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, user.Token.Reveal())
		return err
	}}, nil
})

// provider returns a module that adds a provider.
func provider(id string, f authnode.ProviderFactory) backend.Feature {
	return module("test-"+id, id, f)
}

// module returns the named module, which adds a provider.
func module(name, id string, f authnode.ProviderFactory) backend.Feature {
	return backend.NewModule("auth", strings.ToLower(strings.ReplaceAll(name, "/", "-")), func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register(id, f) }
	})
}

// issue returns a token that the plugin made at the time of its clock.
func (r *running) issue(t *testing.T, query string) string {
	t.Helper()
	resp, body := r.send(t, http.MethodGet, "/api/auth/issuer/refresh?"+query)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("no token: %d %s", resp.StatusCode, body)
	}
	return body
}

// groups says that everybody owns by one group.
type groups struct{}

func (groups) ResolveOwnership(context.Context, catalogcommon.Entity) ([]string, error) {
	return []string{"group:default/everybody"}, nil
}

// resolver returns the named module, which sets groups.
func resolver(name string) backend.Feature {
	return backend.NewModule("auth", name, func(env *backend.ModuleEnv) backend.InitFunc {
		ownership := authnode.Ownership.From(env)
		return func(context.Context) error { return ownership().Set(groups{}) }
	})
}
