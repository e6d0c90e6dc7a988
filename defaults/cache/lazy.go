package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// lazy opens a store when it is first used, and again when that failed. Only
// one opens at a time; the others wait no longer than their context allows.
type lazy struct {
	key  func(plugin, key string) string
	open func() (Store, error)
	now  func() time.Time

	// turn is held by who opens or closes.
	turn chan struct{}
	// The rest is guarded by mu.
	mu         sync.Mutex
	store      Store
	closed     bool
	failed     error
	retryAfter time.Time
}

// openPause is how long a store that could not be opened is left alone.
const openPause = time.Second

func newLazy(key func(plugin, key string) string, open func() (Store, error), now func() time.Time) *lazy {
	return &lazy{key: key, open: open, now: now, turn: make(chan struct{}, 1)}
}

func (l *lazy) get(ctx context.Context) (Store, error) {
	if store, err, done := l.known(); done {
		return store, err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the cache to open: %w", ctx.Err())
	}
	defer func() { <-l.turn }()
	if store, err, done := l.known(); done {
		return store, err
	}
	store, err := l.open()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed, l.retryAfter = err, l.now().Add(openPause)
		return nil, err
	}
	l.store, l.failed = store, nil
	return store, nil
}

// known returns what is known without opening anything.
func (l *lazy) known() (store Store, err error, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, errors.New("the cache is closed"), true
	case l.store != nil:
		return l.store, nil, true
	case l.failed != nil && l.now().Before(l.retryAfter):
		return nil, l.failed, true
	default:
		return nil, nil, false
	}
}

// Key needs no store.
func (l *lazy) Key(plugin, key string) string { return l.key(plugin, key) }

// Get opens the store and asks it.
func (l *lazy) Get(ctx context.Context, name string) ([]byte, bool, error) {
	store, err := l.get(ctx)
	if err != nil {
		return nil, false, err
	}
	return store.Get(ctx, name)
}

// Set opens the store and sets the value.
func (l *lazy) Set(ctx context.Context, name string, value []byte, ttl time.Duration) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	return store.Set(ctx, name, value, ttl)
}

// Delete opens the store and deletes the name.
func (l *lazy) Delete(ctx context.Context, name string) error {
	store, err := l.get(ctx)
	if err != nil {
		return err
	}
	return store.Delete(ctx, name)
}

// Close closes the store if it was opened.
func (l *lazy) Close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	store, closed := l.store, l.closed
	l.closed = true
	l.mu.Unlock()
	if store == nil || closed {
		return nil
	}
	return store.Close()
}

// reporter logs failed operations, not more often than every few seconds: a
// cache that is down fails with every request.
type reporter struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	next   time.Time
	hidden int
}

const reportPause = 10 * time.Second

func (r *reporter) report(ctx context.Context, operation string, err error) {
	r.mu.Lock()
	now := r.now()
	if now.Before(r.next) {
		r.hidden++
		r.mu.Unlock()
		return
	}
	hidden := r.hidden
	r.next, r.hidden = now.Add(reportPause), 0
	r.mu.Unlock()
	attrs := []any{"operation", operation, "error", err.Error()}
	if hidden > 0 {
		attrs = append(attrs, "unreported", hidden)
	}
	r.log.ErrorContext(ctx, "the cache failed and acts as if it were empty", attrs...)
}
