package authmoduleoidcprovider_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/fakeidp"
	"github.com/flytower/flytower/internal/signintest"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	oidc "github.com/flytower/flytower/plugins/auth-backend-module-oidc-provider"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const (
	issuer      = "https://login.test/realm"
	metadataURL = issuer + "/.well-known/openid-configuration"
	tokenURL    = issuer + "/token"
	userURL     = issuer + "/userinfo"
	byEmail     = "signIn: {resolvers: [{resolver: emailMatchingUserEntityProfileEmail}]}"
	usual       = "metadataUrl: '" + metadataURL + "', clientId: app, clientSecret: 's3cr%t:/', prompt: auto, "
)

func corp() fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cr%t:/", Callback: signintest.Callback("oidc"), Header: true,
		Authorize: issuer + "/authorize", Token: tokenURL, UserInfo: userURL, Revoke: issuer + "/revoke", Keys: issuer + "/keys",
		Metadata: metadataURL, Issuer: issuer, ExpiresIn: time.Hour, RefreshTokens: true, Rotate: true,
	}
}

func person(name string) fakeidp.User {
	return fakeidp.User{Subject: name, Claims: map[string]any{
		"sub": name, "email": name + "@example.com", "email_verified": true, "name": strings.ToUpper(name), "picture": "https://pictures.test/" + name,
	}}
}

func settings(idp *fakeidp.Server, config string) signintest.Settings {
	p := oidc.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Settings{
		Provider: "oidc", Config: "{" + config + "}", IDP: idp, Users: nil,
		Features: []backend.Feature{authbackend.Plugin, oidc.New(p)},
	}
}

func start(t *testing.T, idp *fakeidp.Server, config string) *signintest.Portal {
	t.Helper()
	s := settings(idp, config)
	s.Users = append(s.Users, signintest.User("jane"), signintest.User("mallory"))
	return signintest.Start(t, s)
}

func TestWholeSession(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	idp.SignIn(person("jane"))
	p := start(t, idp, usual+byEmail+", startUrlSearchParams: {acr_values: high}")
	if n := idp.Requests(metadataURL); n != 0 {
		t.Errorf("%d requests for metadata during the start", n)
	}
	b := p.Browser()
	first := b.MustSignIn(t, "&scope=groups")
	want := map[string]string{"email": "jane@example.com", "displayName": "JANE", "picture": "https://pictures.test/jane"}
	if d := cmp.Diff(want, first.Profile); d != "" || first.User() != "user:default/jane" || first.ProviderInfo.IDToken == "" {
		t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
	}
	asked := idp.Asked()
	if asked.Get("scope") != "groups openid profile email" || asked.Get("nonce") == "" || asked.Get("code_challenge_method") != "S256" || asked.Has("prompt") || asked.Get("acr_values") != "high" {
		t.Errorf("asked %v", asked)
	}
	cookie := b.Cookies(t)["oidc-refresh-token"]
	again, resp := b.Refresh(t, "&scope=groups")
	if again == nil || again.User() != first.User() || again.ProviderInfo.AccessToken == first.ProviderInfo.AccessToken || again.ProviderInfo.Scope != "groups openid profile email" {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
	if b.Cookies(t)["oidc-refresh-token"] == cookie {
		t.Error("the browser has the old refresh token")
	}
	last, err := url.PathUnescape(b.Cookies(t)["oidc-refresh-token"])
	if resp := b.Logout(t); err != nil || resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 || !cmp.Equal(idp.Revoked(), []string{last}) {
		t.Errorf("logout: %d %s, revoked %q, cookies %v", resp.StatusCode, resp.Text, idp.Revoked(), b.Cookies(t))
	}
	if again, _ := b.Refresh(t, ""); again != nil {
		t.Error("the session goes on after the logout")
	}
	if n := idp.Requests(metadataURL); n != 1 {
		t.Errorf("%d requests for metadata", n)
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config string
		server func(*fakeidp.Settings)
		forge  fakeidp.Forgery
		check  func(t *testing.T, asked url.Values)
	}{
		"issuer as address":    {config: strings.Replace(usual, metadataURL, issuer+"/", 1)},
		"secret in the form":   {config: usual + "tokenEndpointAuthMethod: client_secret_post, ", server: func(s *fakeidp.Settings) { s.Header = false }},
		"client without proof": {config: "metadataUrl: '" + metadataURL + "', clientId: app, prompt: auto, tokenEndpointAuthMethod: none, ", server: func(s *fakeidp.Settings) { s.Header, s.ClientSecret = false, "" }},
		"elliptic curve":       {config: usual + "tokenSignedResponseAlg: ES256, ", forge: fakeidp.Forgery{Algorithm: "ES256"}},
		"without PKCE": {config: usual, server: func(s *fakeidp.Settings) {
			s.Extra = map[string]any{"code_challenge_methods_supported": []string{"plain"}}
		}, check: func(t *testing.T, asked url.Values) {
			if asked.Has("code_challenge") {
				t.Errorf("asked %v", asked)
			}
		}},
		"PKCE unknown": {config: usual, server: func(s *fakeidp.Settings) {
			s.Extra = map[string]any{"code_challenge_methods_supported": nil}
		}, check: func(t *testing.T, asked url.Values) {
			if !asked.Has("code_challenge") {
				t.Errorf("asked %v", asked)
			}
		}},
		"default prompt": {config: strings.Replace(usual, "prompt: auto, ", "", 1), check: func(t *testing.T, asked url.Values) {
			if asked.Get("prompt") != "none" {
				t.Errorf("asked %v", asked)
			}
		}},
		"named in the answer": {config: usual, server: func(s *fakeidp.Settings) {
			s.Extra = map[string]any{"authorization_response_iss_parameter_supported": true}
		}},
		"for several clients": {config: usual, forge: fakeidp.Forgery{Claims: func(c map[string]any) { c["aud"], c["azp"] = []string{"app", "other"}, "app" }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := corp()
			if tt.server != nil {
				tt.server(&s)
			}
			idp := fakeidp.New(t, s)
			idp.SignIn(person("jane"))
			idp.Forge(tt.forge)
			b := start(t, idp, tt.config+byEmail).Browser()
			if got := b.MustSignIn(t, ""); got.User() != "user:default/jane" {
				t.Errorf("%s signed in", got.User())
			}
			if again, resp := b.Refresh(t, ""); again == nil {
				t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
			}
			if tt.check != nil {
				tt.check(t, idp.Asked())
			}
		})
	}
}

func TestForgedIDTokens(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	p := start(t, idp, usual+byEmail)
	claims := func(f func(map[string]any)) fakeidp.Forgery { return fakeidp.Forgery{Claims: f} }
	set := func(name string, value any) fakeidp.Forgery {
		return claims(func(c map[string]any) { c[name] = value })
	}
	for name, forgery := range map[string]fakeidp.Forgery{
		"algorithm none":          {Algorithm: "none"},
		"signed with public key":  {Algorithm: "HS256"},
		"another algorithm":       {Algorithm: "ES256"},
		"another key":             {OtherKey: true},
		"another audience":        set("aud", "other"),
		"no audience":             claims(func(c map[string]any) { delete(c, "aud") }),
		"several without a party": set("aud", []string{"app", "other"}),
		"another party":           set("azp", "other"),
		"another issuer":          set("iss", "https://evil.test"),
		"issuer with a slash":     set("iss", issuer+"/"),
		"expired":                 set("exp", time.Now().Add(-time.Hour).Unix()),
		"without an end":          claims(func(c map[string]any) { delete(c, "exp") }),
		"not yet":                 set("nbf", time.Now().Add(time.Hour).Unix()),
		"another nonce":           set("nonce", "AAAAAAAAAAAAAAAAAAAAAA=="),
		"no nonce":                claims(func(c map[string]any) { delete(c, "nonce") }),
		"another access token":    set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"another subject":         set("sub", "mallory"),
	} {
		idp.SignIn(person("jane"))
		idp.Forge(forgery)
		b := p.Browser()
		r := b.SignIn(t, "")
		if r.Response != nil || r.Error.Name != "AuthenticationError" || len(b.Cookies(t)) != 0 {
			t.Errorf("%s: %s, cookies %v", name, r.Raw, b.Cookies(t))
		}
	}
	// A refresh is as careful.
	idp.Forge(fakeidp.Forgery{})
	b := p.Browser()
	b.MustSignIn(t, "")
	idp.Forge(fakeidp.Forgery{OtherKey: true})
	if again, resp := b.Refresh(t, ""); again != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("refresh with a forged token: %d %s", resp.StatusCode, resp.Text)
	}
	// The new refresh token was kept all the same, so the session goes on.
	idp.Forge(fakeidp.Forgery{})
	if again, resp := b.Refresh(t, ""); again == nil {
		t.Errorf("refresh after that: %d %s", resp.StatusCode, resp.Text)
	}
}

// Another identity provider pretends to be the one that was asked (RFC 9207).
func TestMixUp(t *testing.T) {
	t.Parallel()
	s := corp()
	s.Extra = map[string]any{"authorization_response_iss_parameter_supported": true}
	idp := fakeidp.New(t, s)
	idp.SignIn(person("jane"))
	p := start(t, idp, usual+byEmail)
	for _, iss := range []string{"", "https://evil.test"} {
		b := p.Browser()
		callback := b.Approve(t, b.Start(t, ""))
		query := callback.Query()
		if query.Del("iss"); iss != "" {
			query.Set("iss", iss)
		}
		callback.RawQuery = query.Encode()
		if r := b.Finish(t, callback); r.Response != nil || r.Error.Name != "NotAllowedError" {
			t.Errorf("issuer %q: %s", iss, r.Raw)
		}
	}
	if n := len(idp.Forms()); n != 0 {
		t.Errorf("%d codes were given away", n)
	}
}

func TestUnverifiedEmail(t *testing.T) {
	t.Parallel()
	for _, verified := range []any{nil, false, "true", 1} {
		idp := fakeidp.New(t, corp())
		user := person("jane")
		user.Claims["email_verified"] = verified
		user.IDClaims = map[string]any{"email": "jane@example.com"}
		idp.SignIn(user)
		if r := start(t, idp, usual+byEmail).Browser().SignIn(t, ""); r.Response != nil || !strings.Contains(r.Error.Message, "does not contain an email") {
			t.Errorf("verified %v: %s", verified, r.Raw)
		}
	}
}

func TestServerThatIsDown(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	idp.SignIn(person("jane"))
	idp.Fail(metadataURL, 1, http.StatusBadGateway, "secret page")
	b := start(t, idp, usual+byEmail).Browser()
	if resp := b.Send(t, http.MethodGet, b.URL("/start?env=development")); resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(resp.Text, "secret page") {
		t.Errorf("start: %d %s", resp.StatusCode, resp.Text)
	}
	b.MustSignIn(t, "")
	idp.Fail(tokenURL, 1, http.StatusInternalServerError, "secret page")
	if again, resp := b.Refresh(t, ""); again != nil || resp.StatusCode != http.StatusUnauthorized || strings.Contains(resp.Text, "secret page") {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
	// What the token endpoint gave before the rest failed is kept.
	idp.Fail(userURL, 1, http.StatusInternalServerError, "secret page")
	if again, _ := b.Refresh(t, ""); again != nil {
		t.Error("there is an answer without a user")
	}
	if again, resp := b.Refresh(t, ""); again == nil {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
}

func TestUnsafeMetadata(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]map[string]any{
		"no issuer":       {"issuer": ""},
		"no user info":    {"userinfo_endpoint": ""},
		"no keys":         {"jwks_uri": nil},
		"without TLS":     {"token_endpoint": "http://login.test/token"},
		"not a URL":       {"authorization_endpoint": "javascript:alert(1)"},
		"not what it was": {"issuer": []string{"x"}},
	} {
		s := corp()
		s.Extra = extra
		idp := fakeidp.New(t, s)
		b := start(t, idp, usual+byEmail).Browser()
		if resp := b.Send(t, http.MethodGet, b.URL("/start?env=development")); resp.StatusCode != http.StatusServiceUnavailable || len(b.Cookies(t)) != 0 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
		}
	}
}

func TestResolverOfCode(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	idp.SignIn(person("jane"))
	p := oidc.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	p.SignIn = func(ctx context.Context, i authnode.SignInInfo[oauth.Result[oidc.User]], s authnode.SignInContext) (authnode.SignInResult, error) {
		return s.IssueToken(ctx, authnode.TokenClaims{Subject: "user:staff/" + i.Result.User.IDClaims["sub"].(string)})
	}
	b := signintest.Start(t, signintest.Settings{
		Provider: "oidc", Config: "{" + usual + "}", IDP: idp, Features: []backend.Feature{authbackend.Plugin, oidc.New(p)},
	}).Browser()
	if got := b.MustSignIn(t, ""); got.User() != "user:staff/jane" {
		t.Errorf("%s signed in", got.User())
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	for config, problem := range map[string]string{
		"clientId: a, clientSecret: b":                         "metadataUrl",
		"metadataUrl: login, clientId: a, clientSecret: b":     "metadataUrl",
		"metadataUrl: '" + metadataURL + "', clientSecret: b":  "clientId",
		"metadataUrl: '" + metadataURL + "', clientId: a":      "clientSecret",
		usual + "scope: openid":                                "additionalScopes",
		usual + "tokenSignedResponseAlg: none":                 "tokenSignedResponseAlg",
		usual + "tokenSignedResponseAlg: HS256":                "tokenSignedResponseAlg",
		usual + "tokenEndpointAuthMethod: private_key_jwt":     "tokenEndpointAuthMethod",
		usual + "startUrlSearchParams: {State: x}":             "startUrlSearchParams.State",
		usual + "timeout: never":                               "timeout",
		usual + "signIn: {resolvers: [{resolver: byMagic}]}":   "byMagic",
		usual + "callbackUrl: 'ftp://portal.test/'":            "callbackUrl",
		usual + "signIn: {resolvers: [{resolver: [a, list]}]}": "signIn",
	} {
		if _, err := signintest.TryStart(t, settings(idp, config)); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "s3cr%t") {
			t.Errorf("%s: error %v", config, err)
		}
	}
}
