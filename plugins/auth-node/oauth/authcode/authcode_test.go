package authcode_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/configtest"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint is a token endpoint that gives one answer to everything.
func endpoint(t *testing.T, status int, contentType, body string) (client *authcode.Client, asked *url.Values) {
	t.Helper()
	asked = &url.Values{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // a broken form is an empty one
		*asked = r.PostForm
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	client, err := authcode.FromConfig(oauth.Options{
		Config: configtest.FromYAML(t, "{clientId: app, clientSecret: s3cret}"), CallbackURL: "https://portal.test/callback",
		Client: oauth.Bounded(server.Client().Transport, time.Minute), Now: time.Now,
	}, oauth2.Endpoint{AuthURL: server.URL + "/authorize?a=b", TokenURL: server.URL + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	return client, asked
}

func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	const jsonType, formType = "application/json", "application/x-www-form-urlencoded"
	for name, tt := range map[string]struct {
		status            int
		contentType, body string
		want              oauth.Session
		kind              apierr.Kind
		text              string
	}{
		"JSON": {status: 200, contentType: jsonType, body: `{"access_token":"a","refresh_token":"r","id_token":"i","scope":"x y","expires_in":90}`,
			want: oauth.Session{AccessToken: "a", RefreshToken: "r", IDToken: "i", Scope: "x y", ExpiresIn: 90 * time.Second}},
		"form": {status: 200, contentType: formType, body: "access_token=a&scope=x%2Cy&expires_in=90",
			want: oauth.Session{AccessToken: "a", Scope: "x,y", ExpiresIn: 90 * time.Second}},
		"life as text":     {status: 200, contentType: jsonType, body: `{"access_token":"a","expires_in":"90"}`, want: oauth.Session{AccessToken: "a", ExpiresIn: 90 * time.Second}},
		"life that is odd": {status: 200, contentType: formType, body: "access_token=a&expires_in=NaN", want: oauth.Session{AccessToken: "a"}},
		"eternal life":     {status: 200, contentType: formType, body: "access_token=a&expires_in=1e300", want: oauth.Session{AccessToken: "a", ExpiresIn: 87600 * time.Hour}},
		"refused":          {status: 400, contentType: jsonType, body: `{"error":"invalid_grant","error_description":"used"}`, kind: apierr.KindAuthentication, text: "invalid_grant: used"},
		"refused as 200":   {status: 200, contentType: formType, body: "error=bad_verification_code", kind: apierr.KindAuthentication, text: "bad_verification_code"},
		"long refusal":     {status: 400, contentType: jsonType, body: `{"error":"` + strings.Repeat("ä", 9000) + `"}`, kind: apierr.KindAuthentication, text: "…"},
		"down":             {status: 502, contentType: "text/html", body: "<h1>secret page</h1>", kind: apierr.KindServiceUnavailable, text: "502"},
		"moved":            {status: 307, contentType: "text/html", body: "", kind: apierr.KindServiceUnavailable, text: "307"},
		"no token":         {status: 200, contentType: jsonType, body: `{}`, kind: apierr.KindError},
		"no JSON":          {status: 200, contentType: jsonType, body: `secret page`, kind: apierr.KindError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, asked := endpoint(t, tt.status, tt.contentType, tt.body)
			check := func(want, got oauth.Session, err error) {
				t.Helper()
				if d := cmp.Diff(want, got); d != "" || apierr.KindOf(err) != tt.kind {
					t.Errorf("error %v, session (-want +got):\n%s", err, d)
				}
				if err != nil && (!strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret page") || len(err.Error()) > 700) {
					t.Errorf("error %v", err)
				}
			}
			got, err := client.Exchange(t.Context(), oauth.Callback{Query: url.Values{"code": {"c"}}})
			check(tt.want, got, err)
			want := url.Values{"grant_type": {"authorization_code"}, "code": {"c"}, "client_id": {"app"}, "client_secret": {"s3cret"}, "redirect_uri": {"https://portal.test/callback"}}
			if d := cmp.Diff(want, *asked); d != "" {
				t.Errorf("exchange (-want +got):\n%s", d)
			}
			refreshed := tt.want
			if refreshed.AccessToken != "" {
				refreshed.RefreshToken = "r"
			}
			got, err = client.Refresh(t.Context(), "r", "x y")
			check(refreshed, got, err)
			want = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r"}, "scope": {"x y"}, "client_id": {"app"}, "client_secret": {"s3cret"}}
			if d := cmp.Diff(want, *asked); d != "" {
				t.Errorf("refresh (-want +got):\n%s", d)
			}
		})
	}
}

func TestAuthorizeURL(t *testing.T) {
	t.Parallel()
	client, _ := endpoint(t, 200, "", "")
	client.Params = url.Values{"prompt": {"consent"}}
	client.PKCE = true
	// The example of RFC 7636, appendix B.
	at, err := url.Parse(client.AuthorizeURL(oauth.AuthorizeRequest{Scope: "x y", State: "s", Secrets: oauth.Secrets{Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"a": {"b"}, "response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {"https://portal.test/callback"}, "scope": {"x y"}, "state": {"s"},
		"prompt": {"consent"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	if d := cmp.Diff(want, at.Query()); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
	if _, err := client.Exchange(t.Context(), oauth.Callback{Query: url.Values{"code": {"c"}}}); apierr.KindOf(err) != apierr.KindNotAllowed {
		t.Errorf("without a verifier: error %v", err)
	}
	if _, err := client.Exchange(t.Context(), oauth.Callback{}); apierr.KindOf(err) != apierr.KindInput {
		t.Errorf("without a code: error %v", err)
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	client, _ := endpoint(t, 403, "application/json", `{"a": 1}`)
	var v map[string]any
	status := (*authcode.StatusError)(nil)
	if err := client.Get(t.Context(), client.Config.Endpoint.TokenURL, "token", &v); !errors.As(err, &status) || status.Status != 403 || v != nil {
		t.Errorf("error %v, answer %v", err, v)
	}
	client, _ = endpoint(t, 200, "application/json", `{"a": 1}`)
	if _, err := client.GetBytes(t.Context(), client.Config.Endpoint.TokenURL, "token", 7); err == nil {
		t.Error("8 bytes are taken for 7")
	}
	if raw, err := client.GetBytes(t.Context(), client.Config.Endpoint.TokenURL, "token", 8); err != nil || string(raw) != `{"a": 1}` {
		t.Errorf("got %s, %v", raw, err)
	}
}

func idToken(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestProfile(t *testing.T) {
	t.Parallel()
	full := authcode.Person{ID: "1", Username: "jane", DisplayName: "Jane", Email: "jane@a.test", Picture: "p"}
	for name, tt := range map[string]struct {
		person authcode.Person
		token  string
		want   authnode.Profile
		fails  bool
	}{
		"person":                   {person: full, token: "unread", want: authnode.Profile{Email: "jane@a.test", Picture: "p", DisplayName: "Jane"}},
		"username":                 {person: authcode.Person{ID: "1", Username: "jane"}, want: authnode.Profile{DisplayName: "jane"}},
		"id":                       {person: authcode.Person{ID: "1"}, want: authnode.Profile{DisplayName: "1"}},
		"token":                    {token: idToken(`{"email":"e","picture":"p","name":"n"}`), want: authnode.Profile{Email: "e", Picture: "p", DisplayName: "n"}},
		"verified":                 {token: idToken(`{"email":"e","email_verified":true}`), want: authnode.Profile{Email: "e"}},
		"unverified in the token":  {token: idToken(`{"email":"e","email_verified":false}`)},
		"unverified, as a text":    {token: idToken(`{"email":"e","email_verified":"false"}`)},
		"unverified in the person": {person: authcode.Person{Email: "e", EmailUnverified: true}, token: idToken(`{"email":"e"}`)},
		"broken token":             {token: "a.b", fails: true},
	} {
		got, err := authcode.Profile(t.Context(), oauth.Result[authcode.Person]{User: tt.person, Session: oauth.Session{IDToken: tt.token}})
		if d := cmp.Diff(tt.want, got); d != "" || (err != nil) != tt.fails {
			t.Errorf("%s: error %v, profile (-want +got):\n%s", name, err, d)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://login.test":            "https://login.test",
		"https://login.test/realms/a//": "https://login.test/realms/a",
		"http://localhost:8080/":        "http://localhost:8080",
		"login.test":                    "",
		"https://user@login.test":       "",
		"https://login.test/#x":         "",
		"ftp://login.test":              "",
		"https://login.test:port":       "",
	} {
		got, err := authcode.BaseURL(configtest.FromYAML(t, "url: '"+text+"'"), "url", "")
		if err == nil != (want != "") || err == nil && got != want {
			t.Errorf("%s: %s, error %v", text, got, err)
		}
	}
}

// Whatever an identity provider sends as a token, reading it fails or not,
// and does no more.
func FuzzUnverifiedClaims(f *testing.F) {
	for _, seed := range []string{"", "..", "a.b.c", idToken(`{"email":1}`), idToken(`{"email":"e"}`), idToken("[]"), "e30.e30=.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		var claims map[string]any
		if err := authcode.UnverifiedClaims(token, &claims); err == nil && strings.Count(token, ".") != 2 {
			t.Errorf("%q was read", token)
		}
		p, err := authcode.Person{EmailUnverified: true}.Profile(token)
		if err == nil && p.Email != "" {
			t.Errorf("%q gives the address %s", token, p.Email)
		}
	})
}
