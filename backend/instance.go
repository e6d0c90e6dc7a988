package backend

import (
	"context"
	"fmt"
	"sync"
)

// future is a value that is made once. Whoever asks first makes it, others
// wait. A failure is kept like a value.
type future struct {
	mu   sync.Mutex
	done chan struct{}
	v    any
	err  error
}

// get returns the value, which make makes if nothing has so far. While others
// make it, get waits for them no longer than ctx.
func (f *future) get(ctx context.Context, what fmt.Stringer, make_ func() (any, error)) (any, error) {
	f.mu.Lock()
	if f.done != nil {
		f.mu.Unlock()
		select {
		case <-f.done:
			return f.v, f.err
		default:
		}
		select {
		case <-f.done:
			return f.v, f.err
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s, which is being made: %w", what, context.Cause(ctx))
		}
	}
	f.done = make(chan struct{})
	f.mu.Unlock()
	f.err = errExited
	defer close(f.done)
	f.v, f.err = make_()
	return f.v, f.err
}

// ready reports whether the value has been made.
func (f *future) ready() bool {
	f.mu.Lock()
	done := f.done
	f.mu.Unlock()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// take returns a declaration for one instance: one of those that described
// the graph, or a new one.
func (in *install) take(b *Backend) (*declaration, error) {
	b.mu.Lock()
	if k := len(in.decl.spare); k > 0 {
		d := in.decl.spare[k-1]
		in.decl.spare = in.decl.spare[:k-1]
		b.mu.Unlock()
		return d, nil
	}
	b.mu.Unlock()
	d := &declaration{extra: &extra{what: in.f.service.id}}
	err := protect("declare function of "+in.f.String(), "", nil, func() error { in.f.declare(d, d.extra); return nil })
	d.closed = true
	switch {
	case err != nil:
		return nil, err
	case d.run == nil:
		return nil, &NilFunctionError{in.f.site(), "make"}
	}
	if diff := difference(in.decl.first, d); diff != "" {
		return nil, &ImpureDeclareError{in.f.site(), diff}
	}
	return d, nil
}

// futureOf returns where the instance of an install is kept.
func (in *install) futureOf(p *pluginRun) *future {
	if in.f.service.scope == rootScope {
		return &in.value
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.instances[in]
	if f == nil {
		f = &future{}
		p.instances[in] = f
	}
	return f
}

// instance returns the instance of a factory or decorator, for a plugin if it
// is plugin scoped. Instances are made under the context of the start, not of
// whoever asks first, since they are shared.
func (b *Backend) instance(ctx context.Context, in *install, p *pluginRun) (any, error) {
	if in.f.service.scope == rootScope {
		p = nil
	}
	return in.futureOf(p).get(ctx, in.f, func() (any, error) { return b.make(in, p) })
}

func (b *Backend) make(in *install, p *pluginRun) (any, error) {
	v, err := b.tryMake(in, p)
	if err == nil {
		return v, nil
	}
	if p != nil {
		return nil, fmt.Errorf("service %q for plugin %q (%s): %w", in.f.service.id, p.id, sourceOf(in.f.pc), err)
	}
	return nil, fmt.Errorf("service %q (%s): %w", in.f.service.id, sourceOf(in.f.pc), err)
}

func (b *Backend) tryMake(in *install, p *pluginRun) (any, error) {
	ctx := b.makeCtx
	d, err := in.take(b)
	if err != nil {
		return nil, err
	}
	who := owner{name: in.f.serviceName}
	if in.root != nil {
		root, err := in.rootCtx.get(ctx, in.f, func() (any, error) { return b.makeRoot(in, who) })
		if err != nil {
			return nil, fmt.Errorf("root context: %w", err)
		}
		d.extra.v, d.extra.ready = root, true
	}
	if in.f.decorator {
		inner, err := b.inner(ctx, in, p)
		if err != nil {
			return nil, err
		}
		d.extra.v, d.extra.ready = inner, true
	}
	return b.runMake(ctx, d, p, who, in.f.String())
}

// makeRoot makes the root context of a factory.
func (b *Backend) makeRoot(in *install, who owner) (any, error) {
	return b.runMake(b.makeCtx, in.root.first, nil, who, "root context of "+in.f.String())
}

func (b *Backend) runMake(ctx context.Context, d *declaration, p *pluginRun, who owner, where string) (v any, err error) {
	if err := b.fill(ctx, d.needs, p, who); err != nil {
		return nil, err
	}
	l := &b.root
	if p != nil {
		l = &p.lifecycle
	}
	err = l.guard(where, func() (err error) { v, err = d.run(ctx); return err })
	return v, err
}

// inner returns what a decorator wraps.
func (b *Backend) inner(ctx context.Context, in *install, p *pluginRun) (any, error) {
	if in.inner != nil {
		return b.instance(ctx, in.inner, p)
	}
	return lifecycleView{l: &p.lifecycle}, nil
}

// fill gives needs their values. What is not yet there is made, at once where
// it is independent. Built-in services come last: by then everything that the
// consumer needs has been made, which gives the consumer its place in the
// order of dependency.
func (b *Backend) fill(ctx context.Context, needs []*need, p *pluginRun, who owner) error {
	w := b.live.Load()
	var pending, own []*need
	for _, n := range needs {
		if n.point != nil {
			continue // filled by the module
		}
		node := w.nodes[n.service.id]
		switch {
		case node == nil && !n.optional && !n.service.multi:
			return &ValidationError{[]Problem{&MissingServiceError{Service: n.service.id, Scope: n.service.scope.String()}}}
		case node == nil:
			n.slot.putNone()
		case node.builtIn:
			own = append(own, n)
		default:
			pending = append(pending, n)
		}
	}
	if err := b.fillPending(ctx, w, pending, p); err != nil {
		return err
	}
	if len(own) > 0 {
		who.seq = b.seq.Add(1)
	}
	for _, n := range own {
		v, err := b.builtInValue(ctx, w.nodes[n.service.id], p, who)
		if err != nil {
			return err
		}
		n.slot.put(v)
	}
	return nil
}

func (b *Backend) fillPending(ctx context.Context, w *wiring, pending []*need, p *pluginRun) error {
	if len(pending) == 0 {
		return nil
	}
	errs := make([]error, len(pending))
	var wg sync.WaitGroup
	for i, n := range pending {
		node := w.nodes[n.service.id]
		if i == len(pending)-1 || b.allReady(node, p) {
			errs[i] = b.fillOne(ctx, n, node, p)
			continue
		}
		wg.Go(func() {
			errs[i] = errExited
			errs[i] = b.fillOne(ctx, n, node, p)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) allReady(node *node, p *pluginRun) bool {
	if len(node.decorators) > 0 {
		return false
	}
	for _, in := range node.installs {
		if !in.futureOf(p).ready() {
			return false
		}
	}
	return true
}

func (b *Backend) fillOne(ctx context.Context, n *need, node *node, p *pluginRun) error {
	v, err := b.valueOf(ctx, node, p)
	if err != nil {
		return err
	}
	if node.service.multi {
		n.slot.putAll(v.([]any))
	} else {
		n.slot.put(v)
	}
	return nil
}

// valueOf returns what consumers of a service get: its instance, with its
// decorators, or the instances of a multiton as a []any.
func (b *Backend) valueOf(ctx context.Context, node *node, p *pluginRun) (any, error) {
	if k := len(node.decorators); k > 0 {
		return b.instance(ctx, node.decorators[k-1], p)
	}
	if !node.service.multi {
		return b.instance(ctx, node.installs[0], p)
	}
	vs := make([]any, len(node.installs))
	for i, in := range node.installs {
		v, err := b.instance(ctx, in, p)
		if err != nil {
			return nil, err
		}
		vs[i] = v
	}
	return vs, nil
}

// builtInValue returns the value of a service that the backend provides.
func (b *Backend) builtInValue(ctx context.Context, node *node, p *pluginRun, who owner) (any, error) {
	switch node.service {
	case PluginMetadata.s:
		return Metadata{p.id}, nil
	case InstanceMetadata.s:
		return Instance(instanceView{b}), nil
	case PluginLifecycle.s:
		if k := len(node.decorators); k > 0 {
			return b.instance(ctx, node.decorators[k-1], p)
		}
		return Lifecycle(lifecycleView{l: &p.lifecycle}), nil
	default:
		return b.rootLifecycle(node, who)
	}
}

// rootLifecycle makes the view of the root lifecycle for one consumer, with its
// decorators.
func (b *Backend) rootLifecycle(node *node, who owner) (any, error) {
	var v any = RootLifecycle(lifecycleView{&b.root, who})
	for _, in := range node.decorators {
		d, err := in.take(b)
		if err != nil {
			return nil, err
		}
		d.extra.v, d.extra.ready = v, true
		if v, err = b.runMake(b.makeCtx, d, nil, who, in.f.String()); err != nil {
			return nil, fmt.Errorf("service %q (%s): %w", in.f.service.id, sourceOf(in.f.pc), err)
		}
	}
	return v, nil
}
