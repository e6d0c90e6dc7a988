package cache

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// OpenFunc opens a store that backend.cache.store names. Config is the whole
// configuration. It is called when the cache is first used, and again, after a
// pause, when it failed.
type OpenFunc func(config core.Config, timeout time.Duration) (Store, error)

// Option adjusts the factory.
type Option func(*settings)

type settings struct {
	stores map[string]namedStore
}

type namedStore struct {
	key  func(plugin, key string) string
	open OpenFunc
}

// WithStore adds a kind of store: name is the value of backend.cache.store
// that selects it, key is its Key function.
func WithStore(name string, key func(plugin, key string) string, open OpenFunc) Option {
	return func(s *settings) { s.stores[name] = namedStore{key, open} }
}

// Factory is the default factory of core.Cache.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	s := settings{stores: map[string]namedStore{}}
	for _, opt := range opts {
		opt(&s)
	}
	return backend.NewServiceFactoryWithRoot(core.Cache,
		func(env *backend.RootEnv) backend.MakeFunc[*Manager] {
			config, log, lifecycle := core.RootConfig.From(env), core.RootLogger.From(env), core.RootLifecycle.From(env)
			return func(context.Context) (*Manager, error) {
				m, err := newManager(config(), log(), s, time.Now)
				if err != nil {
					return nil, err
				}
				if err := lifecycle().OnStop("close the cache", func(context.Context) error { return m.Close() }); err != nil {
					return nil, fmt.Errorf("cache: %w", err)
				}
				return m, nil
			}
		},
		func(env *backend.FactoryEnv, root func() *Manager) backend.MakeFunc[core.CacheService] {
			plugin := core.PluginMetadata.From(env)
			return func(context.Context) (core.CacheService, error) { return root().ForPlugin(plugin().ID()), nil }
		})
}

// Manager has the store that all plugins of a backend share.
type Manager struct {
	store   Store
	options Options
}

// NewManager reads backend.cache. It does not connect.
func NewManager(config core.Config, log *slog.Logger, opts ...Option) (*Manager, error) {
	s := settings{stores: map[string]namedStore{}}
	for _, opt := range opts {
		opt(&s)
	}
	return newManager(config, log, s, time.Now)
}

func newManager(config core.Config, log *slog.Logger, s settings, now func() time.Time) (*Manager, error) {
	cache := config.Sub("backend.cache")
	ttl, err := defaultTTL(cache)
	if err != nil {
		return nil, err
	}
	timeout, err := cache.DurationOr("timeout", DefaultTimeout)
	if err != nil {
		return nil, err
	}
	if cache.Has("useRedisSets") {
		log.Warn("backend.cache.useRedisSets does nothing any more; remove it", "position", cache.Position("useRedisSets").String())
	}
	named, err := selectStore(config, s, timeout)
	if err != nil {
		return nil, err
	}
	reports := &reporter{log: log, now: now}
	return &Manager{
		store:   newLazy(named.key, func() (Store, error) { return named.open(config, timeout) }, now),
		options: Options{DefaultTTL: ttl, Timeout: timeout, Report: reports.report, Now: now},
	}, nil
}

// ForPlugin returns the cache of a plugin.
func (m *Manager) ForPlugin(plugin string) *Service { return New(plugin, m.store, m.options) }

// Close closes the store, if it was ever used.
func (m *Manager) Close() error { return m.store.Close() }

// defaultTTL reads a number of milliseconds or a duration.
func defaultTTL(cache core.Config) (time.Duration, error) {
	if v, _ := cache.Value("defaultTtl"); v != nil {
		if ms, ok := v.(float64); ok {
			if ms < 0 {
				return 0, &core.ConfigError{Key: cache.Path("defaultTtl"), Position: cache.Position("defaultTtl"), Problem: "must not be negative", Remedy: "leave it out to keep values for ever"}
			}
			return time.Duration(ms * float64(time.Millisecond)), nil
		}
	}
	return cache.DurationOr("defaultTtl", 0)
}

func selectStore(config core.Config, s settings, timeout time.Duration) (namedStore, error) {
	cache := config.Sub("backend.cache")
	kind, err := cache.StringOr("store", "memory")
	if err != nil {
		return namedStore{}, err
	}
	if added, ok := s.stores[kind]; ok {
		return added, nil
	}
	switch kind {
	case "memory":
		maxBytes, err := cache.IntOr("memory.maxBytes", DefaultMemoryBytes)
		if err != nil {
			return namedStore{}, err
		}
		if maxBytes <= 0 {
			return namedStore{}, &core.ConfigError{Key: cache.Path("memory.maxBytes"), Position: cache.Position("memory.maxBytes"), Problem: "must be positive"}
		}
		return namedStore{(*Memory)(nil).Key, func(core.Config, time.Duration) (Store, error) {
			return NewMemory(MemoryOptions{MaxBytes: int64(maxBytes)})
		}}, nil
	case "redis", "valkey":
		return valkeyStore(cache, kind, timeout)
	case "memcache":
		connection, err := cache.String("connection")
		if err != nil {
			return namedStore{}, err
		}
		servers, err := ParseMemcacheServers(connection)
		if err != nil {
			return namedStore{}, &core.ConfigError{Key: cache.Path("connection"), Position: cache.Position("connection"), Problem: "cannot be used", Err: err, Remedy: err.Error()}
		}
		return namedStore{(*Memcache)(nil).Key, func(_ core.Config, timeout time.Duration) (Store, error) {
			return NewMemcache(MemcacheOptions{Servers: servers, Timeout: timeout})
		}}, nil
	}
	known := []string{"memory", "redis", "valkey", "memcache"}
	for name := range s.stores {
		known = append(known, name)
	}
	slices.Sort(known)
	problem := &core.ConfigError{
		Key: cache.Path("store"), Position: cache.Position("store"),
		Problem: fmt.Sprintf("is %q, which is no known store", kind), Remedy: "use one of " + strings.Join(known, ", "),
	}
	if kind == "infinispan" {
		problem.Remedy += "; Infinispan 15 and later speak the Redis protocol, so redis works with them"
	}
	return namedStore{}, problem
}

func valkeyStore(cache core.Config, kind string, timeout time.Duration) (namedStore, error) {
	options := ValkeyOptions{Timeout: timeout}
	nodes, err := cache.List(kind + ".cluster.rootNodes")
	if err != nil {
		return namedStore{}, err
	}
	for _, node := range nodes {
		u, err := node.String("url")
		if err != nil {
			return namedStore{}, err
		}
		options.Nodes = append(options.Nodes, u)
	}
	if len(nodes) == 0 {
		err = readConnection(cache, kind, &options)
	} else {
		err = readCluster(cache.Sub(kind+".cluster"), &options)
	}
	if err != nil {
		return namedStore{}, err
	}
	if options.KeyFormat, err = keyFormat(cache, kind); err != nil {
		return namedStore{}, err
	}
	if err := CheckValkey(options); err != nil {
		key := "connection"
		if len(nodes) > 0 {
			key = kind + ".cluster.rootNodes"
		}
		return namedStore{}, &core.ConfigError{Key: cache.Path(key), Position: cache.Position(key), Problem: "cannot be used", Remedy: err.Error(), Err: err}
	}
	return namedStore{options.KeyFormat, func(core.Config, time.Duration) (Store, error) { return OpenValkey(options) }}, nil
}

// readConnection reads a URL or, for redis, an object with one.
func readConnection(cache core.Config, kind string, options *ValkeyOptions) (err error) {
	if v, _ := cache.Value("connection"); v != nil {
		if _, isObject := v.(map[string]any); isObject && kind == "redis" {
			connection := cache.Sub("connection")
			if options.URL, err = connection.String("url"); err != nil {
				return err
			}
			if options.Username, err = connection.StringOr("username", ""); err != nil {
				return err
			}
			if options.Password, err = connection.StringOr("password", ""); err != nil {
				return err
			}
			if options.ClientName, err = connection.StringOr("name", ""); err != nil {
				return err
			}
			options.Database, err = connection.IntOr("database", 0)
			return err
		}
	}
	options.URL, err = cache.String("connection")
	return err
}

func readCluster(cluster core.Config, options *ValkeyOptions) (err error) {
	if options.Username, err = cluster.StringOr("defaults.username", ""); err != nil {
		return err
	}
	if options.Password, err = cluster.StringOr("defaults.password", ""); err != nil {
		return err
	}
	options.ReadReplicas, err = cluster.BoolOr("useReplicas", false)
	return err
}

// keyFormat returns how all backends of the family name keys in the store.
func keyFormat(cache core.Config, kind string) (func(plugin, key string) string, error) {
	if kind == "valkey" {
		prefix, err := cache.StringOr("valkey.client.keyPrefix", "")
		return func(plugin, key string) string { return "namespace:" + prefix + plugin + ":" + key }, err
	}
	separator, err := cache.StringOr("redis.client.keyPrefixSeparator", ":")
	if err != nil {
		return nil, err
	}
	namespace, err := cache.StringOr("redis.client.namespace", "")
	if namespace != "" {
		namespace += separator
	}
	return func(plugin, key string) string { return namespace + plugin + separator + key }, err
}
