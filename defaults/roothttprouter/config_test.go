package roothttprouter_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/roothttprouter"
	"github.com/flytower/flytower/internal/configtest"
)

// startError starts a backend that cannot start.
func startError(t *testing.T, yaml string, opts ...roothttprouter.Option) error {
	t.Helper()
	b := backend.New().Add(features(configtest.FromYAML(t, yaml), io.Discard, opts...)...)
	err := b.Start(t.Context())
	if err == nil {
		t.Errorf("the backend starts with:\n%s", yaml)
		_ = b.Stop(context.Background())
	}
	return err
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ yaml, key, want string }{
		"two colons":        {"backend:\n  listen: ::1:7007", "backend.listen", "more than one colon"},
		"no port":           {"backend:\n  listen: nothing", "backend.listen", `"nothing"`},
		"large port":        {"backend:\n  listen: {port: 70000}", "backend.listen.port", "65535"},
		"fractional port":   {"backend:\n  listen: 70.5", "backend.listen", "65535"},
		"wrong type":        {"backend:\n  listen: [1]", "backend.listen", "must be"},
		"csp with comma":    {"backend:\n  csp: {img-src: ['a,b']}", "backend.csp.img-src", "comma"},
		"csp semicolon":     {"backend:\n  csp: {imgSrc: ['a;b']}", "backend.csp.imgSrc", "semicolon"},
		"csp newline":       {"backend:\n  csp: {img-src: [\"a\\nb\"]}", "backend.csp.img-src", "control"},
		"csp true":          {"backend:\n  csp: {img-src: true}", "backend.csp.img-src", "array of strings"},
		"csp text":          {"backend:\n  csp: {img-src: a}", "backend.csp.img-src", "array of strings"},
		"csp no default":    {"backend:\n  csp: {default-src: false}", "backend.csp.default-src", "left out"},
		"referrer":          {"backend:\n  referrer: {policy: [sometimes]}", "backend.referrer.policy", `"sometimes"`},
		"cors pattern":      {"backend:\n  cors: {origin: '[a'}", "backend.cors.origin", "pattern"},
		"cors status":       {"backend:\n  cors: {optionsSuccessStatus: 404}", "backend.cors.optionsSuccessStatus", "200"},
		"cors methods":      {"backend:\n  cors: {methods: 5}", "backend.cors.methods", ""},
		"trust":             {"backend:\n  trustProxy: [nowhere]", "backend.trustProxy", `"nowhere"`},
		"trust negative":    {"backend:\n  trustProxy: -1", "backend.trustProxy", "number of proxies"},
		"health header":     {"backend:\n  health: {headers: {X-A: ''}}", "backend.health.headers.X-A", "text"},
		"health number":     {"backend:\n  health: {headers: {X-A: 5}}", "backend.health.headers.X-A", "text"},
		"health detail":     {"backend:\n  health: {detail: everybody}", "backend.health.detail", "loopback"},
		"rate limit window": {"backend:\n  rateLimit: {window: 0s}", "backend.rateLimit.window", "millisecond"},
		"rate limit list":   {"backend:\n  rateLimit: {ipAllowList: [x]}", "backend.rateLimit.ipAllowList", `"x"`},
		"rate limit store":  {"backend:\n  rateLimit: {store: {type: mysql}}", "backend.rateLimit.store.type", `"mysql"`},
		"certificate":       {"backend:\n  https: {certificate: {cert: a, key: b}}", "backend.https.certificate", "PEM"},
		"no base URL":       {"backend:\n  https: true", "backend.baseUrl", ""},
		"delay":             {"backend:\n  lifecycle: {serverShutdownDelay: soon}", "backend.lifecycle.serverShutdownDelay", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(tt.yaml, "listen:") {
				tt.yaml += "\n  listen: 127.0.0.1:0"
			}
			err := startError(t, tt.yaml)
			var ce *core.ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("error %v is no ConfigError", err)
			}
			if ce.Key != tt.key || !strings.Contains(ce.Error(), tt.want) || strings.Contains(ce.Error(), "\n") {
				t.Errorf("error %q, want one about %s with %q", ce, tt.key, tt.want)
			}
		})
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	for _, yaml := range []string{
		"backend:\n  listen: 127.0.0.1:PORT", "backend:\n  listen: {host: 127.0.0.1, port: PORT}",
		"backend:\n  listen: {host: 127.0.0.1, port: 'PORT'}", "backend:\n  listen: '[127.0.0.1]:PORT'",
		"backend:\n  listen: ':PORT'", "backend:\n  listen: 'PORT'", "backend:\n  listen: PORT",
	} {
		port := free()
		s := start(t, strings.ReplaceAll(yaml, "PORT", port))
		if _, got, _ := net.SplitHostPort(s.Addr().String()); got != port {
			t.Errorf("%s: listens on %s, want port %s", yaml, s.Addr(), port)
		}
		if !strings.Contains(s.log.String(), ":"+port+`"`) {
			t.Errorf("the log does not name the port:\n%s", s.log)
		}
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = startError(t, "app:\n  title: x\nbackend:\n  listen: "+l.Addr().String())
	var ce *core.ConfigError
	if !errors.As(err, &ce) {
		t.Fatalf("error %v is no ConfigError", err)
	}
	want := `app-config.yaml:4: config key "backend.listen" asks for ` + l.Addr().String() + `, which another process uses; stop that process or choose another port`
	if ce.Error() != want {
		t.Errorf("got  %s\nwant %s", ce, want)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  health: {headers: {X-Service: mine}}\n  rateLimit: {incomingRequestLimit: 0, ipAllowList: []}")
	for _, path := range []string{"/.backstage/health/v1/readiness", "/.Backstage/health/v1/Liveness/"} {
		resp, body := s.do("GET", path)
		if resp.StatusCode != 200 || body != `{"status":"ok"}` || resp.Header.Get("X-Service") != "mine" || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: %d %s %v", path, resp.StatusCode, body, resp.Header)
		}
	}
	if resp, _ := s.do("POST", "/.backstage/health/v1/readiness"); resp.StatusCode != 429 {
		t.Errorf("what is no health probe: %d", resp.StatusCode)
	}
}

func TestHealthDetailIsForThisMachine(t *testing.T) {
	t.Parallel()
	const path = "/.backstage/health/v1/detail"
	s := start(t, "backend:\n")
	resp, body := s.do("GET", path)
	if resp.StatusCode != 200 || !strings.Contains(body, `"phase":"started"`) || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	for _, header := range []string{"X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "Via: 1.1 proxy", "Origin: http://evil.test"} {
		if resp, _ := s.do("GET", path, header); resp.StatusCode != 404 {
			t.Errorf("through a proxy (%s): %d", header, resp.StatusCode)
		}
	}
	if got := s.raw("GET " + path + " HTTP/1.1\r\nHost: rebound.evil.test\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 404") {
		t.Errorf("for another host: %.40q", got)
	}
	if resp, _ := start(t, "backend:\n  health: {detail: 'off'}").do("GET", path); resp.StatusCode != 404 {
		t.Errorf("switched off: %d", resp.StatusCode)
	}
	if resp, _ := start(t, "backend:\n  health: {detail: public}").do("GET", path, "X-Forwarded-For: 10.0.0.1"); resp.StatusCode != 200 {
		t.Errorf("public: %d", resp.StatusCode)
	}
}

func TestTrustProxy(t *testing.T) {
	t.Parallel()
	const chain = "X-Forwarded-For: 203.0.113.9, 10.1.1.1, 192.168.0.7"
	tests := []struct {
		trust string
		want  string // address, scheme, host
	}{
		{"false", "127.0.0.1  HOST"},
		{"true", "203.0.113.9 https app.test"},
		{"1", "192.168.0.7 https app.test"},
		{"2", "10.1.1.1 https app.test"},
		{"9", "203.0.113.9 https app.test"},
		{"loopback", "192.168.0.7 https app.test"},
		{"'loopback, uniquelocal'", "203.0.113.9 https app.test"},
		{"[127.0.0.1, 192.168.0.0/16]", "10.1.1.1 https app.test"},
		{"uniquelocal", "127.0.0.1  HOST"},
	}
	for _, tt := range tests {
		s := start(t, "backend:\n  trustProxy: "+tt.trust)
		s.mount("/x", func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			_, _ = io.WriteString(w, host+" "+r.URL.Scheme+" "+r.Host)
		})
		_, body := s.do("GET", "/x", chain, "X-Forwarded-Proto: https", "X-Forwarded-Host: app.test, inner")
		if want := strings.ReplaceAll(tt.want, "HOST", s.Addr().String()); body != want {
			t.Errorf("trustProxy %s: %q, want %q", tt.trust, body, want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  trustProxy: true\n  rateLimit: {incomingRequestLimit: 2, window: {minutes: 5}}")
	s.mount("/x", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	for i, want := range []struct {
		status    int
		remaining string
	}{{200, "1"}, {200, "0"}, {429, "0"}} {
		resp, body := s.do("GET", "/x", "X-Forwarded-For: 203.0.113.9")
		h := resp.Header
		if resp.StatusCode != want.status || h.Get("X-RateLimit-Limit") != "2" || h.Get("X-RateLimit-Remaining") != want.remaining || h.Get("X-RateLimit-Reset") == "" {
			t.Errorf("request %d: %d %v", i, resp.StatusCode, h)
		}
		if want.status == 429 && (h.Get("Retry-After") == "" || body != `{"error":{"message":"Too many requests, please try again later","name":"Error"},"response":{"statusCode":429}}`) {
			t.Errorf("the refusal: %s %v", body, h)
		}
	}
	if resp, _ := s.do("GET", "/x", "X-Forwarded-For: 203.0.113.10"); resp.StatusCode != 200 {
		t.Errorf("another client: %d", resp.StatusCode)
	}
	for range 5 { // loopback addresses are free by default
		if resp, _ := s.do("GET", "/x"); resp.StatusCode != 200 || resp.Header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("this machine: %d", resp.StatusCode)
		}
	}
	s = start(t, "backend:\n  trustProxy: true\n  rateLimit: true")
	if resp, _ := s.do("GET", "/", "X-Forwarded-For: 203.0.113.9"); resp.Header.Get("X-RateLimit-Limit") != "5" {
		t.Errorf("rateLimit: true: %v", resp.Header)
	}
	s = start(t, "backend:\n  trustProxy: true\n  rateLimit: {global: false}")
	if resp, _ := s.do("GET", "/", "X-Forwarded-For: 203.0.113.9"); resp.Header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("not global: %v", resp.Header)
	}
}

// certificateOf returns the certificate that a server shows.
func certificateOf(t *testing.T, addr net.Addr) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec // the test looks at it itself
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("protocol %q", got)
	}
	return c.ConnectionState().PeerCertificates[0]
}

const tlsConfig = "backend:\n  listen: 127.0.0.1:0\n  baseUrl: https://dev.example.com:7007\n  https: true"

func TestDevelopmentCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, tlsConfig, roothttprouter.WithCacheDir(dir))
	cert := certificateOf(t, s.Addr())
	for _, host := range []string{"localhost", "localhost.localdomain", "127.0.0.1", "[::1]", "dev.example.com"} {
		if err := cert.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if cert.Subject.CommonName != "dev-cert" || time.Until(cert.NotAfter) < 29*24*time.Hour {
		t.Errorf("subject %s, until %s", cert.Subject, cert.NotAfter)
	}
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign != 0 || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("the key can be used for other things than this server: CA %t, usage %b, %v", cert.IsCA, cert.KeyUsage, cert.ExtKeyUsage)
	}
	path := filepath.Join(dir, ".dev-cert.pem")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, error %v", st, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + s.Addr().String() + "/.backstage/health/v1/liveness") //nolint:noctx // short
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}

	again := start(t, tlsConfig, roothttprouter.WithCacheDir(dir))
	if !certificateOf(t, again.Addr()).Equal(cert) {
		t.Error("a second start makes another certificate")
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if certificateOf(t, start(t, tlsConfig, roothttprouter.WithCacheDir(dir)).Addr()).Equal(cert) {
		t.Error("the certificate came back from garbage")
	}

	modules := t.TempDir()
	if err := os.Mkdir(filepath.Join(modules, "node_modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, tlsConfig, roothttprouter.WithCacheDir(modules))
	if _, err := os.Stat(filepath.Join(modules, "node_modules", ".cache", "backstage-backend", "dev-cert.pem")); err != nil {
		t.Error(err)
	}
}

// pair returns a certificate and its key as YAML for backend.https.
func pair(t *testing.T, host string) string {
	t.Helper()
	dir := t.TempDir()
	s := start(t, strings.ReplaceAll(tlsConfig, "dev.example.com", host), roothttprouter.WithCacheDir(dir))
	_ = s.backend.Stop(t.Context())
	text, err := os.ReadFile(filepath.Join(dir, ".dev-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	quote := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", "\\n") }
	return "backend:\n  listen: 127.0.0.1:0\n  https:\n    certificate: {cert: \"" + quote(pem.EncodeToMemory(block)) + "\", key: \"" + quote(rest) + "\"}"
}

func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	config, update := configtest.Live(t, pair(t, "one.example.com"))
	s := startWith(t, config)
	if err := certificateOf(t, s.Addr()).VerifyHostname("one.example.com"); err != nil {
		t.Fatal(err)
	}
	update(pair(t, "two.example.com"))
	if err := certificateOf(t, s.Addr()).VerifyHostname("two.example.com"); err != nil {
		t.Error(err)
	}
	update("backend:\n  listen: 127.0.0.1:0\n  https: {certificate: {cert: broken, key: broken}}")
	if err := certificateOf(t, s.Addr()).VerifyHostname("two.example.com"); err != nil {
		t.Errorf("after a broken edit: %v", err)
	}
	if !strings.Contains(s.log.String(), "keeps the one that it has") {
		t.Errorf("the log does not tell:\n%s", s.log)
	}
}

func TestUnparsableTimeoutIsIgnored(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  server: {headersTimeout: soon, timeout: 5s}")
	if resp, _ := s.do("GET", "/.backstage/health/v1/liveness"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if !strings.Contains(s.log.String(), "headersTimeout") || !strings.Contains(s.log.String(), slog.LevelWarn.String()) {
		t.Errorf("no warning:\n%s", s.log)
	}
}

func TestAStopThatWouldBeCutShortIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n", roothttprouter.WithDrainTimeout(time.Hour))
	if !strings.Contains(s.log.String(), "backend.startup.hookTimeout") {
		t.Errorf("no warning:\n%s", s.log)
	}
	if s := start(t, "backend:\n  lifecycle: {serverShutdownDelay: 1ms}"); strings.Contains(s.log.String(), "hookTimeout") {
		t.Errorf("a warning without need:\n%s", s.log)
	}
}
