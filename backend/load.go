package backend

import (
	"context"
	"fmt"
)

// load runs the feature loaders, one after the other, each followed by those
// that it yields, and resolves the graph anew.
func (b *Backend) load(ctx context.Context) error {
	w := b.resolved()
	if len(w.loaders) == 0 {
		return nil
	}
	run := &loading{b: b, byLoader: map[string]*factory{}}
	for _, l := range w.loaders {
		if err := run.one(ctx, l); err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.wiring = b.resolve(run.yielded, true)
	b.mu.Unlock()
	run.late()
	return b.resolved().err()
}

// loading is a run of the feature loaders.
type loading struct {
	b        *Backend
	yielded  []added
	byLoader map[string]*factory
	problems []Problem
}

func (r *loading) late() {
	w := r.b.resolved()
	w.problems = append(w.problems, r.problems...)
}

func (r *loading) one(ctx context.Context, l *loader) error {
	b := r.b
	d := l.describe()
	if d.problem != nil {
		return &LoaderError{l.site(), d.problem}
	}
	// What the loader needs must be there by now.
	b.mu.Lock()
	w := b.resolve(r.yielded, false)
	b.wiring = w
	b.mu.Unlock()
	if err := w.err(); err != nil {
		return err
	}
	for _, n := range d.first.needs {
		if w.nodes[n.service.id] == nil && !n.optional && !n.service.multi {
			w.miss(n.service, Site{l.String(), sourceOf(n.pc)})
		}
	}
	if err := w.err(); err != nil {
		return err
	}
	var fs []Feature
	err := b.bounded(ctx, l.String(), b.policy.InitTimeout, func(ctx context.Context) error {
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
	return r.take(ctx, l, fs, l.String())
}

// take takes in what a loader has yielded.
func (r *loading) take(ctx context.Context, l *loader, fs []Feature, path string) error {
	for i, f := range fs {
		switch f := f.(type) {
		case *loader:
			if err := r.one(ctx, f); err != nil {
				return err
			}
		case group:
			if err := r.take(ctx, l, f, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		default:
			r.checkLate(l, f)
			r.yielded = append(r.yielded, added{feature: f, via: l})
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
	n := r.b.wiring.nodes[fac.service.id]
	if n == nil || n.origin == OriginAdded && !fac.decorator && !fac.service.multi {
		return
	}
	for _, in := range n.installs {
		if in.value.ready() {
			r.problems = append(r.problems, &LateFactoryError{fac.service.id, fac.site(), l.site()})
			return
		}
	}
}
