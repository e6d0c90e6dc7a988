package httprouter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonbody"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/internal/configtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAuth knows the tokens "user:<name>", "limited:<name>" and "service".
type fakeAuth struct {
	core.AuthService
	mu    sync.Mutex
	calls int
}

func (a *fakeAuth) Authenticate(_ context.Context, token string, allowLimited bool) (core.Credentials, error) {
	a.mu.Lock()
	a.calls++
	a.mu.Unlock()
	kind, name, _ := strings.Cut(token, ":")
	switch {
	case kind == "user":
		return core.UserCredentials("user:default/"+name, "", core.NewToken(token), time.Time{}, false), nil
	case kind == "limited" && allowLimited:
		return core.UserCredentials("user:default/"+name, "", core.NewToken(token), time.Now().Add(time.Hour), true), nil
	case kind == "service":
		return core.ServiceCredentials("plugin:other", core.NewToken(token), nil, nil), nil
	}
	return core.Credentials{}, apierr.Authentication("Illegal token")
}

func (*fakeAuth) LimitedUserToken(_ context.Context, user core.Credentials) (core.Token, time.Time, error) {
	_, name, _ := strings.Cut(user.Principal.UserEntityRef, "/")
	return core.NewToken("limited:" + name), time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), nil
}

func (*fakeAuth) PublicKeys(context.Context) ([]json.RawMessage, error) {
	return []json.RawMessage{json.RawMessage(`{"kid":"k1"}`)}, nil
}

type fakeDiscovery struct{ core.DiscoveryService }

func (fakeDiscovery) ExternalBaseURL(_ context.Context, plugin string) (string, error) {
	return "http://portal.test/api/" + plugin, nil
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type bundle struct {
	t       testing.TB
	backend *backend.Backend
	auth    *fakeAuth
	log     *logBuffer
	url     string
	client  *http.Client
}

func root[T any](ref backend.RootServiceRef[T], v T) backend.ServiceFactory {
	return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

func perPlugin[T any](ref backend.ServiceRef[T], v T) backend.ServiceFactory {
	return backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

// build makes a backend with the plugin "demo".
func build(t testing.TB, yaml string, init func(ctx context.Context, r core.Router, auth core.HTTPAuthService) error, more ...backend.Feature) *bundle {
	t.Helper()
	b := &bundle{t: t, auth: &fakeAuth{}, log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(b.log, nil))
	plugin := backend.NewPlugin("demo", func(env *backend.PluginEnv) backend.InitFunc {
		router, auth := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		return func(ctx context.Context) error { return init(ctx, router(), auth()) }
	})
	b.backend = backend.New(backend.WithDefaults(roothealth.Factory, roothttprouter.Factory, httprouter.Factory)).Add(
		httpauth.Factory,
		root(core.RootConfig, configtest.FromYAML(t, "backend:\n  listen: 127.0.0.1:0\n"+yaml)),
		root(core.RootLogger, log),
		backend.NewServiceFactory(core.Logger, func(env *backend.FactoryEnv) backend.MakeFunc[*slog.Logger] {
			id := core.PluginMetadata.From(env)
			return func(context.Context) (*slog.Logger, error) { return log.With("plugin", id().ID()), nil }
		}),
		perPlugin[core.AuthService](core.Auth, b.auth),
		perPlugin[core.DiscoveryService](core.Discovery, fakeDiscovery{}),
		plugin,
	).Add(more...)
	transport := &http.Transport{DisableCompression: true}
	b.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := b.backend.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func start(t testing.TB, yaml string, init func(r core.Router, auth core.HTTPAuthService)) *bundle {
	t.Helper()
	b := build(t, yaml, func(_ context.Context, r core.Router, auth core.HTTPAuthService) error {
		init(r, auth)
		return nil
	})
	if err := b.backend.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.findURL()
	return b
}

func (b *bundle) findURL() {
	b.t.Helper()
	r, err := backend.Get(b.backend, core.RootHTTPRouter)
	if err != nil {
		b.t.Fatal(err)
	}
	b.url = "http://" + r.Addr().String()
}

func (b *bundle) do(method, path, token string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	return b.send(method, path, token, nil, headers...)
}

func (b *bundle) send(method, path, token string, body io.Reader, headers ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

func ok(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Pattern) }

func TestBarrier(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(r core.Router, _ core.HTTPAuthService) {
		r.HandleFunc("/", ok)
		r.AddAuthPolicy(core.AuthPolicy{Path: "/public", Allow: core.AllowUnauthenticated})
		r.AddAuthPolicy(core.AuthPolicy{Path: "/assets", Allow: core.AllowUserCookie})
	})
	const cookie = "Cookie: backstage-auth=limited:jane"
	tests := []struct {
		method, path, token string
		headers             []string
		status              int
		body                string
	}{
		{"GET", "/x?y=1", "", nil, 401, `{"error":{"message":"Missing credentials","name":"AuthenticationError"},"request":{"method":"GET","url":"/x?y=1"},"response":{"statusCode":401}}`},
		{"OPTIONS", "/entities", "", []string{"Origin: http://evil.example.com"}, 401, `{"error":{"message":"Missing credentials","name":"AuthenticationError"},"request":{"method":"OPTIONS","url":"/entities"},"response":{"statusCode":401}}`},
		{"GET", "/x", "user:jane", nil, 200, "/"},
		{"GET", "/x", "service", nil, 200, "/"},
		{"GET", "/x", "bad", nil, 401, `{"error":{"message":"Illegal token","name":"AuthenticationError"},"request":{"method":"GET","url":"/x"},"response":{"statusCode":401}}`},
		{"GET", "/x", "limited:jane", nil, 401, ""},
		{"GET", "/x", "", []string{cookie}, 401, ""},
		{"GET", "/x", "", []string{"Authorization: bearer   user:jane"}, 200, "/"},
		{"GET", "/x", "", []string{"Authorization: Basic user:jane"}, 401, ""},
		{"GET", "/x", "", []string{"Authorization: Bearer "}, 401, ""},
		{"GET", "/x?token=user:jane", "", nil, 401, ""},
		{"GET", "/public", "", nil, 200, "/"},
		{"GET", "/Public/a/b", "bad", nil, 200, "/"}, // credentials are not looked at
		{"GET", "/publicx", "", nil, 401, ""},
		{"GET", "/public/../x", "", nil, 404, ""},
		{"GET", "/public/%2e%2e/x", "", nil, 404, ""},
		{"GET", "/assets/a.png", "", []string{cookie}, 200, "/"},
		{"GET", "/assets/a.png", "", nil, 401, ""},
		{"GET", "/assets/a.png", "user:jane", nil, 200, "/"},
		{"GET", "/assets/a.png", "service", []string{cookie}, 200, "/"},
	}
	for _, tt := range tests {
		resp, body := b.do(tt.method, "/api/demo"+tt.path, tt.token, tt.headers...)
		if resp.StatusCode != tt.status || tt.body != "" && body != tt.body {
			t.Errorf("%s %s %q %q: %d %s, want %d %s", tt.method, tt.path, tt.token, tt.headers, resp.StatusCode, body, tt.status, tt.body)
		}
	}
}

func TestBarrierCanBeDisabled(t *testing.T) {
	t.Parallel()
	b := start(t, "  auth: {dangerouslyDisableDefaultAuthPolicy: true}", func(r core.Router, auth core.HTTPAuthService) {
		r.HandleFunc("GET /open", ok)
		r.HandleErr("GET /mine", func(w http.ResponseWriter, req *http.Request) error {
			_, err := auth.Credentials(req, core.Allow{User: true})
			return err
		})
	})
	if resp, _ := b.do("GET", "/api/demo/open", ""); resp.StatusCode != 200 {
		t.Errorf("open: %d", resp.StatusCode)
	}
	if resp, _ := b.do("GET", "/api/demo/mine", ""); resp.StatusCode != 401 {
		t.Errorf("a handler that asks: %d", resp.StatusCode)
	}
	if resp, _ := b.do("GET", "/api/demo/.backstage/auth/v1/cookie", ""); resp.StatusCode != 401 {
		t.Errorf("the cookie: %d", resp.StatusCode)
	}
}

func TestTokensAreVerifiedOncePerRequest(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(r core.Router, auth core.HTTPAuthService) {
		r.HandleErr("GET /me", func(w http.ResponseWriter, req *http.Request) error {
			for range 3 {
				c, err := auth.Credentials(req.WithContext(context.WithValue(req.Context(), fakeDiscovery{}, 1)), core.Allow{User: true})
				if err != nil {
					return err
				}
				if c.Principal.UserEntityRef != "user:default/jane" {
					t.Errorf("the caller is %q", c.Principal.UserEntityRef)
				}
			}
			return nil
		})
	})
	b.do("GET", "/api/demo/me", "user:jane")
	if b.auth.calls != 1 {
		t.Errorf("the token was verified %d times", b.auth.calls)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(r core.Router, _ core.HTTPAuthService) {
		r.AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})
		r.HandleFunc("GET /e/{kind}/{name}", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.PathValue("kind")+" "+r.PathValue("name"))
		})
		r.HandleFunc("POST /e/by-refs", ok)
		if d := cmp.Diff([]string{"GET /e/{kind}/{name}", "POST /e/by-refs"}, r.Routes()); d != "" {
			t.Error(d)
		}
	})
	tests := []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/api/demo/e/component/A", 200, "component A"},
		{"GET", "/api/demo/e/component/A/", 200, "component A"},
		{"GET", "/api/demo//e/component/A", 200, "component A"},
		{"GET", "/API/Demo/E/component/a%2Fb", 200, "component a/b"},
		{"HEAD", "/api/demo/e/component/A", 200, ""},
		{"PATCH", "/api/demo/e/component/A", 404, ""},
		{"GET", "/api/demo/e//A", 404, ""},
		{"GET", "/api/demo", 404, ""},
		{"POST", "/api/demo/e/By-Refs", 200, "POST /e/by-refs"},
	}
	for _, tt := range tests {
		resp, body := b.do(tt.method, tt.path, "")
		if resp.StatusCode != tt.status || body != tt.body {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, resp.StatusCode, body, tt.status, tt.body)
		}
		if tt.status == 404 && (resp.Header.Get("Content-Type") != "" || resp.Header.Get("Allow") != "" || resp.Header.Get("Location") != "") {
			t.Errorf("%s %s: headers %v", tt.method, tt.path, resp.Header)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(r core.Router, _ core.HTTPAuthService) {
		r.AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})
		r.HandleErr("GET /named/{id}", func(http.ResponseWriter, *http.Request) error { return apierr.NotFound("no such thing") })
		r.HandleErr("GET /secret", func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("ETag", "x")
			_, _ = io.WriteString(w, "half")
			return errors.New("password=hunter2")
		})
		r.HandleErr("GET /teapot", func(http.ResponseWriter, *http.Request) error {
			return &apierr.Error{Kind: "TeapotError", HTTPStatus: 418, Message: "short and stout"}
		})
		r.HandleErr("GET /fresh", func(http.ResponseWriter, *http.Request) error { return apierr.NotModified("same") })
		r.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom hunter2") })
		r.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r.HandleErr("POST /json", func(_ http.ResponseWriter, req *http.Request) error {
			var in struct{ A int }
			return jsonbody.Decode(req, &in, 0)
		})
	})
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/named/x%20y?q=%22": {404, `{"error":{"message":"no such thing","name":"NotFoundError"},"request":{"method":"GET","url":"/named/x%20y?q=%22"},"response":{"statusCode":404}}`},
		"/teapot":            {418, `{"error":{"message":"short and stout","name":"TeapotError"},"request":{"method":"GET","url":"/teapot"},"response":{"statusCode":418}}`},
		"/fresh":             {304, ""},
	} {
		if resp, body := b.do("GET", "/api/demo"+path, ""); resp.StatusCode != want.status || body != want.body {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"/secret", "/panic"} {
		resp, body := b.do("GET", "/api/demo"+path, "")
		if resp.StatusCode != 500 || strings.Contains(body, "hunter2") || !strings.Contains(body, "An internal error occurred logId=") || resp.Header.Get("Etag") == "x" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			continue
		}
		_, id, _ := strings.Cut(body, "logId=")
		if log := b.log.String(); !strings.Contains(log, id[:20]) || !strings.Contains(log, `"plugin":"demo"`) || !strings.Contains(log, "Request failed with status 500") {
			t.Errorf("%s: the log does not tell under %s:\n%s", path, id[:20], log)
		}
	}
	if p := b.backend.Status().Plugins[0]; p.ID != "demo" || p.Panics != 1 {
		t.Errorf("plugin %q has %d panics", p.ID, p.Panics)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", b.url+"/api/demo/abort", nil)
	if resp, err := b.client.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("an aborted request is answered: %d", resp.StatusCode)
	}
	resp, body := b.send("POST", "/api/demo/json", "", strings.NewReader(`{"a":`), "Content-Type: application/json")
	if resp.StatusCode != 400 || !strings.Contains(body, `"type":"entity.parse.failed"`) || !strings.Contains(body, `"name":"SyntaxError"`) {
		t.Errorf("broken JSON: %d %s", resp.StatusCode, body)
	}
	resp, body = b.send("POST", "/api/demo/json", "", strings.NewReader(`"`+strings.Repeat("a", 200000)), "Content-Type: application/json")
	if resp.StatusCode != 413 || !strings.Contains(body, `"name":"PayloadTooLargeError"`) || !strings.Contains(body, `"limit":102400`) {
		t.Errorf("large JSON: %d %s", resp.StatusCode, body)
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(r core.Router, _ core.HTTPAuthService) {
		mark := func(name string) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Add("X-Order", name)
					next.ServeHTTP(w, r)
				})
			}
		}
		r.HandleFunc("GET /a", ok)
		r.Use(mark("outer"))
		r.Use(mark("inner"))
	})
	resp, _ := b.do("GET", "/api/demo/a", "service")
	if d := cmp.Diff([]string{"outer", "inner"}, resp.Header["X-Order"]); d != "" {
		t.Error(d)
	}
	if resp, _ := b.do("GET", "/api/demo/a", ""); resp.Header["X-Order"] != nil {
		t.Error("middleware runs before the barrier")
	}
}

func TestDeclarationMistakesPanic(t *testing.T) {
	t.Parallel()
	start(t, "", func(r core.Router, _ core.HTTPAuthService) {
		r.HandleFunc("GET /a/{x}", ok)
		tests := map[string]struct {
			do   func()
			want []string
		}{
			"conflict":  {func() { r.HandleFunc("GET /a/{y}", ok) }, []string{`plugin "demo"`, `"GET /a/{x}" (httprouter/router_test.go:`, `"GET /a/{y}" (httprouter/router_test.go:`}},
			"malformed": {func() { r.Handle("nope", http.NotFoundHandler()) }, []string{`"nope"`}},
			"nil":       {func() { r.HandleErr("/x", nil) }, []string{"no handler", "httprouter/router_test.go:"}},
			"policy":    {func() { r.AddAuthPolicy(core.AuthPolicy{Path: "/*", Allow: core.AllowUnauthenticated}) }, []string{"/*", "httprouter/router_test.go:"}},
			"allowance": {func() { r.AddAuthPolicy(core.AuthPolicy{Path: "/x"}) }, []string{"core.AllowUserCookie"}},
			"nil use":   {func() { r.Use(nil) }, []string{"middleware"}},
		}
		for name, tt := range tests {
			func() {
				defer func() {
					message, _ := recover().(string)
					for _, want := range tt.want {
						if !strings.Contains(message, want) {
							t.Errorf("%s: panic %q lacks %q", name, message, want)
						}
					}
				}()
				tt.do()
			}()
		}
	})
}

func TestKeysAndCookie(t *testing.T) {
	t.Parallel()
	b := start(t, "", func(core.Router, core.HTTPAuthService) {})
	const keys, cookie = "/api/demo/.backstage/auth/v1/jwks.json", "/api/demo/.backstage/auth/v1/cookie"
	if resp, body := b.do("GET", keys, ""); resp.StatusCode != 200 || body != `{"keys":[{"kid":"k1"}]}` {
		t.Errorf("keys: %d %s", resp.StatusCode, body)
	}
	if resp, _ := b.do("POST", keys, ""); resp.StatusCode != 401 {
		t.Errorf("POST keys: %d", resp.StatusCode)
	}
	resp, body := b.do("GET", cookie, "user:jane")
	want := "backstage-auth=limited:jane; Domain=portal.test; Path=/; Expires=Wed, 02 Jan 2030 03:04:05 GMT; HttpOnly; Priority=High; SameSite=Lax"
	if resp.StatusCode != 200 || body != `{"expiresAt":"2030-01-02T03:04:05.000Z"}` || resp.Header.Get("Set-Cookie") != want {
		t.Errorf("cookie: %d %s %q", resp.StatusCode, body, resp.Header["Set-Cookie"])
	}
	if resp, body := b.do("GET", cookie, "service"); resp.StatusCode != 403 || !strings.Contains(body, "This endpoint does not allow 'service' credentials") {
		t.Errorf("cookie for a service: %d %s", resp.StatusCode, body)
	}
	if resp, _ := b.do("GET", cookie, ""); resp.StatusCode != 401 {
		t.Errorf("cookie for nobody: %d", resp.StatusCode)
	}
	resp, body = b.do("DELETE", cookie, "service")
	want = "backstage-auth=; Domain=portal.test; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Priority=High; SameSite=Lax"
	if resp.StatusCode != 204 || body != "" || resp.Header.Get("Set-Cookie") != want {
		t.Errorf("clear: %d %s %q", resp.StatusCode, body, resp.Header["Set-Cookie"])
	}
	if resp, _ := b.do("DELETE", cookie, ""); resp.StatusCode != 401 {
		t.Errorf("clear for nobody: %d", resp.StatusCode)
	}
}

func TestPluginRateLimit(t *testing.T) {
	t.Parallel()
	b := start(t, "  rateLimit: {global: false, plugin: {demo: {incomingRequestLimit: 1, ipAllowList: []}}}", func(r core.Router, _ core.HTTPAuthService) {
		r.HandleFunc("GET /a", ok)
	})
	if resp, _ := b.do("GET", "/api/demo/a", "service"); resp.StatusCode != 200 || resp.Header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("first: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := b.do("GET", "/api/demo/a", "service"); resp.StatusCode != 429 {
		t.Errorf("second: %d", resp.StatusCode)
	}
}
