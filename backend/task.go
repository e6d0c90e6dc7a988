package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// tasks are the goroutines of a backend that run foreign code. A stop waits
// for them, and names those that do not end.
type tasks struct {
	mu   sync.Mutex
	all  map[*task]struct{}
	idle chan struct{} // closed when all is empty; nil unless someone waits
}

type task struct{ what string }

func (t *tasks) begin(what string) *task {
	k := &task{what}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[*task]struct{}{}
	}
	t.all[k] = struct{}{}
	return k
}

func (t *tasks) end(k *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, k)
	if len(t.all) == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait waits until no task runs, or ctx ends; then it names those that do.
func (t *tasks) wait(ctx context.Context) []string {
	t.mu.Lock()
	if len(t.all) == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for k := range t.all {
		names = append(names, k.what)
	}
	slices.Sort(names)
	return names
}

// TimeoutError says that something did not end within its limit. It may still
// run; the backend no longer waits for it.
type TimeoutError struct {
	What  string
	Limit time.Duration
	Err   error // what the function returned when its context ended, or nil
}

func (e *TimeoutError) Error() string {
	s := fmt.Sprintf("%s did not end within %s", e.What, e.Limit)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the error of the function, and context.DeadlineExceeded.
func (e *TimeoutError) Unwrap() []error {
	if e.Err == nil {
		return []error{context.DeadlineExceeded}
	}
	return []error{context.DeadlineExceeded, e.Err}
}

// grace is how long a function may take to return once its context has ended,
// before the backend stops waiting for it.
const grace = time.Second

var errLimit = errors.New("time limit passed")

// bounded runs fn in a goroutine of its own and waits for it. When limit
// passes, fn is given a moment to return, and when ctx ends, patience; then it
// is left behind, to be waited for when the backend stops.
func (b *Backend) bounded(ctx context.Context, what string, limit, patience time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	done := make(chan error, 1)
	k := b.tasks.begin(what)
	go func() {
		defer b.tasks.end(k)
		err := errExited
		defer func() { done <- err }()
		err = fn(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if context.Cause(ctx) == errLimit {
		patience = grace
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	var err error
	select {
	case err = <-done:
		if err == nil || context.Cause(ctx) != errLimit {
			return err
		}
	case <-t.C:
		if context.Cause(ctx) != errLimit {
			return fmt.Errorf("%s did not end: %w", what, context.Cause(ctx))
		}
	}
	return &TimeoutError{What: what, Limit: limit, Err: err}
}
