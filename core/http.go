package core

import (
	"context"
	"net"
	"net/http"

	"github.com/flytower/flytower/backend"
)

// HTTPRoot is the HTTP server of the backend. It listens as soon as it is
// made, before any plugin starts.
type HTTPRoot interface {
	// Use mounts h below the path, which is stripped from what h sees.
	// Matching ignores case and a trailing slash, and respects segments. A
	// segment ":name" matches any one segment, whose value is in
	// r.PathValue("name"); paths without such segments come first. It is an
	// error if the path is, or lies below or above, a mounted one.
	Use(path string, h http.Handler) error
	// Addr returns the address that the server listens on.
	Addr() net.Addr
	// Handler returns the handler of a mounted path, for requests that never
	// leave the process: it has the routes and the middleware of the plugin,
	// not those of the server (compression, CORS, rate limit). The URLs that it
	// is given are relative to the path. ok is false where nothing is mounted.
	Handler(path string) (h http.Handler, ok bool)
	// Mounts returns the mounted paths, sorted.
	Mounts() []string
}

// RootHTTPRouter is the HTTP server.
var RootHTTPRouter = backend.NewRootServiceRef[HTTPRoot]("core.rootHttpRouter")

type indexFallbackKey struct{}

// WithIndexFallback returns r as the server gives it to the handler that gets
// the requests which nothing is mounted for. Servers call it.
func WithIndexFallback(r *http.Request, next http.Handler) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), indexFallbackKey{}, next))
}

// IndexFallback returns the handler to pass a request to that came because
// nothing is mounted for it, by one that turns out to have nothing to show.
// ok is false for other requests, and where nobody else is there to ask.
func IndexFallback(r *http.Request) (next http.Handler, ok bool) {
	next, ok = r.Context().Value(indexFallbackKey{}).(http.Handler)
	return next, ok
}

// Router takes the routes of a plugin, below /api/<plugin id>.
//
// Requests reach a route only with credentials of a user or a service, unless
// an [AuthPolicy] says otherwise. Requests that arrive before the plugin has
// started wait for it for a while.
//
// Patterns are those of [http.ServeMux] without a host: "GET /things/{id}".
// Literal parts match in any case, one trailing slash is tolerated, a
// pattern without a method matches every method, and a request that no
// pattern matches, also by its method, gets 404.
type Router interface {
	// Handle registers the handler of a pattern. It panics if the pattern is
	// malformed or conflicts with another.
	Handle(pattern string, h http.Handler)
	// HandleFunc is Handle for a function.
	HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request))
	// HandleErr is Handle for a function whose error becomes the answer, with
	// the status and the body that package apierr gives it. Nothing must have
	// been written when it returns one.
	HandleErr(pattern string, h func(http.ResponseWriter, *http.Request) error)
	// Use appends middleware around all routes of the plugin, those registered
	// before included; the first appended is the outermost. It sees the
	// requests that passed the auth barrier, also those that no route matches.
	Use(middleware func(http.Handler) http.Handler)
	// AddAuthPolicy opens a path, and all below it, to other callers. It may
	// be called at any time.
	AddAuthPolicy(p AuthPolicy)
	// Routes returns the registered patterns in order of registration.
	Routes() []string
}

// AuthPolicy opens paths of a plugin.
type AuthPolicy struct {
	// Path is relative to the plugin ("/assets"); parts may be ":name" for a
	// part of a segment, "*name" for one or more segments, and "{…}" for what
	// is optional. "/" opens everything.
	Path string
	// Allow says to whom.
	Allow AuthAllowance
}

// AuthAllowance is whom an [AuthPolicy] lets in besides users and services
// that present a token.
type AuthAllowance string

const (
	// AllowUnauthenticated lets everybody in; credentials are not looked at.
	AllowUnauthenticated AuthAllowance = "unauthenticated"
	// AllowUserCookie accepts the user's cookie instead of a token.
	AllowUserCookie AuthAllowance = "user-cookie"
)

// HTTPRouter is the router of a plugin.
var HTTPRouter = backend.NewServiceRef[Router]("core.httpRouter")

// Health is an answer of a health route.
type Health struct {
	// Status is the HTTP status: 200 or 503.
	Status int
	// Payload is the JSON document; nil sends none.
	Payload any
}

// HealthService answers the health routes.
type HealthService interface {
	// Liveness tells whether the process works at all.
	Liveness(ctx context.Context) Health
	// Readiness tells whether requests should be sent here: from the end of
	// the start until the begin of the stop.
	Readiness(ctx context.Context) Health
	// Detail adds the state of each plugin and the outcome of each check.
	Detail(ctx context.Context) Health
	// AddCheck adds a named check, run for Detail and, if required is set, for
	// Readiness. It is given two seconds, and its result is kept for one.
	AddCheck(name string, required bool, check func(context.Context) error)
}

// RootHealth is the health of the backend.
var RootHealth = backend.NewRootServiceRef[HealthService]("core.rootHealth")
