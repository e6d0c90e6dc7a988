package roothttprouter

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/configtest"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]address{
		"7007": {"", 7007}, ":7007": {"", 7007}, "localhost:80": {"localhost", 80}, "[::1]:80": {"::1", 80}, " 0 ": {"", 0},
	} {
		if got, err := parseAddress(text); err != nil || got != want {
			t.Errorf("%q: %+v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":", "a", "a:b", "::1", "::1:80", "a:80:90", "65536", "-1", "1e3", "http://a:80", "a b:80", "[a]b:80", "0x10"} {
		if got, err := parseAddress(text); err == nil {
			t.Errorf("%q is accepted as %+v", text, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"7007", ":7007", "a:1", "[::1]:2", "::", "[", "]:1", "%:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			return
		}
		if again, err := parseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q gives %+v, and that %+v, error %v", text, a, again, err)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"http://a.test", "https://*.a.test", "**", "{a,b}", "[a-", "null", `\`, "*/*"} {
		f.Add(s, "https://x.a.test")
	}
	f.Fuzz(func(t *testing.T, pattern, origin string) {
		c := &cors{patterns: []string{strings.ToLower(pattern)}}
		matched := c.matches(origin)
		if matched && !strings.ContainsAny(pattern, `*?[{\`) && !strings.EqualFold(pattern, origin) && strings.ToLower(pattern) != strings.ToLower(origin) {
			t.Errorf("the plain origin %q matches %q", pattern, origin)
		}
		if matched && pattern == "*" && strings.Contains(origin, "/") {
			t.Errorf("* crosses a slash in %q", origin)
		}
	})
}

func FuzzContentSecurityPolicy(f *testing.F) {
	for _, s := range []string{"img-src", "imgSrc", "default-src", "x y", "é", "*"} {
		f.Add(s, "'self'")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name+value, "'\"\\\n\r\t{}[]:,#&*!|>%@`") || strings.TrimSpace(name) == "" || !isHeaderText(name+value) {
			return // YAML of another shape
		}
		csp, err := contentSecurityPolicy(configtest.FromYAML(t, "backend:\n  csp:\n    '"+name+"': ['"+value+"']"))
		if err != nil {
			return
		}
		if !strings.Contains(csp, "default-src") || strings.Count(csp, ";") > 10 || !isHeaderText(csp) {
			t.Errorf("%q: %q gives %q", name, value, csp)
		}
	})
}

func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{"gzip, br", "*;q=0", "gzip;q=1.5", ";;;", "br;q=NaN", ",,,", "identity;q=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if e := negotiate(accept); e != identity && !strings.Contains(accept, "*") && !strings.Contains(strings.ToLower(accept), e.String()) {
			t.Errorf("%q gives %s", accept, e)
		}
	})
}

func TestCompressibleTypes(t *testing.T) {
	t.Parallel()
	for _, ct := range []string{"text/plain", "TEXT/HTML; charset=x", "application/json", "application/problem+json", "image/svg+xml", "application/javascript; charset=UTF-8", "text/event-stream"} {
		if !compressible(ct) {
			t.Errorf("%s is not compressed", ct)
		}
	}
	for _, ct := range []string{"", "image/png", "application/zip", "application/octet-stream", "video/mp4", ";"} {
		if compressible(ct) {
			t.Errorf("%s is compressed", ct)
		}
	}
}

func TestAddVary(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	for _, step := range []struct{ name, want string }{
		{"Origin", "Origin"}, {"Accept-Encoding", "Origin, Accept-Encoding"}, {"origin", "Origin, Accept-Encoding"},
	} {
		if addVary(h, step.name); h.Get("Vary") != step.want || len(h["Vary"]) != 1 {
			t.Errorf("after %s: %q", step.name, h["Vary"])
		}
	}
	h["Vary"] = []string{"*"}
	if addVary(h, "Origin"); h.Get("Vary") != "*" {
		t.Errorf("got %q", h["Vary"])
	}
}

// BenchmarkRequest is a small JSON answer on its way through the whole server.
func BenchmarkRequest(b *testing.B) {
	config := configtest.FromYAML(b, "backend:\n  cors: {origin: 'http://a.test', credentials: true}")
	s := &Server{Dependencies: Dependencies{Config: config, Log: slog.New(slog.DiscardHandler)}, options: defaultOptions(), conns: map[*connection]struct{}{}}
	if _, err := s.configure(); err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"status":"ok"}`)
	if err := s.Use("/api/demo", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json; charset=utf-8"}
		_, _ = w.Write(body)
	})); err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/api/demo/things?x=1", nil)
	r.Header.Set("Origin", "http://a.test")
	r.Header.Set("Accept-Encoding", "gzip, deflate, br")
	w := &nullWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.ServeHTTP(w, r)
	}
	if w.status != 200 {
		b.Errorf("status %d", w.status)
	}
}

type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(status int)      { w.status = status }
func (w *nullWriter) Write(p []byte) (int, error) { return io.Discard.Write(p) }
