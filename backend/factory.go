package backend

import (
	"context"
	"fmt"
)

// factory makes a service; a decorator is a factory that also gets the value
// that it wraps.
type factory struct {
	service     *service
	eager       bool
	pc          uintptr
	nilDeclare  bool
	decorator   bool
	root        func(*declaration)         // root context, may be nil
	declare     func(*declaration, *extra) // fills the declaration
	name        string                     // for messages
	serviceName string
}

func (f *factory) String() string { return f.name }

func (f *factory) site() Site { return Site{f.String(), sourceOf(f.pc)} }

// ServiceFactory makes the instances of a service. Adding it to a backend sets
// or overrides the implementation of the service.
type ServiceFactory struct{ f *factory }

func (ServiceFactory) feature() {}

// Target is implemented by the references that a plugin scoped factory can
// serve: [ServiceRef] and [MultiServiceRef].
type Target[T any] interface{ target(T) *service }

// RootTarget is implemented by the references that a root scoped factory can
// serve: [RootServiceRef] and [RootMultiServiceRef].
type RootTarget[T any] interface{ rootTarget(T) *service }

func (r ServiceRef[T]) target(T) *service              { return r.s }
func (r MultiServiceRef[T]) target(T) *service         { return r.s }
func (r RootServiceRef[T]) rootTarget(T) *service      { return r.s }
func (r RootMultiServiceRef[T]) rootTarget(T) *service { return r.s }

// FactoryOption configures a service factory.
type FactoryOption func(*factory)

// Eager makes instances when the backend starts, or for a plugin scoped
// service before each plugin starts, even if nothing asks for them. It is the
// default of root services.
func Eager() FactoryOption { return func(f *factory) { f.eager = true } }

// Lazy makes an instance when something first needs it. It is the default of
// plugin scoped services.
func Lazy() FactoryOption { return func(f *factory) { f.eager = false } }

func newFactory(s *service, pc uintptr, nilDeclare bool, opts []FactoryOption) *factory {
	if s == nil {
		s = &service{}
	}
	f := &factory{service: s, pc: pc, nilDeclare: nilDeclare, eager: s.scope == rootScope}
	f.serviceName = fmt.Sprintf("service %q", s.id)
	f.name = "factory of " + f.serviceName
	for _, o := range opts {
		o(f)
	}
	return f
}

func setRun[T any](d *declaration, make MakeFunc[T]) {
	if make != nil {
		d.run = func(ctx context.Context) (any, error) { return make(ctx) }
	}
}

// NewServiceFactory returns a factory of a plugin scoped service. Declare runs
// anew for every plugin, so instances share nothing by accident.
func NewServiceFactory[T any](ref Target[T], declare func(*FactoryEnv) MakeFunc[T], opts ...FactoryOption) ServiceFactory {
	var zero T
	f := newFactory(ref.target(zero), callerPC(0), declare == nil, opts)
	f.declare = func(d *declaration, _ *extra) { setRun(d, declare(&FactoryEnv{d})) }
	return ServiceFactory{f}
}

// NewServiceFactoryWithRoot is [NewServiceFactory] with a root context: a
// value that is made once, when the first plugin needs the service, and that
// the instances of all plugins share. Pools, caches and managers are root
// contexts.
func NewServiceFactoryWithRoot[T, R any](ref Target[T], root func(*RootEnv) MakeFunc[R], declare func(env *FactoryEnv, root func() R) MakeFunc[T], opts ...FactoryOption) ServiceFactory {
	var zero T
	f := newFactory(ref.target(zero), callerPC(0), declare == nil || root == nil, opts)
	f.root = func(d *declaration) { setRun(d, root(&RootEnv{d})) }
	f.declare = func(d *declaration, x *extra) { setRun(d, declare(&FactoryEnv{d}, extraGetter[R](x))) }
	return ServiceFactory{f}
}

// NewRootServiceFactory returns a factory of a root scoped service.
func NewRootServiceFactory[T any](ref RootTarget[T], declare func(*RootEnv) MakeFunc[T], opts ...FactoryOption) ServiceFactory {
	var zero T
	f := newFactory(ref.rootTarget(zero), callerPC(0), declare == nil, opts)
	f.declare = func(d *declaration, _ *extra) { setRun(d, declare(&RootEnv{d})) }
	return ServiceFactory{f}
}

// decorator is a factory that wraps the implementation of a service.
type decorator struct{ f *factory }

func (decorator) feature() {}

// Decorate returns a feature that wraps whatever implementation of the service
// is installed. Decorators apply in the order in which they were added: the
// last one is what consumers see.
func Decorate[T any](ref ServiceRef[T], declare func(env *FactoryEnv, inner func() T) MakeFunc[T]) Feature {
	f := newFactory(ref.s, callerPC(0), declare == nil, nil)
	f.decorator, f.name = true, "decorator of "+f.serviceName
	f.declare = func(d *declaration, x *extra) { setRun(d, declare(&FactoryEnv{d}, extraGetter[T](x))) }
	return decorator{f}
}

// DecorateRoot is [Decorate] for a root scoped service.
func DecorateRoot[T any](ref RootServiceRef[T], declare func(env *RootEnv, inner func() T) MakeFunc[T]) Feature {
	f := newFactory(ref.s, callerPC(0), declare == nil, nil)
	f.decorator, f.name = true, "decorator of "+f.serviceName
	f.declare = func(d *declaration, x *extra) { setRun(d, declare(&RootEnv{d}, extraGetter[T](x))) }
	return decorator{f}
}
