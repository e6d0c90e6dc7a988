package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Lifecycle lets a plugin, its modules and its services take part in the start
// and the stop of the plugin, and owns the goroutines that they start.
//
//  1. OnStart functions run after the init of the plugin, all at once. Their
//     errors are logged.
//  2. When the plugin stops, Done is closed and the contexts of the goroutines
//     end. Then OnStop functions run, and goroutines are awaited, one after
//     the other, in reverse order of their registration: what was registered
//     last stops first. Each has the hook limit of [StartupPolicy].
//  3. Panics in functions, goroutines and Guard are logged with their stack,
//     counted, and stay where they are.
//
// All methods may be called by several goroutines at once.
type Lifecycle interface {
	// OnStart registers a start function. It fails with [ErrTooLate] when the
	// start functions have begun to run.
	OnStart(name string, fn func(context.Context) error) error

	// OnStop registers a stop function. It fails with [ErrTooLate] when the
	// plugin has begun to stop. Stop functions run also if the plugin failed.
	OnStop(name string, fn func(context.Context) error) error

	// Go runs fn in a goroutine that the plugin owns. Its context ends when
	// the plugin begins to stop. An error is logged, unless it is that of the
	// ended context. Once the plugin has begun to stop, fn does not run.
	Go(name string, fn func(context.Context) error)

	// Guard runs fn and returns its error; a panic is returned as *PanicError.
	// Use it where a request, an event or a task enters the plugin's code.
	Guard(ctx context.Context, what string, fn func(context.Context) error) error

	// Done is closed when the plugin begins to stop.
	Done() <-chan struct{}
}

// RootLifecycle is the [Lifecycle] of the backend, for root services. OnStart
// functions run once every plugin has started. Root services serve the plugins
// until these have stopped: only then is Done closed and do the contexts of the
// goroutines end, and OnStop functions run in reverse order of dependency,
// those of a service before those of the services that it needs.
type RootLifecycle interface {
	Lifecycle

	// BeforeStop registers a function that runs before any plugin begins to
	// stop, while everything still serves: to leave load balancers, and to
	// drain. All run at once. They do not run when a failed start is undone.
	BeforeStop(name string, fn func(context.Context) error) error
}

// ErrTooLate is returned for a hook whose moment has passed.
var ErrTooLate = errors.New("too late to register the hook: its phase has begun")

// hook is a registered function, or a goroutine to wait for.
type hook struct {
	name  string
	owner owner
	seq   int64
	fn    func(context.Context) error
	wait  <-chan struct{} // a goroutine, when fn is nil
}

// owner is who registered a hook. A service is made after what it needs, so
// the order in which owners were made is an order of dependency.
type owner struct {
	name string
	seq  int64
}

// lifecycle implements [Lifecycle] for a plugin, and [RootLifecycle] for the
// backend.
type lifecycle struct {
	b      *Backend
	plugin string // empty for the backend
	panics atomic.Int64

	mu       sync.Mutex
	starting bool // start hooks have begun
	draining bool // before-stop hooks have begun
	stopping bool
	seq      int64
	start    []hook
	before   []hook
	stop     map[int64]hook  // by seq
	ctx      context.Context // of goroutines
	cancel   context.CancelCauseFunc
}

func (l *lifecycle) init(b *Backend, plugin string) {
	l.b, l.plugin, l.stop = b, plugin, map[int64]hook{}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
}

// errStopping is the cause of contexts that end because of a stop.
var errStopping = errors.New("the backend is stopping")

func (l *lifecycle) String() string {
	if l.plugin == "" {
		return "backend"
	}
	return fmt.Sprintf("plugin %q", l.plugin)
}

func (l *lifecycle) logger() *slog.Logger {
	if l.plugin == "" {
		return l.b.log()
	}
	return l.b.log().With("plugin", l.plugin)
}

func (l *lifecycle) register(late *bool, h hook, add func(hook)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *late {
		return fmt.Errorf("%s: hook %q: %w", l, h.name, ErrTooLate)
	}
	if h.fn == nil {
		return fmt.Errorf("%s: hook %q has no function", l, h.name)
	}
	l.seq++
	h.seq = l.seq
	add(h)
	return nil
}

func (l *lifecycle) onStart(o owner, name string, fn func(context.Context) error) error {
	return l.register(&l.starting, hook{name: name, owner: o, fn: fn}, func(h hook) { l.start = append(l.start, h) })
}

func (l *lifecycle) beforeStop(o owner, name string, fn func(context.Context) error) error {
	return l.register(&l.draining, hook{name: name, owner: o, fn: fn}, func(h hook) { l.before = append(l.before, h) })
}

func (l *lifecycle) onStop(o owner, name string, fn func(context.Context) error) error {
	return l.register(&l.stopping, hook{name: name, owner: o, fn: fn}, func(h hook) { l.stop[h.seq] = h })
}

func (l *lifecycle) goroutine(o owner, name string, fn func(context.Context) error) {
	l.mu.Lock()
	if l.stopping {
		l.mu.Unlock()
		l.logger().Warn("goroutine was not started: its plugin is stopping", "goroutine", name)
		return
	}
	done := make(chan struct{})
	l.seq++
	seq := l.seq
	l.stop[seq] = hook{name: name, owner: o, seq: seq, wait: done}
	l.mu.Unlock()

	task := l.b.tasks.begin(fmt.Sprintf("goroutine %q of %s", name, l))
	go func() {
		defer l.b.tasks.end(task)
		defer l.forget(seq)
		defer close(done)
		err := l.guard(fmt.Sprintf("goroutine %q of %s", name, l), func() error { return fn(l.ctx) })
		var p *PanicError
		asked := l.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errStopping))
		if err != nil && !asked && !errors.As(err, &p) {
			l.logger().Error("goroutine failed", "goroutine", name, "error", err)
		}
	}()
}

// forget drops a goroutine that has ended, so that a plugin that starts many
// keeps no record of them.
func (l *lifecycle) forget(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.stop, seq)
}

// guard runs fn; a panic is logged, counted and returned.
func (l *lifecycle) guard(what string, fn func() error) error {
	return protect(what, l.plugin, func(p *PanicError) {
		l.panics.Add(1)
		l.logger().Error("recovered from a panic", "in", p.Where, "panic", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}, fn)
}

// lifecycleView is the lifecycle as one consumer sees it.
type lifecycleView struct {
	l *lifecycle
	o owner
}

func (v lifecycleView) OnStart(name string, fn func(context.Context) error) error {
	return v.l.onStart(v.o, name, fn)
}

func (v lifecycleView) BeforeStop(name string, fn func(context.Context) error) error {
	return v.l.beforeStop(v.o, name, fn)
}

func (v lifecycleView) OnStop(name string, fn func(context.Context) error) error {
	return v.l.onStop(v.o, name, fn)
}

func (v lifecycleView) Go(name string, fn func(context.Context) error) { v.l.goroutine(v.o, name, fn) }

func (v lifecycleView) Guard(ctx context.Context, what string, fn func(context.Context) error) error {
	return v.l.guard(what, func() error { return fn(ctx) })
}

func (v lifecycleView) Done() <-chan struct{} { return v.l.ctx.Done() }

// runStart runs the start hooks, all at once.
func (l *lifecycle) runStart(ctx context.Context, limit time.Duration) {
	l.mu.Lock()
	l.starting = true
	hooks := l.start
	l.mu.Unlock()
	for _, err := range l.runAll(ctx, "start", hooks, limit) {
		l.logger().ErrorContext(ctx, "start hook failed", "error", err)
	}
}

// runBefore runs the before-stop hooks, all at once.
func (l *lifecycle) runBefore(ctx context.Context, limit time.Duration) []error {
	l.mu.Lock()
	l.draining = true
	hooks := l.before
	l.mu.Unlock()
	return l.runAll(ctx, "before-stop", hooks, limit)
}

func (l *lifecycle) runAll(ctx context.Context, kind string, hooks []hook, limit time.Duration) []error {
	errs := make([]error, len(hooks))
	var wg sync.WaitGroup
	for i, h := range hooks {
		wg.Go(func() { errs[i] = l.runHook(ctx, kind, h, limit) })
	}
	wg.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// runStop ends the goroutines and runs the stop hooks, one after the other.
func (l *lifecycle) runStop(ctx context.Context, limit time.Duration) (errs []error) {
	l.mu.Lock()
	l.stopping, l.starting, l.draining = true, true, true
	hooks := slices.Collect(maps.Values(l.stop))
	l.mu.Unlock()
	l.cancel(errStopping)
	slices.SortFunc(hooks, func(a, b hook) int {
		return cmp.Or(cmp.Compare(b.owner.seq, a.owner.seq), cmp.Compare(b.seq, a.seq))
	})
	for _, h := range hooks {
		if err := l.runHook(ctx, "stop", h, limit); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (l *lifecycle) runHook(ctx context.Context, kind string, h hook, limit time.Duration) error {
	what := fmt.Sprintf("%s hook %q of %s", kind, h.name, l)
	if h.owner.name != "" {
		what = fmt.Sprintf("%s hook %q of %s", kind, h.name, h.owner.name)
	}
	if h.fn == nil {
		what = fmt.Sprintf("goroutine %q of %s", h.name, l)
		return l.await(ctx, what, h.wait, limit)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s did not run: %w", what, context.Cause(ctx))
	}
	err := l.b.bounded(ctx, what, limit, grace, func(ctx context.Context) error {
		return l.guard(what, func() error { return h.fn(ctx) })
	})
	var p *PanicError
	var late *TimeoutError
	if err == nil || errors.As(err, &p) || errors.As(err, &late) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (l *lifecycle) await(ctx context.Context, what string, done <-chan struct{}, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	case <-t.C:
	}
	select {
	case <-done:
		return nil
	default:
		return &TimeoutError{What: what, Limit: limit}
	}
}
