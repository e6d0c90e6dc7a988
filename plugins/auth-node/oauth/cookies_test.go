package oauth_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/plugins/auth-node/oauth"
)

func TestLongTokensAreSplit(t *testing.T) {
	t.Parallel()
	idp := &identityProvider{long: 9000}
	p := newPortal(t, idp, "", nil)
	names := func(resp *http.Response) (all []string) {
		for _, c := range resp.Cookies() {
			if len(c.Value) > 4096 {
				t.Errorf("cookie %s has %d bytes", c.Name, len(c.Value))
			}
			if c.MaxAge > 0 {
				all = append(all, c.Name)
			} else {
				all = append(all, "-"+c.Name)
			}
		}
		return all
	}
	signIn := func(length int) []string {
		t.Helper()
		idp.long = length
		encoded, _, _ := p.start(t, "env=dev")
		resp, _ := p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+encoded)
		got := names(resp)
		if resp, body := p.send(t, http.MethodGet, "/refresh?env=dev", xhr, "XMLHttpRequest"); resp.StatusCode != http.StatusOK || idp.asked.RefreshToken != strings.Repeat("x", length) {
			t.Errorf("refresh of %d bytes: %d %s", length, resp.StatusCode, body)
		}
		return got
	}
	for _, tt := range []struct {
		length int
		want   string
	}{
		{9000, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 corp-refresh-token-2"},
		{5000, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 -corp-refresh-token-2"},
		{4000, "-corp-nonce corp-refresh-token -corp-refresh-token-0 -corp-refresh-token-1"},
		{4001, "-corp-nonce corp-refresh-token-0 corp-refresh-token-1 -corp-refresh-token"},
	} {
		if got := strings.Join(signIn(tt.length), " "); got != tt.want {
			t.Errorf("%d bytes: cookies %s, want %s", tt.length, got, tt.want)
		}
	}
	resp, _ := p.send(t, http.MethodPost, "/logout?env=dev", xhr, "XMLHttpRequest")
	if got := strings.Join(names(resp), " "); got != "-corp-refresh-token-0 -corp-refresh-token-1" {
		t.Errorf("logout: cookies %s", got)
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ config, origin, nonce, token string }{
		"plain": {"callbackUrl: 'http://host.test/api/auth/corp/handler/frame'", app,
			"Max-Age=600; Path=/api/auth/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; SameSite=Lax",
			"Max-Age=86400000; Path=/api/auth/corp; Expires=Mon, 27 Sep 2032 12:00:00 GMT; HttpOnly; SameSite=Lax"},
		"another host by TLS": {"callbackUrl: 'https://host.test/api/auth/corp/handler/frame', sessionDuration: {hours: 1}", preview,
			"Max-Age=600; Path=/api/auth/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; Secure; SameSite=None",
			"Max-Age=3600; Path=/api/auth/corp; Expires=Tue, 01 Jan 2030 13:00:00 GMT; HttpOnly; Secure; SameSite=None"},
		"the same host by TLS": {"callbackUrl: 'https://app.test/elsewhere'", app,
			"Max-Age=600; Path=/elsewhere/corp/handler; Expires=Tue, 01 Jan 2030 12:10:00 GMT; HttpOnly; Secure; SameSite=Lax",
			"Max-Age=86400000; Path=/elsewhere/corp; Expires=Mon, 27 Sep 2032 12:00:00 GMT; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPortal(t, &identityProvider{}, tt.config, func(p *oauth.Provider[string]) {
				p.Now = func() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }
			})
			p.browser.Jar = nil
			resp, _ := p.send(t, http.MethodGet, "/start?env=dev&origin="+tt.origin)
			set := resp.Header["Set-Cookie"]
			if len(set) != 1 {
				t.Fatalf("cookies %q", set)
			}
			nonce, attributes, _ := strings.Cut(set[0], "; ")
			if attributes != tt.nonce || !regexp.MustCompile(`^corp-nonce=[A-Za-z0-9%]+%3D%3D\.[A-Za-z0-9_-]{43}$`).MatchString(nonce) {
				t.Errorf("cookie %s\nwant %s", set[0], tt.nonce)
			}
			at, err := url.Parse(resp.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			resp, _ = p.send(t, http.MethodGet, "/handler/frame?code=jane&state="+at.Query().Get("state"), "Cookie", nonce)
			set = resp.Header["Set-Cookie"]
			if want := "corp-refresh-token=refresh%2F%2B%3D%20jane; " + tt.token; len(set) != 2 || set[1] != want {
				t.Errorf("cookies %q\nwant %s", set, want)
			}
		})
	}
}
