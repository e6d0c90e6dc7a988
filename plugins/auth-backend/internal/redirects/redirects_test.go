package redirects_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"https://client.test/cb", "http://127.0.0.1:8055/callback", "http://[::1]:1/cb?x=1", "cursor://anysphere.cursor/cb", "com.example.app:/oauth",
	} {
		if err := redirects.Check(good); err != nil {
			t.Errorf("%s is refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "/cb", "client.test/cb", "//client.test/cb", "https:///cb", "https://client.test/cb#x", "https://client.test/cb#",
		"https://jane@client.test/cb", "https://a:b@client.test/", "javascript:alert(1)", "JavaScript://client.test/%0aalert(1)", "data:text/html,x", "vbscript:x",
		"file:///etc/passwd", "blob:https://client.test/x", "https://client.test\\@evil.test/", "https://client.test/\t", " https://client.test/", "https://client.test/\u00e9",
		"https://cl\u0131ent.test/", "https://client.test/%zz", "https://[::1/cb", "https://client.test/" + strings.Repeat("x", 2000), "java\nscript:alert(1)",
		"http://a;script-src/x", "https://a,b/", "https://a%2fb/",
	} {
		if redirects.Check(bad) == nil {
			t.Errorf("%q is not refused", bad)
		}
	}
}

func TestRegistered(t *testing.T) {
	t.Parallel()
	registered := []string{"https://client.test/cb", "http://127.0.0.1:8055/callback", "http://localhost/cb?a=1", "http://[::1]/cb", "http://intranet.test:80/cb"}
	for address, want := range map[string]bool{
		"https://client.test/cb":          true,
		"http://127.0.0.1:8055/callback":  true,
		"http://127.0.0.1:49152/callback": true,
		"http://127.0.0.1/callback":       true,
		"http://LOCALHOST:9/cb?a=1":       true,
		"http://[::1]:9/cb":               true,
		"http://intranet.test:80/cb":      true,

		"https://client.test/cb/":           false,
		"https://client.test/cb?x=1":        false,
		"https://client.test:443/cb":        false,
		"https://client.test/CB":            false,
		"https://client.test/./cb":          false,
		"https://evil.test/cb":              false,
		"https://client.test.evil.test/cb":  false,
		"https://client.test@evil.test/cb":  false,
		"http://client.test/cb":             false,
		"http://127.0.0.1:8055/callback/x":  false,
		"http://127.0.0.1:8055/callback?x":  false,
		"http://127.0.0.2:8055/callback":    false,
		"http://localhost:8055/callback":    false,
		"https://127.0.0.1:8055/callback":   false,
		"http://localhost:9/cb":             false,
		"http://localhost.evil.test/cb?a=1": false,
		"http://intranet.test:81/cb":        false,
		"http://127.0.0.1:8055/callback#x":  false,
		"javascript:alert(1)":               false,
	} {
		if got := redirects.Registered(registered, address); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern  string
		yes, not []string
	}{
		{"*", []string{"https://a.test/x", "cursor://x/y"}, []string{"javascript:alert(1)", "data:,x", "https://a.test/#x", "https://u@a.test/"}},
		{"http://127.0.0.1:8055/*", []string{"http://127.0.0.1:8055/callback", "http://127.0.0.1:8055/?x"}, []string{"http://127.0.0.1:8056/callback", "http://127.0.0.1/callback", "https://127.0.0.1:8055/x"}},
		{"http://127.0.0.1:*/*", []string{"http://127.0.0.1:1/a/b", "http://127.0.0.1/"}, []string{"http://127.0.0.11/", "http://127.0.0.1.evil.test/", "http://127.0.0.1@evil.test/"}},
		{"http://[::1]:*/*", []string{"http://[::1]:9/x"}, []string{"http://[::2]:9/x"}},
		{"https://*.example.com/cb", []string{"https://a.example.com/cb", "https://a.b.example.com:443/cb"}, []string{"https://example.com/cb", "https://evil.test/.example.com/cb", "https://a.example.com/cb/x", "https://a.example.com:444/cb", "https://a.example.com.evil.test/cb"}},
		{"https://example.com/cb/*/x", []string{"https://example.com/cb/1/x"}, []string{"https://example.com/cb/../x", "https://example.com/cb/%2e%2e/x", "https://example.com/cb/x"}},
		{"https://example.com", []string{"https://example.com", "https://example.com/"}, []string{"https://example.com/x"}},
		{"cursor://*", []string{"cursor://anysphere.cursor/user/cb", "cursor://x"}, []string{"cursors://x", "https://cursor/"}},
		{"cursor://host", []string{"cursor://host", "cursor://host/x"}, []string{"cursor://other/x", "cursor:/x"}},
		{"com.example.app:/cb", []string{"com.example.app:/cb", "com.example.app:/cb?x=1"}, []string{"com.example.app:/other", "com.example.app:cb", "com.example.other:/cb"}},
		{"com.example.app:*", []string{"com.example.app:/cb", "com.example.app:cb"}, []string{"https://com.example.app/cb"}},
	} {
		p, err := redirects.ParsePatterns([]string{"https://other.test/", tt.pattern})
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range tt.yes {
			if !p.Match(address) {
				t.Errorf("%s does not match %s", tt.pattern, address)
			}
		}
		for _, address := range tt.not {
			if p.Match(address) {
				t.Errorf("%s matches %s", tt.pattern, address)
			}
		}
	}
	for _, bad := range []string{"", "example.com/*", "*://example.com/", "https://", "https:///x", "https:x", "1a:x", "https://a.test/?x", "https://a.test/#x", "https://u@a.test/"} {
		if _, err := redirects.ParsePatterns([]string{bad}); err == nil {
			t.Errorf("the pattern %q is taken", bad)
		}
	}
	both, err := redirects.ParsePatterns([]string{"https://a.test/*", "https://a.test/client.json"})
	if err != nil {
		t.Fatal(err)
	}
	if found, ok := both.Find("https://a.test/client.json"); !ok || !found.Exact() {
		t.Errorf("found %q", found)
	}
}

func TestWith(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ address, want string }{
		{"https://a.test/cb", "https://a.test/cb?code=1%262"},
		{"https://a.test/cb?x=1", "https://a.test/cb?x=1&code=1%262"},
		{"app:/cb", "app:/cb?code=1%262"},
	} {
		if got := redirects.With(tt.address, "code", "1&2", "state", ""); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if got := redirects.WithOnly("https://a.test/cb?x=1", "error", "no way"); got != "https://a.test/cb?error=no+way" {
		t.Error(got)
	}
}

// FuzzRegistered looks for an address that is let through although a browser
// would go elsewhere than to the registered host.
func FuzzRegistered(f *testing.F) {
	for _, seed := range []string{"https://client.test/cb", "http://127.0.0.1:1/cb", "https://client.test@evil.test/cb", "https://client.test\\.evil.test/cb", "javascript:alert(1)", "http://127.1/cb", "//x", "http://127.0.0.1:1/cb#@x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if !redirects.Registered([]string{"https://client.test/cb", "http://127.0.0.1:8055/cb"}, address) || address == "https://client.test/cb" {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Hostname() != "127.0.0.1" || u.Scheme != "http" || u.Path != "/cb" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			t.Errorf("%q is let through", address)
		}
	})
}

// FuzzPatterns looks for a pattern of one host that lets another host through.
func FuzzPatterns(f *testing.F) {
	f.Add("https://*.example.com/*", "https://a.example.com/x")
	f.Add("*", "javascript:x")
	f.Add("http://[::1]:*/*", "http://[::1]:2/")
	f.Fuzz(func(t *testing.T, pattern, address string) {
		p, err := redirects.ParsePatterns([]string{pattern})
		if err != nil || !p.Match(address) {
			return
		}
		if err := redirects.Check(address); err != nil {
			t.Errorf("%q matches %q, which %v", pattern, address, err)
		}
	})
}
