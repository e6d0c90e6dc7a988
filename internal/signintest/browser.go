package signintest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Browser keeps cookies. It is safe for concurrent use.
type Browser struct {
	portal *Portal
	client *http.Client
}

// Browser returns a browser without cookies.
func (p *Portal) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // there is no error without options
	}
	return &Browser{portal: p, client: &http.Client{
		Jar: jar, Transport: p, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// RoundTrip implements [http.RoundTripper]: it brings requests to the backend
// or to the identity provider.
func (p *Portal) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != Host {
		return p.idp.Transport().RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = Host, "http", p.address
	return p.client.RoundTrip(r)
}

// Response is an answer, read to its end.
type Response struct {
	*http.Response
	Text string
}

// Send sends a request; header holds names and values in turn.
func (b *Browser) Send(t testing.TB, method, address string, header ...string) Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Response{resp, string(raw)}
}

// URL returns that of a route of the provider.
func (b *Browser) URL(path string) string { return Backend + "/" + b.portal.provider + path }

// Cookies returns those that the browser sends to the callback, by name, as
// they are on the wire.
func (b *Browser) Cookies(t testing.TB) map[string]string {
	t.Helper()
	u, err := url.Parse(b.URL("/handler/frame"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range b.client.Jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

// SetCookie puts a cookie of the callback's path into the browser.
func (b *Browser) SetCookie(t testing.TB, name, value string) {
	t.Helper()
	u, err := url.Parse(b.URL("/handler/frame"))
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/api/auth/" + b.portal.provider + "/handler", Secure: true}})
}

// Answer is what the frontend gets.
type Answer struct {
	Profile      map[string]string
	ProviderInfo struct {
		AccessToken, IDToken, Scope string
		ExpiresInSeconds            int
	}
	Identity struct {
		Token    string
		Identity struct{ Type, UserEntityRef string }
	} `json:"backstageIdentity"`
}

// User returns the reference of who has signed in.
func (a Answer) User() string { return a.Identity.Identity.UserEntityRef }

// Result is what the page of the popup posts to the window that opened it.
type Result struct {
	// Origin is that of the page that gets it.
	Origin   string
	Type     string
	Response *Answer
	Error    struct{ Name, Message string }
	// Raw is the result as it came.
	Raw string
}

// Start opens the popup, and returns the page of the identity provider.
func (b *Browser) Start(t testing.TB, query string) *url.URL {
	t.Helper()
	resp := b.Send(t, http.MethodGet, b.URL("/start?env=development"+query))
	to, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Fatalf("start: %d %s", resp.StatusCode, resp.Text)
	}
	return to
}

// Approve opens the page of the identity provider, where the user agrees, and
// returns the callback.
func (b *Browser) Approve(t testing.TB, page *url.URL) *url.URL {
	t.Helper()
	resp := b.Send(t, http.MethodGet, page.String())
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("the identity provider: %d %s", resp.StatusCode, resp.Text)
	}
	return to
}

// SignIn signs in by a popup; query is added to that of the start.
func (b *Browser) SignIn(t testing.TB, query string) Result {
	t.Helper()
	return b.Finish(t, b.Approve(t, b.Start(t, "&flow=popup&origin="+url.QueryEscape(App)+query)))
}

var posted = regexp.MustCompile(`decodeURIComponent\('([^']*)'\)`)

// Finish opens the callback, and returns what its page posts.
func (b *Browser) Finish(t testing.TB, callback *url.URL) (r Result) {
	t.Helper()
	resp := b.Send(t, http.MethodGet, callback.String())
	texts := posted.FindAllStringSubmatch(resp.Text, -1)
	if resp.StatusCode != http.StatusOK || len(texts) != 2 || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("callback: %d %v %s", resp.StatusCode, resp.Header, resp.Text)
	}
	var err error
	if r.Origin, err = url.PathUnescape(texts[0][1]); err != nil {
		t.Fatal(err)
	}
	if r.Raw, err = url.PathUnescape(texts[1][1]); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(r.Raw), &r); err != nil {
		t.Fatalf("%v: %s", err, r.Raw)
	}
	return r
}

// MustSignIn is SignIn where it has to succeed.
func (b *Browser) MustSignIn(t testing.TB, query string) Answer {
	t.Helper()
	r := b.SignIn(t, query)
	if r.Response == nil || r.Type != "authorization_response" || r.Origin != App {
		t.Fatalf("sign-in: %s to %s", r.Raw, r.Origin)
	}
	return *r.Response
}

// Refresh asks for a new token; the answer is nil where there is none.
func (b *Browser) Refresh(t testing.TB, query string) (*Answer, Response) {
	t.Helper()
	resp := b.Send(t, http.MethodGet, b.URL("/refresh?optional&env=development"+query), "X-Requested-With", "XMLHttpRequest", "Origin", App)
	if resp.StatusCode != http.StatusOK {
		return nil, resp
	}
	var a Answer
	if err := json.Unmarshal([]byte(resp.Text), &a); err != nil {
		t.Fatalf("%v: %s", err, resp.Text)
	}
	return &a, resp
}

// Logout ends the session.
func (b *Browser) Logout(t testing.TB) Response {
	t.Helper()
	return b.Send(t, http.MethodPost, b.URL("/logout?env=development"), "X-Requested-With", "XMLHttpRequest", "Origin", App)
}
