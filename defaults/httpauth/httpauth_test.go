package httpauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/internal/requestmemo"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// fakeAuth knows "user:<name>", "limited:<name>:<minutes left>" and "service".
type fakeAuth struct {
	core.AuthService
	calls *int
}

func (a fakeAuth) Authenticate(_ context.Context, token string, allowLimited bool) (core.Credentials, error) {
	if a.calls != nil {
		*a.calls++
	}
	parts := strings.Split(token, ":")
	switch {
	case parts[0] == "user" && len(parts) == 2:
		return core.UserCredentials("user:default/"+parts[1], "", core.NewToken(token), now.Add(time.Hour), false), nil
	case parts[0] == "limited" && len(parts) == 3 && allowLimited:
		left, err := time.ParseDuration(parts[2])
		if err != nil || left < 0 {
			break
		}
		return core.UserCredentials("user:default/"+parts[1], "", core.NewToken(token), now.Add(left), true), nil
	case token == "service":
		return core.ServiceCredentials("plugin:other", core.NewToken(token), nil, nil), nil
	}
	return core.Credentials{}, apierr.Authentication("Illegal token")
}

func (fakeAuth) LimitedUserToken(_ context.Context, user core.Credentials) (core.Token, time.Time, error) {
	_, name, _ := strings.Cut(user.Principal.UserEntityRef, "/")
	return core.NewToken("new-" + name), now.Add(time.Hour), nil
}

type fakeDiscovery struct {
	core.DiscoveryService
	external string
}

func (d fakeDiscovery) ExternalBaseURL(context.Context, string) (string, error) {
	if d.external == "" {
		return "", errors.New("no base URL")
	}
	return d.external, nil
}

func service(external string) *httpauth.Service {
	return httpauth.New("demo", fakeAuth{}, fakeDiscovery{external: external}, httpauth.WithClock(func() time.Time { return now }))
}

func request(authorization, cookie string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	everybody := core.Allow{}
	user, svc, both := core.Allow{User: true}, core.Allow{Service: true}, core.Allow{User: true, Service: true}
	const good, cookie = "Bearer user:jane", "a=b; backstage-auth=limited:jane:10m"
	tests := []struct {
		authorization, cookie string
		allow                 core.Allow
		want                  core.PrincipalType
		status                int // of the error; 0 is none
		message               string
	}{
		{good, "", both, core.PrincipalUser, 0, ""},
		{"bEaReR user:jane", "", user, core.PrincipalUser, 0, ""},
		{"Bearer    user:jane", "", user, core.PrincipalUser, 0, ""},
		{"Bearer service", "", svc, core.PrincipalService, 0, ""},
		{"Bearer service", "", user, "", 403, "This endpoint does not allow 'service' credentials"},
		{good, "", svc, "", 403, "This endpoint does not allow 'user' credentials"},
		{"", "", both, "", 401, "Missing credentials"},
		{"", "", everybody, core.PrincipalNone, 0, ""},
		{"", "", core.Allow{None: true, User: true}, core.PrincipalNone, 0, ""},
		{good, "", core.Allow{None: true}, "", 403, "This endpoint does not allow 'user' credentials"},
		{"Bearer bad", "", everybody, "", 401, "Illegal token"},
		{"Bearer bad", "", core.Allow{None: true}, "", 401, "Illegal token"},
		{"Basic abc", "", both, "", 401, "Missing credentials"},
		{"Bearer", "", both, "", 401, "Missing credentials"},
		{"Bearer ", "", both, "", 401, "Missing credentials"},
		{"Bearer a b", "", both, "", 401, "Missing credentials"},
		{"Beareruser:jane", "", both, "", 401, "Missing credentials"},
		{"Bearer\tuser:jane", "", both, "", 401, "Missing credentials"},
		{"Bearer limited:jane:10m", "", user, "", 401, "Illegal token"},
		{"", cookie, user, "", 401, "Missing credentials"},
		{"", cookie, core.Allow{User: true, Cookie: true}, core.PrincipalUser, 0, ""},
		{"", "backstage-auth=bad", core.Allow{User: true, Cookie: true}, "", 401, "Illegal token"},
		{"Bearer service", cookie, core.Allow{Service: true, Cookie: true}, core.PrincipalService, 0, ""},
		{"Basic abc", cookie, core.Allow{User: true, Cookie: true}, core.PrincipalUser, 0, ""},
	}
	s := service("http://portal.test/api/demo")
	for _, tt := range tests {
		c, err := s.Credentials(request(tt.authorization, tt.cookie), tt.allow)
		if tt.status != 0 {
			if apierr.Status(err) != tt.status || err == nil || err.Error() != tt.message {
				t.Errorf("%q %q %+v: error %v, want %d %s", tt.authorization, tt.cookie, tt.allow, err, tt.status, tt.message)
			}
			continue
		}
		if err != nil || c.Principal.Type != tt.want {
			t.Errorf("%q %q %+v: %v, error %v", tt.authorization, tt.cookie, tt.allow, c.Principal.Type, err)
		}
	}
}

func TestCredentialsAreRemembered(t *testing.T) {
	t.Parallel()
	calls := 0
	auth := fakeAuth{calls: &calls}
	s, other := httpauth.New("demo", auth, fakeDiscovery{}), httpauth.New("other", auth, fakeDiscovery{})
	r := remembered(request("Bearer user:jane", ""))
	for range 3 {
		_, _ = s.Credentials(r, core.Allow{User: true})
	}
	if calls != 1 {
		t.Errorf("verified %d times, want once", calls)
	}
	_, _ = s.Credentials(r, core.Allow{User: true, Cookie: true})
	_, _ = other.Credentials(r, core.Allow{User: true})
	if calls != 3 {
		t.Errorf("verified %d times: limited access and other plugins need their own look", calls)
	}
	// A request made in memory with the context of another keeps its own caller.
	inner := request("Bearer service", "").WithContext(r.Context())
	if c, err := s.Credentials(inner, core.Allow{}); err != nil || !c.IsService() {
		t.Errorf("the inner request is taken for %+v, error %v", c.Principal, err)
	}
	// Failures are not remembered.
	bad := remembered(request("Bearer bad", ""))
	calls = 0
	for range 2 {
		if _, err := s.Credentials(bad, core.Allow{}); err == nil {
			t.Error("a bad token passes")
		}
	}
	if calls != 2 {
		t.Errorf("verified %d times", calls)
	}
}

func TestIssueUserCookie(t *testing.T) {
	t.Parallel()
	const tail = "; Path=/; Expires=Tue, 01 Jan 2030 13:00:00 GMT; HttpOnly; "
	tests := []struct {
		name, external, authorization, cookie string
		set                                   string // "" sets nothing
		expires                               time.Time
	}{
		{"https", "https://portal.test/api/demo", "Bearer user:jane", "", "backstage-auth=new-jane; Domain=portal.test" + tail + "Secure; Priority=High; SameSite=None", now.Add(time.Hour)},
		{"localhost", "http://localhost:7007/api/demo", "Bearer user:jane", "", "backstage-auth=new-jane; Domain=localhost" + tail + "Secure; Priority=High; SameSite=None", now.Add(time.Hour)},
		{"http", "http://127.0.0.1:7107/api/demo", "Bearer user:jane", "", "backstage-auth=new-jane; Domain=127.0.0.1" + tail + "Priority=High; SameSite=Lax", now.Add(time.Hour)},
		{"IPv6", "http://[::1]:7107/api/demo", "Bearer user:jane", "", "backstage-auth=new-jane" + tail + "Priority=High; SameSite=Lax", now.Add(time.Hour)},
		{"a good cookie", "http://p", "Bearer user:jane", "backstage-auth=limited:jane:6m", "", now.Add(6 * time.Minute)},
		{"an old cookie", "http://p", "Bearer user:jane", "backstage-auth=limited:jane:5m", "backstage-auth=new-jane; Domain=p" + tail + "Priority=High; SameSite=Lax", now.Add(time.Hour)},
		{"the cookie of another", "http://p", "Bearer user:jane", "backstage-auth=limited:john:30m", "backstage-auth=new-jane; Domain=p" + tail + "Priority=High; SameSite=Lax", now.Add(time.Hour)},
		{"a bad cookie", "http://p", "Bearer user:jane", "backstage-auth=bad", "backstage-auth=new-jane; Domain=p" + tail + "Priority=High; SameSite=Lax", now.Add(time.Hour)},
		{"nobody", "https://p", "", "backstage-auth=limited:jane:6m", "backstage-auth=; Domain=p; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Priority=High; SameSite=None", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			expires, err := service(tt.external).IssueUserCookie(w, request(tt.authorization, tt.cookie))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.Header()["Set-Cookie"], "|"); got != tt.set {
				t.Errorf("got  %s\nwant %s", got, tt.set)
			}
			if !expires.Equal(tt.expires) {
				t.Errorf("expires %s, want %s", expires, tt.expires)
			}
		})
	}
}

func TestIssueUserCookieErrors(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	if _, err := service("http://p").IssueUserCookie(w, request("Bearer service", "")); apierr.Status(err) != 401 {
		t.Errorf("for a service: %v", err)
	}
	if _, err := service("http://p").IssueUserCookie(w, request("Bearer bad", "")); apierr.Status(err) != 401 {
		t.Errorf("for a bad token: %v", err)
	}
	for _, external := range []string{"", "nonsense"} {
		if _, err := service(external).IssueUserCookie(w, request("Bearer user:jane", "")); err == nil {
			t.Errorf("no error with the external URL %q", external)
		}
	}
	if got := w.Header()["Set-Cookie"]; got != nil {
		t.Errorf("a cookie was set: %q", got)
	}
	// Credentials that came in another way, such as a form.
	who := core.UserCredentials("user:default/john", "", core.NewToken("x"), now, false)
	if _, err := service("http://p").IssueUserCookieFor(w, request("", ""), who); err != nil || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "backstage-auth=new-john;") {
		t.Errorf("got %q, error %v", w.Header()["Set-Cookie"], err)
	}
}

// FuzzHeaders checks that a token is found in the one form only, whole.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"Bearer a", "bearer  a.b.c", "Bearer", "Basic x", "Bearer a b", "Bearer \x00", "Bearer \u00a0x", `"`, "limited:a:5m", "%2", "a;b"} {
		f.Add(s, s)
	}
	s := service("http://p")
	f.Fuzz(func(t *testing.T, authorization, cookie string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{authorization}
		r.Header["Cookie"] = []string{"backstage-auth=" + cookie}
		c, err := s.Credentials(r, core.Allow{})
		if err == nil && !c.IsNone() && !strings.HasSuffix(authorization, c.Token().Reveal()) {
			t.Errorf("%q gave the token %q", authorization, c.Token().Reveal())
		}
		if _, err := s.Credentials(r, core.Allow{Cookie: true}); err != nil && apierr.Status(err) != 401 {
			t.Errorf("error %v", err)
		}
	})
}

// remembered returns r with a place for its credentials.
func remembered(r *http.Request) *http.Request {
	return r.WithContext(requestmemo.Context(r.Context()))
}
