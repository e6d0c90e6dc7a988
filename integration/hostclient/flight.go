package hostclient

import (
	"context"
	"errors"
	"sync"
)

// Flights lets callers that want the same thing at the same time share one
// run. The zero value is ready.
//
// The first caller runs in its own goroutine and under its own context. If
// that context ends before the run does, one of those that wait takes over:
// nobody fails because somebody else went away.
type Flights[V any] struct {
	mu  sync.Mutex
	all map[string]*flight[V]
}

type flight[V any] struct {
	done      chan struct{}
	value     V
	err       error
	abandoned bool // the runner went away; the outcome is worth nothing
}

// Do returns the outcome of run for the key. shared reports whether another
// caller ran it.
func (f *Flights[V]) Do(ctx context.Context, key string, run func(context.Context) (V, error)) (v V, shared bool, err error) {
	for {
		f.mu.Lock()
		if f.all == nil {
			f.all = map[string]*flight[V]{}
		}
		running, ok := f.all[key]
		if !ok {
			mine := &flight[V]{done: make(chan struct{}), abandoned: true}
			f.all[key] = mine
			f.mu.Unlock()
			f.run(ctx, key, mine, run)
			return mine.value, false, mine.err
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return v, true, context.Cause(ctx)
		case <-running.done:
		}
		if !running.abandoned {
			return running.value, true, running.err
		}
	}
}

func (f *Flights[V]) run(ctx context.Context, key string, mine *flight[V], run func(context.Context) (V, error)) {
	// In a defer, so that a panic of run does not leave the others waiting.
	defer func() {
		f.mu.Lock()
		delete(f.all, key)
		f.mu.Unlock()
		close(mine.done)
	}()
	mine.value, mine.err = run(ctx)
	mine.abandoned = mine.err != nil && (ctx.Err() != nil || errors.Is(mine.err, context.Canceled))
}
