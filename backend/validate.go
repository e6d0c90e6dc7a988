package backend

import (
	"fmt"
	"strings"
)

// Warning is something in the wiring that works, but should change.
type Warning struct {
	Text string `json:"text"`
	Site Site   `json:"site"`
}

// placeParts takes in the plugins and modules that run.
func (w *wiring) placeParts(c *collected) {
	chosen := map[string]bool{}
	for _, id := range w.b.only {
		chosen[id] = true
	}
	installed := map[string]bool{}
	modules := map[[2]string]*part{}
	for _, a := range c.units {
		u := a.feature.(*unit)
		if !u.isModule() {
			installed[u.plugin] = true
		}
		if w.b.chosen && !chosen[u.plugin] {
			continue
		}
		w.checkID(u)
		p := w.b.parts[u]
		first := w.byPlugin[u.plugin]
		kind, id := "plugin", u.plugin
		if u.isModule() {
			first = modules[[2]string{u.plugin, u.module}]
			kind, id = "module", u.plugin+"/"+u.module
		}
		if first != nil {
			w.problem(&DuplicateError{
				Kind: kind, ID: id, First: first.site(), Second: u.site(),
				FirstAdded: w.addedAt(first.addPC, first.via), SecondAdded: w.addedAt(a.pc, a.via),
			})
			continue
		}
		if p == nil {
			p = &part{unit: u, decl: u.describe()}
			w.b.parts[u] = p
		}
		p.addPC, p.via, p.after = a.pc, a.via, nil
		if p.decl.problem != nil {
			w.problem(p.decl.problem)
		}
		w.parts = append(w.parts, p)
		if u.isModule() {
			modules[[2]string{u.plugin, u.module}] = p
			w.modules[u.plugin] = append(w.modules[u.plugin], p)
		} else {
			w.byPlugin[u.plugin] = p
			w.plugins = append(w.plugins, p)
		}
	}
	if !w.complete {
		return
	}
	var ids []string
	for _, p := range w.plugins {
		ids = append(ids, p.plugin)
	}
	for _, p := range w.parts {
		if p.isModule() && w.byPlugin[p.plugin] == nil {
			w.problem(&OrphanModuleError{p.plugin, p.module, p.site(), nearest(p.plugin, ids)})
		}
	}
	if w.b.chosen {
		all := sortedKeys(installed)
		for _, id := range w.b.only {
			if !installed[id] {
				w.problem(&UnknownPluginError{id, Site{"chosen here", sourceOf(w.b.onlyPC)}, all, nearest(id, all)})
			}
		}
	}
}

// checkID checks the id of a plugin or module.
func (w *wiring) checkID(u *unit) {
	kind, id := "plugin", u.plugin
	if u.isModule() {
		kind, id = "module", u.module
	}
	ok, legacy := validID(id)
	switch {
	case !ok:
		w.problem(&InvalidIDError{kind, strings.TrimSpace(id), u.site()})
	case legacy:
		w.warnings = append(w.warnings, Warning{
			fmt.Sprintf("the id %q of a %s contains an underscore, which is deprecated; use dashes", id, kind), u.site(),
		})
	}
}

// validID reports whether id is letters and digits in groups separated by
// single dashes, starting with a letter; legacy ids have underscores, too.
func validID(id string) (ok, legacy bool) {
	sep := true
	for i := range len(id) {
		c := id[i] | 0x20 // lower case
		switch {
		case c >= 'a' && c <= 'z':
			sep = false
		case id[i] >= '0' && id[i] <= '9' && i > 0:
			sep = false
		case (id[i] == '-' || id[i] == '_') && !sep:
			legacy = legacy || id[i] == '_'
			sep = true
		default:
			return false, false
		}
	}
	return !sep, legacy
}

// offerAll takes in the extension points.
func (w *wiring) offerAll(c *collected) {
	for _, p := range w.parts {
		for _, o := range p.decl.first.offers {
			at := Site{p.String(), sourceOf(o.pc)}
			if o.make == nil {
				w.problem(&NilFunctionError{Site{fmt.Sprintf("extension point %q", o.point.id), at.Source}, "offer"})
				continue
			}
			if o.point.plugin != p.plugin {
				w.problem(&ForeignExtensionPointError{o.point.id, o.point.plugin, true, at})
				continue
			}
			if first := w.points[o.point.id]; first != nil {
				w.problem(&DuplicateError{
					Kind: "extension point", ID: o.point.id,
					First: Site{first.by.String(), sourceOf(first.pc)}, Second: at,
				})
				continue
			}
			of := &offered{o, p}
			w.points[o.point.id] = of
			w.pointOrder = append(w.pointOrder, of)
		}
	}
	if !w.complete {
		return
	}
	for _, a := range c.wrappers {
		d := a.feature.(*pointDecorator)
		if d.point == nil || w.b.chosen && w.byPlugin[d.point.plugin] == nil {
			continue
		}
		at := Site{fmt.Sprintf("decorator of extension point %q", d.point.id), sourceOf(d.pc)}
		of := w.points[d.point.id]
		if of == nil {
			w.problem(w.missingPoint(d.point, at))
		} else if of.point.typ != d.point.typ {
			w.problem(w.pointConflict(of, d.point, at))
		}
	}
}

func (w *wiring) missingPoint(p *point, at Site) *MissingExtensionPointError {
	e := &MissingExtensionPointError{ExtensionPoint: p.id, Plugin: p.plugin, Consumer: at, Installed: w.byPlugin[p.plugin] != nil}
	for _, of := range w.pointOrder {
		if of.point.plugin == p.plugin {
			e.Offered = append(e.Offered, of.point.id)
		}
	}
	e.Similar = nearest(p.id, e.Offered)
	return e
}

func (w *wiring) pointConflict(of *offered, p *point, at Site) *ConflictError {
	return &ConflictError{
		"extension point", p.id, Site{of.by.String(), sourceOf(of.pc)}, at,
		"of type " + typeName(of.point.typ), "of type " + typeName(p.typ),
	}
}

// link resolves every need that can matter: those of plugins, modules,
// loaders, of factories that were added or are eager, and of whatever these
// need. A default that nothing uses is not looked at.
func (w *wiring) link() {
	if w.next != nil {
		w.strict = true
		w.linkLoader(w.next)
	}
	w.strict = w.complete
	for _, p := range w.parts {
		for _, n := range p.decl.first.needs {
			if n.point != nil {
				w.linkPoint(p, n)
			} else {
				w.linkService(n, p)
			}
		}
	}
	for _, l := range w.loaders {
		if l != w.next {
			w.linkLoader(l)
		}
	}
	for _, s := range []*service{RootLogger.s, StartupPolicies.s} {
		if n := w.nodeFor(s); n != nil && w.agree(n, s, Site{"the backend", sourceOf(s.pc)}) {
			w.use(n)
		}
	}
	for i := 0; i < len(w.order); i++ { // use may append
		n := w.order[i]
		eager := len(n.installs) > 0 && n.installs[0].f.eager
		if n.explicit || eager {
			w.use(n)
		}
	}
}

func (w *wiring) linkLoader(l *loader) {
	d := w.declaredLoader(l)
	if d.problem != nil {
		w.problem(d.problem)
	}
	for _, n := range d.first.needs {
		w.linkService(n, l)
	}
}

func (w *wiring) declaredLoader(l *loader) *declared {
	d := w.b.loaders[l]
	if d == nil {
		d = l.describe()
		w.b.loaders[l] = d
	}
	return d
}

// use follows the needs of a service, once.
func (w *wiring) use(n *node) {
	if n.used {
		return
	}
	n.used = true
	for _, in := range append(n.installs[:len(n.installs):len(n.installs)], n.decorators...) {
		in.describe(w)
		for _, d := range []*declared{in.root, in.decl} {
			if d == nil {
				continue
			}
			if d.problem != nil {
				w.problem(d.problem)
			}
			for _, need := range d.first.needs {
				if to := w.linkService(need, in.f); to != nil {
					n.edges = append(n.edges, edge{to, need.pc})
				}
			}
		}
	}
}

// linkService resolves a need of a service, and returns its node, or nil.
func (w *wiring) linkService(n *need, consumer fmt.Stringer) *node {
	s := n.service
	if s.deprecated {
		w.deprecated("service", s.id, s.use, Site{consumer.String(), sourceOf(n.pc)})
	}
	if s.id == "" {
		w.problem(&InvalidIDError{"service", "", Site{consumer.String(), sourceOf(n.pc)}})
		return nil
	}
	to := w.nodeFor(s)
	if to == nil {
		if !n.optional && !s.multi && w.strict {
			w.miss(s, Site{consumer.String(), sourceOf(n.pc)})
		}
		return nil
	}
	if to.service != s && !w.agree(to, s, Site{consumer.String(), sourceOf(n.pc)}) {
		return nil
	}
	w.use(to)
	return to
}

// linkPoint resolves a need of an extension point.
func (w *wiring) linkPoint(m *part, n *need) {
	p := n.point
	at := Site{m.String(), sourceOf(n.pc)}
	if p.deprecated {
		w.deprecated("extension point", p.id, p.use, at)
	}
	of := w.points[p.id]
	switch {
	case p.plugin != m.plugin:
		w.problem(&ForeignExtensionPointError{p.id, p.plugin, false, at})
	case of != nil && of.point.typ != p.typ:
		w.problem(w.pointConflict(of, p, at))
	case of == nil && !n.optional && w.complete && w.byPlugin[m.plugin] != nil:
		w.problem(w.missingPoint(p, at))
	}
}

// deprecated warns about a use of something deprecated, once per consumer.
func (w *wiring) deprecated(kind, id, use string, at Site) {
	key := kind + "\x00" + id + "\x00" + at.What
	if w.warned[key] {
		return
	}
	w.warned[key] = true
	text := fmt.Sprintf("%s uses the deprecated %s %q", at.What, kind, id)
	if use != "" {
		text += "; use " + use
	}
	w.warnings = append(w.warnings, Warning{text, at})
}
