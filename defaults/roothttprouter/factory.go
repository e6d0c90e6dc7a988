package roothttprouter

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory makes the default server.
var Factory = NewFactory()

// Option customises a server.
type Option func(*options)

type options struct {
	index         []string
	drainTimeout  time.Duration
	shutdownDelay time.Duration
	cacheDir      string
	listener      net.Listener
	middleware    []func(http.Handler) http.Handler
}

func defaultOptions() options {
	return options{index: []string{"/api/app", "/.flytower/status"}, drainTimeout: 10 * time.Second, cacheDir: "."}
}

// WithIndex sets the mounts that get the requests outside of /api that nothing
// is mounted for, with their URL as it is: the first of them that is mounted,
// and the next where that passes them on ([core.IndexFallback]).
// The default is "/api/app", the frontend, and then "/.flytower/status", the
// status page. "" is none.
func WithIndex(paths ...string) Option { return func(o *options) { o.index = paths } }

// WithDrainTimeout sets how long a stop waits for requests to end, after the
// delay of backend.lifecycle.serverShutdownDelay. The default is 10 seconds.
func WithDrainTimeout(d time.Duration) Option { return func(o *options) { o.drainTimeout = d } }

// WithCacheDir sets the directory in which the development certificate is
// kept. The default is the working directory.
func WithCacheDir(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// WithListener serves on a listener that is open, instead of backend.listen.
// The server closes it.
func WithListener(l net.Listener) Option { return func(o *options) { o.listener = l } }

// WithMiddleware puts middleware around everything that follows the health
// routes: the rate limit and what is mounted. Of several, the first is the
// outermost.
func WithMiddleware(m func(http.Handler) http.Handler) Option {
	return func(o *options) { o.middleware = append(o.middleware, m) }
}

// NewFactory returns a factory of a customised server.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootHTTPRouter, func(env *backend.RootEnv) backend.MakeFunc[core.HTTPRoot] {
		config, log := core.RootConfig.From(env), core.RootLogger.From(env)
		lifecycle, health := core.RootLifecycle.From(env), core.RootHealth.From(env)
		policy := core.StartupPolicy.From(env)
		return func(ctx context.Context) (core.HTTPRoot, error) {
			return New(ctx, Dependencies{Config: config(), Log: log(), Lifecycle: lifecycle(), Health: health(), Policy: policy()}, opts...)
		}
	})
}
