package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/configtest"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

func TestSignInInPopup(t *testing.T) {
	t.Parallel()
	p := newPortal(t, &identityProvider{}, "additionalScopes: 'extra, openid'", nil)
	encoded, s, scope := p.start(t, "env=dev&origin="+url.QueryEscape(preview)+"&flow=popup&scope=read:user+openid")
	if scope != "read:user openid profile extra" {
		t.Errorf("scope %q", scope)
	}
	if nonce, err := base64.StdEncoding.DecodeString(s.Get("nonce")); err != nil || len(nonce) != 16 {
		t.Errorf("nonce %q", s.Get("nonce"))
	}
	raw, _ := hex.DecodeString(encoded)
	s.Del("nonce")
	if d := cmp.Diff(url.Values{"env": {"dev"}, "origin": {preview}, "flow": {"popup"}}, s); d != "" || !strings.HasPrefix(string(raw), "nonce=") {
		t.Errorf("state %s (-want +got):\n%s", raw, d)
	}

	// The environment comes from the state.
	resp, body := p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	origin, result := page(t, resp, body)
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"user:default/jane"}`)) + ".c2ln"
	want := `{"profile":{"displayName":"<jane>'"},"providerInfo":{"idToken":"id","accessToken":"access jane","scope":"granted b c","expiresInSeconds":5400},` +
		`"backstageIdentity":{"token":"` + token + `","identity":{"type":"user","userEntityRef":"user:default/jane","ownershipEntityRefs":["user:default/jane"]}}}`
	var got struct {
		Type     string
		Response any
	}
	var wanted any
	if err := errors.Join(json.Unmarshal([]byte(result), &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wanted, got.Response); d != "" || got.Type != "authorization_response" || origin != preview {
		t.Errorf("to %s, type %s, response (-want +got):\n%s", origin, got.Type, d)
	}
	if strings.Contains(body, "refresh/") || strings.Contains(body, "'>") || strings.Contains(result, "refresh") {
		t.Errorf("the page tells too much: %s", body)
	}

	// The nonce is good once.
	resp, body = p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	if _, result := page(t, resp, body); !strings.Contains(result, `"name":"NotAllowedError"`) {
		t.Errorf("the second time: %s", result)
	}

	resp, body = p.send(t, http.MethodPost, "/refresh?optional&env=dev&scope=more", xhr, "XMLHttpRequest", "Origin", app)
	if want := `{"profile":{"displayName":"<jane>'"},"providerInfo":{"accessToken":"again","scope":"more openid profile extra"},"backstageIdentity":{"token":"` + token + `","identity":{"type":"user","userEntityRef":"user:default/jane","ownershipEntityRefs":["user:default/jane"]}}}`; body != want {
		t.Errorf("refresh: %d %s\nwant %s", resp.StatusCode, body, want)
	}
	if d := cmp.Diff(oauth.RefreshRequest{RefreshToken: "refresh/+= jane", Scope: "more openid profile extra"}, p.idp.asked); d != "" || len(resp.Cookies()) != 0 {
		t.Errorf("cookies %v, the identity provider was asked (-want +got):\n%s", resp.Cookies(), d)
	}

	resp, body = p.send(t, http.MethodPost, "/logout?env=dev", xhr, "XMLHttpRequest", "Origin", app)
	if resp.StatusCode != http.StatusOK || body != "" || p.idp.revoked != "refresh/+= jane" {
		t.Errorf("logout: %d %s, revoked %q", resp.StatusCode, body, p.idp.revoked)
	}
	resp, body = p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest")
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `"message":"Refresh failed; caused by InputError: Missing session cookie"`) || !strings.Contains(body, `"cause":{`) {
		t.Errorf("after the logout: %d %s", resp.StatusCode, body)
	}
}

func TestSignInByRedirect(t *testing.T) {
	t.Parallel()
	p := newPortal(t, &identityProvider{}, "", nil)
	encoded, _, _ := p.start(t, "env=dev&flow=redirect&redirectUrl="+url.QueryEscape(app+"/catalog?a=b"))
	resp, body := p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != app+"/catalog?a=b" || body != "" {
		t.Errorf("end: %d %s %s", resp.StatusCode, resp.Header.Get("Location"), body)
	}
	if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK {
		t.Errorf("refresh: %d %s", resp.StatusCode, body)
	}
	encoded, _, _ = p.start(t, "env=dev&flow=redirect&redirectUrl="+url.QueryEscape(app+"/catalog?a=b"))
	resp, _ = p.send(t, http.MethodGet, "/handler/frame?error=access_denied&error_description=not+today&state="+encoded)
	if want := app + "/catalog?a=b&error=Authentication+rejected%2C+not+today"; resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != want {
		t.Errorf("refused: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	encoded, _, _ = p.start(t, "env=dev&flow=redirect")
	resp, body = p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	if origin, result := page(t, resp, body); !strings.Contains(result, "No redirectUrl") || origin != app {
		t.Errorf("without a URL: %s to %s", result, origin)
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	p := newPortal(t, &identityProvider{}, "", nil)
	state := func(form string) string { return hex.EncodeToString([]byte(form)) }
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
		kind         apierr.Kind
	}{
		{"GET", "/start", nil, 400, apierr.KindInput},
		{"GET", "/start?env=prod", nil, 404, apierr.KindNotFound},
		{"GET", "/handler/frame", nil, 400, apierr.KindInput},
		{"GET", "/handler/frame?state=zz", nil, 403, apierr.KindNotAllowed},
		{"GET", "/handler/frame?state=" + state("nonce=x"), nil, 403, apierr.KindNotAllowed},
		{"GET", "/handler/frame?state=" + state("env=dev"), nil, 403, apierr.KindNotAllowed},
		{"GET", "/handler/frame?state=" + state("nonce=x&env=prod"), nil, 404, apierr.KindNotFound},
		{"GET", "/handler/frame?state=" + strings.Repeat("ab", 9000), nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&origin=" + evil, nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&origin=null", nil, 400, apierr.KindInput},
		{"GET", "/start?env=dev&redirectUrl=" + evil + "/x", nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&redirectUrl=" + url.QueryEscape(app+"@evil.test/"), nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&redirectUrl=" + url.QueryEscape(evil+`\@app.test/`), nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&redirectUrl=" + url.QueryEscape("http:\t//evil.test"), nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&redirectUrl=//evil.test", nil, 403, apierr.KindNotAllowed},
		{"GET", "/start?env=dev&redirectUrl=javascript:alert(1)", nil, 403, apierr.KindNotAllowed},
		{"GET", "/refresh?env=dev", nil, 401, apierr.KindAuthentication},
		{"POST", "/refresh?env=dev", []string{xhr, "fetch"}, 401, apierr.KindAuthentication},
		{"GET", "/refresh?env=dev", []string{xhr, "XMLHttpRequest", "Cookie", "corp-refresh-token=bad"}, 401, apierr.KindAuthentication},
		{"POST", "/logout?env=dev", nil, 401, apierr.KindAuthentication},
		{"POST", "/logout?env=dev", []string{xhr, "XMLHttpRequest", "Origin", evil}, 403, apierr.KindNotAllowed},
	} {
		resp, body := p.send(t, tt.method, tt.path, tt.header...)
		var got struct{ Error struct{ Name apierr.Kind } }
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != tt.status || got.Error.Name != tt.kind {
			t.Errorf("%s %.100s: %d %s, want %d %s", tt.method, tt.path, resp.StatusCode, body, tt.status, tt.kind)
		}
	}
}

// What is wrong after the environment is known is told to the frontend, and
// to nobody else.
func TestFailedSignIns(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		query  string                    // of the answer of the identity provider
		start  string                    // of the start
		forge  func(nonce string) string // another state
		forget bool                      // the browser loses its cookies
		name   apierr.Kind
		text   string
		origin string
	}{
		"refused":         {query: "error=access_denied&error_description=no", name: apierr.KindError, text: "Authentication rejected, no"},
		"failed":          {query: "error=server_error", name: apierr.KindError, text: "Authentication failed, server_error"},
		"named error":     {query: "code=used", name: apierr.KindAuthentication, text: "the code was used"},
		"internal error":  {query: "code=odd", name: apierr.KindError, text: "the log of the backend"},
		"resolver":        {query: "code=joe", name: apierr.KindNotAllowed, text: "joe stays out"},
		"preview page":    {query: "code=joe", start: "&origin=" + preview, name: apierr.KindNotAllowed, text: "joe stays out", origin: preview},
		"another browser": {query: "code=jane", forget: true, name: apierr.KindNotAllowed, text: "missing cookie nonce"},
		"another nonce":   {query: "code=jane", forge: func(string) string { return "nonce=x&env=dev" }, name: apierr.KindNotAllowed, text: "Invalid nonce"},
		"evil origin":     {query: "code=jane", forge: func(nonce string) string { return "nonce=" + nonce + "&env=dev&origin=" + evil }, name: apierr.KindNotAllowed, text: "not allowed"},
		"evil redirect": {query: "code=jane", forge: func(nonce string) string {
			return "nonce=" + nonce + "&env=dev&flow=redirect&redirectUrl=" + evil
		}, name: apierr.KindNotAllowed, text: "redirectUrl"},
		"evil redirect of an error": {query: "error=x", forge: func(string) string { return "nonce=x&env=dev&flow=redirect&redirectUrl=" + evil }, name: apierr.KindNotAllowed, text: "redirectUrl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPortal(t, &identityProvider{}, "", nil)
			encoded, s, _ := p.start(t, "env=dev"+tt.start)
			if tt.forge != nil {
				encoded = hex.EncodeToString([]byte(tt.forge(url.QueryEscape(s.Get("nonce")))))
			}
			if tt.forget {
				p.browser.Jar = nil
			}
			resp, body := p.send(t, http.MethodGet, "/handler/frame?"+tt.query+"&state="+encoded)
			origin, result := page(t, resp, body)
			var got struct {
				Type     string
				Response any
				Error    struct{ Name, Message string }
			}
			if err := json.Unmarshal([]byte(result), &got); err != nil {
				t.Fatal(err)
			}
			if tt.origin == "" {
				tt.origin = app
			}
			if got.Type != "authorization_response" || got.Response != nil || got.Error.Name != string(tt.name) || !strings.Contains(got.Error.Message, tt.text) || strings.Contains(body, "hunter2") || origin != tt.origin {
				t.Errorf("%s to %s", result, origin)
			}
			for _, c := range resp.Cookies() {
				if c.Value != "" {
					t.Errorf("cookie %s", c)
				}
			}
		})
	}
}

func TestPersistedScopes(t *testing.T) {
	t.Parallel()
	p := newPortal(t, &identityProvider{rotate: true}, "", func(p *oauth.Provider[string]) { p.PersistScopes, p.SignIn = true, nil })
	refresh := func(scope string) (oauth.RefreshRequest, string) {
		t.Helper()
		resp, body := p.send(t, http.MethodGet, "/refresh?env=dev&scope="+scope, xhr, "XMLHttpRequest")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("refresh: %d %s", resp.StatusCode, body)
		}
		return p.idp.asked, body
	}
	encoded, s, _ := p.start(t, "env=dev&scope=a")
	if s.Get("scope") != "a openid profile" {
		t.Errorf("state %v", s)
	}
	p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
	asked, body := refresh("openid")
	if !asked.ScopeGranted || asked.Scope != "openid a profile" || strings.Contains(body, "backstageIdentity") {
		t.Errorf("asked %+v, answer %s", asked, body)
	}
	asked, body = refresh("b")
	if asked.ScopeGranted || asked.RefreshToken != "refresh/+= jane!" || !strings.Contains(body, `"scope":"b openid a profile"`) {
		t.Errorf("asked %+v, answer %s", asked, body)
	}
	if asked, _ = refresh("b"); !asked.ScopeGranted || asked.RefreshToken != "refresh/+= jane!!" {
		t.Errorf("asked %+v", asked)
	}
	if _, s, _ := p.start(t, "env=dev&scope=c"); s.Get("scope") != "c b openid a profile" {
		t.Errorf("state %v", s)
	}
}

func TestLogoutPage(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		"https://idp.test/bye":      `{"logoutUrl":"https://idp.test/bye"}`,
		"http://localhost:9000/bye": `{"logoutUrl":"http://localhost:9000/bye"}`,
		"http://idp.test/bye":       "",
		"javascript:alert(1)":       "",
		"":                          "",
	} {
		p := newPortal(t, &identityProvider{logoutURL: page}, "", nil)
		if resp, body := p.send(t, http.MethodPost, "/logout?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK || body != want {
			t.Errorf("%q: %d %s, want %s", page, resp.StatusCode, body, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	made := oauth.Provider[string]{Initialize: func(_ context.Context, o oauth.Options) (oauth.Authenticator[string], error) {
		if _, err := o.Config.String("clientId"); err != nil {
			return nil, err
		}
		return &identityProvider{}, nil
	}}
	for config, problem := range map[string]string{
		"dev: {clientId: x, callbackUrl: /relative}":                    "callbackUrl",
		"dev: {clientId: x, sessionDuration: soon}":                     "sessionDuration",
		"dev: {clientId: x, additionalScopes: {a: b}}":                  "additionalScopes",
		"dev: {clientId: x, signIn: {resolvers: [{resolver: nobody}]}}": "nobody",
		"dev: {clientId: x}\nprod: {}":                                  `"prod"`,
	} {
		_, err := made.Factory()(t.Context(), authnode.ProviderOptions{ID: "corp", BaseURL: "http://x", AppURL: app, Config: configtest.FromYAML(t, config), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: error %v", config, err)
		}
	}
	if _, err := (oauth.Provider[string]{}).Factory()(t.Context(), authnode.ProviderOptions{Config: configtest.FromYAML(t, "{}")}); err == nil {
		t.Error("a provider that authenticates nobody is there")
	}
}

// Whatever comes back from the identity provider, the result goes to an
// allowed origin.
func FuzzFrame(f *testing.F) {
	made, err := oauth.Provider[string]{Initialize: func(context.Context, oauth.Options) (oauth.Authenticator[string], error) {
		return &identityProvider{}, nil
	}}.Factory()(f.Context(), authnode.ProviderOptions{
		ID: "corp", BaseURL: "http://x", AppURL: app, Config: configtest.FromYAML(f, "dev: {}"),
		OriginAllowed: func(o string) bool { return o == app }, Logger: slog.New(slog.DiscardHandler), SignIn: directory{},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "nonce=n&env=dev", "nonce=n&env=dev&origin=http://evil.test", "nonce=n&env=dev&flow=redirect&redirectUrl=http://app.test@evil.test", "nonce=n&env=dev&flow=redirect&redirectUrl=http://app.test/%zz", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		r := httptest.NewRequest(http.MethodGet, "/corp/handler/frame?env=dev&code=jane&state="+hex.EncodeToString([]byte(form)), nil)
		r.Header.Set("Cookie", "corp-nonce=n")
		w := httptest.NewRecorder()
		if err := made.Frame(w, r); err != nil {
			return
		}
		if to := w.Header().Get("Location"); to != "" {
			if u, err := url.Parse(to); err != nil || u.Scheme+"://"+u.Host != app && strings.TrimSuffix(strings.ToLower(u.Scheme+"://"+u.Host), ":80") != app {
				t.Errorf("state %q redirects to %q", form, to)
			}
			return
		}
		if !strings.Contains(w.Body.String(), "decodeURIComponent('"+url.QueryEscape(app)+"')") {
			t.Errorf("state %q posts %s", form, w.Body)
		}
	})
}
