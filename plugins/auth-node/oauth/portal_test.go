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

func (p *identityProvider) AuthorizeURL(_ context.Context, r oauth.AuthorizeRequest) (string, error) {
	return "http://idp.test/authorize?" + url.Values{"scope": {r.Scope}, "state": {r.State}}.Encode(), nil
}

func (p *identityProvider) Authenticate(_ context.Context, c oauth.Callback) (oauth.Result[string], error) {
	switch code := c.Query.Get("code"); code {
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
