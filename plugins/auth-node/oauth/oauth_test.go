package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app     = "http://app.test"
	preview = "http://preview.test"
	evil    = "http://evil.test"
)

// identityProvider signs in whom a code or a refresh token names.
type identityProvider struct {
	mu      sync.Mutex
	asked   oauth.RefreshRequest
	revoked string

	rotate    bool   // gives a new refresh token each time
	logoutURL string // where users have to go
	long      int    // length of the refresh token
}

func (p *identityProvider) AuthorizeURL(_ context.Context, scope, state string) (string, error) {
	return "http://idp.test/authorize?" + url.Values{"scope": {scope}, "state": {state}}.Encode(), nil
}

func (p *identityProvider) Authenticate(_ context.Context, query url.Values) (oauth.Result[string], error) {
	switch code := query.Get("code"); code {
	case "odd":
		return oauth.Result[string]{}, errors.New("dial tcp: hunter2")
	case "used":
		return oauth.Result[string]{}, apierr.Authentication("the code was used")
	default:
		r := oauth.Result[string]{User: code, Session: oauth.Session{
			AccessToken: "access " + code, IDToken: "id", Scope: "granted|b,c", ExpiresIn: 90 * time.Minute, RefreshToken: "refresh/+= " + code,
		}}
		if p.long > 0 {
			r.Session.RefreshToken = strings.Repeat("x", p.long)
		}
		return r, nil
	}
}

func (p *identityProvider) Refresh(_ context.Context, r oauth.RefreshRequest) (oauth.Result[string], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = r
	_, user, ok := strings.Cut(r.RefreshToken, "= ")
	if !ok && p.long == 0 {
		return oauth.Result[string]{}, apierr.Authentication("unknown token")
	}
	s := oauth.Session{AccessToken: "again", Scope: r.Scope}
	if p.rotate {
		s.RefreshToken = r.RefreshToken + "!"
	}
	return oauth.Result[string]{User: user, Session: s}, nil
}

func (p *identityProvider) Revoke(_ context.Context, token string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = token
	return p.logoutURL, nil
}

// directory signs everybody in but joe.
type directory struct{ authnode.SignInContext }

func (directory) SignInWithCatalogUser(_ context.Context, q authnode.UserQuery, _ authnode.SignInOptions) (authnode.SignInResult, error) {
	if q.EntityRef == "joe" {
		return authnode.SignInResult{}, apierr.NotAllowed("joe stays out")
	}
	ref := "user:default/" + q.EntityRef
	token := core.NewToken("e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+ref+`"}`)) + ".c2ln")
	return authnode.SignInResult{Token: token, UserEntityRef: ref, OwnershipEntityRefs: []string{ref}}, nil
}

func byName(ctx context.Context, info authnode.SignInInfo[oauth.Result[string]], s authnode.SignInContext) (authnode.SignInResult, error) {
	return s.SignInWithCatalogUser(ctx, authnode.UserQuery{EntityRef: info.Result.User}, authnode.SignInOptions{})
}

// portal is an auth plugin with the provider "corp", and a browser.
type portal struct {
	url string
	// browser does not follow redirects.
	browser *http.Client
	idp     *identityProvider
}

// newPortal starts a portal. The provider's configuration, in YAML, is that of
// the environment "dev"; change may alter the provider.
func newPortal(t *testing.T, idp *identityProvider, config string, change func(*oauth.Provider[string])) *portal {
	t.Helper()
	p := oauth.Provider[string]{
		Initialize: func(context.Context, oauth.Options) (oauth.Authenticator[string], error) { return idp, nil },
		Profile: func(_ context.Context, r oauth.Result[string]) (authnode.Profile, error) {
			return authnode.Profile{DisplayName: "<" + r.User + ">'"}, nil
		},
		Required: []string{"openid", "profile"},
		SignIn:   byName,
	}
	if change != nil {
		change(&p)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(http.StripPrefix("/api/auth", mux))
	t.Cleanup(server.Close)
	made, err := p.Factory()(t.Context(), authnode.ProviderOptions{
		ID: "corp", BaseURL: server.URL + "/api/auth", AppURL: app + "/backstage",
		OriginAllowed: func(o string) bool { return o == app || o == preview },
		Config:        configtest.FromYAML(t, "dev: {"+config+"}\nother: {}"),
		Logger:        slog.New(slog.DiscardHandler), SignIn: directory{},
	})
	if err != nil {
		t.Fatal(err)
	}
	for pattern, h := range map[string]authnode.Handler{
		"GET /corp/start": made.Start, "/corp/handler/frame": made.Frame, "/corp/refresh": made.Refresh, "POST /corp/logout": made.Logout,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				apierr.Write(w, r, err, "masked")
			}
		})
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &portal{url: server.URL + "/api/auth/corp", idp: idp, browser: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *portal) send(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.browser.Do(req)
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

// start begins a sign-in and returns the state, and what it consists of.
func (p *portal) start(t *testing.T, query string) (encoded string, s url.Values, scope string) {
	t.Helper()
	resp, body := p.send(t, http.MethodGet, "/start?"+query)
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusFound || at.Host != "idp.test" || body != "" {
		t.Fatalf("start: %d %s %s", resp.StatusCode, at, body)
	}
	encoded = at.Query().Get("state")
	raw, err := hex.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = url.ParseQuery(string(raw)); err != nil {
		t.Fatal(err)
	}
	return encoded, s, at.Query().Get("scope")
}

var (
	scriptOf = regexp.MustCompile(`(?s)^<html><body><script>(.*)</script></body></html>$`)
	posted   = regexp.MustCompile(`decodeURIComponent\('([^']*)'\)`)
)

// page returns what the page of the popup posts, and to which origin.
func page(t *testing.T, resp *http.Response, body string) (origin, result string) {
	t.Helper()
	script := scriptOf.FindStringSubmatch(body)
	if script == nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html" || resp.Header.Get("X-Frame-Options") != "sameorigin" {
		t.Fatalf("page: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	sum := sha256.Sum256([]byte(script[1]))
	if want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; resp.Header.Get("Content-Security-Policy") != want {
		t.Errorf("policy %s, want %s", resp.Header.Get("Content-Security-Policy"), want)
	}
	texts := posted.FindAllStringSubmatch(script[1], -1)
	if len(texts) != 2 {
		t.Fatalf("script %s", script[1])
	}
	var plain [2]string
	for i, text := range texts {
		var err error
		if plain[i], err = url.PathUnescape(text[1]); err != nil {
			t.Fatal(err)
		}
	}
	if !json.Valid([]byte(plain[1])) {
		t.Errorf("result %s", plain[1])
	}
	return plain[0], plain[1]
}

const xhr = "X-Requested-With"

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

func TestLongTokensAreSplit(t *testing.T) {
	t.Parallel()
	idp := &identityProvider{long: 9000}
	p := newPortal(t, idp, "", nil)
	names := func(resp *http.Response) (all []string) {
		for _, c := range resp.Cookies() {
			if len(c.Value) > 4096 {
				t.Errorf("cookie %s has %d bytes", c.Name, len(c.Value))
			}
			if c.MaxAge > 0 {
				all = append(all, c.Name)
			} else {
				all = append(all, "-"+c.Name)
			}
		}
		return all
	}
	signIn := func(length int) []string {
		t.Helper()
		idp.long = length
		encoded, _, _ := p.start(t, "env=dev")
		resp, _ := p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
		got := names(resp)
		if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK || idp.asked.RefreshToken != strings.Repeat("x", length) {
			t.Errorf("refresh of %d bytes: %d %s", length, resp.StatusCode, body)
		}
		return got
	}
	for _, tt := range []struct {
		length int
		want   string
	}{
		{9000, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 corp-refresh-token-2"},
		{5000, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 -corp-refresh-token-2"},
		{4000, "-corp-nonce corp-refresh-token -corp-refresh-token-0 -corp-refresh-token-1"},
		{4001, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 -corp-refresh-token"},
	} {
		if got := strings.Join(signIn(tt.length), " "); got != tt.want {
			t.Errorf("%d bytes: cookies %s, want %s", tt.length, got, tt.want)
		}
	}
	resp, _ := p.send(t, http.MethodPost, "/logout?env=dev", xhr, "XMLHttpRequest")
	if got := strings.Join(names(resp), " "); got != "-corp-refresh-token-0 -corp-refresh-token-1" {
		t.Errorf("logout: cookies %s", got)
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ config, origin, nonce, token string }{
		"plain": {"callbackUrl: 'http://host.test/api/auth/corp/handler/frame'", app,
			"Max-Age=600; Path=/api/auth/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; SameSite=Lax",
			"Max-Age=86400000; Path=/api/auth/corp; Expires=Mon, 27 Sep 2032 12:00:00 GMT; HttpOnly; SameSite=Lax"},
		"another host by TLS": {"callbackUrl: 'https://host.test/api/auth/corp/handler/frame', sessionDuration: {hours: 1}", preview,
			"Max-Age=600; Path=/api/auth/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; Secure; SameSite=None",
			"Max-Age=3600; Path=/api/auth/corp; Expires=Tue, 01 Jan 2030 13:00:00 GMT; HttpOnly; Secure; SameSite=None"},
		"the same host by TLS": {"callbackUrl: 'https://app.test/elsewhere'", app,
			"Max-Age=600; Path=/elsewhere/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; Secure; SameSite=Lax",
			"Max-Age=86400000; Path=/elsewhere/corp; Expires=Mon, 27 Sep 2032 12:00:00 GMT; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPortal(t, &identityProvider{}, tt.config, func(p *oauth.Provider[string]) {
				p.Now = func() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }
			})
			p.browser.Jar = nil
			resp, _ := p.send(t, http.MethodGet, "/start?env=dev&origin="+tt.origin)
			set := resp.Header["Set-Cookie"]
			if len(set) != 1 {
				t.Fatalf("cookies %q", set)
			}
			nonce, attributes, _ := strings.Cut(set[0], "; ")
			if attributes != tt.nonce || !regexp.MustCompile(`^corp-nonce=[A-Za-z0-9%]+%3D%3D$`).MatchString(nonce) {
				t.Errorf("cookie %s\nwant %s", set[0], tt.nonce)
			}
			at, err := url.Parse(resp.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			resp, _ = p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+at.Query().Get("state"), "Cookie", nonce)
			set = resp.Header["Set-Cookie"]
			if want := "corp-refresh-token=refresh%2F%2B%3D%20jane; " + tt.token; len(set) != 2 || set[1] != want {
				t.Errorf("cookies %q\nwant %s", set, want)
			}
		})
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
