package roothttprouter

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/answer"
	"github.com/flytower/flytower/internal/ratelimit"
	"github.com/flytower/flytower/internal/routes"
)

// Dependencies are what a server needs.
type Dependencies struct {
	Config    core.ConfigRoot
	Log       *slog.Logger
	Lifecycle backend.RootLifecycle
	Health    core.HealthService
	// Policy bounds the stop; the server warns if it needs longer.
	Policy backend.StartupPolicy
}

// Server is the HTTP server of a backend.
type Server struct {
	Dependencies
	options
	limits    limits
	headers   fixedHeaders
	cors      *cors
	trust     trust
	health    *healthRoutes
	certs     certificates
	encoders  encoders
	mounts    mounts
	limited   http.Handler // what follows the health routes
	keepAlive []string

	http *http.Server

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*connection]struct{} // those that serve a request
	idle     chan struct{}            // closed when conns is empty; nil if nobody waits
	refused  map[string]struct{}      // origins that were logged
}

var _ core.HTTPRoot = (*Server)(nil)

// New listens and serves, until the lifecycle ends it.
func New(ctx context.Context, d Dependencies, opts ...Option) (*Server, error) {
	s := &Server{
		Dependencies: d, options: defaultOptions(),
		conns: map[*connection]struct{}{}, refused: map[string]struct{}{},
	}
	s.Log = d.Log.With("service", "rootHttpRouter")
	for _, opt := range opts {
		opt(&s.options)
	}
	closeStore, err := s.configure()
	if err == nil {
		err = s.open(ctx, closeStore)
	}
	if err != nil {
		if closeStore != nil {
			closeStore()
		}
		if s.listener != nil {
			_ = s.listener.Close() // the error to report is the other one
		}
		return nil, err
	}
	return s, nil
}

// open listens and serves.
func (s *Server) open(ctx context.Context, closeStore func()) error {
	secure, err := s.certs.load(s.Config, s.cacheDir, time.Now())
	if err != nil {
		return err
	}
	at, err := parseListen(s.Config)
	if err != nil {
		return err
	}
	if s.listener == nil {
		if s.listener, err = listen(ctx, s.Config, at); err != nil {
			return err
		}
	}
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok {
		at.port = tcp.Port
	}
	if err := s.start(secure, closeStore); err != nil {
		return err
	}
	s.Log.InfoContext(ctx, fmt.Sprintf("Listening on %s:%d", at.host, at.port), "host", at.host, "port", at.port, "tls", secure)
	return nil
}

// configure reads everything but the address and the certificate.
func (s *Server) configure() (closeStore func(), err error) {
	c := s.Config
	if s.limits, err = parseLimits(c, s.Log); err != nil {
		return nil, err
	}
	if s.headers, err = securityHeaders(c); err != nil {
		return nil, err
	}
	if s.cors, err = parseCORS(c); err != nil {
		return nil, err
	}
	if s.trust, err = parseTrust(c); err != nil {
		return nil, err
	}
	if s.health, err = newHealthRoutes(c, s.Health); err != nil {
		return nil, err
	}
	if s.shutdownDelay, err = c.DurationOr("backend.lifecycle.serverShutdownDelay", s.shutdownDelay); err != nil {
		return nil, err
	}
	s.checkStopLimits()
	limiter, closeStore, err := ratelimit.Root(c, s.Log)
	if err != nil {
		return nil, err
	}
	s.limited = http.HandlerFunc(s.route)
	if limiter != nil {
		s.limited = limiter.Wrap(s.limited)
	}
	for i := len(s.middleware) - 1; i >= 0; i-- {
		s.limited = s.middleware[i](s.limited)
	}
	if s.limits.keepAlive >= time.Second {
		s.keepAlive = []string{"timeout=" + strconv.Itoa(int(s.limits.keepAlive/time.Second))}
	}
	return closeStore, nil
}

// checkStopLimits warns if the stop would be cut short.
func (s *Server) checkStopLimits() {
	hook, stop := s.Policy.HookTimeout, s.Policy.StopTimeout
	if hook <= 0 {
		hook = backend.DefaultHookTimeout
	}
	if stop <= 0 {
		stop = backend.DefaultStopTimeout
	}
	if need := s.shutdownDelay + s.drainTimeout; need > hook || need >= stop {
		s.Log.Warn("A stop may cut requests off: raise backend.startup.hookTimeout and backend.startup.stopTimeout above the time that the server needs, or lower backend.lifecycle.serverShutdownDelay",
			"needs", need, "hookTimeout", hook, "stopTimeout", stop)
	}
}

type connectionKey struct{}

func (s *Server) start(secure bool, closeStore func()) error {
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.limits.headers,
		// A client may send its next request just when the time is over; it is
		// given the second that the announced timeout leaves out.
		IdleTimeout:    s.limits.keepAlive + time.Second,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       log.New(serverLog{s.Log}, "", 0),
		// "OPTIONS *" takes the way of every request: it is limited and logged.
		DisableGeneralOptionsHandler: true,
		ConnContext:                  s.connContext,
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http.Protocols = protocols
	listener := net.Listener(&connListener{Listener: s.listener, inactive: s.limits.inactive, refusal: s.refusal(), secure: secure})
	serve := func() error { return s.http.Serve(listener) }
	if secure {
		s.http.TLSConfig = s.certs.config()
		serve = func() error { return s.http.ServeTLS(listener, "", "") }
	}
	lc := s.Lifecycle
	lc.Go("http server", func(context.Context) error {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving on %s: %w", s.listener.Addr(), err)
		}
		return nil
	})
	stop := func(context.Context) error {
		s.cancel(true)
		err := s.http.Close()
		if closeStore != nil {
			closeStore()
		}
		return err
	}
	if err := lc.BeforeStop("http server", s.drain); err != nil {
		return errors.Join(err, s.http.Close())
	}
	var unsubscribe func()
	if secure {
		unsubscribe = s.Config.Subscribe(s.reloadCertificate)
	}
	return lc.OnStop("http server", func(ctx context.Context) error {
		if unsubscribe != nil {
			unsubscribe()
		}
		return stop(ctx)
	})
}

func (s *Server) reloadCertificate() {
	before := s.certs.current.Load()
	if _, err := s.certs.load(s.Config, s.cacheDir, time.Now()); err != nil {
		s.Log.Error("The new certificate cannot be used; the server keeps the one that it has", "error", err)
		return
	}
	if after := s.certs.current.Load(); after != before {
		s.Log.Info("The certificate was read again", "notAfter", after.Leaf.NotAfter)
	}
}

// serverLog takes the lines that net/http writes about broken connections.
type serverLog struct{ log *slog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if strings.HasPrefix(text, "http: TLS handshake error") || strings.HasPrefix(text, "http: URL query contains semicolon") {
		l.log.Debug(text)
	} else {
		l.log.Warn(text)
	}
	return len(p), nil
}

func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	plain, _ := c.(*plainConn)
	// Detached from its parent, which would remember the connection for ever.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return context.WithValue(ctx, connectionKey{}, &connection{cancel: cancel, draining: &s.draining, plain: plain})
}

// Addr implements [core.HTTPRoot].
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Use implements [core.HTTPRoot].
func (s *Server) Use(path string, h http.Handler) error { return s.mounts.add(path, h) }

// Handler implements [core.HTTPRoot].
func (s *Server) Handler(path string) (http.Handler, bool) { return s.mounts.get(path) }

// Mounts implements [core.HTTPRoot].
func (s *Server) Mounts() []string { return s.mounts.paths() }

// ServeHTTP serves a request that came over the network.
func (s *Server) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	h := inner.Header()
	s.announceKeepAlive(h, r, conn)
	if conn != nil {
		s.track(conn)
		defer s.untrack(conn)
	}
	original := r.RequestURI
	if original == "" {
		original = r.URL.RequestURI()
	}
	w := &response{inner: inner, req: r, encoders: &s.encoders, fixed: &s.headers, conn: conn}
	s.trust.apply(r)
	completed := false
	defer func() {
		if completed {
			return
		}
		v := recover()
		if v == nil || v == http.ErrAbortHandler { //nolint:errorlint // the value is compared as net/http does
			w.release()
			w.closeEncoder(false)
			panic(http.ErrAbortHandler) // also ends a goroutine that called runtime.Goexit
		}
		s.recovered(w, r, v)
		w.finish()
		logRequest(r.Context(), s.Log, r, original, w, time.Now())
	}()
	s.serve(w, r)
	w.finish()
	completed = true
	logRequest(r.Context(), s.Log, r, original, w, time.Now())
}

// recovered answers for a handler that panicked.
func (s *Server) recovered(w *response, r *http.Request, v any) {
	// Guard logs the stack of the panic, which is still there, and counts it.
	err := s.Lifecycle.Guard(r.Context(), "an HTTP request", func(context.Context) error { panic(v) })
	defer func() {
		if aborted := recover(); aborted != nil {
			w.release()
			w.closeEncoder(false)
			panic(aborted)
		}
	}()
	answer.Panic(s.Log, w, r, err)
}

func (s *Server) announceKeepAlive(h http.Header, r *http.Request, conn *connection) {
	if conn != nil && s.limits.maxRequests > 0 && conn.requests.Add(1) >= int64(s.limits.maxRequests) {
		h["Connection"] = closeConnection
		return
	}
	if s.keepAlive == nil || r.Close || !r.ProtoAtLeast(1, 1) || s.draining.Load() {
		return
	}
	h["Connection"] = keepConnection
	h["Keep-Alive"] = s.keepAlive
}

var (
	closeConnection = []string{"close"}[:1:1]
	keepConnection  = []string{"keep-alive"}[:1:1]
)

// serve is the way of a request through the server.
func (s *Server) serve(w *response, r *http.Request) {
	if s.limits.maxHeaders > 0 && countHeaders(r.Header) > s.limits.maxHeaders {
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	answered, refused := s.cors.apply(w, r)
	if refused {
		s.logRefusedOrigin(r)
	}
	if answered {
		return
	}
	limitBody(w.inner, r, s.limits.request)
	if s.health.serve(w, r) {
		return
	}
	s.limited.ServeHTTP(w, r)
}

func countHeaders(h http.Header) (n int) {
	for _, v := range h {
		n += len(v)
	}
	return n
}

// route serves what is mounted.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") || routes.HasDotSegment(path) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if m, rest := s.mounts.find(path); m != nil {
		m.handler.ServeHTTP(w, m.strip(r, rest))
		return
	}
	if !belowAPI(path) {
		index{s, s.index}.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// index serves what nothing is mounted for, from the first of the mounts that
// is there; that one may pass it on to the next.
type index struct {
	server *Server
	mounts []string
}

// ServeHTTP implements [http.Handler].
func (x index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for i, path := range x.mounts {
		h, ok := x.server.mounts.get(path)
		if !ok {
			continue
		}
		var next http.Handler // none after the last
		if rest := x.mounts[i+1:]; len(rest) > 0 {
			next = index{x.server, rest}
		}
		h.ServeHTTP(w, core.WithIndexFallback(r, next))
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// belowAPI reports whether the path is /api or below it.
func belowAPI(path string) bool {
	const api = "/api"
	return len(path) >= len(api) && strings.EqualFold(path[:len(api)], api) && (len(path) == len(api) || path[len(api)] == '/')
}

// maxRefusedOrigins bounds how many origins are told about in the log.
const maxRefusedOrigins = 20

// logRefusedOrigin tells once per origin why a browser reports a CORS error.
func (s *Server) logRefusedOrigin(r *http.Request) {
	if !isPreflight(r) {
		return
	}
	origin := r.Header.Get("Origin")
	if len(origin) > maxOrigin {
		return
	}
	s.mu.Lock()
	_, known := s.refused[origin]
	if known || len(s.refused) >= maxRefusedOrigins {
		s.mu.Unlock()
		return
	}
	s.refused[origin] = struct{}{}
	s.mu.Unlock()
	s.Log.WarnContext(r.Context(), "A browser asked for access from an origin that backend.cors.origin does not name", "origin", origin)
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}
