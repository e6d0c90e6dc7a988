package authmodulegoogleprovider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/fakeidp"
	"github.com/flytower/flytower/internal/signintest"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	google "github.com/flytower/flytower/plugins/auth-backend-module-google-provider"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// start starts a portal. config is what the provider needs beside the
// credentials of the client.
func start(t *testing.T, idp *fakeidp.Server, config string, users ...catalogcommon.Entity) *signintest.Portal {
	t.Helper()
	p := google.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "google", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, google.New(p)},
	})
}

const userURL = "https://www.googleapis.com/oauth2/v3/userinfo"

func server() fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("google"), Issuer: "https://accounts.google.com",
		Authorize: "https://accounts.google.com/o/oauth2/v2/auth", Token: "https://www.googleapis.com/oauth2/v4/token",
		UserInfo: userURL, Revoke: "https://oauth2.googleapis.com/revoke", ExpiresIn: time.Hour, RefreshTokens: true,
	}
}

func jane(verified any) fakeidp.User {
	return fakeidp.User{Subject: "117", IDClaims: map[string]any{"email": "jane@example.com"}, Claims: map[string]any{
		"sub": "117", "name": "Jane Doe", "email": "jane@example.com", "email_verified": verified, "picture": "https://pictures.test/jane",
	}}
}

const (
	byProfile    = "signIn: {resolvers: [{resolver: emailMatchingUserEntityProfileEmail}]}"
	byAnnotation = "signIn: {resolvers: [{resolver: emailMatchingUserEntityAnnotation}]}"
)

func TestWholeSession(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, server())
	idp.SignIn(jane(true))
	b := start(t, idp, byAnnotation, signintest.User("doe", "google.com/email", "jane@example.com")).Browser()
	first := b.MustSignIn(t, "&scope=https://www.googleapis.com/auth/calendar")
	want := map[string]string{"email": "jane@example.com", "displayName": "Jane Doe", "picture": "https://pictures.test/jane"}
	if d := cmp.Diff(want, first.Profile); d != "" || first.User() != "user:default/doe" || first.ProviderInfo.IDToken == "" {
		t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
	}
	asked := idp.Asked()
	for name, want := range map[string]string{
		"access_type": "offline", "prompt": "consent", "include_granted_scopes": "true", "code_challenge_method": "S256", "response_type": "code",
		"scope": "https://www.googleapis.com/auth/calendar openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile",
	} {
		if asked.Get(name) != want {
			t.Errorf("asked with %s %q, want %q", name, asked.Get(name), want)
		}
	}
	// Google gives a refresh token once.
	cookie := b.Cookies(t)["google-refresh-token"]
	again, resp := b.Refresh(t, "")
	if again == nil || again.User() != "user:default/doe" || again.ProviderInfo.ExpiresInSeconds != 3600 || b.Cookies(t)["google-refresh-token"] != cookie {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(idp.Revoked()) != 1 || len(b.Cookies(t)) != 0 {
		t.Errorf("logout: %d %s, revoked %q", resp.StatusCode, resp.Text, idp.Revoked())
	}
}

func TestLogoutWhereGoogleIsDown(t *testing.T) {
	t.Parallel()
	s := server()
	idp := fakeidp.New(t, s)
	idp.SignIn(jane(true))
	b := start(t, idp, "").Browser()
	if got := b.MustSignIn(t, ""); got.User() != "" {
		t.Errorf("%s signed in without a resolver", got.User())
	}
	idp.Fail(s.Revoke, 1, http.StatusInternalServerError, "")
	if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
		t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
	}
}

func TestUnverifiedEmail(t *testing.T) {
	t.Parallel()
	for _, verified := range []any{false, "false", nil} {
		idp := fakeidp.New(t, server())
		idp.SignIn(jane(verified))
		if r := start(t, idp, byProfile, signintest.User("jane")).Browser().SignIn(t, ""); r.Response != nil || !strings.Contains(r.Error.Message, "does not contain an email") {
			t.Errorf("verified %v: %s", verified, r.Raw)
		}
	}
}

func TestAllowedDomains(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, server())
	idp.SignIn(jane(true))
	b := start(t, idp, "signIn: {resolvers: [{resolver: emailLocalPartMatchingUserEntityName, allowedDomains: [corp.test]}]}", signintest.User("jane")).Browser()
	if r := b.SignIn(t, ""); r.Error.Name != "NotAllowedError" || len(b.Cookies(t)) != 0 {
		t.Errorf("got %s", r.Raw)
	}
}
