// Package pluginclient is the default implementation of [core.PluginClient]:
// plugins call each other by it, wherever they run.
//
//	b.Add(pluginclient.Factory)
//
// A request to a plugin of this process goes to its handler in memory, unless
// discovery places that plugin elsewhere; any other goes to the address that
// discovery gives. Both pass the same routes, middleware and authentication,
// stream in both directions, and end when the context of the caller ends, so
// a plugin that moves to another process changes the configuration only.
//
// The trace of the caller travels along, and requests that leave the process
// are measured if [core.Telemetry] is installed.
//
// Requests are not retried and redirects are not followed: what the plugin
// answers is what the caller gets.
package pluginclient

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/httptelemetry"
	"github.com/flytower/flytower/internal/memhttp"
)

// Option changes a part of the service.
type Option func(*Shared)

// WithNetwork sets the transport for plugins in other processes. Default: the
// one of [NewNetwork].
func WithNetwork(t http.RoundTripper) Option { return func(s *Shared) { s.network = t } }

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(s *Shared) { s.now = now } }

// WithPropagator sets how the trace of the caller travels. Default: the W3C
// headers traceparent, tracestate and baggage.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(s *Shared) { s.propagator = p }
}

// Factory makes the service with its defaults.
var Factory = NewFactory()

// NewFactory returns a factory of the service.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.PluginClient,
		func(env *backend.RootEnv) backend.MakeFunc[*Shared] {
			log, lifecycle := core.RootLogger.From(env), core.RootLifecycle.From(env)
			router, instance := core.RootHTTPRouter.Optional(env), core.InstanceMetadata.From(env)
			telemetry := core.Telemetry.Optional(env)
			return func(context.Context) (*Shared, error) {
				root, _ := router()
				installed := sync.OnceValue(func() []string {
					var ids []string
					for _, p := range instance().Status().Plugins {
						ids = append(ids, p.ID)
					}
					return ids
				})
				s := NewShared(root, installed, log(), opts...)
				if providers, ok := telemetry(); ok {
					measure, err := httptelemetry.New(providers)
					if err != nil {
						return nil, err
					}
					s.network = measure.Transport(s.network)
				}
				return s, lifecycle().OnStop("pluginclient", s.Close)
			}
		},
		func(env *backend.FactoryEnv, shared func() *Shared) backend.MakeFunc[core.PluginClientService] {
			auth, discovery := core.Auth.From(env), core.Discovery.From(env)
			return func(context.Context) (core.PluginClientService, error) {
				return New(shared(), auth(), discovery()), nil
			}
		})
}

// Shared is what the clients of the plugins of a process have in common.
type Shared struct {
	root       core.HTTPRoot
	installed  func() []string
	memory     *memhttp.Transport
	network    http.RoundTripper
	idle       func() // closes idle connections
	now        func() time.Time
	propagator propagation.TextMapPropagator
}

// NewShared returns the common part. The router and installed may be nil;
// with a router, requests to what is mounted below /api stay in memory, and
// requests to plugins that are installed but not mounted yet get 503. The
// caller closes the result.
func NewShared(root core.HTTPRoot, installed func() []string, log *slog.Logger, opts ...Option) *Shared {
	s := &Shared{
		root: root, installed: installed, now: time.Now,
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		memory: memhttp.New(func(r *http.Request, v any, stack []byte) {
			log.ErrorContext(r.Context(), "handler of an in-memory request panicked", "path", r.RequestURI, "panic", v, "stack", string(stack))
		}),
	}
	for _, o := range opts {
		o(s)
	}
	if s.network == nil {
		s.network = NewNetwork()
	}
	s.idle = (&http.Client{Transport: s.network}).CloseIdleConnections
	return s
}

// Close ends requests in memory that are under way, waits for their handlers
// until ctx ends, and closes idle connections.
func (s *Shared) Close(ctx context.Context) error {
	s.idle()
	return s.memory.Close(ctx)
}

// NewNetwork returns the transport for plugins in other processes. Dialing
// and the TLS handshake may take five seconds each, the beginning of the
// answer two minutes. Idle connections are closed after four seconds, before
// a Node server closes them after five, so that no request meets a closing
// connection. Proxies are not used.
func NewNetwork() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  2 * time.Minute,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        4 * time.Second,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		MaxConnsPerHost:        512,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
	}
}

// handler returns the handler of a plugin of this process; ok is false for
// plugins elsewhere.
func (s *Shared) handler(discovery core.DiscoveryService, plugin string) (h http.Handler, ok bool) {
	if s.root == nil || !pluginID.MatchString(plugin) {
		return nil, false
	}
	h, ok = s.root.Handler("/api/" + plugin)
	if !ok && (s.installed == nil || !slices.Contains(s.installed(), plugin)) {
		return nil, false
	}
	if slices.Contains(discovery.Elsewhere(), plugin) {
		return nil, false
	}
	if !ok {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			apierr.Write(w, r, apierr.ServiceUnavailable("Plugin '%s' has not started up yet", plugin), "")
		})
	}
	return h, true
}
