package authbackend

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/ratelimit"
)

// publicRequests is how many requests a client address may send to the public
// routes in a minute.
const publicRequests = 6000

// userInfoPath is left out of the limit: plugins of other backends ask it for
// all their users, and it needs a token.
const userInfoPath = "/v1/userinfo"

// decidedKey is where an operator limits all routes of the plugin.
const decidedKey = "backend.rateLimit.plugin.auth"

// publicLimit returns the middleware that bounds the requests of an address,
// unless the operator has decided on that already.
func publicLimit(c core.Config, log *slog.Logger) func(http.Handler) http.Handler {
	if c.Has(decidedKey) {
		return func(next http.Handler) http.Handler { return next }
	}
	s := ratelimit.Defaults("auth-public:")
	s.Limit = publicRequests
	limiter := ratelimit.New(s, ratelimit.NewMemory(0), log)
	return func(next http.Handler) http.Handler {
		limited := limiter.Wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if routePath(r) == userInfoPath {
				next.ServeHTTP(w, r)
				return
			}
			limited.ServeHTTP(w, r)
		})
	}
}

// routePath returns the path of a request as routes are compared with it.
func routePath(r *http.Request) string {
	return strings.ToLower(strings.TrimSuffix(r.URL.Path, "/"))
}

// routeLimits are the requests that an address may send in a minute to the
// routes of a kind, by its key below auth.rateLimit. They leave room for a
// company behind one address, and none for who tries many names or fills the
// database.
var routeLimits = []struct {
	key      string
	requests int
}{
	{"start", 600}, {"frame", 600}, {"refresh", 3000},
	{"authorize", 600}, {"consent", 600}, {"token", 1200}, {"register", 60},
}

// routeKind returns the key of the limit of a request, "" if it has none.
func routeKind(r *http.Request) string {
	segments := strings.Split(strings.TrimPrefix(routePath(r), "/"), "/")
	if segments[0] == "v1" && len(segments) > 1 {
		switch segments[1] {
		case "authorize", "token", "register":
			return segments[1]
		case "revoke":
			return "token"
		case "sessions":
			return "consent"
		}
		return ""
	}
	if len(segments) < 2 {
		return ""
	}
	switch segments[1] {
	case "start", "refresh":
		return segments[1]
	case "handler":
		return "frame"
	case "authorize":
		return "consent"
	}
	return ""
}

// limits are those of the kinds of routes.
type limits struct {
	limiters map[string]*ratelimit.Limiter
	closers  []func()
}

func newLimits(c core.Config, log *slog.Logger) (*limits, error) {
	const level = "auth.rateLimit"
	l := &limits{limiters: map[string]*ratelimit.Limiter{}}
	for _, kind := range routeLimits {
		key := level + "." + kind.key
		if v, ok := c.Value(level); ok && v == false || c.Has(decidedKey) && !c.Has(key) {
			continue
		}
		s := ratelimit.Defaults("auth-" + kind.key + ":")
		s.Limit = kind.requests
		limiter, closeStore, err := ratelimit.At(c, key, s, log)
		if err != nil {
			l.close()
			return nil, err
		}
		if closeStore != nil {
			l.closers = append(l.closers, closeStore)
		}
		if limiter != nil {
			l.limiters[kind.key] = limiter
		}
	}
	return l, nil
}

func (l *limits) close() {
	for _, closeStore := range slices.Backward(l.closers) {
		closeStore()
	}
}

// wrap limits the routes of the plugin.
func (l *limits) wrap(next http.Handler) http.Handler {
	handlers := map[string]http.Handler{}
	for key, limiter := range l.limiters {
		handlers[key] = limiter.Wrap(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := handlers[routeKind(r)]; ok {
			h.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// one limits a handler that is mounted elsewhere.
func (l *limits) one(key string, h http.Handler) http.Handler {
	if limiter, ok := l.limiters[key]; ok {
		return limiter.Wrap(h)
	}
	return h
}
