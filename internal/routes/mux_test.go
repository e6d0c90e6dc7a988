package routes_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/routes"
)

func handle(t testing.TB, m *routes.Mux, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if err := m.Handle(p, http.NotFoundHandler(), "test.go:1"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	var m routes.Mux
	handle(t, &m,
		"GET /{$}", "GET /entities", "POST /entities/by-refs", "GET /entities/{kind}/{ns}/{name}",
		"GET /entities/by-name/{kind}/{ns}", "/files/{path...}", "GET /static/", "HEAD /head", "GET /head",
		"DELETE /x/{a}", "GET /x/y", "GET /é/{a}", "GET /sp ace",
	)
	tests := []struct {
		method, path, pattern string // an empty pattern is no match
		values                map[string]string
	}{
		{"GET", "/", "GET /{$}", nil},
		{"GET", "/entities", "GET /entities", nil},
		{"GET", "/Entities/", "GET /entities", nil},
		{"HEAD", "/entities", "GET /entities", nil},
		{"PATCH", "/entities", "", nil},
		{"GET", "//entities", "", nil},
		{"GET", "/entities//", "", nil},
		{"POST", "/entities/BY-refs", "POST /entities/by-refs", nil},
		{"GET", "/entities/by-refs", "", nil},
		{"GET", "/entities/a/b/C", "GET /entities/{kind}/{ns}/{name}", map[string]string{"kind": "a", "ns": "b", "name": "C"}},
		{"GET", "/entities/a/b/c%2Fd", "GET /entities/{kind}/{ns}/{name}", map[string]string{"kind": "a", "ns": "b", "name": "c/d"}},
		{"GET", "/entities/by-name/b/c/", "GET /entities/by-name/{kind}/{ns}", map[string]string{"kind": "b", "ns": "c"}},
		{"GET", "/entities/BY-NAME/b", "", nil},
		{"GET", "/entities/a//c", "", nil},
		{"PUT", "/files", "/files/{path...}", map[string]string{"path": ""}},
		{"PUT", "/files/", "/files/{path...}", map[string]string{"path": ""}},
		{"PUT", "/FILES/a/B%20c//d", "/files/{path...}", map[string]string{"path": "a/B c//d"}},
		{"GET", "/files/../entities", "", nil},
		{"GET", "/files/%2e%2E/entities", "", nil},
		{"GET", "/files/a/./b", "", nil},
		{"GET", "/files/..%2Fa", "/files/{path...}", map[string]string{"path": "../a"}},
		{"GET", "/files/...", "/files/{path...}", map[string]string{"path": "..."}},
		{"GET", "/static", "GET /static/", nil},
		{"GET", "/static/x/y", "GET /static/", nil},
		{"GET", "/staticx", "", nil},
		{"HEAD", "/head", "HEAD /head", nil},
		{"DELETE", "/x/y", "DELETE /x/{a}", map[string]string{"a": "y"}},
		{"GET", "/x/y", "GET /x/y", nil},
		{"GET", "/%C3%89/1", "GET /é/{a}", map[string]string{"a": "1"}},
		{"GET", "/" + strings.Repeat("a/", 5000), "", nil},
		{"GET", "/files/" + strings.Repeat("a/", 5000), "/files/{path...}", map[string]string{"path": strings.Repeat("a/", 5000)}},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, "http://h"+tt.path, nil)
		_, ok := m.Handler(r)
		if ok != (tt.pattern != "") || r.Pattern != tt.pattern {
			t.Errorf("%s %.60s: matched %q, want %q", tt.method, tt.path, r.Pattern, tt.pattern)
		}
		for name, want := range tt.values {
			if got := r.PathValue(name); got != want {
				t.Errorf("%s %.60s: %s = %q, want %q", tt.method, tt.path, name, got, want)
			}
		}
	}
}

func TestMoreSpecificWins(t *testing.T) {
	t.Parallel()
	var m routes.Mux
	handle(t, &m, "/", "GET /", "/{a}", "/a", "GET /a", "/a/{b...}", "/a/{b}/c")
	for path, want := range map[string]string{
		"GET /": "GET /", "POST /": "/", "POST /a": "/a", "GET /A/": "GET /a", "GET /b": "/{a}",
		"GET /a/b": "/a/{b...}", "GET /a/b/c": "/a/{b}/c", "GET /a/b/c/d": "/a/{b...}", "GET /b/c": "GET /", "PUT /b/c": "/",
	} {
		method, p, _ := strings.Cut(path, " ")
		r := httptest.NewRequest(method, p, nil)
		if _, _ = m.Handler(r); r.Pattern != want {
			t.Errorf("%s: matched %q, want %q", path, r.Pattern, want)
		}
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		ok   bool
	}{
		{"GET /a", "GET /A", false},
		{"/a", "/a", false},
		{"GET /a", "/a", true},
		{"GET /a", "POST /a", true},
		{"GET /{x}", "GET /{y}", false},
		{"GET /a/{x}", "GET /{y}/b", false},
		{"GET /a/{x}", "POST /{y}/b", true},
		{"GET /a/{x}", "/{y}/b", false},
		{"HEAD /a/{x}", "GET /{y}/b", false},
		{"GET /{x}/b/", "GET /a/{y}", false},
		{"/a/{x}", "GET /a/b", true},
		{"GET /a/{x}", "/a/b", true},
		{"GET /", "/x", true},
		{"GET /a/", "GET /a", true},
		{"GET /a/", "GET /a/{x...}", false},
		{"GET /a/{$}", "GET /a", false},
	}
	for _, tt := range tests {
		for range 2 {
			var m routes.Mux
			handle(t, &m, tt.a)
			err := m.Handle(tt.b, http.NotFoundHandler(), "other.go:9")
			if (err == nil) != tt.ok {
				t.Errorf("%q after %q: error %v, want ok %t", tt.b, tt.a, err, tt.ok)
			}
			if err != nil && !(strings.Contains(err.Error(), "test.go:1") && strings.Contains(err.Error(), "other.go:9") && strings.Contains(err.Error(), tt.a) && strings.Contains(err.Error(), tt.b)) {
				t.Errorf("the error %q does not name both patterns and places", err)
			}
			tt.a, tt.b = tt.b, tt.a
		}
	}
}

func TestMalformedPatterns(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"", "a", "GET", "GET a", "example.com/a", "/a//b", "/{", "/}", "/{}", "/{a}b", "/b{a}", "/{a b}", "/{1}",
		"/{a...}/b", "/{$}/a", "/{a}/{a}", "/./a", "/..", "G@T /a", "/{a}{b}", "/{...}", " /a",
	} {
		var m routes.Mux
		if err := m.Handle(p, http.NotFoundHandler(), ""); err == nil {
			t.Errorf("the pattern %q is accepted", p)
		}
	}
}

func TestPatternsAreInOrder(t *testing.T) {
	t.Parallel()
	var m routes.Mux
	want := []string{"GET /b", "GET /a", "/"}
	handle(t, &m, want...)
	if d := cmp.Diff(want, m.Patterns()); d != "" {
		t.Error(d)
	}
}

// FuzzHandler checks that what a route gets is what its pattern promises.
func FuzzHandler(f *testing.F) {
	for _, p := range []string{"/", "/a/b", "/a/%2e%2e/b", "//", "/f/x//y", "/p/%2F/q/", "/%zz", "/P/a%00b/Q"} {
		f.Add("GET", p)
	}
	var m routes.Mux
	handle(f, &m, "GET /a/b", "GET /p/{one}/q", "/f/{rest...}", "POST /{any}")
	f.Fuzz(func(t *testing.T, method, path string) {
		r, err := http.NewRequest(method, "http://h", nil)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		r.URL, err = r.URL.Parse("http://h" + path)
		if err != nil {
			return
		}
		if _, ok := m.Handler(r); !ok {
			return
		}
		for part := range strings.SplitSeq(r.URL.Path, "/") {
			if (part == "." || part == "..") && !strings.Contains(strings.ToLower(path), "%2f") {
				t.Errorf("%q reached %q in spite of a dot segment", path, r.Pattern)
			}
		}
		if r.Pattern == "GET /p/{one}/q" && r.PathValue("one") == "" {
			t.Errorf("%q: empty parameter", path)
		}
	})
}
