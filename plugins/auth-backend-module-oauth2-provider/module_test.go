package authmoduleoauth2provider_test

import (
	"context"
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
	oauth2 "github.com/flytower/flytower/plugins/auth-backend-module-oauth2-provider"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

// start starts a portal. config is what the provider needs beside the
// credentials of the client.
func start(t *testing.T, idp *fakeidp.Server, config string, users ...catalogcommon.Entity) *signintest.Portal {
	t.Helper()
	p := oauth2.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "oauth2", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, oauth2.New(p)},
	})
}

const urls = "authorizationUrl: 'https://login.test/authorize?audience=x', tokenUrl: 'https://login.test/token', "

func server() fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("oauth2"), Issuer: "https://login.test",
		Authorize: "https://login.test/authorize", Token: "https://login.test/token", ExpiresIn: time.Hour, RefreshTokens: true,
	}
}

var jane = fakeidp.User{Subject: "1", IDClaims: map[string]any{"name": "Jane Doe", "email": "jane@example.com"}}

func TestWholeSession(t *testing.T) {
	t.Parallel()
	for _, basic := range []bool{false, true} {
		s, config := server(), urls
		if basic {
			s.Either, config = true, config+"includeBasicAuth: true, "
		}
		idp := fakeidp.New(t, s)
		idp.SignIn(jane)
		b := start(t, idp, config+"additionalScopes: [openid, 'a,b'], signIn: {resolvers: [{resolver: emailMatchingUserEntityProfileEmail}]}", signintest.User("jane")).Browser()
		first := b.MustSignIn(t, "&scope=c")
		if d := cmp.Diff(map[string]string{"email": "jane@example.com", "displayName": "Jane Doe"}, first.Profile); d != "" || first.User() != "user:default/jane" {
			t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
		}
		if asked := idp.Asked(); asked.Get("scope") != "c openid a b" || asked.Get("audience") != "x" || asked.Has("code_challenge") {
			t.Errorf("asked %v", asked)
		}
		if again, resp := b.Refresh(t, "&scope=c"); again == nil || again.User() != "user:default/jane" || again.ProviderInfo.Scope != "c openid a b" {
			t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
		}
		if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
			t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
		}
	}
}

// Nothing tells the name of the user, unless the profile of an installation
// does.
func TestUsername(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, server())
	idp.SignIn(jane)
	const config = urls + "signIn: {resolvers: [{resolver: usernameMatchingUserEntityName}]}"
	if r := start(t, idp, config, signintest.User("jane")).Browser().SignIn(t, ""); r.Response != nil || !strings.Contains(r.Error.Message, "does not contain a username") {
		t.Errorf("got %s", r.Raw)
	}
	p := oauth2.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	p.Profile = func(context.Context, oauth.Result[authcode.Person]) (authnode.Profile, error) {
		return authnode.Profile{Email: "jane@example.com"}, nil
	}
	p.SignIn = func(ctx context.Context, i authnode.SignInInfo[oauth.Result[authcode.Person]], s authnode.SignInContext) (authnode.SignInResult, error) {
		name, _, _ := strings.Cut(i.Profile.Email, "@")
		return s.SignInWithCatalogUser(ctx, authnode.UserQuery{EntityRef: name}, authnode.SignInOptions{})
	}
	b := signintest.Start(t, signintest.Settings{
		Provider: "oauth2", Config: "{clientId: app, clientSecret: s3cret, " + urls + "}", IDP: idp, Users: []catalogcommon.Entity{signintest.User("jane")},
		Features: []backend.Feature{authbackend.Plugin, oauth2.New(p)},
	}).Browser()
	if got := b.MustSignIn(t, ""); got.User() != "user:default/jane" {
		t.Errorf("%s signed in", got.User())
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for config, problem := range map[string]string{
		"tokenUrl: 'https://login.test/token'":                        "authorizationUrl",
		strings.Replace(urls, "https://login.test/token", "login", 1): "tokenUrl",
		urls + "scope: openid":                                        "additionalScopes",
		urls + "includeBasicAuth: maybe":                              "includeBasicAuth",
	} {
		_, err := signintest.TryStart(t, signintest.Settings{
			Provider: "oauth2", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", Features: []backend.Feature{authbackend.Plugin, oauth2.Module},
		})
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: error %v", config, err)
		}
	}
}
