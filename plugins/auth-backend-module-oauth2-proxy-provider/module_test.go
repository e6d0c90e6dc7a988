package authmoduleoauth2proxyprovider_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/signintest"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	oauth2proxy "github.com/flytower/flytower/plugins/auth-backend-module-oauth2-proxy-provider"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func settings(config string) signintest.Settings {
	return signintest.Settings{
		Provider: "oauth2Proxy", Config: config, Flat: true, Users: []catalogcommon.Entity{signintest.User("jane")},
		Features: []backend.Feature{authbackend.Plugin, oauth2proxy.Module},
	}
}

const both = "{signIn: {resolvers: [{resolver: forwardedUserMatchingUserEntityName}, {resolver: forwardedPreferredUsernameMatchingUserEntityName}]}}"

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := signintest.Start(t, settings(both)).Browser()
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"1"}`)) + ".c2ln"
	for name, tt := range map[string]struct {
		header  []string
		user    string
		profile map[string]string
		access  string
		status  int
	}{
		"all": {
			header: []string{"X-OAUTH2-PROXY-ID-TOKEN", "Bearer " + token, "X-Forwarded-User", "jane", "X-Forwarded-Email", "jane@example.com", "X-Forwarded-Preferred-Username", "Jane"},
			user:   "user:default/jane", profile: map[string]string{"email": "jane@example.com", "displayName": "Jane"}, access: token, status: 200,
		},
		"user alone":     {header: []string{"x-forwarded-user", "Jane"}, user: "user:default/jane", profile: map[string]string{"displayName": "Jane"}, status: 200},
		"second name":    {header: []string{"X-Forwarded-User", "7", "X-Forwarded-Preferred-Username", "jane"}, user: "user:default/jane", profile: map[string]string{"displayName": "jane"}, status: 200},
		"nobody":         {status: 500},
		"stranger":       {header: []string{"X-Forwarded-User", "joe", "X-Forwarded-Preferred-Username", "joe"}, status: 500},
		"another entity": {header: []string{"X-Forwarded-User", "x/group:default/jane"}, status: 500},
		"broken token":   {header: []string{"X-OAUTH2-PROXY-ID-TOKEN", "Bearer x.y", "X-Forwarded-User", "jane"}, status: 401},
	} {
		resp := b.Send(t, http.MethodGet, b.URL("/refresh"), tt.header...)
		var got signintest.Answer
		if err := json.Unmarshal([]byte(resp.Text), &got); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || got.User() != tt.user || got.ProviderInfo.AccessToken != tt.access {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
		}
		if d := cmp.Diff(tt.profile, got.Profile); d != "" {
			t.Errorf("%s: profile (-want +got):\n%s", name, d)
		}
	}
	if resp := b.Send(t, http.MethodGet, b.URL("/start?env=development")); resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("start: %d %s", resp.StatusCode, resp.Text)
	}
}

func TestNeedsResolver(t *testing.T) {
	t.Parallel()
	if _, err := signintest.TryStart(t, settings("{}")); err == nil || !strings.Contains(err.Error(), "No sign-in resolver configured for proxy auth provider 'oauth2Proxy'") {
		t.Errorf("error %v", err)
	}
}
