// Package discovery is the default implementation of [core.Discovery]: it
// tells where plugins are, from the configuration alone.
//
//	b.Add(discovery.Factory)
//
// A plugin that discovery.endpoints does not mention, by its id or by *, is
// in this backend: at backend.listen from inside, below backend.baseUrl from
// outside. Edits of the configuration apply at once and as a whole; a broken
// edit changes nothing.
//
// Options add endpoints for plugins that the configuration leaves open, and
// replace the DNS resolver:
//
//	b.Add(discovery.NewFactory(discovery.WithDefaults(discovery.Endpoint{
//		Internal: "http://{{pluginId}}.backstage:7007/api/{{pluginId}}",
//		Plugins:  []string{"search", "techdocs"},
//	})))
package discovery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Resolver looks SRV records up; [net.Resolver] is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// Endpoint says where plugins are. {{pluginId}} in a target stands for the id
// of the plugin. An empty target leaves the place open.
type Endpoint struct {
	Internal string
	External string
	Plugins  []string // ids; * is every plugin without an entry of its own
}

// Option changes a part of the service.
type Option func(*options)

type options struct {
	resolver Resolver
	now      func() time.Time
	random   func(n int) int
	defaults []Endpoint
	listen   func() net.Addr
}

// WithResolver sets what resolves SRV records. Default: [net.DefaultResolver].
func WithResolver(r Resolver) Option { return func(o *options) { o.resolver = r } }

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithRandom sets what chooses among SRV records: it returns a number in
// [0, n). Default: [rand.IntN].
func WithRandom(f func(n int) int) Option { return func(o *options) { o.random = f } }

// WithDefaults adds endpoints that count less than those of the
// configuration.
func WithDefaults(endpoints ...Endpoint) Option {
	return func(o *options) { o.defaults = append(o.defaults, endpoints...) }
}

// WithListenAddr tells the address that the server listens on, for
// configurations that let the system choose the port (port 0). [NewFactory]
// asks the root HTTP router where there is one.
func WithListenAddr(addr func() net.Addr) Option { return func(o *options) { o.listen = addr } }

// Factory makes the service with its defaults.
var Factory = NewFactory()

// NewFactory returns a factory of the service.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.Discovery,
		func(env *backend.RootEnv) backend.MakeFunc[*Service] {
			cfg, log, lifecycle := core.RootConfig.From(env), core.RootLogger.From(env), core.RootLifecycle.From(env)
			router := core.RootHTTPRouter.Optional(env)
			return func(context.Context) (*Service, error) {
				all := opts
				if root, ok := router(); ok {
					all = append([]Option{WithListenAddr(root.Addr)}, opts...)
				}
				s, err := New(cfg(), log(), all...)
				if err != nil {
					return nil, err
				}
				return s, lifecycle().OnStop("discovery", func(context.Context) error { s.Close(); return nil })
			}
		},
		func(_ *backend.FactoryEnv, shared func() *Service) backend.MakeFunc[core.DiscoveryService] {
			return func(context.Context) (core.DiscoveryService, error) { return shared(), nil }
		})
}

// Service tells where plugins are. It is the same for all plugins.
type Service struct {
	options
	table  atomic.Pointer[table]
	srv    *srvCache
	cancel func()
}

var _ core.DiscoveryService = (*Service)(nil)

// New reads the configuration and follows its changes until [Service.Close].
func New(cfg core.ConfigRoot, log *slog.Logger, opts ...Option) (*Service, error) {
	s := &Service{options: options{resolver: net.DefaultResolver, now: time.Now, random: rand.IntN}}
	for _, o := range opts {
		o(&s.options)
	}
	s.srv = newSRVCache(s.resolver, s.now, s.random)
	t, err := s.read(cfg)
	if err != nil {
		return nil, err
	}
	s.table.Store(t)
	t.warn(log, os.Getenv("NODE_ENV") == "production")
	s.cancel = cfg.Subscribe(func() {
		t, err := s.read(cfg)
		if err != nil {
			log.Error("the new discovery configuration is not applied, the old stays", "error", err)
			return
		}
		s.table.Store(t)
	})
	return s, nil
}

// Close stops following the configuration.
func (s *Service) Close() { s.cancel() }

// BaseURL implements [core.DiscoveryService].
func (s *Service) BaseURL(ctx context.Context, plugin string) (string, error) {
	t := s.table.Load()
	target := t.internalTarget(plugin)
	if target == nil {
		return t.ownInternal(s.listen) + "/api/" + escape(plugin), nil
	}
	return target.resolve(ctx, plugin, s.srv)
}

// ExternalBaseURL implements [core.DiscoveryService].
func (s *Service) ExternalBaseURL(ctx context.Context, plugin string) (string, error) {
	t := s.table.Load()
	target := t.externalTarget(plugin)
	if target == nil {
		return t.baseURL + "/api/" + escape(plugin), nil
	}
	return target.resolve(ctx, plugin, s.srv)
}

// Elsewhere implements [core.DiscoveryService]: the plugins whose own entry
// has an internal target other than this backend. An entry for * places no
// plugin that is installed here elsewhere.
func (s *Service) Elsewhere() []string { return s.table.Load().elsewhere }

// escape encodes an id as encodeURIComponent does.
func escape(s string) string {
	const kept = "-_.!~*'()"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(kept, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// hostPort joins a host, which may be an IPv6 address in brackets, and a port.
func hostPort(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}
