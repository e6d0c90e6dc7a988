package roothttprouter_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/roothealth"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/internal/configtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logBuffer is a log that tests read.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// server is a running backend with nothing but the HTTP server.
type server struct {
	core.HTTPRoot
	t       testing.TB
	url     string
	log     *logBuffer
	client  *http.Client
	backend *backend.Backend
}

func features(config core.ConfigRoot, log io.Writer, opts ...roothttprouter.Option) []backend.Feature {
	return []backend.Feature{
		roothealth.Factory, roothttprouter.NewFactory(opts...),
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return slog.New(slog.NewJSONHandler(log, nil)), nil }
		}),
	}
}

func start(t testing.TB, yaml string, opts ...roothttprouter.Option) *server {
	t.Helper()
	if !strings.Contains(yaml, "listen:") {
		yaml = "backend:\n  listen: 127.0.0.1:0\n" + strings.TrimPrefix(yaml, "backend:\n")
	}
	return startWith(t, configtest.FromYAML(t, yaml), opts...)
}

func startWith(t testing.TB, config core.ConfigRoot, opts ...roothttprouter.Option) *server {
	t.Helper()
	s := &server{t: t, log: &logBuffer{}}
	s.backend = backend.New().Add(features(config, s.log, opts...)...)
	if err := s.backend.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.backend.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	root, err := backend.Get(s.backend, core.RootHTTPRouter)
	if err != nil {
		t.Fatal(err)
	}
	s.HTTPRoot, s.url = root, "http://"+root.Addr().String()
	return s
}

func (s *server) mount(path string, h http.HandlerFunc) {
	s.t.Helper()
	if err := s.Use(path, h); err != nil {
		s.t.Fatal(err)
	}
}

// do sends a request with headers given as "Name: value".
func (s *server) do(method, path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// raw sends bytes as they are, and returns all that comes back.
func (s *server) raw(text string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, text) }() // ends with the connection
	got, err := io.ReadAll(c)
	if err != nil && len(got) == 0 {
		s.t.Fatal(err)
	}
	return string(got)
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  cors: {origin: 'http://a.test'}\n  csp: {connect-src: [\"'self'\", 'http:', 'https:'], upgradeInsecureRequests: false, img-src: ['*']}")
	s.mount("/panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	want := map[string]string{
		"Content-Security-Policy":           "default-src 'self';base-uri 'self';font-src 'self' https: data:;frame-ancestors 'self';img-src *;object-src 'none';script-src 'self' 'unsafe-eval';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';connect-src 'self' http: https:",
		"Referrer-Policy":                   "no-referrer",
		"Strict-Transport-Security":         "max-age=15552000; includeSubDomains",
		"X-Content-Type-Options":            "nosniff",
		"X-Dns-Prefetch-Control":            "off",
		"X-Download-Options":                "noopen",
		"X-Frame-Options":                   "SAMEORIGIN",
		"X-Permitted-Cross-Domain-Policies": "none",
		"X-Xss-Protection":                  "0",
	}
	check := func(what string, h http.Header) {
		t.Helper()
		for name, value := range want {
			if got := h[name]; len(got) != 1 || got[0] != value {
				t.Errorf("%s: %s is %q, want %q", what, name, got, value)
			}
		}
		for _, name := range []string{"X-Powered-By", "Cross-Origin-Opener-Policy", "Server"} {
			if h[name] != nil {
				t.Errorf("%s: it has %s", what, name)
			}
		}
	}
	for _, path := range []string{"/.backstage/health/v1/liveness", "/nothing", "/api/nothing", "/panic"} {
		resp, _ := s.do("GET", path)
		check(path, resp.Header)
	}
	resp, _ := s.do("OPTIONS", "/x", "Origin: http://a.test", "Access-Control-Request-Method: GET")
	check("a preflight", resp.Header)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s.raw("GET /%E0%A4%A HTTP/1.1\r\nHost: x\r\n\r\n"))), nil)
	if err != nil {
		t.Fatal(err)
	}
	check("a malformed request", resp.Header)
}

func TestHandlersHaveTheirOwnSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/own", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header()["Referrer-Policy"] = nil
	})
	resp, _ := s.do("GET", "/own")
	if own, left := resp.Header["X-Frame-Options"], resp.Header["Referrer-Policy"]; len(own) != 1 || own[0] != "DENY" || left != nil || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v", resp.Header)
	}
}

func TestDefaultContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	resp, _ := start(t, "backend:\n").do("GET", "/")
	want := "default-src 'self';base-uri 'self';font-src 'self' https: data:;frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self' 'unsafe-eval';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests"
	if got := resp.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNotFoundIsEmpty(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	for _, path := range []string{"/", "/api", "/api/", "/api/nothing", "/x?y"} {
		resp, body := s.do("GET", path)
		if resp.StatusCode != 404 || body != "" || resp.Header.Get("Content-Type") != "" || resp.Header.Get("Vary") != "" {
			t.Errorf("%s: %d %q %v", path, resp.StatusCode, body, resp.Header)
		}
	}
}

func TestKeepAliveIsAnnounced(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	resp, _ := s.do("GET", "/")
	if resp.Header.Get("Keep-Alive") != "timeout=5" || resp.Header.Get("Connection") != "keep-alive" {
		t.Errorf("got %v", resp.Header)
	}
	got := s.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if strings.Contains(got, "Keep-Alive") || !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("got %q", got)
	}
	s = start(t, "backend:\n  server: {keepAliveTimeout: 65000, maxRequestsPerSocket: 1}")
	if resp, _ := s.do("GET", "/"); !resp.Close || resp.Header.Get("Keep-Alive") != "" {
		t.Errorf("the last request of a connection: %v", resp.Header)
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	echo := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s %s", name, r.URL.EscapedPath(), r.URL.RawQuery, r.PathValue("pluginId"))
		}
	}
	s.mount("/api/Demo/", echo("demo"))
	s.mount("/api/app", echo("app"))
	s.mount("/.well-known/x", echo("known"))
	s.mount("/api/:pluginId", echo("gateway"))
	for path, want := range map[string]string{
		"/api/demo":                     "demo /  ",
		"/api/demo/":                    "demo /  ",
		"/API/DEMO/Aa/?q=1":             "demo /Aa/ q=1 ",
		"/api/demo//entities":           "demo /entities  ",
		"/api/demo///x":                 "demo //x  ",
		"/api/demo/a%2Fb%20c":           "demo /a%2Fb%20c  ",
		"/api/demox/y":                  "gateway /y  demox",
		"/api/de%2Fmo/y":                "gateway /y  de/mo",
		"/other/page?x":                 "app /other/page x ",
		"/":                             "app /  ",
		"/apix":                         "app /apix  ",
		"/.well-known/x/y":              "known /y  ",
		"/.well-known/xy":               "app /.well-known/xy  ",
		"/.backstage/health/v1/nothing": "app /.backstage/health/v1/nothing  ",
	} {
		if _, body := s.do("GET", path); body != want {
			t.Errorf("%s: got %q, want %q", path, body, want)
		}
	}
	if d := cmp.Diff([]string{"/.well-known/x", "/api/:pluginId", "/api/Demo", "/api/app"}, s.Mounts()); d != "" {
		t.Error(d)
	}
	if _, ok := s.Handler("/api/DEMO"); !ok {
		t.Error("the handler of /api/demo is not found")
	}
	if _, ok := s.Handler("/api/none"); ok {
		t.Error("there is a handler for /api/none")
	}
}

func TestMountConflicts(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	for _, tt := range []struct {
		path string
		ok   bool
	}{
		{"/api/a", true}, {"/api/ab", true}, {"/api/A/", false}, {"/api/a/b", false}, {"/api", false},
		{"/api/:id", true}, {"/api/:other", false}, {"/x/:a/y", true}, {"", false}, {"/", false}, {" / ", false}, {"x", false}, {"/a//b", false}, {"/../a", false},
	} {
		if err := s.Use(tt.path, http.NotFoundHandler()); (err == nil) != tt.ok {
			t.Errorf("%q: error %v, want ok %t", tt.path, err, tt.ok)
		}
	}
	if err := s.Use("/nil", nil); err == nil {
		t.Error("no handler is accepted")
	}
}

func TestIndexCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n", roothttprouter.WithIndex(""))
	s.mount("/api/app", text("app"))
	if resp, _ := s.do("GET", "/"); resp.StatusCode != 404 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestIndexPassesOn(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	passOn := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next, ok := core.IndexFallback(r)
		if !ok || r.URL.Path == "/mine" {
			_, _ = io.WriteString(w, "app "+r.URL.Path)
			return
		}
		next.ServeHTTP(w, r)
	})
	s.mount("/api/app", passOn)
	if resp, _ := s.do("GET", "/x"); resp.StatusCode != 404 {
		t.Errorf("with nobody else to ask: status %d", resp.StatusCode)
	}
	s.mount("/.flytower/status", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, again := core.IndexFallback(r)
		_, _ = fmt.Fprint(w, "status ", r.URL.Path, " ", again)
	}))
	// Below its own path, nobody else is asked.
	for path, want := range map[string]string{"/mine": "app /mine", "/x": "status /x false", "/api/app/x": "app /x"} {
		if _, body := s.do("GET", path); body != want {
			t.Errorf("GET %s: %q, want %q", path, body, want)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const cors = "backend:\n  cors: "
	tests := []struct {
		name, yaml, method string
		request            []string
		status             int
		want               map[string]string // "" is absent
	}{
		{"allowed", cors + "{origin: 'http://a.test', credentials: true}", "GET", []string{"Origin: http://a.test"}, 200, map[string]string{
			"Access-Control-Allow-Origin": "http://a.test", "Access-Control-Allow-Credentials": "true", "Vary": "Origin, Accept-Encoding", "Access-Control-Allow-Methods": "",
		}},
		{"any case", cors + "{origin: 'HTTP://a.test'}", "GET", []string{"Origin: http://A.test"}, 200, map[string]string{"Access-Control-Allow-Origin": "http://A.test"}},
		{"not allowed", cors + "{origin: 'http://a.test', credentials: true}", "GET", []string{"Origin: http://b.test"}, 200, map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Accept-Encoding",
		}},
		{"no origin", cors + "{origin: 'http://a.test'}", "GET", nil, 200, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Accept-Encoding"}},
		{"pattern", cors + "{origin: ['http://x', 'https://*.b.test']}", "GET", []string{"Origin: https://a.b.test"}, 200, map[string]string{"Access-Control-Allow-Origin": "https://a.b.test"}},
		{"pattern does not cross slashes", cors + "{origin: ['*b.test']}", "GET", []string{"Origin: https://b.test"}, 200, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"without origins", cors + "{credentials: false}", "GET", nil, 200, map[string]string{"Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding"}},
		{"exposed", cors + "{origin: 'http://a.test', exposedHeaders: [X-A, X-B]}", "GET", []string{"Origin: http://a.test"}, 200, map[string]string{"Access-Control-Expose-Headers": "X-A,X-B"}},
		{"preflight", cors + "{origin: 'http://a.test', credentials: true, maxAge: 60}", "OPTIONS", []string{"Origin: http://a.test", "Access-Control-Request-Headers: x-a, x-b"}, 204, map[string]string{
			"Access-Control-Allow-Origin": "http://a.test", "Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE", "Access-Control-Allow-Headers": "x-a, x-b",
			"Access-Control-Max-Age": "60", "Vary": "Origin, Access-Control-Request-Headers", "Access-Control-Allow-Credentials": "true", "Content-Type": "",
		}},
		{"preflight with fixed values", cors + "{origin: 'http://a.test', methods: [GET, POST], allowedHeaders: [x-c], optionsSuccessStatus: 200}", "OPTIONS", []string{"Origin: http://a.test", "Access-Control-Request-Headers: x-a"}, 200, map[string]string{
			"Access-Control-Allow-Methods": "GET,POST", "Access-Control-Allow-Headers": "x-c", "Vary": "Origin",
		}},
		{"preflight goes on", cors + "{origin: 'http://a.test', preflightContinue: true}", "OPTIONS", []string{"Origin: http://a.test"}, 200, map[string]string{"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE"}},
		{"preflight not allowed goes on", cors + "{origin: 'http://a.test'}", "OPTIONS", []string{"Origin: http://b.test", "Access-Control-Request-Method: GET"}, 200, map[string]string{"Access-Control-Allow-Methods": "", "Access-Control-Allow-Origin": ""}},
		{"absent", "backend:\n", "OPTIONS", []string{"Origin: http://a.test"}, 200, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Accept-Encoding"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.yaml)
			s.mount("/x", text("ok"))
			resp, _ := s.do(tt.method, "/x", tt.request...)
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			for name, want := range tt.want {
				if got := strings.Join(resp.Header[name], "|"); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestEntityTags(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/json", func(w http.ResponseWriter, r *http.Request) {
		apierr.WriteJSON(w, 200, map[string]string{"status": "ok"})
	})
	s.mount("/error", func(w http.ResponseWriter, r *http.Request) {
		apierr.WriteJSON(w, 404, map[string]string{"status": "ok"})
	})
	s.mount("/two", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "a")
		_, _ = io.WriteString(w, "b")
	})
	s.mount("/flushed", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a"); w.(http.Flusher).Flush() })
	s.mount("/large", text(strings.Repeat("a", 1<<20+1)))
	s.mount("/own", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, "a")
	})
	s.mount("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "x")
		_, _ = io.WriteString(w, "a")
	})
	s.mount("/partial", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206); _, _ = io.WriteString(w, "a") })

	const tag = `W/"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg"` // of {"status":"ok"}, as Node's backends compute it
	tests := []struct {
		method, path string
		request      []string
		status       int
		etag, length string
	}{
		{"GET", "/json", nil, 200, tag, "15"},
		{"HEAD", "/json", nil, 200, tag, "15"},
		{"POST", "/json", []string{"If-None-Match: " + tag}, 200, tag, "15"},
		{"GET", "/json", []string{"If-None-Match: " + tag}, 304, tag, ""},
		{"HEAD", "/json", []string{"If-None-Match: " + tag}, 304, tag, ""},
		{"GET", "/json", []string{`If-None-Match: "other", ` + strings.TrimPrefix(tag, "W/")}, 304, tag, ""},
		{"GET", "/json", []string{"If-None-Match: *"}, 304, tag, ""},
		{"GET", "/json", []string{`If-None-Match: "other"`}, 200, tag, "15"},
		{"GET", "/json", []string{"If-None-Match: " + tag, "Cache-Control: no-cache"}, 200, tag, "15"},
		{"GET", "/error", []string{"If-None-Match: " + tag}, 404, tag, "15"},
		{"GET", "/.backstage/health/v1/liveness", []string{"If-None-Match: " + tag}, 304, tag, ""},
		{"GET", "/two", nil, 200, "", "2"},
		{"GET", "/flushed", nil, 200, "", ""},
		{"GET", "/large", nil, 200, "", ""},
		{"GET", "/own", nil, 200, `"v1"`, "1"},
		{"GET", "/own", []string{`If-None-Match: W/"v1"`}, 304, `"v1"`, ""},
		{"GET", "/file", nil, 200, "", "1"},
		{"GET", "/partial", nil, 206, "", "1"},
	}
	for _, tt := range tests {
		resp, body := s.do(tt.method, tt.path, tt.request...)
		if resp.StatusCode != tt.status || resp.Header.Get("Etag") != tt.etag || resp.Header.Get("Content-Length") != tt.length {
			t.Errorf("%s %s %q: %d, tag %q, length %q", tt.method, tt.path, tt.request, resp.StatusCode, resp.Header.Get("Etag"), resp.Header.Get("Content-Length"))
		}
		if tt.status == 304 && (body != "" || resp.Header.Get("Content-Type") != "" || resp.Header.Get("Vary") != "") {
			t.Errorf("%s %s: 304 with %q %v", tt.method, tt.path, body, resp.Header)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	long := strings.Repeat("all work and no play ", 100)
	typed := func(contentType, body string, more ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			for _, m := range more {
				name, value, _ := strings.Cut(m, ": ")
				w.Header().Set(name, value)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	s.mount("/long", typed("application/json; charset=utf-8", long))
	s.mount("/short", typed("text/plain", "short"))
	s.mount("/image", typed("image/png", long))
	s.mount("/fixed", typed("text/plain", long, "Cache-Control: public, no-transform"))
	s.mount("/encoded", typed("text/plain", long, "Content-Encoding: zstd"))
	s.mount("/range", typed("text/plain", long, "Content-Range: bytes 0-2099/9999"))
	s.mount("/declared", typed("text/plain", long, "Content-Length: 2100"))
	s.mount("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for part := range strings.SplitAfterSeq(long, " ") {
			_, _ = io.WriteString(w, part)
		}
	})
	tests := []struct{ method, path, accept, coding, vary string }{
		{"GET", "/long", "gzip, deflate, br", "br", "Accept-Encoding"},
		{"GET", "/long", "gzip", "gzip", "Accept-Encoding"},
		{"GET", "/long", "deflate", "deflate", "Accept-Encoding"},
		{"GET", "/long", "br;q=0.5, gzip", "gzip", "Accept-Encoding"},
		{"GET", "/long", "*", "br", "Accept-Encoding"},
		{"GET", "/long", "*, br;q=0", "gzip", "Accept-Encoding"},
		{"GET", "/long", "gzip;q=0", "", "Accept-Encoding"},
		{"GET", "/long", "gzip;q=0.1, identity", "", "Accept-Encoding"},
		{"GET", "/long", "zstd", "", "Accept-Encoding"},
		{"GET", "/long", "gzip;q=x", "", "Accept-Encoding"},
		{"GET", "/long", "", "", "Accept-Encoding"},
		{"HEAD", "/long", "gzip", "", "Accept-Encoding"},
		{"GET", "/short", "gzip", "", "Accept-Encoding"},
		{"GET", "/image", "gzip", "", ""},
		{"GET", "/fixed", "gzip", "", ""},
		{"GET", "/encoded", "gzip", "zstd", "Accept-Encoding"},
		{"GET", "/range", "gzip", "", "Accept-Encoding"},
		{"GET", "/declared", "gzip", "gzip", "Accept-Encoding"},
		{"GET", "/stream", "gzip", "gzip", "Accept-Encoding"},
	}
	for _, tt := range tests {
		resp, body := s.do(tt.method, tt.path, "Accept-Encoding: "+tt.accept)
		if got := resp.Header.Get("Content-Encoding"); got != tt.coding || resp.Header.Get("Vary") != tt.vary {
			t.Errorf("%s %s with %q: encoding %q, want %q; vary %q, want %q", tt.method, tt.path, tt.accept, got, tt.coding, resp.Header.Get("Vary"), tt.vary)
		}
		if tt.coding == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(z); err != nil || string(plain) != long {
				t.Errorf("%s: %d bytes, error %v", tt.path, len(plain), err)
			}
		}
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/x", func(w http.ResponseWriter, r *http.Request) { apierr.WriteJSON(w, 201, "hi") })
	s.do("GET", "/x/y?a=1&access_token=hunter2&code=hunter3", "User-Agent: tester", "Referer: http://r.test/?token=hunter4")
	s.do("GET", "/x/long?q="+strings.Repeat("a", 200<<10))
	if err := s.backend.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := s.log.String()
	if found := strings.Contains(log, "/x/long"); !found || len(log) > 40<<10 {
		t.Errorf("a long request fills the log: %d bytes", len(log))
	}
	for _, want := range []string{
		`\"GET /x/y?a=1&access_token=***&code=*** HTTP/1.1\" 201 4 \"http://r.test/?token=***\" \"tester\"`,
		`"service":"rootHttpRouter"`, `"type":"incomingRequest"`, `"method":"GET"`, `"url":"/x/y?a=1&access_token=***&code=***"`,
		`"status":201`, `"httpVersion":"1.1"`, `"userAgent":"tester"`, `"contentLength":4`, `"msg":"Listening on 127.0.0.1:`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "hunter") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}

func TestPanicsStayInTheirRequest(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/panic", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half an ")
		panic(errors.New("the secret boom"))
	})
	s.mount("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		panic("late boom")
	})
	resp, body := s.do("GET", "/panic?q")
	if resp.StatusCode != 500 || !strings.Contains(body, "An internal error occurred logId=") || strings.Contains(body, "boom") ||
		!strings.Contains(body, `"request":{"method":"GET","url":"/panic?q"}`) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	_, id, _ := strings.Cut(body, "logId=")
	if id = id[:20]; !strings.Contains(s.log.String(), id) || !strings.Contains(s.log.String(), "the secret boom") || !strings.Contains(s.log.String(), "server_test.go") {
		t.Errorf("the log does not have the panic under its id %s:\n%s", id, s.log)
	}
	if got := s.backend.Status().Panics; got != 1 {
		t.Errorf("%d panics are counted", got)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+"/late", nil)
	resp, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("an answer that was cut off looks complete")
	}
	if resp, _ := s.do("GET", "/.backstage/health/v1/liveness"); resp.StatusCode != 200 {
		t.Errorf("liveness is %d after a panic", resp.StatusCode)
	}
}
