package backend

// Graph is the wiring of a backend as data. Nodes are in the order in which
// they were added.
type Graph struct {
	Plugins         []PluginNode         `json:"plugins"`
	Modules         []ModuleNode         `json:"modules"`
	Services        []ServiceNode        `json:"services"`
	ExtensionPoints []ExtensionPointNode `json:"extensionPoints"`
	Edges           []Edge               `json:"edges"`
	Warnings        []Warning            `json:"warnings"`
}

// PluginNode is an installed plugin.
type PluginNode struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
	Source      string `json:"source"`
	Loader      string `json:"loader,omitempty"` // the feature loader that yielded it
}

// ModuleNode is an installed module.
type ModuleNode struct {
	ID          string `json:"id"`
	Plugin      string `json:"plugin"`
	Description string `json:"description,omitempty"`
	Source      string `json:"source"`
	Loader      string `json:"loader,omitempty"`
}

// ServiceNode is a service that something uses.
type ServiceNode struct {
	ID         string   `json:"id"`
	Scope      string   `json:"scope"` // "root" or "plugin"
	Type       string   `json:"type"`
	Multiton   bool     `json:"multiton"`
	Eager      bool     `json:"eager"`
	Origin     string   `json:"origin"`     // one of the Origin constants
	Sources    []string `json:"sources"`    // of its factories
	Decorators []string `json:"decorators"` // sources
}

// ExtensionPointNode is an extension point that is offered.
type ExtensionPointNode struct {
	ID     string `json:"id"`
	Plugin string `json:"plugin"`
	Module string `json:"module,omitempty"` // the module that offers it, if not the plugin
	Type   string `json:"type"`
	Source string `json:"source"`
}

// The kinds of an [Edge].
const (
	EdgeNeeds   = "needs"   // a plugin, module or service needs a service
	EdgeUses    = "uses"    // a module uses an extension point
	EdgeOffers  = "offers"  // a plugin or module offers an extension point
	EdgeExtends = "extends" // a module extends a plugin
)

// Edge connects two nodes, each named by its kind and id, such as
// "plugin:catalog", "module:catalog/github", "service:core.logger" and
// "extensionPoint:catalog.processing".
type Edge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Kind     string `json:"kind"`
	Optional bool   `json:"optional,omitempty"`
	Source   string `json:"source,omitempty"` // of the declaration
}

func (p *part) key() string {
	if p.isModule() {
		return "module:" + p.plugin + "/" + p.module
	}
	return "plugin:" + p.plugin
}

// Graph returns the wiring as data. It is complete if the wiring is valid;
// what feature loaders yield is in it once the backend has started.
func (b *Backend) Graph() Graph {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.resolvedLocked()
	g := Graph{
		Plugins: []PluginNode{}, Modules: []ModuleNode{}, Services: []ServiceNode{},
		ExtensionPoints: []ExtensionPointNode{}, Edges: []Edge{}, Warnings: append([]Warning{}, w.warnings...),
	}
	needs := func(from string, ns []*need) {
		for _, n := range ns {
			kind, to := EdgeNeeds, "service:"+n.id()
			if n.point != nil {
				kind, to = EdgeUses, "extensionPoint:"+n.id()
			}
			g.Edges = append(g.Edges, Edge{from, to, kind, n.optional, sourceOf(n.pc)})
		}
	}
	for _, p := range w.parts {
		yielder := ""
		if p.via != nil {
			yielder = p.via.name
		}
		if p.isModule() {
			g.Modules = append(g.Modules, ModuleNode{p.module, p.plugin, p.options.description, sourceOf(p.pc), yielder})
			g.Edges = append(g.Edges, Edge{p.key(), "plugin:" + p.plugin, EdgeExtends, false, sourceOf(p.pc)})
		} else {
			g.Plugins = append(g.Plugins, PluginNode{p.plugin, p.options.description, sourceOf(p.pc), yielder})
		}
		needs(p.key(), p.decl.first.needs)
		for _, o := range p.decl.first.offers {
			g.Edges = append(g.Edges, Edge{p.key(), "extensionPoint:" + o.point.id, EdgeOffers, false, sourceOf(o.pc)})
		}
	}
	for _, of := range w.pointOrder {
		g.ExtensionPoints = append(g.ExtensionPoints, ExtensionPointNode{of.point.id, of.by.plugin, of.by.module, typeName(of.point.typ), sourceOf(of.pc)})
	}
	for _, n := range w.order {
		if !n.used {
			continue
		}
		s := ServiceNode{
			ID: n.service.id, Scope: n.service.scope.String(), Type: typeName(n.service.typ), Multiton: n.service.multi,
			Origin: n.origin, Sources: []string{}, Decorators: []string{},
		}
		for _, in := range n.installs {
			s.Sources = append(s.Sources, sourceOf(in.f.pc))
			s.Eager = s.Eager || in.f.eager
		}
		for _, in := range n.decorators {
			s.Decorators = append(s.Decorators, sourceOf(in.f.pc))
		}
		g.Services = append(g.Services, s)
		for _, in := range append(n.installs[:len(n.installs):len(n.installs)], n.decorators...) {
			if in.root != nil {
				needs("service:"+s.ID, in.root.first.needs)
			}
			needs("service:"+s.ID, in.decl.first.needs)
		}
	}
	return g
}
