package authmodulegitlabprovider_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/fakeidp"
	"github.com/flytower/flytower/internal/signintest"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	gitlab "github.com/flytower/flytower/plugins/auth-backend-module-gitlab-provider"
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
	p := gitlab.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "gitlab", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, gitlab.New(p)},
	})
}

func server(base string) fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("gitlab"),
		Authorize: base + "/oauth/authorize", Token: base + "/oauth/token", UserInfo: base + "/api/v4/user",
		ExpiresIn: 2 * time.Hour, RefreshTokens: true, Rotate: true,
	}
}

func jane(base string) fakeidp.User {
	return fakeidp.User{Subject: "42", Claims: map[string]any{
		"id": 42, "username": "jane", "name": "Jane Doe", "email": "jane@example.com", "avatar_url": "https://avatars.test/jane.png", "web_url": base + "/jane",
	}}
}

func TestWholeSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ base, config, annotation string }{
		"gitlab.com": {"https://gitlab.com", "", "gitlab.com/user-id"},
		"own":        {"https://git.test/gitlab", "audience: 'https://git.test/gitlab/', ", "git.test/user-id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := fakeidp.New(t, server(tt.base))
			idp.SignIn(jane(tt.base))
			for resolver, user := range map[string]catalogcommon.Entity{
				"usernameMatchingUserEntityName":     signintest.User("jane"),
				"userIdMatchingUserEntityAnnotation": signintest.User("doe", tt.annotation, "42"),
			} {
				b := start(t, idp, tt.config+"signIn: {resolvers: [{resolver: "+resolver+"}]}", user).Browser()
				first := b.MustSignIn(t, "&scope=api")
				want := map[string]string{"email": "jane@example.com", "displayName": "Jane Doe", "picture": "https://avatars.test/jane.png"}
				if d := cmp.Diff(want, first.Profile); d != "" || first.User() != user.Ref().String() {
					t.Errorf("%s: %s signed in (-want +got):\n%s", resolver, first.User(), d)
				}
				if asked := idp.Asked(); asked.Get("scope") != "api read_user" || asked.Get("code_challenge_method") != "S256" {
					t.Errorf("asked %v", asked)
				}
				if again, resp := b.Refresh(t, "&scope=api"); again == nil || again.User() != user.Ref().String() || again.ProviderInfo.Scope != "api read_user" {
					t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
				}
				if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
					t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
				}
			}
		})
	}
}

// Tabs that refresh at the same time send the same refresh token. GitLab ends
// the session of who uses one twice.
func TestTabsRefreshTogether(t *testing.T) {
	t.Parallel()
	const base, tabs = "https://gitlab.com", 8
	idp := fakeidp.New(t, server(base))
	idp.SignIn(jane(base))
	b := start(t, idp, "signIn: {resolvers: [{resolver: usernameMatchingUserEntityName}]}", signintest.User("jane")).Browser()
	b.MustSignIn(t, "")
	var wg sync.WaitGroup
	for i := range tabs {
		scope := ""
		if i%2 == 1 {
			scope = "&scope=api"
		}
		wg.Go(func() {
			if again, resp := b.Refresh(t, scope); again == nil {
				t.Errorf("tab %d: %d %s", i, resp.StatusCode, resp.Text)
			}
		})
	}
	wg.Wait()
	// A tab that begins when others are done has their new token.
	used := map[string]bool{}
	for _, form := range idp.Forms()[1:] {
		token := form.Get("refresh_token")
		if token == "" || used[token] {
			t.Errorf("the refresh token %q was used twice", token)
		}
		used[token] = true
	}
	if len(used) == 0 {
		t.Error("nothing was refreshed")
	}
}
