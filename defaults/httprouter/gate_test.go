package httprouter_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/roothttprouter"
)

// early starts a backend in the background and gives the URL at once.
func early(t *testing.T, yaml string, init func(ctx context.Context, r core.Router) error, more ...backend.Feature) (b *bundle, started <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	more = append(more, roothttprouter.NewFactory(roothttprouter.WithListener(l)))
	b = build(t, yaml, func(ctx context.Context, r core.Router, _ core.HTTPAuthService) error { return init(ctx, r) }, more...)
	b.url = "http://" + l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- b.backend.Start(context.Background()) }()
	return b, done
}

func TestRequestsWaitForThePlugin(t *testing.T) {
	t.Parallel()
	initialising, goOn := make(chan struct{}), make(chan struct{})
	b, started := early(t, "", func(_ context.Context, r core.Router) error {
		r.HandleFunc("GET /a", ok)
		close(initialising)
		<-goOn
		return nil
	})
	<-initialising
	// Health and keys answer while the plugin starts.
	if resp, _ := b.do("GET", "/.backstage/health/v1/liveness", ""); resp.StatusCode != 200 {
		t.Errorf("liveness: %d", resp.StatusCode)
	}
	if resp, body := b.do("GET", "/.backstage/health/v1/readiness", ""); resp.StatusCode != 503 || body != `{"message":"Backend has not started yet","status":"error"}` {
		t.Errorf("readiness: %d %s", resp.StatusCode, body)
	}
	if resp, _ := b.do("GET", "/api/demo/.backstage/auth/v1/jwks.json", ""); resp.StatusCode != 200 {
		t.Errorf("keys: %d", resp.StatusCode)
	}
	got := make(chan int, 1)
	go func() {
		resp, _ := b.do("GET", "/api/demo/a", "service")
		got <- resp.StatusCode
	}()
	select {
	case status := <-got:
		t.Errorf("the request did not wait: %d", status)
	default:
	}
	close(goOn)
	if status := <-got; status != 200 {
		t.Errorf("then: %d", status)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

func TestRequestsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	initialising, goOn := make(chan struct{}), make(chan struct{})
	b, started := early(t, "  lifecycle: {startupRequestPauseTimeout: 10ms}", func(context.Context, core.Router) error {
		close(initialising)
		<-goOn
		return nil
	})
	<-initialising
	resp, body := b.do("GET", "/api/demo/a", "")
	if resp.StatusCode != 503 || body != `{"error":{"message":"Service has not started up yet","name":"ServiceUnavailableError"},"request":{"method":"GET","url":"/a"},"response":{"statusCode":503}}` {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	close(goOn)
	<-started
}

func mayFail() backend.Feature {
	return root(core.StartupPolicy, backend.StartupPolicy{PluginMayFail: func(string) bool { return true }})
}

func TestAFailedPluginKeepsItsReason(t *testing.T) {
	t.Parallel()
	b := build(t, "", func(context.Context, core.Router, core.HTTPAuthService) error {
		return errors.New("no demo database at db.internal:5432")
	}, mayFail())
	if err := b.backend.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.findURL()
	for _, token := range []string{"service", "user", ""} {
		resp, body := b.do("GET", "/api/demo/a", token)
		if resp.StatusCode != 503 || strings.Contains(body, "database") || !strings.Contains(body, "Plugin 'demo' failed to start; the log") {
			t.Errorf("with token %q: got %d %s", token, resp.StatusCode, body)
		}
	}
	if resp, _ := b.do("GET", "/.backstage/health/v1/readiness", ""); resp.StatusCode != 200 {
		t.Errorf("readiness: %d", resp.StatusCode)
	}
}

func TestWaitingRequestsLearnOfTheFailure(t *testing.T) {
	t.Parallel()
	initialising, goOn := make(chan struct{}), make(chan struct{})
	b, started := early(t, "  lifecycle: {startupRequestPauseTimeout: 10m}", func(context.Context, core.Router) error {
		close(initialising)
		<-goOn
		return errors.New("late failure")
	}, mayFail())
	<-initialising
	got := make(chan string, 1)
	go func() {
		_, body := b.do("GET", "/api/demo/a", "service")
		got <- body
	}()
	close(goOn)
	if body := <-got; !strings.Contains(body, "failed to start") {
		t.Errorf("got %s", body)
	}
	<-started
}

func TestAStoppingPluginTurnsRequestsDown(t *testing.T) {
	t.Parallel()
	var handler http.Handler
	stopping := make(chan struct{})
	// The server itself is drained before plugins stop, so that the router is
	// asked in memory, as another plugin of the process would.
	spy := backend.DecorateRoot(core.RootHTTPRouter, func(_ *backend.RootEnv, inner func() core.HTTPRoot) backend.MakeFunc[core.HTTPRoot] {
		return func(context.Context) (core.HTTPRoot, error) { return &capture{inner(), &handler}, nil }
	})
	var status int
	b := build(t, "", func(context.Context, core.Router, core.HTTPAuthService) error { return nil }, spy,
		backend.NewPlugin("other", func(env *backend.PluginEnv) backend.InitFunc {
			lifecycle := core.Lifecycle.From(env)
			return func(context.Context) error {
				return lifecycle().OnStop("ask", func(context.Context) error { <-stopping; return nil })
			}
		}))
	if err := b.backend.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.findURL()
	done := make(chan error, 1)
	go func() { done <- b.backend.Stop(context.Background()) }()
	for status != http.StatusServiceUnavailable {
		rec := &recorder{header: http.Header{}}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "/a", nil)
		handler.ServeHTTP(rec, r)
		status = rec.status
	}
	close(stopping)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type capture struct {
	core.HTTPRoot
	handler *http.Handler
}

func (c *capture) Use(path string, h http.Handler) error {
	if path == "/api/demo" {
		*c.handler = h
	}
	return c.HTTPRoot.Use(path, h)
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func TestStartupPauseOption(t *testing.T) {
	t.Parallel()
	initialising, goOn := make(chan struct{}), make(chan struct{})
	b, started := early(t, "  lifecycle: {startupRequestPauseTimeout: 10m}", func(context.Context, core.Router) error {
		close(initialising)
		<-goOn
		return nil
	}, httprouter.NewFactory(httprouter.WithStartupPause(0)))
	<-initialising
	if resp, _ := b.do("GET", "/api/demo/a", ""); resp.StatusCode != 503 {
		t.Errorf("got %d", resp.StatusCode)
	}
	close(goOn)
	<-started
}
