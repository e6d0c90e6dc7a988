package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// pluginRun is a plugin while the backend runs.
type pluginRun struct {
	id        string
	part      *part
	lifecycle lifecycle
	modules   []*moduleRun
	completed []*moduleRun // in the order of completion; guarded by board.mu
	progress               // guarded by board.mu

	offering sync.Mutex // held while an extension point makes a value

	mu        sync.Mutex
	instances map[*install]*future
}

// moduleRun is a module while the backend runs.
type moduleRun struct {
	part     *part
	done     chan struct{}
	progress // guarded by board.mu
}

// Start validates the wiring, runs the feature loaders and starts everything:
// root services, then all plugins at once, each after its modules. It returns
// when every plugin has started or failed.
//
// It fails with a *ValidationError before anything runs, or with a
// *StartupError; what had started is then stopped again. A backend starts at
// most once.
func (b *Backend) Start(ctx context.Context) error {
	b.mu.Lock()
	b.sealed = true
	b.mu.Unlock()

	b.run.Lock()
	if b.phase != PhaseNew {
		b.run.Unlock()
		return fmt.Errorf("start the backend: it is %s; a backend starts once", b.phase)
	}
	b.phase = PhaseStarting
	startCtx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	b.giveUp = giveUp
	b.makeCtx, b.endMake = context.WithCancelCause(context.WithoutCancel(ctx))
	b.run.Unlock()
	keepMaking := context.AfterFunc(startCtx, func() { b.endMake(context.Cause(startCtx)) })
	now := time.Now()
	b.board.update(func() { b.board.phase, b.board.startedAt, b.result.BeginAt = PhaseStarting, now, now })

	cause := b.start(startCtx)
	keepMaking()
	err := b.conclude(startCtx, cause)
	b.run.Lock()
	phase := PhaseStarted
	if err != nil {
		phase = PhaseFailed
	}
	b.phase = phase
	close(b.started)
	b.run.Unlock()
	b.board.update(func() {
		b.board.phase, b.board.err = phase, err
		if err == nil {
			b.board.readyAt = time.Now()
		} else {
			b.board.stoppedAt = time.Now()
		}
	})
	if err != nil {
		b.awaitSubscribers(ctx)
	}
	return err
}

// conclude decides how the start went, and undoes one that failed.
func (b *Backend) conclude(ctx context.Context, cause error) error {
	b.board.update(func() {
		b.final = true
		b.result.ResultAt = time.Now()
		b.result.Outcome = OutcomeSuccess
		if cause != nil || b.disallowed() {
			b.result.Outcome = OutcomeFailure
		}
	})
	if b.live.Load() == nil {
		return cause // nothing has run
	}
	if r := b.Result(); r.Outcome == OutcomeFailure {
		err := &StartupError{Result: r, Cause: cause}
		log := b.log().With("type", "initialization")
		if cause != nil { // failures of plugins are in the log already
			log = log.With("error", cause)
		}
		log.ErrorContext(ctx, "backend startup failed, stopping what has started")
		b.endMake(errStopping)
		err.Stop = b.shutdown(context.WithoutCancel(ctx), false)
		return err
	}
	b.root.runStart(ctx, b.policy.HookTimeout)
	return nil
}

// disallowed reports whether something failed that must not.
func (b *Backend) disallowed() bool {
	for _, p := range b.runs {
		if p.err != nil && !p.allowed {
			return true
		}
		for _, m := range p.modules {
			if m.err != nil && !m.allowed {
				return true
			}
		}
	}
	return false
}

// start runs the start. Failures of plugins are on the board; the error is any
// other failure.
func (b *Backend) start(ctx context.Context) error {
	w := b.resolved()
	if err := w.err(); err != nil {
		return err
	}
	b.policy = StartupPolicy{}.withDefaults()
	b.live.Store(w)
	if len(w.loaders) > 0 {
		var err error
		if w, err = b.load(ctx, w); err != nil {
			return err
		}
	}
	if err := b.prepare(ctx, w); err != nil {
		return err
	}
	if err := b.startRoot(ctx, w); err != nil {
		return err
	}
	b.startPlugins(ctx, w)
	return context.Cause(ctx)
}

// prepare makes the services that the backend itself uses, and the records of
// the plugins.
func (b *Backend) prepare(ctx context.Context, w *wiring) error {
	logger := &value[*slog.Logger]{}
	policy := &value[StartupPolicy]{}
	needs := []*need{{service: RootLogger.s, slot: logger, optional: true}, {service: StartupPolicies.s, slot: policy}}
	err := b.bounded(ctx, "the root logger and the startup policy", b.policy.InitTimeout, b.policy.HookTimeout, func(ctx context.Context) error {
		return b.fill(ctx, needs, nil, owner{})
	})
	if err != nil {
		return err
	}
	if logger.v != nil {
		b.logger.Store(logger.v)
	}
	b.policy = policy.v.withDefaults()
	for _, warning := range w.warnings {
		b.log().WarnContext(ctx, warning.Text, "source", warning.Site.Source)
	}
	return b.root.guard("startup policy", func() error { b.makeRuns(w); return nil })
}

// makeRuns makes the records of the plugins and modules.
func (b *Backend) makeRuns(w *wiring) {
	runs := make(map[string]*pluginRun, len(w.plugins))
	order := make([]*pluginRun, 0, len(w.plugins))
	for _, pl := range w.plugins {
		p := &pluginRun{id: pl.plugin, part: pl, instances: map[*install]*future{}}
		p.lifecycle.init(b, p.id)
		p.state, p.allowed = StateWaiting, b.policy.PluginMayFail(p.id)
		for _, mod := range w.modules[p.id] {
			m := &moduleRun{part: mod, done: make(chan struct{})}
			m.state, m.allowed = StateWaiting, b.policy.ModuleMayFail(p.id, mod.module)
			p.modules = append(p.modules, m)
		}
		runs[p.id] = p
		order = append(order, p)
	}
	b.runs = runs
	b.board.update(func() { b.board.plugins = order })
}

// startRoot makes the eager root services: those that need each other in that
// order, all others at once.
func (b *Backend) startRoot(ctx context.Context, w *wiring) error {
	eager := w.eager(rootScope)
	errs := make([]error, len(eager))
	var wg sync.WaitGroup
	for i, n := range eager {
		wg.Go(func() {
			errs[i] = b.bounded(ctx, fmt.Sprintf("making service %q", n.service.id), b.policy.InitTimeout, b.policy.HookTimeout, func(ctx context.Context) error {
				_, err := b.valueOf(ctx, n, nil)
				return err
			})
		})
	}
	wg.Wait()
	return errors.Join(unique(errs)...)
}

// eager returns the services to make without being asked: those whose first
// factory is eager.
func (w *wiring) eager(s scope) []*node {
	var out []*node
	for _, n := range w.order {
		if n.service.scope == s && len(n.installs) > 0 && n.installs[0].f.eager {
			out = append(out, n)
		}
	}
	return out
}

// unique drops what is nil, and what repeats: one service that fails also
// fails those that need it.
func unique(errs []error) []error {
	var out []error
	for i, err := range errs {
		repeats := func(other error) bool { return other != nil && err != other && errors.Is(err, other) } //nolint:errorlint // the same value is meant
		if err == nil || slices.ContainsFunc(errs, repeats) || slices.ContainsFunc(errs[:i], func(o error) bool { return o != nil && o.Error() == err.Error() }) {
			continue
		}
		out = append(out, err)
	}
	return out
}

func (b *Backend) startPlugins(ctx context.Context, w *wiring) {
	eager := w.eager(pluginScope)
	stopLog := b.logProgress(ctx)
	var wg sync.WaitGroup
	for _, p := range b.board.plugins {
		wg.Go(func() { b.startPlugin(ctx, p, eager) })
	}
	wg.Wait()
	stopLog()
}

func (b *Backend) startPlugin(ctx context.Context, p *pluginRun, eager []*node) {
	b.board.update(func() { p.state, p.begin = StateStarting, time.Now() })
	err := b.startEager(ctx, p, eager)
	if err != nil {
		b.board.update(func() {
			for _, m := range p.modules {
				m.state = StateStopped // it will not start
			}
		})
	} else {
		var wg sync.WaitGroup
		for _, m := range p.modules {
			wg.Go(func() { b.startModule(ctx, p, m) })
		}
		wg.Wait()
		err = b.init(ctx, p, p.part, nil)
	}
	b.board.update(func() {
		p.end, p.err = time.Now(), err
		p.state = StateStarted
		if err != nil {
			p.state = StateFailed
		}
		b.completed = append(b.completed, p)
	})
	if err != nil {
		b.logFailure(ctx, p.part, err, p.allowed)
		return
	}
	p.lifecycle.runStart(ctx, b.policy.HookTimeout)
}

func (b *Backend) startEager(ctx context.Context, p *pluginRun, eager []*node) error {
	if len(eager) == 0 {
		return nil
	}
	return b.bounded(ctx, fmt.Sprintf("making the eager services of plugin %q", p.id), b.policy.InitTimeout, b.policy.HookTimeout, func(ctx context.Context) error {
		errs := make([]error, len(eager))
		var wg sync.WaitGroup
		for i, n := range eager {
			wg.Go(func() {
				errs[i] = errExited
				_, errs[i] = b.valueOf(ctx, n, p)
			})
		}
		wg.Wait()
		return errors.Join(unique(errs)...)
	})
}

func (b *Backend) startModule(ctx context.Context, p *pluginRun, m *moduleRun) {
	defer close(m.done)
	for _, before := range m.part.after {
		for _, o := range p.modules {
			if o.part == before {
				<-o.done
			}
		}
	}
	b.board.update(func() { m.state, m.begin = StateStarting, time.Now() })
	err := b.init(ctx, p, m.part, m)
	b.board.update(func() {
		m.end = time.Now()
		if err == nil {
			err = m.err // reported by the owner of an extension point
		}
		m.err, m.state = err, StateStarted
		if err != nil {
			m.state = StateFailed
		}
		p.completed = append(p.completed, m)
	})
	if err != nil {
		b.logFailure(ctx, m.part, err, m.allowed)
	}
}

// init fills the needs of a plugin or module and runs its init function.
func (b *Backend) init(ctx context.Context, p *pluginRun, part *part, m *moduleRun) error {
	d := part.decl.first
	what := "init of " + part.String()
	return b.bounded(ctx, what, b.policy.InitTimeout, b.policy.HookTimeout, func(ctx context.Context) error {
		if err := b.fill(ctx, d.needs, p, owner{name: part.String()}); err != nil {
			return err
		}
		if m != nil {
			if err := b.fillPoints(p, m, d.needs); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return p.lifecycle.guard(what, func() error { _, err := d.run(ctx); return err })
	})
}

// fillPoints gives a module the extension points that it needs.
func (b *Backend) fillPoints(p *pluginRun, m *moduleRun, needs []*need) error {
	w := b.live.Load()
	c := ModuleContext{plugin: p.id, module: m.part.module, report: func(err error) { b.reportFailure(p, m, err) }}
	for _, n := range needs {
		if n.point == nil {
			continue
		}
		of := w.points[n.point.id]
		if of == nil {
			n.slot.putNone()
			continue
		}
		err := p.lifecycle.guard(fmt.Sprintf("extension point %q", n.point.id), func() error {
			p.offering.Lock()
			defer p.offering.Unlock()
			v := of.make(c)
			for _, d := range w.wrappers[n.point.id] {
				var err error
				if v, err = d.wrap(c, v); err != nil {
					return fmt.Errorf("decorator of extension point %q (%s): %w", n.point.id, sourceOf(d.pc), err)
				}
			}
			n.slot.put(v)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reportFailure attributes a failure to a module.
func (b *Backend) reportFailure(p *pluginRun, m *moduleRun, err error) {
	late := false
	b.board.update(func() {
		if late = b.final; late {
			return
		}
		m.err = err
		if m.state == StateStarted {
			m.state = StateFailed
		}
	})
	if late {
		p.lifecycle.logger().Error("module failed after the start", "module", m.part.module, "error", err)
		return
	}
	b.logFailure(context.Background(), m.part, err, m.allowed)
}
