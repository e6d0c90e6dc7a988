package httprouter

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/answer"
	"github.com/flytower/flytower/internal/httptelemetry"
	"github.com/flytower/flytower/internal/ratelimit"
	"github.com/flytower/flytower/internal/requestmemo"
	"github.com/flytower/flytower/internal/routes"
)

// Dependencies are what a router needs.
type Dependencies struct {
	Plugin    string
	Config    core.Config
	Log       *slog.Logger
	Lifecycle backend.Lifecycle
	Instance  backend.Instance
	Auth      core.AuthService
	HTTPAuth  core.HTTPAuthService
	// Auditor, if not nil, records who gets a cookie.
	Auditor core.AuditorService
	// Telemetry, if not nil, measures and traces the requests.
	Telemetry *core.TelemetryProviders
}

// Router is the router of a plugin. As an [http.Handler] it expects requests
// whose URL is relative to the plugin.
type Router struct {
	Dependencies
	mux     routes.Mux
	gate    gate
	open    bool // no barrier
	handler http.Handler
	measure *httptelemetry.HTTP // nil if nothing is measured

	mu         sync.Mutex // guards what follows against other writers
	middleware []func(http.Handler) http.Handler
	chain      atomic.Pointer[http.Handler]
	policies   atomic.Pointer[[]policy]
}

type policy struct {
	path  *pathMatcher
	allow core.AuthAllowance
}

var _ core.Router = (*Router)(nil)

const (
	jwksPath   = "/.backstage/auth/v1/jwks.json"
	cookiePath = "/.backstage/auth/v1/cookie"
)

// New returns a router that opens when its plugin has started.
func New(d Dependencies, opts ...Option) (*Router, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	r := &Router{Dependencies: d}
	pause, err := d.Config.DurationOr("backend.lifecycle.startupRequestPauseTimeout", 5*time.Second)
	if err != nil {
		return nil, err
	}
	if o.pause != nil {
		pause = *o.pause
	}
	if r.open, err = d.Config.BoolOr("backend.auth.dangerouslyDisableDefaultAuthPolicy", false); err != nil {
		return nil, err
	}
	limiter, closeStore, err := ratelimit.Plugin(d.Config, d.Plugin, d.Log)
	if err != nil {
		return nil, err
	}
	r.gate = gate{plugin: d.Plugin, wait: pause, instance: d.Instance, stopping: d.Lifecycle.Done(), started: make(chan struct{})}
	if err := d.Lifecycle.OnStart("http router", func(context.Context) error { r.gate.open(); return nil }); err != nil {
		return nil, err
	}
	if closeStore != nil {
		if err := d.Lifecycle.OnStop("rate limit store", func(context.Context) error { closeStore(); return nil }); err != nil {
			return nil, err
		}
	}
	if d.Telemetry != nil {
		if r.measure, err = httptelemetry.New(*d.Telemetry); err != nil {
			return nil, err
		}
	}
	r.handler = http.HandlerFunc(r.serve)
	if limiter != nil {
		r.handler = limiter.Wrap(r.handler)
	}
	for i := len(o.middleware) - 1; i >= 0; i-- {
		r.handler = o.middleware[i](d.Plugin, r.handler)
	}
	r.rebuild()
	return r, nil
}

// Handle implements [core.Router].
func (r *Router) Handle(pattern string, h http.Handler) { r.handle(pattern, h) }

// HandleFunc implements [core.Router].
func (r *Router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	if h == nil {
		r.handle(pattern, nil)
		return
	}
	r.handle(pattern, http.HandlerFunc(h))
}

// HandleErr implements [core.Router].
func (r *Router) HandleErr(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	if h == nil {
		r.handle(pattern, nil)
		return
	}
	r.handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := h(w, req); err != nil {
			answer.Error(r.Log, w, req, err)
		}
	}))
}

// handle must be called by an exported method directly: the place of the
// registration is that of its caller's caller.
func (r *Router) handle(pattern string, h http.Handler) {
	source := callerSource(3)
	if h == nil {
		panic(fmt.Sprintf("plugin %q, %s: the pattern %q has no handler", r.Plugin, source, pattern))
	}
	if err := r.mux.Handle(pattern, h, source); err != nil {
		panic(fmt.Sprintf("plugin %q: %v", r.Plugin, err))
	}
}

// callerSource returns "dir/file.go:12".
func callerSource(skip int) string {
	_, file, line, ok := runtime.Caller(skip)
	if !ok {
		return "unknown place"
	}
	return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(file)), filepath.Base(file), line)
}

// Use implements [core.Router].
func (r *Router) Use(middleware func(http.Handler) http.Handler) {
	if middleware == nil {
		panic(fmt.Sprintf("plugin %q, %s: the middleware is nil", r.Plugin, callerSource(2)))
	}
	r.mu.Lock()
	r.middleware = append(r.middleware, middleware)
	r.mu.Unlock()
	r.rebuild()
}

func (r *Router) rebuild() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var h http.Handler = http.HandlerFunc(r.dispatch)
	for i := len(r.middleware) - 1; i >= 0; i-- {
		h = r.middleware[i](h)
	}
	r.chain.Store(&h)
}

// AddAuthPolicy implements [core.Router]. It panics if the path or the
// allowance is malformed.
func (r *Router) AddAuthPolicy(p core.AuthPolicy) {
	path, err := parsePolicyPath(p.Path)
	if err == nil && p.Allow != core.AllowUnauthenticated && p.Allow != core.AllowUserCookie {
		err = fmt.Errorf("allow is %q; use core.AllowUnauthenticated or core.AllowUserCookie", p.Allow)
	}
	if err != nil {
		panic(fmt.Sprintf("plugin %q, %s: auth policy: %v", r.Plugin, callerSource(2), err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []policy
	if old := r.policies.Load(); old != nil {
		all = append(all, *old...)
	}
	all = append(all, policy{path, p.Allow})
	r.policies.Store(&all)
}

// Routes implements [core.Router].
func (r *Router) Routes() []string { return r.mux.Patterns() }

// MeasuresItself tells a server that measures what it mounts that the router
// does so already, by route.
func (r *Router) MeasuresItself() bool { return r.measure != nil }

// ServeHTTP serves a request whose URL is relative to the plugin.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w = answer.Track(w)
	ctx := requestmemo.Context(req.Context())
	if r.measure != nil {
		measured, measurement := r.measure.Begin(ctx, req, r.Plugin)
		ctx = measured
		defer func() { measurement.End(answer.Status(w)) }()
	}
	req = req.WithContext(ctx)
	aborted := false
	err := r.Lifecycle.Guard(req.Context(), "an HTTP request", func(context.Context) error {
		defer func() {
			switch v := recover(); {
			case v == nil:
			case v == http.ErrAbortHandler: //nolint:errorlint // the value is compared as net/http does
				aborted = true
			default:
				panic(v)
			}
		}()
		r.handler.ServeHTTP(w, req)
		return nil
	})
	if aborted {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		answer.Panic(r.Log, w, req, err)
	}
}

func (r *Router) serve(w http.ResponseWriter, req *http.Request) {
	path := req.URL.EscapedPath()
	if routes.HasDotSegment(path) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := r.admit(w, req, path); err != nil {
		answer.Error(r.Log, w, req, err)
	}
}

// admit lets the request through to the routes, or returns why not.
func (r *Router) admit(w http.ResponseWriter, req *http.Request, path string) error {
	if builtIn(path, jwksPath) && (req.Method == http.MethodGet || req.Method == http.MethodHead) {
		return r.serveKeys(w, req)
	}
	if err := r.gate.pass(req); err != nil {
		return err
	}
	who, err := r.authorize(req, path)
	if err != nil {
		return err
	}
	if r.measure != nil && r.measure.Traces() && !who.IsNone() {
		req = req.WithContext(core.WithSpanPrincipal(req.Context(), who))
	}
	if builtIn(path, cookiePath) {
		switch req.Method {
		case http.MethodGet, http.MethodHead:
			return r.audited("cookie-issue", w, req, r.setCookie)
		case http.MethodDelete:
			return r.audited("cookie-clear", w, req, r.clearCookie)
		}
	}
	(*r.chain.Load()).ServeHTTP(w, req)
	return nil
}

// audited records a request for the cookie, which carries a token, and how it
// ended.
func (r *Router) audited(event string, w http.ResponseWriter, req *http.Request, serve func(http.ResponseWriter, *http.Request) error) error {
	if r.Auditor == nil {
		return serve(w, req)
	}
	record := r.Auditor.Begin(req.Context(), core.AuditEvent{ID: event, Severity: core.SeverityLow, Request: req})
	err := serve(w, req)
	if err != nil {
		record.Fail(req.Context(), err, nil)
		return err
	}
	record.Success(req.Context(), nil)
	return nil
}

// builtIn reports whether path is that of a route of the router itself.
func builtIn(path, want string) bool {
	return len(path) >= len(want) && len(path) <= len(want)+1 && strings.EqualFold(strings.TrimSuffix(path, "/"), want)
}

// authorize returns who calls, no one where it does not matter.
func (r *Router) authorize(req *http.Request, path string) (core.Credentials, error) {
	if r.open {
		return core.NoCredentials(), nil
	}
	allow := core.Allow{User: true, Service: true}
	if policies := r.policies.Load(); policies != nil {
		for _, p := range *policies {
			if !p.path.match(path) {
				continue
			}
			if p.allow == core.AllowUnauthenticated {
				return core.NoCredentials(), nil
			}
			allow.Cookie = true
		}
	}
	return r.HTTPAuth.Credentials(req, allow)
}

// dispatch serves the routes of the plugin.
func (r *Router) dispatch(w http.ResponseWriter, req *http.Request) {
	h, ok := r.mux.Handler(req)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.measure != nil {
		route := req.Pattern
		if _, path, ok := strings.Cut(route, " "); ok {
			route = strings.TrimSpace(path)
		}
		httptelemetry.SetRoute(req.Context(), route)
	}
	h.ServeHTTP(w, req)
}

func (r *Router) serveKeys(w http.ResponseWriter, req *http.Request) error {
	keys, err := r.Auth.PublicKeys(req.Context())
	if err != nil {
		return fmt.Errorf("reading the public keys of plugin %q: %w", r.Plugin, err)
	}
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = k
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"keys": list})
	return nil
}

func (r *Router) setCookie(w http.ResponseWriter, req *http.Request) error {
	if _, err := r.HTTPAuth.Credentials(req, core.Allow{User: true}); err != nil {
		return err
	}
	expires, err := r.HTTPAuth.IssueUserCookie(w, req)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"expiresAt": expires.UTC().Format("2006-01-02T15:04:05.000Z")})
	return nil
}

func (r *Router) clearCookie(w http.ResponseWriter, req *http.Request) error {
	if err := r.HTTPAuth.ClearUserCookie(w, req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
