package authmodulemicrosoftprovider_test

import (
	"encoding/base64"
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
	microsoft "github.com/flytower/flytower/plugins/auth-backend-module-microsoft-provider"
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
	p := microsoft.Provider()
	p.Client = oauth.Bounded(idp.Transport(), time.Minute)
	return signintest.Start(t, signintest.Settings{
		Provider: "microsoft", Config: "{clientId: app, clientSecret: s3cret, " + config + "}", IDP: idp, Users: users,
		Features: []backend.Feature{authbackend.Plugin, microsoft.New(p)},
	})
}

const (
	base     = "https://login.microsoftonline.com/contoso/oauth2/v2.0/"
	userURL  = "https://graph.microsoft.com/v1.0/me/"
	photoURL = "https://graph.microsoft.com/v1.0/me/photos/96x96/$value"
	byID     = "tenantId: contoso, signIn: {resolvers: [{resolver: userIdMatchingUserEntityAnnotation}]}"
)

// accessToken makes access tokens as Microsoft does, which are for the API
// that the scope names.
func accessToken(scope, id string) string {
	claims := map[string]string{"aud": "00000003-0000-0000-c000-000000000000", "jti": id}
	if strings.Contains(scope, "api://") {
		claims["aud"] = "api://other"
	}
	var granted []string
	for s := range strings.FieldsSeq(scope) {
		switch strings.ToLower(s) {
		case "user.read":
			granted = append(granted, "User.Read")
		case "openid", "email", "offline_access":
		default:
			granted = append(granted, s)
		}
	}
	claims["scp"] = strings.Join(granted, " ")
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte("{}")) + "." + encode(payload) + ".c2ln"
}

func server() fakeidp.Settings {
	return fakeidp.Settings{
		ClientID: "app", ClientSecret: "s3cret", Callback: signintest.Callback("microsoft"), Issuer: "https://login.microsoftonline.com/contoso/v2.0",
		Authorize: base + "authorize", Token: base + "token", UserInfo: userURL, AccessToken: accessToken,
		ExpiresIn: time.Hour, RefreshTokens: true, Rotate: true,
	}
}

var jane = fakeidp.User{
	Subject:  "AAA",
	Claims:   map[string]any{"id": "8f3c", "displayName": "Jane Doe", "mail": "jane@example.com", "userPrincipalName": "jane@contoso.test"},
	IDClaims: map[string]any{"name": "Jane of the token", "email": "token@example.com"},
}

func doe() catalogcommon.Entity {
	return signintest.User("doe", "graph.microsoft.com/user-id", "8f3c", "microsoft.com/email", "token@example.com")
}

func TestWholeSession(t *testing.T) {
	t.Parallel()
	s := server()
	s.Pages = map[string][]byte{photoURL: []byte("\xff\xd8jpeg")}
	idp := fakeidp.New(t, s)
	idp.SignIn(jane)
	b := start(t, idp, byID+", domainHint: contoso.test", doe()).Browser()
	first := b.MustSignIn(t, "")
	want := map[string]string{"email": "jane@example.com", "displayName": "Jane Doe", "picture": "data:image/jpeg;base64,/9hqcGVn"}
	if d := cmp.Diff(want, first.Profile); d != "" || first.User() != "user:default/doe" {
		t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
	}
	if asked := idp.Asked(); asked.Get("scope") != "email openid offline_access user.read" || asked.Get("domain_hint") != "contoso.test" {
		t.Errorf("asked %v", asked)
	}
	if again, resp := b.Refresh(t, ""); again == nil || again.User() != "user:default/doe" || len(idp.Forms()) != 2 {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := b.Logout(t); resp.StatusCode != http.StatusOK || len(b.Cookies(t)) != 0 {
		t.Errorf("logout: %d %s", resp.StatusCode, resp.Text)
	}
}

// The frontend may ask for a token of another API, which does not tell who the
// user is.
func TestTokenOfAnotherAPI(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, server())
	idp.SignIn(jane)
	b := start(t, idp, byID, doe()).Browser()
	const scope = "&scope=api://other/read"
	first := b.MustSignIn(t, scope)
	if first.User() != "user:default/doe" || first.Profile["displayName"] != "Jane Doe" || first.Profile["picture"] != "" || first.ProviderInfo.Scope != "api://other/read offline_access" {
		t.Errorf("signed in %+v", first)
	}
	if payload, err := base64.RawURLEncoding.DecodeString(strings.Split(first.ProviderInfo.AccessToken, ".")[1]); err != nil || !strings.Contains(string(payload), "api://other") {
		t.Errorf("the frontend has the token %s, %v", payload, err)
	}
	forms := idp.Forms()
	if len(forms) != 2 || forms[1].Get("scope") != "openid email User.Read offline_access" {
		t.Errorf("the token endpoint was asked %v", forms)
	}
	// The session goes on with the newest of the refresh tokens.
	for range 2 {
		if again, resp := b.Refresh(t, scope); again == nil || again.User() != "user:default/doe" {
			t.Errorf("refresh: %d %s", resp.StatusCode, resp.Text)
		}
	}
}

func TestWithoutMicrosoftGraph(t *testing.T) {
	t.Parallel()
	idp := fakeidp.New(t, server())
	idp.SignIn(jane)
	b := start(t, idp, "tenantId: contoso, skipUserProfile: true, signIn: {resolvers: [{resolver: emailMatchingUserEntityAnnotation}]}", doe()).Browser()
	first := b.MustSignIn(t, "")
	if d := cmp.Diff(map[string]string{"email": "token@example.com", "displayName": "Jane of the token"}, first.Profile); d != "" || first.User() != "user:default/doe" {
		t.Errorf("%s signed in (-want +got):\n%s", first.User(), d)
	}
	if n := idp.Requests(userURL); n != 0 {
		t.Errorf("%d requests for the user", n)
	}
}
