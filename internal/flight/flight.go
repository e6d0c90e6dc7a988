// Package flight lets concurrent callers share one piece of work, and keeps
// its result for a while.
//
//	users := flight.NewCache[string, User](1000, 5*time.Second, time.Now)
//	u, err := users.Get(ctx, name, func(ctx context.Context) (User, error) { return load(ctx, name) })
//
// It starts no goroutine: the first caller does the work, the others wait for
// it, each no longer than its own context allows.
package flight

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// Group shares work by key. The zero value is ready.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done chan struct{}
	v    V
	err  error
}

// errAbandoned is what waiters see of work that panicked or was left by
// runtime.Goexit.
var errAbandoned = errors.New("the work that this call shared ended abnormally")

// Do returns the result of fn, or that of the call of Do with the same key
// that is under way. A caller whose work failed only because its own context
// ended does not fail the others: one of them takes the work over.
func (g *Group[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	for {
		g.mu.Lock()
		c, running := g.calls[key]
		if !running {
			if g.calls == nil {
				g.calls = map[K]*call[V]{}
			}
			c = &call[V]{done: make(chan struct{}), err: errAbandoned}
			g.calls[key] = c
			g.mu.Unlock()
			return g.lead(ctx, key, c, fn)
		}
		g.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			var zero V
			return zero, ctx.Err()
		}
		if !errors.Is(c.err, errLeaderLeft) {
			return c.v, c.err
		}
		if ctx.Err() != nil {
			var zero V
			return zero, ctx.Err()
		}
	}
}

// errLeaderLeft marks work that failed because its caller went away.
var errLeaderLeft = errors.New("the caller went away")

func (g *Group[K, V]) lead(ctx context.Context, key K, c *call[V], fn func(context.Context) (V, error)) (V, error) {
	defer func() {
		g.mu.Lock()
		delete(g.calls, key)
		g.mu.Unlock()
		close(c.done)
	}()
	v, err := fn(ctx)
	c.v, c.err = v, err
	if err != nil && ctx.Err() != nil {
		c.err = errors.Join(errLeaderLeft, err)
	}
	return v, err
}

// Cache keeps results. Failures are not kept. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	max int
	ttl time.Duration
	now func() time.Time

	group   Group[K, V]
	mu      sync.Mutex
	entries map[K]*list.Element
	order   *list.List // of item, most recently used first
}

type item[K comparable, V any] struct {
	key     K
	v       V
	expires time.Time
}

// NewCache returns a cache of at most max results, each kept for ttl. The
// least recently used one makes room.
func NewCache[K comparable, V any](max int, ttl time.Duration, now func() time.Time) *Cache[K, V] {
	return &Cache[K, V]{max: max, ttl: ttl, now: now, entries: map[K]*list.Element{}, order: list.New()}
}

// Get returns the kept result of the key, or that of load.
func (c *Cache[K, V]) Get(ctx context.Context, key K, load func(context.Context) (V, error)) (V, error) {
	if v, ok := c.Peek(key); ok {
		return v, nil
	}
	return c.group.Do(ctx, key, func(ctx context.Context) (V, error) {
		// The work of another call may have ended since the look above.
		if v, ok := c.Peek(key); ok {
			return v, nil
		}
		v, err := load(ctx)
		if err == nil {
			c.Put(key, v, c.now().Add(c.ttl))
		}
		return v, err
	})
}

// Peek returns the kept result of the key.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[key]
	if !ok {
		var zero V
		return zero, false
	}
	it := el.Value.(item[K, V])
	if !c.now().Before(it.expires) {
		c.remove(el)
		var zero V
		return zero, false
	}
	c.order.MoveToFront(el)
	return it.v, true
}

// Put keeps a result until the given time.
func (c *Cache[K, V]) Put(key K, v V, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.remove(el)
	}
	c.entries[key] = c.order.PushFront(item[K, V]{key, v, expires})
	for c.order.Len() > c.max {
		c.remove(c.order.Back())
	}
}

// Len returns how many results are kept, expired ones included.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *Cache[K, V]) remove(el *list.Element) {
	delete(c.entries, el.Value.(item[K, V]).key)
	c.order.Remove(el)
}
