package authbackend_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

// corp is an identity provider that gives a new refresh token each time.
type corp struct{}

func (corp) AuthorizeURL(_ context.Context, r oauth.AuthorizeRequest) (string, error) {
	return "http://idp.test/?" + url.Values{"scope": {r.Scope}, "state": {r.State}}.Encode(), nil
}

func (corp) Authenticate(_ context.Context, c oauth.Callback) (oauth.Result[string], error) {
	return oauth.Result[string]{User: c.Query.Get("code"), Session: oauth.Session{AccessToken: "a", RefreshToken: "first"}}, nil
}

func (corp) Refresh(_ context.Context, r oauth.RefreshRequest) (oauth.Result[string], error) {
	return oauth.Result[string]{User: "joe", Session: oauth.Session{AccessToken: "a", RefreshToken: r.RefreshToken + "+"}}, nil
}

// The middleware of the server must leave alone what the kit decides.
func TestOAuthBehindTheWholeServer(t *testing.T) {
	t.Parallel()
	r := start(t, memory+"auth: { providers: { corp: { development: {} } } }", provider("corp", oauth.Provider[string]{
		Initialize: func(context.Context, oauth.Options) (oauth.Authenticator[string], error) { return corp{}, nil },
		SignIn: func(ctx context.Context, info authnode.SignInInfo[oauth.Result[string]], s authnode.SignInContext) (authnode.SignInResult, error) {
			if info.Result.User == "joe" {
				return authnode.SignInResult{}, apierr.NotAllowed("joe has left")
			}
			return s.IssueToken(ctx, authnode.TokenClaims{Subject: "user:default/" + info.Result.User})
		},
	}.Factory()))
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	resp, body := r.send(t, http.MethodGet, "/api/auth/corp/start?env=development&scope=a")
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusFound || body != "" || at.Query().Get("scope") != "a" {
		t.Fatalf("start: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	nonce, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	resp, body = r.send(t, http.MethodGet, "/api/auth/corp/handler/frame?code=jane&state="+at.Query().Get("state"), "Cookie", nonce)
	h := resp.Header
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(h.Get("Content-Security-Policy"), "script-src 'sha256-") || len(h["Content-Security-Policy"]) != 1 || h.Get("X-Frame-Options") != "sameorigin" || len(h["X-Frame-Options"]) != 1 {
		t.Errorf("page: %d %v", resp.StatusCode, h)
	}
	if text, err := url.PathUnescape(body); err != nil || !strings.Contains(text, `"userEntityRef":"user:default/jane"`) {
		t.Errorf("page: %s", text)
	}
	var cookie string
	for _, c := range resp.Cookies() {
		if c.Name == "corp-refresh-token" {
			cookie = c.Name + "=" + c.Value
		}
	}
	// The user may not sign in any more, but the session at the identity
	// provider goes on.
	resp, body = r.send(t, http.MethodGet, "/api/auth/corp/refresh?env=development", "X-Requested-With", "XMLHttpRequest", "Cookie", cookie)
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `"message":"Refresh failed; caused by NotAllowedError: joe has left"`) {
		t.Errorf("refresh: %d %s", resp.StatusCode, body)
	}
	if set := resp.Cookies(); len(set) != 1 || set[0].Value != "first%2B" {
		t.Errorf("cookies %v", set)
	}
	r.check(t, http.MethodGet, "/api/auth/corp/start", 400, apierr.KindInput, "/corp/start")
	r.check(t, http.MethodGet, "/api/auth/corp/start?env=production", 404, apierr.KindNotFound, "/corp/start?env=production")
}
