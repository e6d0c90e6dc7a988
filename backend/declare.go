package backend

import (
	"context"
	"fmt"
)

// call runs a declare function twice: once to describe the graph, and once to
// see that it declares the same again.
func call(at Site, function string, declare func(*declaration)) *declared {
	out := &declared{}
	for i := range 2 {
		d := &declaration{trace: i == 0}
		err := protect("declare function of "+at.What, "", func(p *PanicError) {
			out.problem = &DeclarePanicError{at, p}
		}, func() error { declare(d); return nil })
		d.closed = true
		if i == 0 {
			out.first = d
		}
		if err != nil {
			return out
		}
		if d.run == nil {
			out.problem = &NilFunctionError{at, function}
			return out
		}
		if i > 0 {
			if diff := difference(out.first, d); diff != "" {
				out.problem = &ImpureDeclareError{at, diff}
				return out
			}
		}
		out.spare = append(out.spare, d)
	}
	return out
}

// difference says how two declarations differ, or returns "".
func difference(a, b *declaration) string {
	if len(a.needs) != len(b.needs) {
		return fmt.Sprintf("it declared %s, and then %s", count(len(a.needs), "need"), count(len(b.needs), "need"))
	}
	for i, n := range a.needs {
		if m := b.needs[i]; n.id() != m.id() || n.optional != m.optional || (n.point == nil) != (m.point == nil) {
			return fmt.Sprintf("it declared a need of %q, and then of %q in its place", n.id(), m.id())
		}
	}
	if len(a.offers) != len(b.offers) {
		return fmt.Sprintf("it offered %s, and then %s", count(len(a.offers), "extension point"), count(len(b.offers), "extension point"))
	}
	for i, o := range a.offers {
		if b.offers[i].point.id != o.point.id {
			return fmt.Sprintf("it offered %q, and then %q in its place", o.point.id, b.offers[i].point.id)
		}
	}
	return ""
}

// describe reads what the factory declares, once.
func (in *install) describe(w *wiring) {
	if in.decl != nil {
		return
	}
	if in.f.nilDeclare {
		in.decl = &declared{first: &declaration{}, problem: &NilFunctionError{in.f.site(), "declare"}}
		return
	}
	what := "the root context of " + in.f.service.id
	if in.f.decorator {
		what = "the decorated " + in.f.service.id
	}
	in.decl = call(in.f.site(), "make", func(d *declaration) {
		d.extra = &extra{what: what}
		in.f.declare(d, d.extra)
	})
	if in.f.root != nil {
		in.root = call(in.f.site(), "root context", in.f.root)
	}
}

func (u *unit) describe() *declared {
	if u.nilDeclare {
		return &declared{first: &declaration{}, problem: &NilFunctionError{u.site(), "declare"}}
	}
	return call(u.site(), "init", func(d *declaration) {
		if init := u.declare(d); init != nil {
			d.run = func(ctx context.Context) (any, error) { return nil, init(ctx) }
		}
	})
}

func (l *loader) describe() *declared {
	if l.nilDeclare {
		return &declared{first: &declaration{}, problem: &NilFunctionError{l.site(), "declare"}}
	}
	return call(l.site(), "load", func(d *declaration) {
		if load := l.declare(d); load != nil {
			d.run = func(ctx context.Context) (any, error) { return load(ctx) }
		}
	})
}
