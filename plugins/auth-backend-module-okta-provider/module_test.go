package authmoduleoktaprovider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/fakeidp"
	"github.com/flytower/flytower/internal/signintest"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	okta "github.com/flytower/flytower/plugins/auth-backend-module-okta-provider"
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
	p := okta.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "okta", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, okta.New(p)},
	})
}

func server(base string) fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("okta"), Header: true, Issuer: base,
		Authorize: base + "/v1/authorize", Token: base + "/v1/token", UserInfo: base + "/v1/userinfo", UserInfoMethod: http.MethodPost,
		ExpiresIn: time.Hour, RefreshTokens: true, Rotate: true,
	}
}

var jane = fakeidp.User{Subject: "00u", Claims: map[string]any{
	"sub": "00u", "name": "Jane Doe", "preferred_username": "jane", "email": "jane@example.com", "email_verified": true,
}, IDClaims: map[string]any{"picture": "https://pictures.test/jane"}}

func TestWholeSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ base, config, idp string }{
		"organisation": {"https://example.okta.test/oauth2", "audience: 'https://example.okta.test', ", ""},
		"own server":   {"https://example.okta.test/oauth2/aus1", "audience: 'https://example.okta.test/', authServerId: aus1, idp: 0oa, ", "0oa"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := fakeidp.New(t, server(tt.base))
			idp.SignIn(jane)
			b := start(t, idp, tt.config+"signIn: {resolvers: [{resolver: emailMatchingUserEntityAnnotation}]}", signintest.User("doe", "okta.com/email", "jane@example.com")).Browser()
			first := b.MustSignIn(t, "")
			want := map[string]string{"email": "jane@example.com", "displayName": "Jane Doe", "picture": "https://pictures.test/jane"}
			if d := cmp.Diff(want, first.Profile); d != "" || first.User() != "user:default/doe" {
				t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
			}
			if asked := idp.Asked(); asked.Get("scope") != "openid email profile offline_access" || asked.Get("idp") != tt.idp {
				t.Errorf("asked %v", asked)
			}
			if again, resp := b.Refresh(t, ""); again == nil || again.User() != "user:default/doe" {
				t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
			}
			if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
				t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
			}
		})
	}
}
