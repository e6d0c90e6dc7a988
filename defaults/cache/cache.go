// Package cache is the default core.cache: JSON values of plugins in memory,
// in Redis or Valkey, or in memcached.
//
//	var page Page
//	found, err := cache().Get(ctx, "page:1", &page)
//	if err == nil && !found {
//		page, err = load(ctx)
//		_ = cache().Set(ctx, "page:1", page, time.Minute)
//	}
//
// Keys and values are stored in the form that all backends of the family use,
// so backends in Go and in Node share a cache. The store is opened when it is
// first used. One that fails, or does not answer in time, is logged, and acts
// as if it were empty. The store in memory is bounded; see [Memory].
//
// A store of another kind is an implementation of [Store], which package
// cachetest checks, added with [WithStore].
package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flytower/flytower/core"
)

// DefaultTimeout is how long one operation of a store may take.
const DefaultTimeout = time.Second

// Store keeps bytes. It is safe for concurrent use.
type Store interface {
	// Key returns the name under which the store keeps a key of a plugin.
	Key(plugin, key string) string
	// Get returns the value of a name; ok is false if there is none.
	Get(ctx context.Context, name string) (value []byte, ok bool, err error)
	// Set keeps the value for ttl; 0 is for ever.
	Set(ctx context.Context, name string, value []byte, ttl time.Duration) error
	// Delete forgets the name; it is no error if there is no value.
	Delete(ctx context.Context, name string) error
	// Close ends all connections. It is called once, after everything else.
	Close() error
}

// Options configure a cache.
type Options struct {
	// DefaultTTL is how long a value is kept that is set without a time; 0 is
	// for ever.
	DefaultTTL time.Duration
	// Timeout limits each operation of the store; 0 is [DefaultTimeout].
	Timeout time.Duration
	// Report is told about operations that failed.
	Report func(ctx context.Context, operation string, err error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is the cache of one plugin.
type Service struct {
	plugin  string
	store   Store
	options Options
}

var _ core.CacheService = (*Service)(nil)

// New returns the cache of the plugin in the store.
func New(plugin string, store Store, options Options) *Service {
	if options.Timeout <= 0 {
		options.Timeout = DefaultTimeout
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Report == nil {
		options.Report = func(context.Context, string, error) {}
	}
	return &Service{plugin: plugin, store: store, options: options}
}

// WithDefaultTTL returns a view of the same cache with another default.
func (s *Service) WithDefaultTTL(ttl time.Duration) core.CacheService {
	view := *s
	view.options.DefaultTTL = max(ttl, 0)
	return &view
}

// Get decodes the value of the key into out.
func (s *Service) Get(ctx context.Context, key string, out any) (bool, error) {
	var text []byte
	var found bool
	err := s.do(ctx, "get", func(ctx context.Context) (err error) {
		text, found, err = s.store.Get(ctx, s.name(key))
		return err
	})
	if err != nil || !found {
		return false, err
	}
	value, expires, err := decode(text)
	if err != nil {
		s.options.Report(ctx, "get", fmt.Errorf("the stored value is malformed: %w", err))
		return false, nil
	}
	if value == nil || !expires.IsZero() && !s.options.Now().Before(expires) {
		return false, nil
	}
	if err := json.Unmarshal(value, out); err != nil {
		return false, fmt.Errorf("cache: decoding the value of %q: %w", key, err)
	}
	return true, nil
}

// Set keeps the value.
func (s *Service) Set(ctx context.Context, key string, value any, ttl time.Duration) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("cache: encoding the value of %q: %w", key, err)
	}
	if ttl == 0 {
		ttl = s.options.DefaultTTL
	}
	var expires time.Time
	if ttl = max(ttl, 0); ttl > 0 {
		expires = s.options.Now().Add(ttl)
	}
	text := encode(bytes.TrimSpace(buf.Bytes()), expires)
	return s.do(ctx, "set", func(ctx context.Context) error { return s.store.Set(ctx, s.name(key), text, ttl) })
}

// Delete forgets the key.
func (s *Service) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete", func(ctx context.Context) error { return s.store.Delete(ctx, s.name(key)) })
}

// do runs an operation within the time limit. Its error is reported, not
// returned, unless it is the caller's context that ended.
func (s *Service) do(ctx context.Context, operation string, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if err := fn(limited); err != nil {
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		s.options.Report(ctx, operation, err)
	}
	return nil
}

// maxKey is the length from which on keys are hashed. Memcached allows 250
// bytes, and part of that is for the names of plugins.
const maxKey = 200

func (s *Service) name(key string) string {
	text := base64.StdEncoding.EncodeToString([]byte(key))
	if len(text) >= maxKey {
		sum := sha256.Sum256([]byte(key))
		text = base64.StdEncoding.EncodeToString(sum[:])
	}
	return s.store.Key(s.plugin, text)
}
