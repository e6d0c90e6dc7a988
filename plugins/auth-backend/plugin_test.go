package authbackend_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core/jsonschema"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	answer := func(text string) authnode.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			_, err := io.WriteString(w, text+" "+r.URL.Path)
			return err
		}
	}
	r := start(t, memory+"auth: { providers: { full: { x: 1 }, Part: {}, nobody: {} } }",
		provider("full", func(_ context.Context, o authnode.ProviderOptions) (authnode.Provider, error) {
			if x, err := o.Config.IntOr("x", 0); x != 1 || err != nil {
				return authnode.Provider{}, errors.New("the configuration is not that of the provider")
			}
			if o.ID != "full" || o.BaseURL != "http://localhost:7007/api/auth" || o.AppURL != "http://localhost:3000" || o.Development || !o.OriginAllowed("http://localhost:3000") || o.OriginAllowed("http://evil.test") {
				return authnode.Provider{}, errors.New("odd options")
			}
			return authnode.Provider{Start: answer("start"), Frame: answer("frame"), Refresh: answer("refresh"), Logout: answer("logout")}, nil
		}),
		provider("Part", func(context.Context, authnode.ProviderOptions) (authnode.Provider, error) {
			return authnode.Provider{Refresh: func(http.ResponseWriter, *http.Request) error { return apierr.NotAllowed("no") }}, nil
		}),
		provider("absent", nil1), issuer)

	for request, want := range map[string]string{
		"GET /api/auth/full/start":              "start /full/start",
		"GET /api/auth/full/handler/frame?x=1":  "frame /full/handler/frame",
		"POST /api/auth/full/handler/frame":     "frame /full/handler/frame",
		"GET /api/auth/full/refresh":            "refresh /full/refresh",
		"POST /api/auth/full/refresh":           "refresh /full/refresh",
		"POST /api/auth/full/logout":            "logout /full/logout",
		"GET /api/auth/FULL/start/":             "start /FULL/start/",
		"GET /api/auth/.well-known/jwks.json":   `{"keys":[]}`,
		"GET /api/auth/.well-known/jwks.json?x": `{"keys":[]}`,
	} {
		method, path, _ := strings.Cut(request, " ")
		if resp, body := r.send(t, method, path); resp.StatusCode != http.StatusOK || body != want {
			t.Errorf("%s: %d %s, want %s", request, resp.StatusCode, body, want)
		}
	}
	for _, tt := range []struct {
		request string
		status  int
		kind    apierr.Kind
		message string
	}{
		{"GET /part/refresh?env=x", 403, apierr.KindNotAllowed, "no"},
		{"POST /part/logout", 404, apierr.KindNotFound, "Unknown auth provider 'part'"},
		{"GET /part/start", 404, apierr.KindNotFound, "Unknown auth provider 'part'"},
		{"POST /full/start", 404, apierr.KindNotFound, "Unknown auth provider 'full'"},
		{"GET /absent/start", 404, apierr.KindNotFound, "No auth provider registered for 'absent'"},
		{"DELETE /absent", 404, apierr.KindNotFound, "No auth provider registered for 'absent'"},
		{"GET /nobody/start?env=x", 404, apierr.KindNotFound, "Unknown auth provider 'nobody'"},
		{"POST /nothere/refresh", 404, apierr.KindNotFound, "Unknown auth provider 'nothere'"},
		{"GET /foo", 404, apierr.KindNotFound, "Unknown auth provider 'foo'"},
		{"GET /v1/token", 404, apierr.KindNotFound, "Unknown auth provider 'v1'"},
		{"GET /.backstage/scheduler/v1/tasks", 404, apierr.KindNotFound, "Unknown auth provider '.backstage'"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if body := r.check(t, method, "/api/auth"+path, tt.status, tt.kind, path); !strings.Contains(body, `"message":"`+tt.message+`"`) {
			t.Errorf("%s: %s, want the message %q", tt.request, body, tt.message)
		}
	}

	resp, body := r.send(t, http.MethodGet, "/api/auth/.well-known/oauth-client/cli.json")
	if want := `{"error":"not_found","error_description":"Client ID metadata documents not enabled"}`; resp.StatusCode != 404 || body != want {
		t.Errorf("client metadata: %d %s", resp.StatusCode, body)
	}
	const b = "http://localhost:7007/api/auth"
	_, body = r.send(t, http.MethodGet, "/api/auth/.well-known/openid-configuration")
	want := `{"issuer":"` + b + `","token_endpoint":"` + b + `/v1/token","userinfo_endpoint":"` + b + `/v1/userinfo","jwks_uri":"` + b + `/.well-known/jwks.json",` +
		`"response_types_supported":["code","id_token"],"subject_types_supported":["public"],` +
		`"id_token_signing_alg_values_supported":["RS256","RS384","RS512","ES256","ES384","ES512","PS256","PS384","PS512","EdDSA"],` +
		`"scopes_supported":["openid"],"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],` +
		`"claims_supported":["sub","ent"],"grant_types_supported":["authorization_code"],` +
		`"authorization_endpoint":"` + b + `/v1/authorize","code_challenge_methods_supported":["S256","plain"]}`
	if d := cmp.Diff(want, body); d != "" {
		t.Errorf("OpenID configuration (-want +got):\n%s", d)
	}
}

func nil1(context.Context, authnode.ProviderOptions) (authnode.Provider, error) {
	return authnode.Provider{}, errors.New("a provider without configuration was made")
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	r := start(t, memory+"auth: { providers: { issuer: {} } }", issuer)
	const path = "/api/auth/v1/userinfo"
	jane := r.issue(t, "sub=user:default/jane&ent=user:default/jane&ent=group:default/a&level=3")
	if _, body := r.send(t, http.MethodGet, path, "Authorization", "Bearer "+jane); body != `{"claims":{"ent":["user:default/jane","group:default/a"],"level":"3","sub":"user:default/jane"},"sub":"user:default/jane"}` {
		t.Errorf("user info %s", body)
	}
	// The cookie has the limited form of the token, which will do as a token,
	// not as a cookie.
	resp, _ := r.send(t, http.MethodGet, "/api/auth/.backstage/auth/v1/cookie", "Authorization", "Bearer "+jane)
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	if _, body := r.send(t, http.MethodGet, path, "Authorization", "Bearer "+cookies[0].Value); !strings.Contains(body, `"group:default/a"`) {
		t.Errorf("user info for a limited token %s", body)
	}
	r.check(t, http.MethodGet, path, 401, apierr.KindAuthentication, "/v1/userinfo", "Cookie", "backstage-auth="+cookies[0].Value)
	r.check(t, http.MethodGet, path, 401, apierr.KindAuthentication, "/v1/userinfo")
	r.check(t, http.MethodGet, path, 401, apierr.KindAuthentication, "/v1/userinfo", "Authorization", "Bearer not-a-token")
	r.check(t, http.MethodGet, path, 400, apierr.KindInput, "/v1/userinfo", "Authorization", "Bearer static-token")
}

func TestStartProblems(t *testing.T) {
	t.Parallel()
	broken := provider("broken", func(context.Context, authnode.ProviderOptions) (authnode.Provider, error) {
		return authnode.Provider{}, errors.New("no secret")
	})
	for name, tt := range map[string]struct {
		config   string
		features []backend.Feature
		problem  string
	}{
		"broken provider":      {config: "auth: { providers: { broken: {} } }", features: []backend.Feature{broken}, problem: "no secret"},
		"two providers":        {features: []backend.Feature{issuer, module("again", "Issuer", nil1)}, problem: "already registered"},
		"name of a route":      {features: []backend.Feature{provider("v1", nil1)}, problem: "v1"},
		"name with a slash":    {features: []backend.Feature{provider("a/b", nil1)}, problem: "a/b"},
		"no factory":           {features: []backend.Feature{provider("nil", nil)}, problem: "no factory"},
		"two resolvers":        {features: []backend.Feature{resolver("one"), resolver("two")}, problem: "already set"},
		"unknown key store":    {config: "auth: { keyStore: { provider: firestore } }", problem: "firestore"},
		"unknown algorithm":    {config: "auth: { identityTokenAlgorithm: HS256 }", problem: "HS256"},
		"static without keys":  {config: "auth: { keyStore: { provider: static } }", problem: "auth.keyStore.static.keys"},
		"malformed pattern":    {config: "auth: { experimentalExtraAllowedOrigins: ['https://['] }", problem: "experimentalExtraAllowedOrigins"},
		"malformed expiration": {config: "auth: { backstageTokenExpiration: soon }", problem: "backstageTokenExpiration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(memory+tt.config, nil, tt.features...)
			err := b.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
			_ = b.Stop(context.Background()) // of what has started
		})
	}
}

func TestBrokenProviderInDevelopment(t *testing.T) {
	t.Parallel()
	b := newBackend(memory+"auth: { providers: { broken: {}, issuer: {} } }",
		[]authbackend.Option{authbackend.WithEnvironment(func(string) string { return "development" })},
		provider("broken", func(context.Context, authnode.ProviderOptions) (authnode.Provider, error) {
			return authnode.Provider{}, errors.New("hunter2")
		}), issuer)
	r := run(t, b)
	if body := r.check(t, http.MethodGet, "/api/auth/broken/start", 404, apierr.KindNotFound, "/broken/start"); !strings.Contains(body, "misconfigured") || strings.Contains(body, "hunter2") {
		t.Errorf("answer %s", body)
	}
	r.issue(t, "sub=user:default/jane")
}

func TestConfigKeysAreDescribed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jsonschema.Compile(text); err != nil {
		t.Fatal(err)
	}
	var check func(path string, schema map[string]any)
	check = func(path string, schema map[string]any) {
		if items, ok := schema["items"].(map[string]any); ok {
			check(path+"[]", items)
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, v := range properties {
			p, _ := v.(map[string]any)
			if p["description"] == nil {
				t.Errorf("%s.%s has no description", path, name)
			}
			check(path+"."+name, p)
		}
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	check("", schema)
}
