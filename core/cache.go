package core

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
)

// CacheService keeps JSON values of a plugin for a while. A store that fails
// is logged and acts as if it were empty.
type CacheService interface {
	// Get decodes the value of the key into out and reports whether there is
	// one.
	Get(ctx context.Context, key string, out any) (bool, error)
	// Set keeps the value for ttl: 0 is the default of the cache, negative is
	// for ever. It is an error if the value does not encode as JSON.
	Set(ctx context.Context, key string, value any, ttl time.Duration) error
	// Delete forgets the key.
	Delete(ctx context.Context, key string) error
	// WithDefaultTTL returns a view of the same cache with another default.
	WithDefaultTTL(ttl time.Duration) CacheService
}

// Cache is the cache of a plugin.
var Cache = backend.NewServiceRef[CacheService]("core.cache")
