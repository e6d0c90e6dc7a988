package cache

import (
	"context"
	"math"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// DefaultMemoryBytes is how much the store in memory may hold.
	DefaultMemoryBytes = 64 << 20
	// entryOverhead is what an entry costs besides its key and value.
	entryOverhead = 160
	// forever is further away than any process lives.
	forever = 100 * 365 * 24 * time.Hour
)

// Memory is a store in the memory of the process, shared by all its plugins.
// When it is full, values that are unlikely to be used again make room.
// Expired values are removed within a few seconds, whether they are read or
// not.
type Memory struct {
	cache *otter.Cache[string, memoryEntry]
}

type memoryEntry struct {
	value []byte
	ttl   time.Duration
}

// MemoryOptions configure a [Memory].
type MemoryOptions struct {
	// MaxBytes is how much it may hold: keys, values and bookkeeping. 0 is
	// [DefaultMemoryBytes].
	MaxBytes int64
	// Clock is for tests; nil is the clock of the system.
	Clock otter.Clock
}

// NewMemory returns an empty store.
func NewMemory(options MemoryOptions) (*Memory, error) {
	if options.MaxBytes <= 0 {
		options.MaxBytes = DefaultMemoryBytes
	}
	cache, err := otter.New(&otter.Options[string, memoryEntry]{
		MaximumWeight: uint64(options.MaxBytes),
		Weigher: func(key string, e memoryEntry) uint32 {
			return uint32(min(len(key)+len(e.value)+entryOverhead, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, memoryEntry]) time.Duration { return e.Value.ttl }),
		Clock:            options.Clock,
	})
	if err != nil {
		return nil, err
	}
	return &Memory{cache: cache}, nil
}

// Key returns "<plugin>:<key>".
func (*Memory) Key(plugin, key string) string { return plugin + ":" + key }

// Get returns the value, which must not be modified.
func (m *Memory) Get(ctx context.Context, name string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	e, ok := m.cache.GetIfPresent(name)
	return e.value, ok, nil
}

// Set keeps the value, which must not be modified.
func (m *Memory) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		ttl = forever
	}
	m.cache.Set(name, memoryEntry{value: value, ttl: ttl})
	return nil
}

// Delete forgets the name.
func (m *Memory) Delete(ctx context.Context, name string) error {
	m.cache.Invalidate(name)
	return ctx.Err()
}

// Bytes returns about how much is held.
func (m *Memory) Bytes() int64 {
	m.cache.CleanUp()
	return int64(m.cache.WeightedSize())
}

// Close forgets everything and stops the sweep.
func (m *Memory) Close() error {
	m.cache.InvalidateAll()
	m.cache.StopAllGoroutines()
	return nil
}
