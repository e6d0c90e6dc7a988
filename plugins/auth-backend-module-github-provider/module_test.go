package authmodulegithubprovider_test

import (
	"encoding/json"
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
	github "github.com/flytower/flytower/plugins/auth-backend-module-github-provider"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const (
	authorizeURL = "https://github.com/login/oauth/authorize"
	tokenURL     = "https://github.com/login/oauth/access_token"
	userURL      = "https://api.github.com/user"
	credentials  = "clientId: app, clientSecret: s3cret"
)

// dotcom returns GitHub as OAuth apps see it: tokens do not end.
func dotcom() fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("github"), Form: true,
		Authorize: authorizeURL, Token: tokenURL, UserInfo: userURL,
	}
}

func jane() fakeidp.User {
	var claims map[string]any
	err := json.Unmarshal([]byte(`{"id": 583231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "login": "jane", "name": "Jane Doe",
		"email": "jane@example.com", "avatar_url": "https://avatars.test/jane.png", "html_url": "https://github.com/jane"}`), &claims)
	if err != nil {
		panic(err)
	}
	return fakeidp.User{Subject: "583231", Claims: claims}
}

func start(t *testing.T, idp *fakeidp.Server, config string, users ...catalogcommon.Entity) *signintest.Portal {
	t.Helper()
	p := github.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "github", Config: "{" + credentials + ", " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, github.New(p)},
	})
}

const byName = "signIn: {resolvers: [{resolver: usernameMatchingUserEntityName}]}"

func TestOAuthApp(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, dotcom())
	idp.SignIn(jane())
	b := start(t, idp, byName+", additionalScopes: 'user:email'", signintest.User("jane")).Browser()

	got := b.MustSignIn(t, "&scope=repo")
	want := map[string]string{"email": "jane@example.com", "displayName": "Jane Doe", "picture": "https://avatars.test/jane.png"}
	if d := cmp.Diff(want, got.Profile); d != "" || got.User() != "user:default/jane" {
		t.Errorf("%s signed in (-want +got):\n%s", got.User(), d)
	}
	if asked := idp.Asked(); asked.Get("scope") != "repo read:user user:email" || asked.Get("code_challenge_method") != "S256" {
		t.Errorf("asked for %v", asked)
	}
	if got.ProviderInfo.Scope != "repo read:user user:email" || got.ProviderInfo.ExpiresInSeconds != 0 {
		t.Errorf("provider info %+v", got.ProviderInfo)
	}
	// The session is the access token, and asks GitHub only who the user is.
	if cookie := b.Cookies(t)["github-refresh-token"]; cookie != "access-token-v2.access%2F2%2B%3D" {
		t.Errorf("cookie %s", cookie)
	}
	again, resp := b.Refresh(t, "&scope=repo")
	if again == nil || again.ProviderInfo.AccessToken != got.ProviderInfo.AccessToken || again.User() != "user:default/jane" || len(idp.Forms()) != 1 {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
	if again, resp := b.Refresh(t, "&scope=workflow"); again != nil || !strings.Contains(resp.Text, "has not been granted the requested scope") {
		t.Errorf("refresh with more: %d %s", resp.StatusCode, resp.Text)
	}
	idp.Fail(userURL, 1, http.StatusUnauthorized, "{}")
	if again, resp := b.Refresh(t, ""); again != nil || resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Text, "Invalid access token") {
		t.Errorf("refresh of a revoked token: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
		t.Errorf("logout: %d %s, cookies %v", resp.StatusCode, resp.Text, b.Cookies(t))
	}
}

func TestGitHubApp(t *testing.T) {
	t.Parallel()
	s := dotcom()
	s.Form, s.ExpiresIn, s.RefreshTokens, s.Rotate = false, 8*time.Hour, true, true
	idp := fakeidp.New(t, s)
	idp.SignIn(jane())
	b := start(t, idp, byName, signintest.User("jane")).Browser()
	first := b.MustSignIn(t, "")
	if s := first.ProviderInfo.ExpiresInSeconds; s != 8*3600 {
		t.Errorf("expires in %d s", s)
	}
	cookie := b.Cookies(t)["github-refresh-token"]
	again, resp := b.Refresh(t, "")
	if again == nil || again.ProviderInfo.AccessToken == first.ProviderInfo.AccessToken || b.Cookies(t)["github-refresh-token"] == cookie {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
}

func TestEnterpriseServer(t *testing.T) {
	t.Parallel()
	s := dotcom()
	s.Authorize, s.Token, s.UserInfo = "https://ghe.test/login/oauth/authorize", "https://ghe.test/login/oauth/access_token", "https://ghe.test/api/v3/user"
	idp := fakeidp.New(t, s)
	idp.SignIn(jane())
	b := start(t, idp, byName+", enterpriseInstanceUrl: 'https://ghe.test/'", signintest.User("jane")).Browser()
	if got := b.MustSignIn(t, ""); got.User() != "user:default/jane" {
		t.Errorf("%s signed in", got.User())
	}
}

func TestUserID(t *testing.T) {
	t.Parallel()
	const config = "signIn: {resolvers: [{resolver: userIdMatchingUserEntityAnnotation}]}"
	annotated := func(name, id string) catalogcommon.Entity {
		return signintest.User(name, "github.com/user-id", id)
	}
	const id = "MDQ6VXNlcjU4MzIzMQ=="
	for name, tt := range map[string]struct {
		users       []catalogcommon.Entity
		user, error string
		kind        string
	}{
		"one":              {users: []catalogcommon.Entity{annotated("a", id)}, user: "user:default/a"},
		"one in that case": {users: []catalogcommon.Entity{annotated("a", strings.ToLower(id)), annotated("b", id)}, user: "user:default/b"},
		"another case":     {users: []catalogcommon.Entity{annotated("a", strings.ToLower(id))}, kind: "Error", error: "another case"},
		"several":          {users: []catalogcommon.Entity{annotated("a", id), annotated("b", id)}, kind: "ConflictError", error: "multiple matches"},
		"none":             {kind: "Error", error: "unable to resolve user identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := fakeidp.New(t, dotcom())
			idp.SignIn(jane())
			r := start(t, idp, config, tt.users...).Browser().SignIn(t, "")
			if tt.user != "" && (r.Response == nil || r.Response.User() != tt.user) || r.Error.Name != tt.kind || !strings.Contains(r.Error.Message, tt.error) {
				t.Errorf("got %s", r.Raw)
			}
		})
	}
}

func TestUserWithoutEntity(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, dotcom())
	idp.SignIn(jane())
	b := start(t, idp, "signIn: {resolvers: [{resolver: userIdMatchingUserEntityAnnotation}, {resolver: usernameMatchingUserEntityName, dangerouslyAllowSignInWithoutUserInCatalog: true}]}").Browser()
	if got := b.MustSignIn(t, ""); got.User() != "user:default/jane" {
		t.Errorf("%s signed in", got.User())
	}
}
