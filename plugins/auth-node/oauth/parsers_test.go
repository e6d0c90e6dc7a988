package oauth

import (
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzState: what is not a state is refused, and what is one is read as it was
// written.
func FuzzState(f *testing.F) {
	f.Add("6e6f6e63653d6e26656e763d64", "n", "dev", "http://app.test", "http://app.test/?a=b&c", "redirect", "a b")
	f.Add("zz", "+/=", "d", "", "", "", "\x00\xff;&=%")
	f.Add(strings.Repeat("6e", maxState), "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, text, nonce, env, origin, redirect, flow, scope string) {
		if s, err := decodeState(text); err == nil {
			if s.Nonce == "" || s.Env == "" || len(text) > maxState {
				t.Fatalf("%q is a state: %+v", text, s)
			}
			again, err := decodeState(s.encode())
			if diff := cmp.Diff(s, again); diff != "" && len(s.encode()) <= maxState || err != nil && len(s.encode()) <= maxState {
				t.Fatalf("%q: %v\n%s", text, err, diff)
			}
		}
		written := state{nonce, env, origin, redirect, flow, scope}
		code := written.encode()
		if _, err := hex.DecodeString(code); err != nil {
			t.Fatal(err)
		}
		read, err := decodeState(code)
		switch complete := nonce != "" && env != "" && len(code) <= maxState; {
		case complete != (err == nil):
			t.Fatalf("%+v: %v", written, err)
		case complete && read != written:
			t.Fatalf("written %+v, read %+v", written, read)
		}
	})
}

// FuzzCookies: a value comes back as it was set, whatever is in it, no cookie
// gets an attribute from it, and headers that nobody has written do no harm.
func FuzzCookies(f *testing.F) {
	f.Add("token", "corp-refresh-token=x; corp-refresh-token-0=y", "http://app.test")
	f.Add("a; Domain=evil.test\r\nSet-Cookie: x=y", "corp-refresh-token=%zz", "https://other.test")
	f.Add(strings.Repeat("é+/=", 3000), "corp-refresh-token-0=a; corp-refresh-token-2=c", "null")
	f.Fuzz(func(t *testing.T, value, header, origin string) {
		if len(value) > 40_000 {
			return
		}
		c, err := newCookies("corp", "https://portal.test/api/auth/corp/handler/frame", time.Hour, func() time.Time { return time.Unix(0, 0) })
		if err != nil {
			t.Fatal(err)
		}
		strange := httptest.NewRequest(http.MethodGet, "/", nil)
		strange.Header["Cookie"] = []string{header}
		_ = decodeAttempt(c.get(strange, c.nonce())).secrets("corp", "dev")
		_ = c.get(strange, c.token())

		w := httptest.NewRecorder()
		c.set(w, httptest.NewRequest(http.MethodGet, "/", nil), c.token(), value, origin)
		back := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, line := range w.Header()["Set-Cookie"] {
			pair, attributes, _ := strings.Cut(line, "; ")
			name, text, _ := strings.Cut(pair, "=")
			if attributes = strings.TrimPrefix(strings.TrimPrefix(attributes, "Max-Age=3600; "), "Max-Age=0; "); !strings.HasPrefix(attributes, "Path=/api/auth/corp; Expires=") ||
				!strings.HasSuffix(attributes, "; HttpOnly; Secure; SameSite=None") && !strings.HasSuffix(attributes, "; HttpOnly; Secure; SameSite=Lax") ||
				strings.Count(attributes, ";") != 4 || strings.ContainsAny(line, "\r\n\x00") || !strings.HasPrefix(name, "corp-refresh-token") {
				t.Fatalf("value %q sets %q", value, line)
			}
			if text != "" {
				back.Header.Add("Cookie", name+"="+text)
			}
		}
		if got := c.get(back, c.token()); got != value {
			t.Fatalf("set %q, got %q", value, got)
		}
	})
}

// FuzzAttempt: the secrets of an attempt depend on all of the cookie, and one
// without a seed has none.
func FuzzAttempt(f *testing.F) {
	f.Add(newAttempt().encode())
	f.Add("nonce")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, value string) {
		a := decodeAttempt(value)
		s := a.secrets("corp", "dev")
		if (a.seed == nil) != (s == Secrets{}) || a.seed != nil && len(a.seed) != 32 {
			t.Fatalf("%q: %+v", value, s)
		}
		if a.seed != nil && (a.secrets("corp", "prod") == s || a.secrets("cor", "pdev") == s) {
			t.Fatalf("%q: other places have the same secrets", value)
		}
		if strings.Contains(a.nonce, ".") {
			t.Fatalf("%q: nonce %q", value, a.nonce)
		}
	})
}

// FuzzTargets: an origin that a URL is found to have is that which a browser
// goes to.
func FuzzTargets(f *testing.F) {
	for _, seed := range []string{
		"http://app.test/x", "HTTP://APP.test:80", "http://app.test@evil.test", `http://evil.test\@app.test`, "http://evil.test#@app.test",
		"//evil.test", "http:app.test", "http:///app.test", "https://[::1]:443/", "http://app.test:80:80", "javascript://app.test/%0aalert(1)", " http://app.test", "http://app.test\t.evil.test",
	} {
		f.Add(seed)
	}
	e := &environment[string]{app: "http://app.test", allowed: func(o string) bool { return o == "http://app.test" }}
	f.Fuzz(func(t *testing.T, target string) {
		if err := e.checkTargets(state{RedirectURL: target}); err != nil || target == "" {
			return
		}
		// Browsers end the host at the first of these, and read a backslash as a
		// slash; credentials end at the last @ before that.
		rest, ok := strings.CutPrefix(strings.ToLower(target), "http:")
		if !ok || strings.ContainsAny(target, "\t\r\n") {
			t.Fatalf("%q is allowed", target)
		}
		rest = strings.TrimLeft(rest, `/\`)
		if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
			rest = rest[:i]
		}
		host := strings.TrimSuffix(strings.TrimSuffix(rest[strings.LastIndexByte(rest, '@')+1:], ":"), ":80")
		if plain, err := url.PathUnescape(host); err != nil || plain != "app.test" {
			t.Fatalf("%q is allowed, and a browser goes to %q", target, host)
		}
	})
}
