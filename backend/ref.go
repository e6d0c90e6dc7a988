package backend

// scope says how many instances of a service there are.
type scope uint8

const (
	pluginScope scope = iota // one per plugin
	rootScope                // one per backend
)

func (s scope) String() string {
	if s == rootScope {
		return "root"
	}
	return "plugin"
}

// service is what all references with one origin share.
type service struct {
	id         string
	scope      scope
	multi      bool
	typ        any // (*T)(nil): comparable, and %T prints it
	pc         uintptr
	def        func() ServiceFactory
	deprecated bool
	use        string // replacement of a deprecated service
}

func newService[T any](id string, s scope, multi bool) *service {
	return &service{id: id, scope: s, multi: multi, typ: (*T)(nil), pc: callerPC(1)}
}

func (s *service) with(change func(*service)) *service {
	c := *s
	change(&c)
	return &c
}

func needService(d *declaration, s *service, optional bool, to slot) {
	if s == nil {
		panic("a zero service reference was used; make references with NewServiceRef and its siblings")
	}
	d.open("service", s.id)
	n := &need{service: s, optional: optional, slot: to}
	if d.trace {
		n.pc = callerPC(1)
	}
	d.needs = append(d.needs, n)
}

func (s *service) idOrEmpty() string {
	if s == nil {
		return ""
	}
	return s.id
}

// ServiceRef refers to a plugin scoped service of type T: every plugin has an
// instance of its own, which it shares with its modules. References with the
// same id refer to the same service.
type ServiceRef[T any] struct{ s *service }

// NewServiceRef returns a reference to the plugin scoped service with the
// given id, by convention "<plugin>.<name>", or "core.<name>".
func NewServiceRef[T any](id string) ServiceRef[T] {
	return ServiceRef[T]{newService[T](id, pluginScope, false)}
}

// ID returns the id of the service.
func (r ServiceRef[T]) ID() string { return r.s.idOrEmpty() }

// WithDefault returns the reference with a default factory, which is used
// when no other factory was added. It is a function of the reference because
// a variable that refers to itself through a literal is an initialization
// cycle.
func (r ServiceRef[T]) WithDefault(def func(ServiceRef[T]) ServiceFactory) ServiceRef[T] {
	c := ServiceRef[T]{r.s.with(func(*service) {})}
	c.s.def = func() ServiceFactory { return def(c) }
	return c
}

// Deprecated returns the reference marked as deprecated: the start of a
// backend warns once per consumer, with the consumer's file and line and the
// replacement, which use names.
func (r ServiceRef[T]) Deprecated(use string) ServiceRef[T] {
	return ServiceRef[T]{r.s.with(func(s *service) { s.deprecated, s.use = true, use })}
}

// From declares that env needs the service, and returns the getter of its
// instance. The getter may be called once declare has returned.
func (r ServiceRef[T]) From(env PluginScope) func() T {
	v := &value[T]{id: r.ID()}
	needService(env.pluginScope(), r.s, false, v)
	return v.get
}

// Optional is like [ServiceRef.From] for a service that may be missing: the
// getter reports whether an implementation is installed.
func (r ServiceRef[T]) Optional(env PluginScope) func() (T, bool) {
	v := &value[T]{id: r.ID()}
	needService(env.pluginScope(), r.s, true, v)
	return v.lookup
}

// RootServiceRef refers to a root scoped service of type T, of which there is
// one instance per backend.
type RootServiceRef[T any] struct{ s *service }

// NewRootServiceRef returns a reference to the root scoped service with the
// given id.
func NewRootServiceRef[T any](id string) RootServiceRef[T] {
	return RootServiceRef[T]{newService[T](id, rootScope, false)}
}

// ID returns the id of the service.
func (r RootServiceRef[T]) ID() string { return r.s.idOrEmpty() }

// WithDefault returns the reference with a default factory; see
// [ServiceRef.WithDefault].
func (r RootServiceRef[T]) WithDefault(def func(RootServiceRef[T]) ServiceFactory) RootServiceRef[T] {
	c := RootServiceRef[T]{r.s.with(func(*service) {})}
	c.s.def = func() ServiceFactory { return def(c) }
	return c
}

// Deprecated returns the reference marked as deprecated; see
// [ServiceRef.Deprecated].
func (r RootServiceRef[T]) Deprecated(use string) RootServiceRef[T] {
	return RootServiceRef[T]{r.s.with(func(s *service) { s.deprecated, s.use = true, use })}
}

// From declares that env needs the service, and returns its getter.
func (r RootServiceRef[T]) From(env RootScope) func() T {
	v := &value[T]{id: r.ID()}
	needService(env.rootScope(), r.s, false, v)
	return v.get
}

// Optional is like [RootServiceRef.From] for a service that may be missing.
func (r RootServiceRef[T]) Optional(env RootScope) func() (T, bool) {
	v := &value[T]{id: r.ID()}
	needService(env.rootScope(), r.s, true, v)
	return v.lookup
}

// MultiServiceRef refers to a plugin scoped service with any number of
// implementations, also none: each added factory contributes one.
type MultiServiceRef[T any] struct{ s *service }

// NewMultiServiceRef returns a reference to the plugin scoped multiton service
// with the given id.
func NewMultiServiceRef[T any](id string) MultiServiceRef[T] {
	return MultiServiceRef[T]{newService[T](id, pluginScope, true)}
}

// ID returns the id of the service.
func (r MultiServiceRef[T]) ID() string { return r.s.idOrEmpty() }

// WithDefault returns the reference with a factory for the only value when no
// other factory was added.
func (r MultiServiceRef[T]) WithDefault(def func(MultiServiceRef[T]) ServiceFactory) MultiServiceRef[T] {
	c := MultiServiceRef[T]{r.s.with(func(*service) {})}
	c.s.def = func() ServiceFactory { return def(c) }
	return c
}

// Deprecated returns the reference marked as deprecated; see
// [ServiceRef.Deprecated].
func (r MultiServiceRef[T]) Deprecated(use string) MultiServiceRef[T] {
	return MultiServiceRef[T]{r.s.with(func(s *service) { s.deprecated, s.use = true, use })}
}

// From declares that env needs all implementations. They come in the order in
// which their factories were added.
func (r MultiServiceRef[T]) From(env PluginScope) func() []T {
	v := &values[T]{id: r.ID()}
	needService(env.pluginScope(), r.s, false, v)
	return v.get
}

// RootMultiServiceRef refers to a root scoped service with any number of
// implementations.
type RootMultiServiceRef[T any] struct{ s *service }

// NewRootMultiServiceRef returns a reference to the root scoped multiton
// service with the given id.
func NewRootMultiServiceRef[T any](id string) RootMultiServiceRef[T] {
	return RootMultiServiceRef[T]{newService[T](id, rootScope, true)}
}

// ID returns the id of the service.
func (r RootMultiServiceRef[T]) ID() string { return r.s.idOrEmpty() }

// WithDefault returns the reference with a factory for the only value when no
// other factory was added.
func (r RootMultiServiceRef[T]) WithDefault(def func(RootMultiServiceRef[T]) ServiceFactory) RootMultiServiceRef[T] {
	c := RootMultiServiceRef[T]{r.s.with(func(*service) {})}
	c.s.def = func() ServiceFactory { return def(c) }
	return c
}

// Deprecated returns the reference marked as deprecated; see
// [ServiceRef.Deprecated].
func (r RootMultiServiceRef[T]) Deprecated(use string) RootMultiServiceRef[T] {
	return RootMultiServiceRef[T]{r.s.with(func(s *service) { s.deprecated, s.use = true, use })}
}

// From declares that env needs all implementations, in the order in which
// their factories were added.
func (r RootMultiServiceRef[T]) From(env RootScope) func() []T {
	v := &values[T]{id: r.ID()}
	needService(env.rootScope(), r.s, false, v)
	return v.get
}
