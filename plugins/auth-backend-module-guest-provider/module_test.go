package authmoduleguestprovider_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

var quiet = backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
	return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
})

// newBackend returns a backend with the guest provider and without a catalog.
func newBackend(nodeEnv, settings string) *backend.Backend {
	config := `
app: { baseUrl: "http://localhost:3000" }
backend: { baseUrl: "http://localhost:7007", listen: "127.0.0.1:0", database: { client: better-sqlite3, connection: ":memory:" } }
auth: { providers: { guest: ` + settings + ` } }
`
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, Env: []string{}, FS: fstest.MapFS{"app-config.yaml": {Data: []byte(config)}}}))
	return b.Add(quiet, authbackend.New(authbackend.WithEnvironment(func(name string) string {
		if name == "NODE_ENV" {
			return nodeEnv
		}
		return ""
	})), guest.Module)
}

// start starts the backend and returns a function that sends a request.
func start(t *testing.T, nodeEnv, settings string) func(method, path string) (status int, body string) {
	t.Helper()
	b := newBackend(nodeEnv, settings)
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
	return func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+root.Addr().String()+"/api/auth/guest"+path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
}

func TestWhoTheGuestIs(t *testing.T) {
	t.Parallel()
	const everywhere = "dangerouslyAllowOutsideDevelopment: true"
	for name, tt := range map[string]struct {
		nodeEnv, settings string
		user              string
		ownership         []string
	}{
		"development":       {nodeEnv: "development", settings: "{}", user: "user:development/guest", ownership: []string{"user:development/guest"}},
		"anywhere":          {settings: "{" + everywhere + "}", user: "user:development/guest", ownership: []string{"user:development/guest"}},
		"named":             {nodeEnv: "development", settings: "{userEntityRef: 'User:Default/Jane'}", user: "user:default/jane", ownership: []string{"user:default/jane"}},
		"name alone":        {nodeEnv: "development", settings: "{userEntityRef: jane}", user: "user:default/jane", ownership: []string{"user:default/jane"}},
		"owns by groups":    {nodeEnv: "production", settings: "{" + everywhere + ", ownershipEntityRefs: ['group:default/A', 'user:default/jane']}", user: "user:development/guest", ownership: []string{"group:default/a", "user:default/jane"}},
		"owns by nothing":   {nodeEnv: "development", settings: "{ownershipEntityRefs: []}", user: "user:development/guest", ownership: []string{}},
		"nobody":            {nodeEnv: "production", settings: "{}"},
		"nobody by default": {settings: "{dangerouslyAllowOutsideDevelopment: false}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			send := start(t, tt.nodeEnv, tt.settings)
			for _, request := range []string{"GET /refresh", "POST /refresh", "GET /refresh?optional&env=development"} {
				method, path, _ := strings.Cut(request, " ")
				status, body := send(method, path)
				var got struct {
					Error    struct{ Name apierr.Kind }
					Profile  *map[string]any
					Identity struct {
						Token    string
						Identity struct {
							Type, UserEntityRef string
							OwnershipEntityRefs []string
						}
					} `json:"backstageIdentity"`
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Fatalf("%s: %d %s", request, status, body)
				}
				if tt.user == "" {
					if status != http.StatusForbidden || got.Error.Name != apierr.KindNotAllowed || got.Identity.Token != "" {
						t.Errorf("%s: %d %s", request, status, body)
					}
					continue
				}
				id := got.Identity.Identity
				if status != http.StatusOK || got.Profile == nil || len(*got.Profile) != 0 || id.Type != "user" || id.UserEntityRef != tt.user {
					t.Errorf("%s: %d %s", request, status, body)
				}
				if d := cmp.Diff(tt.ownership, id.OwnershipEntityRefs); d != "" {
					t.Errorf("%s: ownership (-want +got):\n%s", request, d)
				}
				payload, err := base64.RawURLEncoding.DecodeString(strings.Split(got.Identity.Token, ".")[1])
				if err != nil || !strings.Contains(string(payload), `"sub":"`+tt.user+`","aud":"backstage"`) {
					t.Errorf("%s: the token says %s", request, payload)
				}
			}
		})
	}
}

func TestThereIsNoDialog(t *testing.T) {
	t.Parallel()
	send := start(t, "development", "{}")
	for request, want := range map[string]int{
		"GET /start?env=development": http.StatusNotImplemented,
		"GET /handler/frame?env=x":   http.StatusNotImplemented,
		"POST /handler/frame":        http.StatusNotImplemented,
		"POST /logout":               http.StatusNotFound,
		"GET /":                      http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, body := send(method, path); status != want {
			t.Errorf("%s: %d %s, want %d", request, status, body, want)
		}
	}
}

func TestSettingsProblems(t *testing.T) {
	t.Parallel()
	for settings, problem := range map[string]string{
		"{userEntityRef: 'user:/x'}":                  "auth.providers.guest.userEntityRef",
		"{ownershipEntityRefs: [a]}":                  "auth.providers.guest.ownershipEntityRefs",
		"{ownershipEntityRefs: group}":                "auth.providers.guest.ownershipEntityRefs",
		"{dangerouslyAllowOutsideDevelopment: maybe}": "auth.providers.guest.dangerouslyAllowOutsideDevelopment",
		"{signIn: {resolvers: [{resolver: nobody}]}}": "nobody",
	} {
		t.Run(settings, func(t *testing.T) {
			t.Parallel()
			b := newBackend("production", settings)
			if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("error %v, want %q", err, problem)
			}
			_ = b.Stop(context.Background()) // of what has started
		})
	}
}
