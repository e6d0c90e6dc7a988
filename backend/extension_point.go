package backend

// point is what all copies of an extension point share.
type point struct {
	id, plugin string
	typ        any
	pc         uintptr
	deprecated bool
	use        string
}

// offer is an implementation of an extension point.
type offer struct {
	point *point
	make  func(ModuleContext) any
	pc    uintptr
}

// ExtensionPoint is an API of type T that a plugin, or one of its modules,
// offers to the modules of that plugin.
type ExtensionPoint[T any] struct{ p *point }

// NewExtensionPoint returns the named extension point of a plugin. Its id is
// "<plugin>.<name>".
func NewExtensionPoint[T any](plugin, name string) ExtensionPoint[T] {
	return ExtensionPoint[T]{&point{id: plugin + "." + name, plugin: plugin, typ: (*T)(nil), pc: callerPC(0)}}
}

// ID returns the id of the extension point.
func (e ExtensionPoint[T]) ID() string {
	if e.p == nil {
		return ""
	}
	return e.p.id
}

// Deprecated returns the extension point marked as deprecated: the start of a
// backend warns once per module that uses it, with the module's file and line
// and the replacement, which use names.
func (e ExtensionPoint[T]) Deprecated(use string) ExtensionPoint[T] {
	c := *e.p
	c.deprecated, c.use = true, use
	return ExtensionPoint[T]{&c}
}

// From declares that the module needs the extension point, and returns its
// getter. The module starts before the plugin, and before a module that
// offers the extension point.
func (e ExtensionPoint[T]) From(env *ModuleEnv) func() T {
	v := &value[T]{id: e.ID()}
	needPoint(env.d, e.p, false, v)
	return v.get
}

// Optional is like [ExtensionPoint.From] for an extension point that the
// plugin may not offer, for example in an older version.
func (e ExtensionPoint[T]) Optional(env *ModuleEnv) func() (T, bool) {
	v := &value[T]{id: e.ID()}
	needPoint(env.d, e.p, true, v)
	return v.lookup
}

func needPoint(d *declaration, p *point, optional bool, to slot) {
	if p == nil {
		panic("a zero extension point was used; make extension points with NewExtensionPoint")
	}
	d.open("extension point", p.id)
	n := &need{point: p, optional: optional, slot: to}
	if d.trace {
		n.pc = callerPC(1)
	}
	d.needs = append(d.needs, n)
}

// Offer offers impl to the modules of the plugin.
func (e ExtensionPoint[T]) Offer(env Offerer, impl T) {
	addOffer(env.offererScope(), e.p, func(ModuleContext) any { return impl })
}

// OfferFunc offers one value per module that uses the extension point. The
// [ModuleContext] says which module it is for, and lets the plugin report
// later that what the module contributed does not work. Calls of the make
// functions of one plugin do not overlap.
func (e ExtensionPoint[T]) OfferFunc(env Offerer, make func(ModuleContext) T) {
	var m func(ModuleContext) any
	if make != nil {
		m = func(c ModuleContext) any { return make(c) }
	}
	addOffer(env.offererScope(), e.p, m)
}

func addOffer(d *declaration, p *point, make func(ModuleContext) any) {
	if p == nil {
		panic("a zero extension point was offered; make extension points with NewExtensionPoint")
	}
	d.open("extension point", p.id)
	o := &offer{point: p, make: make}
	if d.trace {
		o.pc = callerPC(1)
	}
	d.offers = append(d.offers, o)
}

// ModuleContext tells the owner of an extension point which module uses it.
type ModuleContext struct {
	plugin, module string
	report         func(error)
}

// Plugin returns the id of the plugin that the module extends.
func (c ModuleContext) Plugin() string { return c.plugin }

// Module returns the id of the module.
func (c ModuleContext) Module() string { return c.module }

// ReportFailure attributes a failure to the module: something that it
// contributed does not work. Before the start of the backend is decided, this
// fails the module, under the startup policy of that module. Later it is
// logged as an error.
func (c ModuleContext) ReportFailure(err error) {
	if c.report != nil && err != nil {
		c.report(err)
	}
}

// pointDecorator wraps the values of an extension point.
type pointDecorator struct {
	point *point
	wrap  func(ModuleContext, any) (any, error)
	pc    uintptr
}

func (*pointDecorator) feature() {}

// DecorateExtensionPoint returns a feature that wraps what an extension point
// gives to each module. Several apply in the order in which they were added.
func DecorateExtensionPoint[T any](ep ExtensionPoint[T], wrap func(ModuleContext, T) (T, error)) Feature {
	d := &pointDecorator{point: ep.p, pc: callerPC(0)}
	if wrap != nil {
		d.wrap = func(c ModuleContext, v any) (any, error) {
			t, _ := v.(T)
			return wrap(c, t)
		}
	}
	return d
}
