package backend

import (
	"context"
	"fmt"
)

// loader is a feature loader.
type loader struct {
	name       string
	pc         uintptr
	nilDeclare bool
	declare    func(*declaration) LoadFunc
}

func (*loader) feature() {}

func (l *loader) String() string { return fmt.Sprintf("feature loader %q", l.name) }

func (l *loader) site() Site { return Site{l.String(), sourceOf(l.pc)} }

// NewFeatureLoader returns a feature that yields other features when the
// backend starts, chosen by code, for example by configuration. It may need
// root services only, which can no longer be overridden by loaders that run
// after it. What a loader yields gives way to what was added explicitly.
func NewFeatureLoader(name string, declare func(*RootEnv) LoadFunc) Feature {
	l := &loader{name: name, pc: callerPC(0), nilDeclare: declare == nil}
	l.declare = func(d *declaration) LoadFunc { return declare(&RootEnv{d}) }
	return l
}

// load runs the feature loaders, one after the other, each followed by those
// that it yields, and returns the graph with everything that they have
// yielded.
func (b *Backend) load(ctx context.Context, w *wiring) (*wiring, error) {
	run := &loading{b: b}
	for _, l := range w.loaders {
		if err := run.one(ctx, l); err != nil {
			return nil, err
		}
	}
	w = run.resolve(nil)
	return w, w.err()
}

// maxLoaderDepth bounds how deep feature loaders may nest: one that yields
// itself would never end.
const maxLoaderDepth = 32

// loading is a run of the feature loaders.
type loading struct {
	b       *Backend
	yielded []added
	late    []Problem
	depth   int
}

// resolve makes the graph of what has been yielded so far: for the loader that
// runs next, or when all have run.
func (r *loading) resolve(next *loader) *wiring {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.resolve(r.yielded, nil, next, next == nil)
	w.problems = append(w.problems, r.late...)
	b.wiring, b.yielded = w, r.yielded
	b.live.Store(w)
	return w
}

// one runs a loader and takes in what it yields.
func (r *loading) one(ctx context.Context, l *loader) error {
	b := r.b
	if r.depth++; r.depth > maxLoaderDepth {
		return &LoaderError{l.site(), fmt.Errorf("feature loaders are nested more than %d deep; does one yield itself?", maxLoaderDepth)}
	}
	defer func() { r.depth-- }()
	w := r.resolve(l)
	if err := w.err(); err != nil {
		return err
	}
	d := w.declaredLoader(l)
	var fs []Feature
	err := b.bounded(ctx, l.String(), b.policy.InitTimeout, b.policy.HookTimeout, func(ctx context.Context) error {
		if err := b.fill(ctx, d.first.needs, nil, owner{name: l.String()}); err != nil {
			return err
		}
		return b.root.guard(l.String(), func() error {
			v, err := d.first.run(ctx)
			fs, _ = v.([]Feature)
			return err
		})
	})
	if err != nil {
		return &LoaderError{l.site(), err}
	}
	return r.take(ctx, l, fs, "output")
}

// take takes in features that a loader has yielded.
func (r *loading) take(ctx context.Context, l *loader, fs []Feature, path string) error {
	for i, f := range fs {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch f := f.(type) {
		case *loader:
			if err := r.one(ctx, f); err != nil {
				return fmt.Errorf("%s of %s: %w", at, l, err)
			}
		case group:
			if err := r.take(ctx, l, f, at); err != nil {
				return err
			}
		default:
			r.checkLate(l, f)
			r.yielded = append(r.yielded, added{feature: f, via: l, path: at})
		}
	}
	return nil
}

// checkLate refuses a factory or decorator of a service that is in use.
func (r *loading) checkLate(l *loader, f Feature) {
	var fac *factory
	switch f := f.(type) {
	case ServiceFactory:
		fac = f.f
	case decorator:
		fac = f.f
	}
	if fac == nil {
		return
	}
	n := r.b.live.Load().nodes[fac.service.id]
	if n == nil || n.origin == OriginAdded && !fac.decorator && !fac.service.multi {
		return // not in use, or what was added explicitly wins
	}
	for _, in := range n.installs {
		if in.value.ready() {
			r.late = append(r.late, &LateFactoryError{fac.service.id, fac.site(), l.site()})
			return
		}
	}
}
