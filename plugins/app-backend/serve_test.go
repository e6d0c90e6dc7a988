package appbackend_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	appbackend "github.com/flytower/flytower/plugins/app-backend"
	appnode "github.com/flytower/flytower/plugins/app-node"
)

const (
	page  = "<title>Portal</title>"
	weeks = "public, max-age=1209600"
	never = "no-store, max-age=0"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	srv := serve(t, standard)
	for _, c := range []struct {
		name, method, path string
		status             int
		cache, contentType string
		body               string // how it begins, or contains; "-" is empty
	}{
		{name: "page", path: "/", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "page by name", path: "/index.html", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "deep link", path: "/catalog/default/component/x?filters=a#b", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "deep link with a dot", path: "/docs/default/api/a.b.c", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "below the plugin", path: "/api/app/catalog", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "the plugin itself", path: "/api/app", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "script", path: "/static/main.abc.js", status: 200, cache: weeks, contentType: "application/javascript; charset=UTF-8", body: "console.log('main');\n"},
		{name: "script below the plugin", path: "/api/app/static/main.abc.js", status: 200, cache: weeks, contentType: "application/javascript; charset=UTF-8", body: "console"},
		{name: "prefix in another case", path: "/STATIC/main.abc.js", status: 200, cache: weeks, contentType: "application/javascript; charset=UTF-8", body: "console"},
		{name: "name with a space", path: "/static/a%20b.css", status: 200, cache: weeks, contentType: "text/css; charset=UTF-8", body: "h1"},
		{name: "font", path: "/static/font.woff2", status: 200, cache: weeks, contentType: "font/woff2", body: "font"},
		{name: "nested", path: "/static/nested/x.js", status: 200, cache: weeks, contentType: "application/javascript; charset=UTF-8", body: "x"},
		{name: "no extension", path: "/static/LICENSE", status: 200, cache: weeks, contentType: "application/octet-stream", body: "licence"},
		{name: "source map", path: "/static/main.abc.js.map", status: 200, cache: weeks, contentType: "application/json; charset=UTF-8", body: "{}"},
		{name: "file beside", path: "/manifest.json", status: 200, cache: "public, max-age=0", contentType: "application/json; charset=UTF-8", body: `{"name"`},
		{name: "html beside", path: "/other.html", status: 200, cache: never, contentType: "text/html; charset=UTF-8", body: "<p>other"},
		{name: "folder with a page", path: "/docs/", status: 200, cache: never, contentType: "text/html; charset=UTF-8", body: "<p>docs"},
		{name: "folder", path: "/docs", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "missing script", path: "/static/none.js", status: 404, body: "-"},
		{name: "missing script in a missing folder", path: "/static/main.abc.js/x", status: 404, body: "-"},
		{name: "static", path: "/static", status: 404, body: "-"},
		{name: "static folder", path: "/static/", status: 404, body: "-"},
		{name: "folder in static", path: "/static/nested", status: 404, body: "-"},
		{name: "not static", path: "/statics", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "HEAD of the page", method: "HEAD", path: "/", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: "-"},
		{name: "HEAD of a script", method: "HEAD", path: "/static/main.abc.js", status: 200, cache: weeks, contentType: "application/javascript; charset=UTF-8", body: "-"},
		{name: "POST", method: "POST", path: "/x", status: 404, body: "-"},
		{name: "DELETE", method: "DELETE", path: "/", status: 404, body: "-"},
		{name: "POST to a script", method: "POST", path: "/static/main.abc.js", status: 404, body: "-"},
		{name: "POST to a file", method: "POST", path: "/manifest.json", status: 404, body: "-"},
		{name: "hidden file", path: "/.config-schema.json", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "hidden folder", path: "/.git/config", status: 200, cache: never, contentType: "text/html; charset=utf-8", body: page},
		{name: "hidden script", path: "/static/.hidden.js", status: 404, body: "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.method == "" {
				c.method = http.MethodGet
			}
			r := srv.Client(t).Do(c.method, c.path, nil)
			if r.Status != c.status || r.Header.Get("Cache-Control") != c.cache || r.Header.Get("Content-Type") != c.contentType {
				t.Errorf("%d, Cache-Control %q, Content-Type %q; want %d, %q, %q",
					r.Status, r.Header.Get("Cache-Control"), r.Header.Get("Content-Type"), c.status, c.cache, c.contentType)
			}
			if got := r.Header.Get("X-Frame-Options"); got != "DENY" {
				t.Errorf("X-Frame-Options: %s", got)
			}
			if want := strings.TrimPrefix(c.body, "-"); !strings.Contains(string(r.Body), want) || c.body == "-" && len(r.Body) > 0 {
				t.Errorf("body %q, want %q", r.Body, c.body)
			}
		})
	}
}

func TestVersionsAndParts(t *testing.T) {
	t.Parallel()
	srv := serve(t, with(standard, map[string]string{"static/large.js": strings.Repeat("/* large */\n", 10_000)}))
	const (
		script = "/static/main.abc.js"
		tag    = `W/"15-19ca9450a00"`
		date   = "Sun, 01 Mar 2026 12:00:00 GMT"
	)
	if r := srv.Client(t).Get(script); r.Header.Get("Etag") != tag || r.Header.Get("Last-Modified") != date || r.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("Etag %s, Last-Modified %s, Accept-Ranges %s", r.Header.Get("Etag"), r.Header.Get("Last-Modified"), r.Header.Get("Accept-Ranges"))
	}
	pageTag := srv.Client(t).Get("/").Header.Get("Etag")
	if !strings.HasPrefix(pageTag, `W/"`) {
		t.Errorf("the page has the entity tag %s", pageTag)
	}
	for _, c := range []struct {
		name, path, header, value string
		status                    int
		body                      string
	}{
		{"same version", script, "If-None-Match", tag, 304, ""},
		{"another version", script, "If-None-Match", `W/"x"`, 200, "console.log('main');\n"},
		{"since then", script, "If-Modified-Since", date, 304, ""},
		{"since before", script, "If-Modified-Since", "Sat, 28 Feb 2026 12:00:00 GMT", 200, "console.log('main');\n"},
		{"same page", "/any/path", "If-None-Match", pageTag, 304, ""},
		{"part", script, "Range", "bytes=0-6", 206, "console"},
		{"end", script, "Range", "bytes=-3", 206, ");\n"},
		{"no such part", script, "Range", "bytes=100-", 416, "invalid range"},
		{"part of a large file", "/static/large.js", "Range", "bytes=12-16", 206, "/* la"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := srv.Client(t).Header(c.header, c.value).Get(c.path)
			if r.Status != c.status || !strings.Contains(string(r.Body), c.body) || c.body == "" && len(r.Body) > 0 {
				t.Errorf("%d %.40q, want %d %q", r.Status, r.Body, c.status, c.body)
			}
		})
	}
	r := srv.Client(t).Header("Accept-Encoding", "gzip").Get("/static/large.js")
	if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Vary") != "Accept-Encoding" || len(r.Body) > 10_000 {
		t.Errorf("a large script: Content-Encoding %q, Vary %q, %d bytes", r.Header.Get("Content-Encoding"), r.Header.Get("Vary"), len(r.Body))
	}
}

// raw sends a request line as it is.
func raw(t *testing.T, srv *backendtest.Server, target string) (status int, body string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestHostilePaths asks in many ways for what is outside of the bundle.
func TestHostilePaths(t *testing.T) {
	t.Parallel()
	dir := write(t, standard)
	outside := filepath.Join(filepath.Dir(dir), "secret.txt")
	if err := os.WriteFile(outside, []byte("top secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"static/link.txt":     outside,
		"static/relative.txt": "../../secret.txt",
		"link.txt":            outside,
		"static/folder":       filepath.Dir(dir),
		"static/loop.js":      "loop.js",
		"static/inside.js":    "main.abc.js",
	} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	srv := backendtest.Start(t, appbackend.Plugin, configured(map[string]any{"distDir": dir}))
	for _, target := range []string{
		"/../secret.txt", "/static/../../secret.txt", "/static/..%2f..%2fsecret.txt", "/static/%2e%2e/%2e%2e/secret.txt",
		"/..%5csecret.txt", `/static/..\..\secret.txt`, "/static/%252e%252e/secret.txt", "//secret.txt", "/static//" + outside,
		"/static/link.txt", "/static/relative.txt", "/link.txt", "/static/folder/secret.txt", "/static/loop.js",
		"/%00", "/static/main.abc.js%00.txt", "/static/%00", "/static/C:%5csecret.txt", "/static/main.abc.js:stream",
		"/api/app/../../secret.txt", "/api/app//../secret.txt", "/static/" + strings.Repeat("a", 5000) + ".js", "/" + strings.Repeat("a/", 3000),
		"/static/nested/../../../secret.txt", "/static/%c0%ae%c0%ae/secret.txt", "/./../secret.txt", "/static/.", "/static/..",
	} {
		status, body := raw(t, srv, target)
		if strings.Contains(body, "secret") || status >= 500 {
			t.Errorf("GET %.60s: %d %.60q", target, status, body)
		}
		if below := strings.HasPrefix(target, "/static/"); below && status == http.StatusOK {
			t.Errorf("GET %.60s: %d", target, status)
		}
	}
	if status, body := raw(t, srv, "/static/inside.js"); status != http.StatusOK || !strings.HasPrefix(body, "console") {
		t.Errorf("a link within the bundle: %d %q", status, body)
	}
}

// TestNoFrontend checks that a backend without a frontend works, and that the
// status page stays at /.
func TestNoFrontend(t *testing.T) {
	t.Parallel()
	for name, app := range map[string]map[string]any{
		"nothing configured": {},
		"no such folder":     {"distDir": filepath.Join(t.TempDir(), "none")},
		"no such package":    {"packageName": "@acme/portal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := backendtest.Start(t, appbackend.Plugin, backendtest.Silent(), configured(app))
			c := srv.Client(t)
			if r := c.Get("/"); r.Status != http.StatusOK || !strings.Contains(string(r.Body), "Flytower") || r.Header.Get("X-Frame-Options") == "DENY" {
				t.Errorf("/ is %d %.80q, want the status page", r.Status, r.Body)
			}
			for _, path := range []string{"/catalog", "/static/main.js", "/api/app", "/api/app/x"} {
				if r := c.Get(path); r.Status != http.StatusNotFound || len(r.Body) > 0 {
					t.Errorf("GET %s: %d %q", path, r.Status, r.Body)
				}
			}
			c.Get("/.backstage/health/v1/readiness").Expect(http.StatusOK)
		})
	}
}

func TestFrontendGoesBeforeTheStatusPage(t *testing.T) {
	t.Parallel()
	srv := serve(t, standard)
	if r := srv.Client(t).Get("/"); !strings.Contains(string(r.Body), page) {
		t.Errorf("/ is %.80q", r.Body)
	}
	srv.Client(t).Get("/.flytower/status").Expect(http.StatusOK)
}

func TestStaticFallback(t *testing.T) {
	t.Parallel()
	set := func(env *backend.ModuleEnv, set func() error) backend.InitFunc {
		return func(context.Context) error { return set() }
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none.js" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, r.Method+" "+r.URL.EscapedPath())
	})
	module := func(id string) backend.Feature {
		return backend.NewModule("app", id, func(env *backend.ModuleEnv) backend.InitFunc {
			fallback := appnode.StaticFallbackHandler.From(env)
			return set(env, func() error { return fallback().Set(handler) })
		})
	}
	srv := serve(t, standard, module("fallback"))
	for path, want := range map[string]string{
		"/static/old.js":      "GET /old.js",
		"/static/a%20b/c.js":  "GET /a%20b/c.js",
		"/static/none.js":     "",
		"/static/main.abc.js": "console.log('main');",
		"/other":              "<html>",
	} {
		if got := srv.Client(t).Get(path).Text(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}

	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		b := backend.NewModule("app", "second", func(env *backend.ModuleEnv) backend.InitFunc {
			fallback := appnode.StaticFallbackHandler.From(env)
			return func(context.Context) error {
				if err := fallback().Set(nil); apierr.KindOf(err) != apierr.KindInput {
					t.Errorf("no handler: %v", err)
				}
				if err := fallback().Set(handler); err != nil {
					t.Errorf("the first: %v", err)
				}
				if err := fallback().Set(handler); apierr.KindOf(err) != apierr.KindConflict {
					t.Errorf("the second: %v", err)
				}
				return nil
			}
		})
		serve(t, standard, b)
	})
}
