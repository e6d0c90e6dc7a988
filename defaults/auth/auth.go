// Package auth is the default implementation of [core.Auth]: it verifies the
// tokens of users, of plugins here and in other backends, and of external
// systems, and issues the tokens with which plugins call each other.
//
//	b.Add(auth.Factory)
//
// An operator changes parts of it by options, without writing it anew:
//
//	b.Add(auth.NewFactory(auth.WithHTTPClient(clientThatTrustsOurCA)))
//
// Kinds of external tokens are added through [core.ExternalTokenHandlers],
// and everything can be wrapped with [backend.Decorate].
//
// # Keys
//
// The plugins of a process share one ring of keys. A key signs for an hour
// and is published for three, under the key set route of every plugin. The
// public part goes to the database of a plugin when the plugin first signs
// with it, so that its replicas, and the process after a restart, publish it
// too; a plugin that issues nothing opens no database. Tokens of plugins of
// this process are verified with the ring, without a request.
//
// # What is accepted
//
// A token is verified with a public key and by an explicit list of
// algorithms; none and symmetric ones are never among them, except HS256 for
// external access of type legacy. There is no tolerance for clocks. Reasons
// are logged, not sent.
package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/memhttp"
)

// Option changes a part of the service.
type Option func(*options)

type options struct {
	now    func() time.Time
	client *http.Client
}

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithHTTPClient sets the client that fetches the key sets of peers. Default:
// one that follows no redirects and gives up after five seconds.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.client = c } }

// Factory makes the service with its defaults.
var Factory = NewFactory()

// NewFactory returns a factory of the service.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.Auth,
		func(env *backend.RootEnv) backend.MakeFunc[*Shared] {
			cfg, log, lifecycle := core.RootConfig.From(env), core.RootLogger.From(env), core.RootLifecycle.From(env)
			added, router := core.ExternalTokenHandlers.From(env), core.RootHTTPRouter.Optional(env)
			return func(context.Context) (*Shared, error) {
				root, _ := router()
				s, err := New(cfg(), log(), root, added(), opts...)
				if err != nil {
					return nil, err
				}
				return s, lifecycle().OnStop("auth", s.Close)
			}
		},
		func(env *backend.FactoryEnv, shared func() *Shared) backend.MakeFunc[core.AuthService] {
			plugin, log := core.PluginMetadata.From(env), core.Logger.From(env)
			discovery, database := core.Discovery.From(env), core.Database.Optional(env)
			return func(context.Context) (core.AuthService, error) {
				db, _ := database()
				return shared().Plugin(plugin().ID(), discovery(), db, log()), nil
			}
		})
}

// Shared is what the auth services of the plugins of a process have in
// common.
type Shared struct {
	now            func() time.Time
	client         *http.Client
	ring           keyRing
	sets           *keySets
	known          *signatures
	policyDisabled bool
	root           core.HTTPRoot // may be nil
	memory         *memhttp.Transport
	cancelConfig   func()
	entries        atomic.Pointer[[]external]

	mu    sync.RWMutex
	peers map[string]*service
}

// New reads the configuration. The router may be nil; with one, the keys of
// users are fetched in memory if the auth plugin is in this process. The
// caller closes the result.
func New(cfg core.ConfigRoot, log *slog.Logger, root core.HTTPRoot, added []core.ExternalTokenHandler, opts ...Option) (*Shared, error) {
	o := options{now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	if o.client == nil {
		o.client = defaultClient()
	}
	s := &Shared{now: o.now, client: o.client, sets: newKeySets(o.now), known: newSignatures(o.now), root: root, peers: map[string]*service{}}
	var err error
	if s.policyDisabled, err = cfg.BoolOr("backend.auth.dangerouslyDisableDefaultAuthPolicy", false); err != nil {
		return nil, err
	}
	if s.ring, err = newRing(cfg, o.now); err != nil {
		return nil, err
	}
	x := &externals{now: o.now, sets: s.sets, known: s.known, client: o.client, log: log}
	if x.added, err = addedHandlers(added); err != nil {
		return nil, err
	}
	entries, err := x.read(cfg)
	if err != nil {
		return nil, err
	}
	s.entries.Store(&entries)
	s.memory = memhttp.New(func(r *http.Request, v any, stack []byte) {
		log.ErrorContext(r.Context(), "the handler of a key set panicked", "path", r.URL.Path, "panic", v, "stack", string(stack))
	})
	s.cancelConfig = cfg.Subscribe(func() {
		entries, err := x.read(cfg)
		if err != nil {
			log.Error("the new external access is not applied, the old stays", "error", err)
			return
		}
		s.entries.Store(&entries)
	})
	return s, nil
}

func newRing(cfg core.Config, now func() time.Time) (keyRing, error) {
	const key = "backend.auth.pluginKeyStore"
	kind, err := cfg.StringOr(key+".type", "database")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "database":
		return &rotatingRing{now: now}, nil
	case "static":
		return newFileRing(cfg.Sub(key + ".static"))
	}
	return nil, configError(cfg, key+".type", fmt.Sprintf("is %q", kind), "use database or static")
}

// Plugin returns the service of a plugin. The database may be nil; then the
// keys of this process are known to nobody else once it has ended.
func (s *Shared) Plugin(id string, discovery core.DiscoveryService, db core.DatabaseService, log *slog.Logger) core.AuthService {
	p := &service{shared: s, plugin: id, discovery: discovery, log: log}
	if db != nil && !s.ring.static() {
		p.store = newKeyStore(db, s.now, log)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[id] = p
	return p
}

// Close ends what is under way.
func (s *Shared) Close(ctx context.Context) error {
	s.cancelConfig()
	s.client.CloseIdleConnections()
	return s.memory.Close(ctx)
}

func (s *Shared) externals() []external { return *s.entries.Load() }

// peer returns the service of a plugin of this process, nil for others.
func (s *Shared) peer(plugin string) *service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.peers[plugin]
}

// fetchInMemory returns a function that gets a key set of a plugin of this
// process.
func (s *Shared) fetchInMemory(discovery core.DiscoveryService, plugin, path string) (fetchKeys, bool) {
	if s.root == nil {
		return nil, false
	}
	h, ok := s.root.Handler("/api/" + plugin)
	if !ok || slices.Contains(discovery.Elsewhere(), plugin) {
		return nil, false
	}
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return s.memory.RoundTrip(r, h) })}
	return fetchHTTP(client, "http://"+plugin+path), true
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func defaultClient() *http.Client {
	return &http.Client{
		Timeout: keySetTimeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout: 3 * time.Second,
			MaxIdleConns:        32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 4 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		},
		// Keys come from where the configuration says, not from where that
		// place says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
