package authmoduleoidcprovider_test

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/fakeidp"
	"github.com/flytower/flytower/internal/signintest"
)

// with returns the URL with other query parameters; those that are empty are
// removed.
func with(u *url.URL, pairs ...string) *url.URL {
	query := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		if query.Del(pairs[i]); pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	changed := *u
	changed.RawQuery = query.Encode()
	return &changed
}

// stateOf returns what the state of a URL consists of.
func stateOf(t *testing.T, u *url.URL) url.Values {
	t.Helper()
	raw, err := hex.DecodeString(u.Query().Get("state"))
	if err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	return form
}

func encoded(form url.Values) string { return hex.EncodeToString([]byte(form.Encode())) }

func TestAttacksOnTheCallback(t *testing.T) {
	t.Parallel()
	t.Run("with PKCE", func(t *testing.T) {
		t.Parallel()
		attackCallback(t, corp())
	})
	t.Run("without PKCE", func(t *testing.T) {
		t.Parallel()
		s := corp()
		s.Extra = map[string]any{"code_challenge_methods_supported": []string{}}
		attackCallback(t, s)
	})
}

func attackCallback(t *testing.T, settings fakeidp.Settings) {
	idp := fakeidp.New(t, settings)
	p := start(t, idp, usual+byEmail)
	attacker := func(t *testing.T) (*signintest.Browser, *url.URL) {
		idp.SignIn(person("mallory"))
		b := p.Browser()
		return b, b.Approve(t, b.Start(t, ""))
	}
	for name, attack := range map[string]func(t *testing.T, victim *signintest.Browser, callback *url.URL) *url.URL{
		"another nonce": func(t *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			form := stateOf(t, callback)
			form.Set("nonce", "AAAAAAAAAAAAAAAAAAAAAA==")
			return with(callback, "state", encoded(form))
		},
		"evil origin": func(t *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			form := stateOf(t, callback)
			form.Set("origin", signintest.Evil)
			return with(callback, "state", encoded(form))
		},
		"evil redirect": func(t *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			form := stateOf(t, callback)
			form.Set("flow", "redirect")
			form.Set("redirectUrl", signintest.Evil+"/?"+signintest.App)
			return with(callback, "state", encoded(form))
		},
		"another environment": func(t *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			form := stateOf(t, callback)
			form.Set("env", "staging")
			return with(callback, "state", encoded(form), "env", "development")
		},
		"no cookie": func(t *testing.T, victim *signintest.Browser, callback *url.URL) *url.URL {
			victim.SetCookie(t, "oidc-nonce", "")
			return callback
		},
		// The victim opens a link that ends the sign-in of the attacker.
		"session fixation": func(t *testing.T, _ *signintest.Browser, _ *url.URL) *url.URL {
			_, theirs := attacker(t)
			return theirs
		},
		// The code of one sign-in is injected into another one; only PKCE and
		// the nonce of the ID token tell.
		"code injection": func(t *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			_, theirs := attacker(t)
			return with(callback, "code", theirs.Query().Get("code"))
		},
		// As above, where the attacker can write cookies, but did not read the
		// victim's.
		"nonce without secrets": func(t *testing.T, victim *signintest.Browser, callback *url.URL) *url.URL {
			victim.SetCookie(t, "oidc-nonce", url.QueryEscape(stateOf(t, callback).Get("nonce")))
			return callback
		},
		"secrets of another sign-in": func(t *testing.T, victim *signintest.Browser, callback *url.URL) *url.URL {
			other, _ := attacker(t)
			_, seed, _ := strings.Cut(other.Cookies(t)["oidc-nonce"], ".")
			victim.SetCookie(t, "oidc-nonce", url.QueryEscape(stateOf(t, callback).Get("nonce"))+"."+seed)
			return callback
		},
		"no code": func(_ *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			return with(callback, "code", "")
		},
		"unknown code": func(_ *testing.T, _ *signintest.Browser, callback *url.URL) *url.URL {
			return with(callback, "code", "x")
		},
	} {
		idp.SignIn(person("jane"))
		victim := p.Browser()
		callback := attack(t, victim, victim.Approve(t, victim.Start(t, "")))
		r := victim.Finish(t, callback)
		if r.Response != nil || r.Error.Name == "" || r.Origin != signintest.App {
			t.Errorf("%s: %s to %s", name, r.Raw, r.Origin)
		}
		for cookie := range victim.Cookies(t) {
			if cookie != "oidc-nonce" {
				t.Errorf("%s: cookie %s", name, cookie)
			}
		}
		if again, _ := victim.Refresh(t, ""); again != nil {
			t.Errorf("%s: %s has a session", name, again.User())
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	idp.SignIn(person("jane"))
	b := start(t, idp, usual+byEmail).Browser()
	page := b.Start(t, "")
	cookie := b.Cookies(t)["oidc-nonce"]
	callback := b.Approve(t, page)
	if r := b.Finish(t, callback); r.Response == nil {
		t.Fatalf("sign-in: %s", r.Raw)
	}
	if r := b.Finish(t, callback); r.Response != nil || r.Error.Name != "NotAllowedError" {
		t.Errorf("the second time: %s", r.Raw)
	}
	// Even with the cookie, the code is good once.
	b.SetCookie(t, "oidc-nonce", cookie)
	if r := b.Finish(t, callback); r.Response != nil || r.Error.Name != "AuthenticationError" {
		t.Errorf("with the cookie: %s", r.Raw)
	}
	// A new code for an old attempt does not help either.
	b.SetCookie(t, "oidc-nonce", cookie)
	other := b.Approve(t, b.Start(t, ""))
	b.SetCookie(t, "oidc-nonce", cookie)
	if r := b.Finish(t, with(callback, "code", other.Query().Get("code"))); r.Response != nil {
		t.Errorf("with a new code: %s", r.Raw)
	}
}

func TestAttacksOnTheStart(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	b := start(t, idp, usual+byEmail).Browser()
	for _, query := range []string{
		"&origin=" + signintest.Evil,
		"&flow=redirect&redirectUrl=" + signintest.Evil,
		"&flow=redirect&redirectUrl=" + url.QueryEscape(signintest.App+".evil.test/"),
		"&flow=redirect&redirectUrl=" + url.QueryEscape("//evil.test"),
		"&flow=redirect&redirectUrl=" + url.QueryEscape("javascript:alert(1)"),
	} {
		if resp := b.Send(t, http.MethodGet, b.URL("/start?env=development"+query)); resp.StatusCode != http.StatusForbidden || len(b.Cookies(t)) != 0 {
			t.Errorf("%s: %d %s", query, resp.StatusCode, resp.Text)
		}
	}
	// Nobody can begin a sign-in by a form of another page.
	if resp := b.Send(t, http.MethodPost, b.URL("/start?env=development"), "Origin", signintest.Evil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %d %s", resp.StatusCode, resp.Text)
	}
	// What a page of another origin can make the browser send changes nothing.
	idp.SignIn(person("jane"))
	b.MustSignIn(t, "")
	before := b.Cookies(t)["oidc-refresh-token"]
	for _, route := range []string{"/refresh", "/logout"} {
		if resp := b.Send(t, http.MethodPost, b.URL(route+"?env=development"), "Origin", signintest.Evil); resp.StatusCode != http.StatusUnauthorized || b.Cookies(t)["oidc-refresh-token"] != before {
			t.Errorf("%s: %d %s", route, resp.StatusCode, resp.Text)
		}
	}
	if resp := b.Send(t, http.MethodPost, b.URL("/logout?env=development"), "Origin", signintest.Evil, "X-Requested-With", "XMLHttpRequest"); resp.StatusCode != http.StatusForbidden || b.Cookies(t)["oidc-refresh-token"] != before {
		t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
	}
}

func TestUserWhoRefuses(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, corp())
	b := start(t, idp, usual+byEmail).Browser()
	idp.Deny("access_denied")
	if r := b.SignIn(t, ""); r.Error.Message != "Authentication rejected, the user says no" {
		t.Errorf("got %s", r.Raw)
	}
	idp.Deny("login_required")
	page := b.Start(t, "&flow=redirect&redirectUrl="+url.QueryEscape(signintest.App+"/catalog?a=b"))
	resp := b.Send(t, http.MethodGet, b.Approve(t, page).String())
	if want := signintest.App + "/catalog?a=b&error=Authentication+failed%2C+the+user+says+no"; resp.Header.Get("Location") != want {
		t.Errorf("redirected to %s", resp.Header.Get("Location"))
	}
}
