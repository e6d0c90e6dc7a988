package backend

import (
	"context"
	"fmt"
)

// The envs are what declare functions declare themselves to. An env accepts a
// reference when it implements the scope that the reference asks for, so a
// dependency in the wrong scope does not compile.
type (
	// RootScope is implemented by every env: root services are available
	// everywhere.
	RootScope interface{ rootScope() *declaration }

	// PluginScope is implemented by the envs of which there is one per plugin:
	// [FactoryEnv], [PluginEnv] and [ModuleEnv].
	PluginScope interface {
		RootScope
		pluginScope() *declaration
	}

	// Offerer is implemented by the envs that may offer extension points:
	// [PluginEnv] and [ModuleEnv].
	Offerer interface{ offererScope() *declaration }
)

// RootEnv is the env of root service factories, of the root contexts of
// plugin service factories, and of feature loaders.
type RootEnv struct{ d *declaration }

// FactoryEnv is the env of plugin scoped service factories.
type FactoryEnv struct{ d *declaration }

// PluginEnv is the env of plugins.
type PluginEnv struct{ d *declaration }

// ModuleEnv is the env of modules.
type ModuleEnv struct{ d *declaration }

func (e *RootEnv) rootScope() *declaration { return e.d }

func (e *FactoryEnv) rootScope() *declaration   { return e.d }
func (e *FactoryEnv) pluginScope() *declaration { return e.d }

func (e *PluginEnv) rootScope() *declaration    { return e.d }
func (e *PluginEnv) pluginScope() *declaration  { return e.d }
func (e *PluginEnv) offererScope() *declaration { return e.d }

func (e *ModuleEnv) rootScope() *declaration    { return e.d }
func (e *ModuleEnv) pluginScope() *declaration  { return e.d }
func (e *ModuleEnv) offererScope() *declaration { return e.d }

// declaration is what one call of a declare function declared.
type declaration struct {
	needs  []*need
	offers []*offer
	run    func(ctx context.Context) (any, error) // nil when declare returned nil
	extra  *extra                                 // root context or decorated value
	closed bool                                   // declare has returned
	trace  bool                                   // record the position of each need
}

// open guards against envs that are used outside of their declare function.
func (d *declaration) open(what, id string) {
	switch {
	case d == nil:
		panic(fmt.Sprintf("%s %q: the env was not made by the backend; use the env that the declare function receives", what, id))
	case d.closed:
		panic(fmt.Sprintf("%s %q: the env was used after its declare function had returned; call From and Offer while declaring, and the getter in the function that declare returns", what, id))
	}
}

// need is one declared dependency: on a service, or on an extension point.
type need struct {
	service  *service
	point    *point
	optional bool
	pc       uintptr
	slot     slot
}

func (n *need) id() string {
	if n.point != nil {
		return n.point.id
	}
	return n.service.id
}

// slot receives the value of a need before the init or make function runs.
type slot interface {
	put(v any)
	putAll(vs []any)
	putNone()
}

// value is the slot of a single value.
type value[T any] struct {
	id    string
	v     T
	ready bool
	found bool
}

func (s *value[T]) put(v any)       { s.v, _ = v.(T); s.ready, s.found = true, true }
func (s *value[T]) putNone()        { s.ready = true }
func (s *value[T]) putAll(vs []any) { s.put(vs[0]) }

func (s *value[T]) get() T {
	if !s.ready {
		panic(notReady(s.id))
	}
	return s.v
}

func (s *value[T]) lookup() (T, bool) {
	if !s.ready {
		panic(notReady(s.id))
	}
	return s.v, s.found
}

// values is the slot of a multiton service.
type values[T any] struct {
	id    string
	vs    []T
	ready bool
}

func (s *values[T]) put(v any) { s.putAll([]any{v}) }
func (s *values[T]) putNone()  { s.ready = true }
func (s *values[T]) putAll(vs []any) {
	s.vs = make([]T, len(vs))
	for i, v := range vs {
		s.vs[i], _ = v.(T)
	}
	s.ready = true
}

func (s *values[T]) get() []T {
	if !s.ready {
		panic(notReady(s.id))
	}
	return append([]T(nil), s.vs...)
}

func notReady(id string) string {
	return fmt.Sprintf("%q is not available yet: its getter was called while declaring; call it in the function that declare returns", id)
}

// extra is the value that a factory gets beside its needs: the root context
// of a plugin service factory, or the inner value of a decorator.
type extra struct {
	what  string
	v     any
	ready bool
}

func extraGetter[R any](x *extra) func() R {
	return func() R {
		if !x.ready {
			panic(notReady(x.what))
		}
		r, _ := x.v.(R)
		return r
	}
}
