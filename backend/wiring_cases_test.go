package backend_test

import (
	"context"
	"log/slog"

	"github.com/flytower/flytower/backend"
)

var (
	serviceA = backend.NewServiceRef[int]("test.a")
	serviceB = backend.NewServiceRef[int]("test.b")
	serviceC = backend.NewServiceRef[int]("test.c")
	rootA    = backend.NewRootServiceRef[int]("test.rootA")
)

// wiringCases are broken in one way each; every message is in a golden file.
var wiringCases = []struct {
	name  string
	build func(b *backend.Backend)
	as    func(error) bool
}{
	{"missing-service", func(b *backend.Backend) {
		b.Add(needing("one", func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
		b.Add(needing("two", func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	}, is[*backend.MissingServiceError]},
	{"missing-service-typo", func(b *backend.Backend) {
		typo := backend.NewServiceRef[*slog.Logger]("core.loger")
		b.Add(needing("one", func(env *backend.PluginEnv) { _ = typo.From(env) }), discardLogger())
	}, is[*backend.MissingServiceError]},
	{"missing-service-of-factory", func(b *backend.Backend) {
		b.Add(intFactory(serviceA, serviceB))
	}, is[*backend.MissingServiceError]},
	{"missing-decorated", func(b *backend.Backend) {
		b.Add(backend.Decorate(serviceA, func(_ *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return inner(), nil }
		}))
	}, is[*backend.MissingServiceError]},
	{"missing-extension-point", func(b *backend.Backend) {
		known := backend.NewExtensionPoint[int]("host", "workers")
		typo := backend.NewExtensionPoint[int]("host", "worker")
		b.Add(needing("host", func(env *backend.PluginEnv) { known.Offer(env, 1) }))
		b.Add(backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = typo.From(env); return initNothing }))
		b.Add(backend.DecorateExtensionPoint(backend.NewExtensionPoint[int]("absent", "point"), func(_ backend.ModuleContext, v int) (int, error) { return v, nil }))
	}, is[*backend.MissingExtensionPointError]},
	{"missing-extension-point-unlike-any", func(b *backend.Backend) {
		known, other := backend.NewExtensionPoint[int]("host", "workers"), backend.NewExtensionPoint[int]("host", "locations")
		wanted := backend.NewExtensionPoint[int]("host", "templates")
		b.Add(needing("host", func(env *backend.PluginEnv) { known.Offer(env, 1); other.Offer(env, 1) }), emptyPlugin("bare"))
		b.Add(backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = wanted.From(env); return initNothing }))
		none := backend.NewExtensionPoint[int]("bare", "point")
		b.Add(backend.NewModule("bare", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = none.From(env); return initNothing }))
	}, is[*backend.MissingExtensionPointError]},
	{"duplicate-plugin", func(b *backend.Backend) {
		p := emptyPlugin("twice")
		b.Add(p)
		b.Add(p)
	}, is[*backend.DuplicateError]},
	{"duplicate-module", func(b *backend.Backend) {
		b.Add(emptyPlugin("host"), emptyModule("host", "m"), emptyModule("host", "m"))
	}, is[*backend.DuplicateError]},
	{"duplicate-extension-point", func(b *backend.Backend) {
		ep := backend.NewExtensionPoint[int]("host", "point")
		b.Add(needing("host", func(env *backend.PluginEnv) { ep.Offer(env, 1) }))
		b.Add(backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc { ep.Offer(env, 2); return initNothing }))
	}, is[*backend.DuplicateError]},
	{"duplicate-factory", func(b *backend.Backend) {
		b.Add(intFactory(serviceA), intFactory(serviceA))
	}, is[*backend.DuplicateError]},
	{"duplicate-decorator", func(b *backend.Backend) {
		d := backend.Decorate(serviceA, func(_ *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return inner(), nil }
		})
		b.Add(intFactory(serviceA), d, d)
	}, is[*backend.DuplicateError]},
	{"service-cycle", func(b *backend.Backend) {
		b.Add(intFactory(serviceA, serviceB), intFactory(serviceB, serviceC), intFactory(serviceC, serviceA))
	}, is[*backend.CycleError]},
	{"service-cycles-sharing-a-node", func(b *backend.Backend) {
		b.Add(intFactory(serviceA, serviceB, serviceC), intFactory(serviceB, serviceA), intFactory(serviceC, serviceA, serviceC))
	}, is[*backend.CycleError]},
	{"service-cycle-through-default", func(b *backend.Backend) {
		withDefault := backend.NewServiceRef[int]("test.default").WithDefault(func(ref backend.ServiceRef[int]) backend.ServiceFactory {
			return intFactory(ref, serviceA)
		})
		b.Add(intFactory(serviceA, withDefault))
	}, is[*backend.CycleError]},
	{"service-cycle-through-decorator", func(b *backend.Backend) {
		b.Add(intFactory(serviceA), intFactory(serviceB, serviceA))
		b.Add(backend.Decorate(serviceA, func(env *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
			other := serviceB.From(env)
			return func(context.Context) (int, error) { return inner() + other(), nil }
		}))
	}, is[*backend.CycleError]},
	{"module-cycle", func(b *backend.Backend) {
		left := backend.NewExtensionPoint[int]("host", "left")
		right := backend.NewExtensionPoint[int]("host", "right")
		b.Add(emptyPlugin("host"))
		b.Add(backend.NewModule("host", "l", func(env *backend.ModuleEnv) backend.InitFunc {
			left.Offer(env, 1)
			_ = right.From(env)
			return initNothing
		}))
		b.Add(backend.NewModule("host", "r", func(env *backend.ModuleEnv) backend.InitFunc {
			right.Offer(env, 1)
			_ = left.From(env)
			return initNothing
		}))
	}, is[*backend.CycleError]},
	{"conflicting-type", func(b *backend.Backend) {
		other := backend.NewServiceRef[string]("test.a")
		b.Add(intFactory(serviceA), needing("p", func(env *backend.PluginEnv) { _ = other.From(env) }))
	}, is[*backend.ConflictError]},
	{"conflicting-scope", func(b *backend.Backend) {
		other := backend.NewRootServiceRef[int]("test.a")
		b.Add(intFactory(serviceA), needing("p", func(env *backend.PluginEnv) { _ = other.From(env) }))
	}, is[*backend.ConflictError]},
	{"conflicting-multiton", func(b *backend.Backend) {
		other := backend.NewMultiServiceRef[int]("test.a")
		b.Add(intFactory(serviceA), backend.NewServiceFactory(other, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return 0, nil }
		}))
	}, is[*backend.ConflictError]},
	{"conflicting-extension-point", func(b *backend.Backend) {
		ints, strs := backend.NewExtensionPoint[int]("host", "point"), backend.NewExtensionPoint[string]("host", "point")
		b.Add(needing("host", func(env *backend.PluginEnv) { ints.Offer(env, 1) }))
		b.Add(backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = strs.From(env); return initNothing }))
	}, is[*backend.ConflictError]},
	{"foreign-extension-point", func(b *backend.Backend) {
		ep := backend.NewExtensionPoint[int]("host", "point")
		b.Add(needing("host", func(env *backend.PluginEnv) { ep.Offer(env, 1) }), emptyPlugin("other"))
		b.Add(backend.NewModule("other", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = ep.From(env); return initNothing }))
	}, is[*backend.ForeignExtensionPointError]},
	{"foreign-offer", func(b *backend.Backend) {
		ep := backend.NewExtensionPoint[int]("host", "point")
		b.Add(needing("other", func(env *backend.PluginEnv) { ep.Offer(env, 1) }))
	}, is[*backend.ForeignExtensionPointError]},
	{"orphan-module", func(b *backend.Backend) {
		b.Add(emptyPlugin("catalog"), emptyModule("catlog", "github"))
	}, is[*backend.OrphanModuleError]},
	{"built-in-overridden", func(b *backend.Backend) {
		b.Add(backend.NewServiceFactory(backend.PluginMetadata, func(*backend.FactoryEnv) backend.MakeFunc[backend.Metadata] {
			return func(context.Context) (backend.Metadata, error) { return backend.Metadata{}, nil }
		}))
		b.Add(backend.NewServiceFactory(backend.PluginLifecycle, func(*backend.FactoryEnv) backend.MakeFunc[backend.Lifecycle] {
			return func(context.Context) (backend.Lifecycle, error) { return nil, nil }
		}))
		b.Add(backend.DecorateRoot(backend.InstanceMetadata, func(_ *backend.RootEnv, inner func() backend.Instance) backend.MakeFunc[backend.Instance] {
			return func(context.Context) (backend.Instance, error) { return inner(), nil }
		}))
	}, is[*backend.BuiltInError]},
	{"invalid-ids", func(b *backend.Backend) {
		b.Add(emptyPlugin(""), emptyPlugin("1st"), emptyPlugin("a--b"), emptyPlugin("a-"), emptyPlugin("a b"), emptyPlugin("ok"))
		b.Add(emptyModule("ok", ""), emptyModule("ok", "ü"), intFactory(backend.NewServiceRef[int]("")))
	}, is[*backend.InvalidIDError]},
	{"impure-declare", func(b *backend.Backend) {
		calls := 0
		b.Add(intFactory(serviceA), backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
			if calls++; calls%2 == 1 {
				_ = serviceA.From(env)
			}
			return initNothing
		}))
	}, is[*backend.ImpureDeclareError]},
	{"impure-declare-other-id", func(b *backend.Backend) {
		refs := []backend.ServiceRef[int]{serviceA, serviceB}
		n := 0
		b.Add(intFactory(serviceA), intFactory(serviceB), needing("p", func(env *backend.PluginEnv) { n++; _ = refs[n%2].From(env) }))
	}, is[*backend.ImpureDeclareError]},
	{"impure-declare-offers", func(b *backend.Backend) {
		eps := []backend.ExtensionPoint[int]{backend.NewExtensionPoint[int]("p", "a"), backend.NewExtensionPoint[int]("p", "b")}
		n, m := 0, 0
		b.Add(needing("p", func(env *backend.PluginEnv) { n++; eps[n%2].Offer(env, 1) }))
		b.Add(needing("q", func(env *backend.PluginEnv) {
			if m++; m == 1 {
				backend.NewExtensionPoint[int]("q", "a").Offer(env, 1)
			}
		}))
	}, is[*backend.ImpureDeclareError]},
	{"foreign-env", func(b *backend.Backend) {
		b.Add(intFactory(serviceA), needing("p", func(*backend.PluginEnv) { _ = serviceA.From(&backend.PluginEnv{}) }))
	}, is[*backend.DeclarePanicError]},
	{"declare-panics", func(b *backend.Backend) {
		b.Add(needing("p", func(*backend.PluginEnv) { panic("boom") }))
	}, is[*backend.DeclarePanicError]},
	{"getter-called-while-declaring", func(b *backend.Backend) {
		b.Add(intFactory(serviceA), needing("p", func(env *backend.PluginEnv) { _ = serviceA.From(env)() }))
	}, is[*backend.DeclarePanicError]},
	{"nil-functions", func(b *backend.Backend) {
		b.Add(
			backend.NewPlugin("no-declare", nil),
			backend.NewPlugin("no-init", func(*backend.PluginEnv) backend.InitFunc { return nil }),
			backend.NewModule("no-init", "m", func(*backend.ModuleEnv) backend.InitFunc { return nil }),
			backend.NewServiceFactory(serviceA, func(*backend.FactoryEnv) backend.MakeFunc[int] { return nil }),
			backend.NewRootServiceFactory(rootA, nil),
			backend.NewServiceFactoryWithRoot(serviceB,
				func(*backend.RootEnv) backend.MakeFunc[int] { return nil },
				func(*backend.FactoryEnv, func() int) backend.MakeFunc[int] {
					return func(context.Context) (int, error) { return 0, nil }
				}),
			backend.NewFeatureLoader("no-load", func(*backend.RootEnv) backend.LoadFunc { return nil }),
			backend.NewFeatureLoader("no-declare", nil),
			backend.DecorateExtensionPoint(backend.NewExtensionPoint[int]("no-offer", "point"), nil),
			needing("no-offer", func(env *backend.PluginEnv) {
				backend.NewExtensionPoint[int]("no-offer", "point").OfferFunc(env, nil)
			}),
		)
	}, is[*backend.NilFunctionError]},
	{"foreign-feature", func(b *backend.Backend) {
		b.Add(struct{ backend.Feature }{emptyPlugin("p")})
	}, is[*backend.NilFeatureError]},
	{"nil-features", func(b *backend.Backend) {
		b.Add(nil, backend.ServiceFactory{}, backend.Features(nil))
	}, is[*backend.NilFeatureError]},
	{"default-factory", func(b *backend.Backend) {
		zero := backend.NewServiceRef[int]("test.zero").WithDefault(func(backend.ServiceRef[int]) backend.ServiceFactory { return backend.ServiceFactory{} })
		wrong := backend.NewServiceRef[int]("test.wrong").WithDefault(func(backend.ServiceRef[int]) backend.ServiceFactory { return intFactory(serviceA) })
		panics := backend.NewServiceRef[int]("test.panics").WithDefault(func(backend.ServiceRef[int]) backend.ServiceFactory { panic("boom") })
		b.Add(needing("p", func(env *backend.PluginEnv) { _, _, _ = zero.From(env), wrong.From(env), panics.From(env) }))
	}, is[*backend.DefaultFactoryError]},
	{"unknown-plugin-chosen", func(b *backend.Backend) {
		b.Add(emptyPlugin("catalog"), emptyPlugin("search")).Only("catalogs", "search")
	}, is[*backend.UnknownPluginError]},
	{"zero-references", func(b *backend.Backend) {
		b.Add(needing("p", func(env *backend.PluginEnv) { _ = backend.ServiceRef[int]{}.From(env) }))
		b.Add(needing("q", func(env *backend.PluginEnv) { backend.ExtensionPoint[int]{}.Offer(env, 1) }))
	}, is[*backend.DeclarePanicError]},
	{"many-at-once", func(b *backend.Backend) {
		b.Add(needing("one", func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
		b.Add(intFactory(serviceB, serviceC), intFactory(serviceC, serviceB))
		b.Add(emptyPlugin("one"), emptyModule("two", "m"))
	}, is[*backend.OrphanModuleError]},
}
