package appbackend_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/backendtest"
)

// protected is a bundle with a public part.
var protected = with(standard, map[string]string{
	"public/index.html":           "<html><head></head></html>",
	"public/index.html.tmpl":      "<html><head><title>Sign in to <%= config.getString('app.title') %></title></head></html>",
	"public/static/signin.abc.js": "signin",
	"public/manifest.json":        `{"name":"public"}`,
})

const signInPage = "<title>Sign in to Portal</title>"

func form(text string) *strings.Reader { return strings.NewReader(text) }

func TestProtected(t *testing.T) {
	t.Parallel()
	srv := serve(t, protected)
	user, cookie, service := backendtest.User("user:default/jane"), backendtest.Cookie("user:default/jane"), backendtest.Caller("plugin:catalog")
	for _, c := range []struct {
		name   string
		who    backendtest.Identity
		path   string
		status int
		body   string
	}{
		{"nobody", backendtest.Nobody(), "/catalog", 200, signInPage},
		{"nobody asks for the public script", backendtest.Nobody(), "/static/signin.abc.js", 200, "signin"},
		{"nobody asks for the whole script", backendtest.Nobody(), "/static/main.abc.js", 404, ""},
		{"nobody asks for a file", backendtest.Nobody(), "/manifest.json", 200, `{"name":"public"}`},
		{"a user", user, "/catalog", 200, page},
		{"a user's script", user, "/static/main.abc.js", 200, "console"},
		{"a browser", cookie, "/catalog", 200, page},
		{"a browser's script", cookie, "/static/main.abc.js", 200, "console"},
		{"a service", service, "/catalog", 200, page},
		{"a bad token", backendtest.Token("nonsense"), "/catalog", 200, signInPage},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := srv.Client(t).As(c.who).Get(c.path)
			if r.Status != c.status || !strings.Contains(string(r.Body), c.body) || c.body == "" && len(r.Body) > 0 {
				t.Errorf("%d %.80q, want %d %q", r.Status, r.Body, c.status, c.body)
			}
			if r.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("X-Frame-Options: %s", r.Header.Get("X-Frame-Options"))
			}
			if cleared := strings.HasPrefix(r.Header.Get("Set-Cookie"), "backstage-auth=; "); cleared != (c.name == "a bad token") {
				t.Errorf("Set-Cookie: %q", r.Header.Get("Set-Cookie"))
			}
		})
	}
	if got := srv.Client(t).As(user).Get("/static/main.abc.js").Header.Get("Cache-Control"); got != "private, max-age=1209600" {
		t.Errorf("what only users see: Cache-Control %s", got)
	}
	if got := srv.Client(t).As(backendtest.Nobody()).Get("/static/signin.abc.js").Header.Get("Cache-Control"); got != weeks {
		t.Errorf("what everybody sees: Cache-Control %s", got)
	}
	if r := srv.Client(t).As(backendtest.Nobody()).Header("Cookie", "backstage-auth=nonsense").Get("/"); !strings.Contains(r.Header.Get("Set-Cookie"), "Expires=Thu, 01 Jan 1970") {
		t.Errorf("a bad cookie is not cleared: %q", r.Header.Get("Set-Cookie"))
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	srv := serve(t, protected)
	const urlencoded = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, contentType, body string
		who                     backendtest.Identity
		origin                  string
		status                  int
		error                   string
	}{
		{name: "user", contentType: urlencoded, body: `type=sign-in&token=mock-user-token:{"sub":"user:default/jane"}`, status: 200},
		{name: "user, with a charset", contentType: urlencoded + "; charset=UTF-8", body: `type=sign-in&token=mock-user-token`, status: 200},
		{name: "from the app", contentType: urlencoded, body: `type=sign-in&token=mock-user-token`, origin: srv.URL(), status: 200},
		{name: "from elsewhere", contentType: urlencoded, body: `type=sign-in&token=mock-user-token`, origin: "https://evil.example.com", status: 403, error: "NotAllowedError"},
		{name: "bad token", contentType: urlencoded, body: `type=sign-in&token=nonsense`, status: 401, error: "AuthenticationError"},
		{name: "no token", contentType: urlencoded, body: `type=sign-in`, status: 401, error: "AuthenticationError"},
		{name: "service", contentType: urlencoded, body: `type=sign-in&token=mock-service-token`, status: 401, error: "AuthenticationError"},
		{name: "limited token", contentType: urlencoded, body: `type=sign-in&token=mock-limited-user-token:{"sub":"user:default/jane"}`, status: 401, error: "AuthenticationError"},
		{name: "another form", contentType: urlencoded, body: `type=other`, status: 400, error: "InputError"},
		{name: "in the query", contentType: urlencoded, body: ``, status: 400, error: "InputError"},
		{name: "JSON", contentType: "application/json", body: `{"type":"sign-in"}`, status: 400, error: "InputError"},
		{name: "no form", body: `x`, status: 400, error: "InputError"},
		{name: "broken form", contentType: urlencoded, body: `type=%zz`, status: 400, error: "InputError"},
		{name: "endless form", contentType: urlencoded, body: "type=sign-in&token=" + strings.Repeat("a", 2<<20), status: 413, error: "PayloadTooLargeError"},
		{name: "signed in already", contentType: urlencoded, body: `type=sign-in&token=mock-user-token`, who: backendtest.User(""), status: 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := srv.Client(t).As(c.who)
			if c.contentType != "" {
				client = client.Header("Content-Type", c.contentType)
			}
			if c.origin != "" {
				client = client.Header("Origin", c.origin)
			}
			r := client.Do(http.MethodPost, "/catalog?type=sign-in&token=mock-user-token", form(c.body))
			if c.error != "" {
				r.ExpectError(c.status, c.error)
			} else {
				r.Expect(c.status)
			}
			issued := strings.HasPrefix(r.Header.Get("Set-Cookie"), "backstage-auth=mock-limited-user-token")
			if issued != (c.status == 200) || issued != strings.Contains(string(r.Body), page) {
				t.Errorf("Set-Cookie %q, body %.80q", r.Header.Get("Set-Cookie"), r.Body)
			}
			if strings.Contains(string(r.Body), "nonsense") {
				t.Errorf("the answer repeats the token: %s", r.Body)
			}
		})
	}
}

func TestPublicEntryPointDisabled(t *testing.T) {
	t.Parallel()
	srv := serve(t, protected, configured(map[string]any{"disablePublicEntryPoint": true}))
	if r := srv.Client(t).Get("/"); !strings.Contains(string(r.Body), page) {
		t.Errorf("/ is %.80q", r.Body)
	}
	srv.Client(t).Post("/", nil).Expect(http.StatusNotFound)
}
