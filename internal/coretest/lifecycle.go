package coretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Lifecycle is a lifecycle that the test starts and stops.
type Lifecycle struct {
	mu      sync.Mutex
	onStart []func(context.Context) error
	onStop  []func(context.Context) error
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	running sync.WaitGroup
	panics  []string
}

// NewLifecycle returns a lifecycle that has not started.
func NewLifecycle() *Lifecycle {
	ctx, cancel := context.WithCancel(context.Background())
	return &Lifecycle{ctx: ctx, cancel: cancel, done: make(chan struct{})}
}

// OnStart registers a hook.
func (l *Lifecycle) OnStart(_ string, fn func(context.Context) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onStart = append(l.onStart, fn)
	return nil
}

// OnStop registers a hook.
func (l *Lifecycle) OnStop(_ string, fn func(context.Context) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onStop = append(l.onStop, fn)
	return nil
}

// BeforeStop registers a hook that runs with the others.
func (l *Lifecycle) BeforeStop(name string, fn func(context.Context) error) error {
	return l.OnStop(name, fn)
}

// Go runs fn until the stop.
func (l *Lifecycle) Go(name string, fn func(context.Context) error) {
	l.running.Go(func() { _ = l.Guard(l.ctx, name, fn) })
}

// Guard recovers a panic of fn.
func (l *Lifecycle) Guard(ctx context.Context, what string, fn func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.mu.Lock()
			l.panics = append(l.panics, what)
			l.mu.Unlock()
			err = fmt.Errorf("panic in %s: %v", what, r)
		}
	}()
	return fn(ctx)
}

// Done is closed by Stop.
func (l *Lifecycle) Done() <-chan struct{} { return l.done }

// Panics returns what panicked.
func (l *Lifecycle) Panics() []string { l.mu.Lock(); defer l.mu.Unlock(); return l.panics }

// Start runs the start hooks.
func (l *Lifecycle) Start(ctx context.Context) error {
	l.mu.Lock()
	hooks := l.onStart
	l.mu.Unlock()
	var errs []error
	for _, fn := range hooks {
		errs = append(errs, fn(ctx))
	}
	return errors.Join(errs...)
}

// Stop ends what Go runs, waits for it, and runs the stop hooks in reverse
// order.
func (l *Lifecycle) Stop(ctx context.Context) error {
	close(l.done)
	l.cancel()
	l.running.Wait()
	l.mu.Lock()
	hooks := l.onStop
	l.mu.Unlock()
	var errs []error
	for _, hook := range slices.Backward(hooks) {
		errs = append(errs, hook(ctx))
	}
	return errors.Join(errs...)
}
