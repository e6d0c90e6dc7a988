package backend

import (
	"fmt"
	"slices"
)

// wiring is the resolved graph of a backend.
type wiring struct {
	b        *Backend
	complete bool    // every feature loader has run
	next     *loader // the feature loader that runs next
	strict   bool    // what is missing cannot be provided any more

	parts      []*part // plugins and modules that run
	plugins    []*part
	byPlugin   map[string]*part
	modules    map[string][]*part // by plugin
	nodes      map[string]*node
	order      []*node // nodes in installation order
	points     map[string]*offered
	pointOrder []*offered
	wrappers   map[string][]*pointDecorator
	loaders    []*loader

	problems []Problem
	warnings []Warning
	missing  map[string]*MissingServiceError
	conflict map[string]bool
	warned   map[string]bool
}

// part is an installed plugin or module.
type part struct {
	*unit
	addPC uintptr
	via   *loader
	decl  *declared
	after []*part // modules that start before this one
}

// offered is an installed extension point.
type offered struct {
	*offer
	by *part
}

// node is an installed service.
type node struct {
	service    *service
	installs   []*install
	decorators []*install
	origin     string
	builtIn    bool
	explicit   bool
	used       bool
	edges      []edge

	index, low int // of the cycle search
	onStack    bool
}

// edge says that a service needs another.
type edge struct {
	to *node
	pc uintptr
}

// The origins of a service, as in [ServiceNode].
const (
	OriginBuiltIn = "builtin" // the backend itself
	OriginDefault = "default" // a default factory of the backend
	OriginRef     = "ref"     // the default factory of the reference
	OriginAdded   = "added"   // added explicitly
	OriginLoader  = "loader"  // yielded by a feature loader
)

// install is a factory or decorator in a backend, with the instances that it
// has made.
type install struct {
	f       *factory
	addPC   uintptr
	via     *loader
	decl    *declared // of the factory
	root    *declared // of its root context
	inner   *install  // what a decorator wraps; nil if that is built in
	value   future    // of a root service
	rootCtx future
}

// declared is what a declare function has declared.
type declared struct {
	first   *declaration   // describes the graph
	spare   []*declaration // not yet used to make an instance
	problem Problem
}

// resolve builds the graph of what was added, and of what loaders yielded. What
// the loader that runs next needs must be there; what others need may still be
// yielded, unless the graph is complete.
func (b *Backend) resolve(yielded []added, wanted []*need, next *loader, complete bool) *wiring {
	w := &wiring{
		b: b, complete: complete,
		byPlugin: map[string]*part{}, modules: map[string][]*part{}, nodes: map[string]*node{},
		points: map[string]*offered{}, wrappers: map[string][]*pointDecorator{},
		missing: map[string]*MissingServiceError{}, conflict: map[string]bool{}, warned: map[string]bool{},
	}
	c := w.collect(append(append([]added(nil), b.added...), yielded...))
	w.complete = complete || len(w.loaders) == 0
	w.next = next
	w.installAll(c)
	w.placeParts(c)
	w.offerAll(c)
	w.link()
	for _, n := range wanted {
		w.linkService(n, fetch{})
	}
	w.findServiceCycles()
	w.orderModules()
	return w
}

// fetch is the consumer of a service that is fetched with Get or GetFor.
type fetch struct{}

func (fetch) String() string { return "call of Get" }

func (w *wiring) err() error {
	if len(w.problems) == 0 {
		return nil
	}
	return &ValidationError{Problems: w.problems}
}

func (w *wiring) problem(p Problem) { w.problems = append(w.problems, p) }

// collected is what was added, by kind.
type collected struct {
	factories  []added
	decorators []added
	units      []added
	wrappers   []added
}

func (w *wiring) collect(all []added) *collected {
	c := &collected{}
	var visit func(a added)
	visit = func(a added) {
		switch f := a.feature.(type) {
		case group:
			for _, m := range f {
				in := a
				in.feature = m
				visit(in)
			}
		case ServiceFactory:
			if f.f == nil {
				w.problem(&NilFeatureError{At: addedSite(a)})
				return
			}
			c.factories = append(c.factories, a)
		case decorator:
			c.decorators = append(c.decorators, a)
		case *unit:
			c.units = append(c.units, a)
		case *pointDecorator:
			c.wrappers = append(c.wrappers, a)
		case *loader:
			w.loaders = append(w.loaders, f)
		case nil:
			w.problem(&NilFeatureError{At: addedSite(a)})
		default:
			w.problem(&NilFeatureError{At: addedSite(a), Type: fmt.Sprintf("%T", f)})
		}
	}
	for _, a := range all {
		visit(a)
	}
	return c
}

func addedSite(a added) Site {
	if a.via != nil {
		return Site{a.path + " of " + a.via.String(), sourceOf(a.via.pc)}
	}
	return Site{"added here", sourceOf(a.pc)}
}

// installAll gives each service its factories, under the rules of precedence:
// explicitly added, then yielded by a loader, then default.
func (w *wiring) installAll(c *collected) {
	for _, a := range c.factories {
		f := a.feature.(ServiceFactory).f
		s := f.service
		if s.id == "" {
			w.problem(&InvalidIDError{"service", "", f.site()})
			continue
		}
		if _, decoratable, ok := builtIn(s.id); ok {
			w.problem(&BuiltInError{s.id, f.site(), decoratable})
			continue
		}
		n := w.nodes[s.id]
		if n == nil {
			n = &node{service: s}
			w.nodes[s.id] = n
			w.order = append(w.order, n)
		}
		w.installFactory(n, f, a)
	}
	for _, a := range c.decorators {
		f := a.feature.(decorator).f
		s := f.service
		if s.id == "" {
			w.problem(&InvalidIDError{"service", "", f.site()})
			continue
		}
		if _, decoratable, ok := builtIn(s.id); ok && !decoratable {
			w.problem(&BuiltInError{s.id, f.site(), false})
			continue
		}
		n := w.nodeFor(s)
		if n == nil {
			if w.complete {
				w.miss(s, f.site())
			}
			continue
		}
		if i := slices.IndexFunc(n.decorators, func(in *install) bool { return in.f == f }); i >= 0 {
			first := n.decorators[i]
			w.problem(&DuplicateError{
				Kind: "decorator", ID: s.id, First: f.site(), Second: f.site(),
				FirstAdded: w.addedAt(first.addPC, first.via), SecondAdded: w.addedAt(a.pc, a.via),
			})
			continue
		}
		in := w.install(f, a)
		if w.agree(n, s, f.site()) {
			var inner *install
			if k := len(n.decorators); k > 0 {
				inner = n.decorators[k-1]
			} else if len(n.installs) > 0 {
				inner = n.installs[0]
			}
			if in.inner != inner { // it may be in use, when nothing changes
				in.inner = inner
			}
			n.decorators = append(n.decorators, in)
			n.explicit = true
		}
	}
	for _, a := range c.wrappers {
		p := a.feature.(*pointDecorator)
		if p.point == nil {
			w.problem(&InvalidIDError{"extension point", "", Site{"decorator of an extension point", sourceOf(p.pc)}})
			continue
		}
		if p.wrap == nil {
			w.problem(&NilFunctionError{Site{fmt.Sprintf("decorator of extension point %q", p.point.id), sourceOf(p.pc)}, "wrap"})
			continue
		}
		w.wrappers[p.point.id] = append(w.wrappers[p.point.id], p)
	}
}

func (w *wiring) install(f *factory, a added) *install {
	in := w.b.installs[f]
	if in == nil {
		in = &install{f: f}
		w.b.installs[f] = in
	}
	in.addPC, in.via = a.pc, a.via
	return in
}

func (w *wiring) installFactory(n *node, f *factory, a added) {
	origin := OriginAdded
	switch {
	case a.isDefault:
		origin = OriginDefault
	case a.via != nil:
		origin = OriginLoader
	}
	if len(n.installs) > 0 && !w.agree(n, f.service, f.site()) {
		return
	}
	if n.service.multi {
		n.installs = append(n.installs, w.install(f, a))
		n.explicit = n.explicit || !a.isDefault
		n.origin = origin
		return
	}
	if len(n.installs) > 0 && n.origin != OriginDefault || n.origin == OriginDefault && a.isDefault {
		if origin == OriginLoader && n.origin == OriginAdded {
			return // what was added explicitly wins
		}
		first := n.installs[0]
		w.problem(&DuplicateError{
			Kind: "service factory", ID: f.service.id, First: first.f.site(), Second: f.site(),
			FirstAdded: w.addedAt(first.addPC, first.via), SecondAdded: w.addedAt(a.pc, a.via),
		})
		return
	}
	n.service = f.service
	n.installs = []*install{w.install(f, a)}
	n.origin = origin
	n.explicit = !a.isDefault
}

func (w *wiring) addedAt(pc uintptr, via *loader) string {
	if via != nil {
		return sourceOf(via.pc)
	}
	return sourceOf(pc)
}

// nodeFor returns the node of a service, which its default factory or the
// backend itself may provide, or nil.
func (w *wiring) nodeFor(s *service) *node {
	if n := w.nodes[s.id]; n != nil {
		return n
	}
	if own, _, ok := builtIn(s.id); ok {
		n := &node{service: own, builtIn: true, origin: OriginBuiltIn}
		w.nodes[s.id] = n
		w.order = append(w.order, n)
		return n
	}
	if s.def == nil {
		return nil
	}
	n := &node{service: s, origin: OriginRef}
	w.nodes[s.id] = n
	w.order = append(w.order, n)
	site := Site{fmt.Sprintf("reference of service %q", s.id), sourceOf(s.pc)}
	f, err := w.b.defaultOf(s)
	switch {
	case err != nil:
		w.problem(&DefaultFactoryError{s.id, site, err.Error()})
	case f == nil:
		w.problem(&DefaultFactoryError{s.id, site, "it is a zero value"})
	case f.service.id != s.id:
		w.problem(&DefaultFactoryError{s.id, site, fmt.Sprintf("it makes service %q", f.service.id)})
	case describe(f.service) != describe(s):
		w.problem(&DefaultFactoryError{s.id, site, fmt.Sprintf("it makes %s, not %s", describe(f.service), describe(s))})
	default:
		n.installs = []*install{w.install(f, added{pc: s.pc})}
	}
	return n
}

// defaultOf returns the default factory of a reference. It is made once, since
// instances belong to their factory, and the graph is resolved anew when
// loaders yield more, or more is fetched.
func (b *Backend) defaultOf(s *service) (f *factory, err error) {
	if f := b.defaults[s]; f != nil {
		return f, nil
	}
	if err := protect("the function given to WithDefault", "", nil, func() error { f = s.def().f; return nil }); err != nil {
		return nil, err
	}
	b.defaults[s] = f
	return f, nil
}

// describe renders what references with one id must agree on.
func describe(s *service) string {
	multi := "service"
	if s.multi {
		multi = "multiton service"
	}
	return fmt.Sprintf("a %s %s of type %s", s.scope, multi, typeName(s.typ))
}

// typeName renders the type T of a (*T)(nil).
func typeName(t any) string {
	if t == nil {
		return "unknown"
	}
	return fmt.Sprintf("%T", t)[1:]
}

// agree reports whether s means the same service as the node does.
func (w *wiring) agree(n *node, s *service, at Site) bool {
	if n.service == s || n.service.typ == s.typ && n.service.scope == s.scope && n.service.multi == s.multi {
		return true
	}
	if key := n.service.id + "\x00" + at.Source; !w.conflict[key] {
		w.conflict[key] = true
		first := Site{fmt.Sprintf("reference of service %q", s.id), sourceOf(n.service.pc)}
		if len(n.installs) > 0 {
			first = n.installs[0].f.site()
		}
		w.problem(&ConflictError{"service", s.id, first, at, describe(n.service), describe(s)})
	}
	return false
}

// miss records that something needs a service that is not installed.
func (w *wiring) miss(s *service, consumer Site) {
	m := w.missing[s.id]
	if m == nil {
		m = &MissingServiceError{Service: s.id, Scope: s.scope.String(), Similar: nearest(s.id, w.serviceIDs())}
		w.missing[s.id] = m
		w.problem(m)
	}
	m.Consumers = append(m.Consumers, consumer)
}

func (w *wiring) serviceIDs() []string {
	ids := make([]string, 0, len(w.order))
	for _, n := range w.order {
		ids = append(ids, n.service.id)
	}
	return ids
}
