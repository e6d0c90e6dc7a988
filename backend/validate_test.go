package backend_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func initNothing(context.Context) error { return nil }

func emptyPlugin(id string) backend.Feature {
	return backend.NewPlugin(id, func(*backend.PluginEnv) backend.InitFunc { return initNothing })
}

func emptyModule(plugin, id string) backend.Feature {
	return backend.NewModule(plugin, id, func(*backend.ModuleEnv) backend.InitFunc { return initNothing })
}

// needing returns a plugin that needs a service.
func needing(id string, need func(*backend.PluginEnv)) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc { need(env); return initNothing })
}

// intFactory returns a factory that needs other services.
func intFactory(ref backend.ServiceRef[int], needs ...backend.ServiceRef[int]) backend.ServiceFactory {
	return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[int] {
		for _, n := range needs {
			_ = n.From(env)
		}
		return func(context.Context) (int, error) { return 1, nil }
	})
}

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

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range wiringCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := backend.New()
			c.build(b)
			err := b.Validate()
			var invalid *backend.ValidationError
			if !errors.As(err, &invalid) {
				t.Fatalf("Validate = %v, want a *ValidationError", err)
			}
			if !c.as(err) {
				t.Errorf("the problem has another type than expected: %v", err)
			}
			for _, p := range invalid.Problems {
				if len(p.Sites()) == 0 || p.Remedy() == "" {
					t.Errorf("problem without site or remedy: %v", p)
				}
			}
			golden(t, c.name+".golden", err.Error()+"\n")

			if got := b.Start(t.Context()); got == nil || got.Error() != err.Error() {
				t.Errorf("Start = %v, want what Validate says", got)
			}
			if backend.ExitCode(err) != 2 {
				t.Errorf("exit code %d, want 2", backend.ExitCode(err))
			}
		})
	}
}

func TestMessagesStayReadable(t *testing.T) {
	t.Parallel()
	b := backend.New()
	for i := range 100 {
		b.Add(needing(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	}
	err := b.Validate()
	if n := strings.Count(err.Error(), "\n"); n > 15 || !strings.Contains(err.Error(), "and 90 more") {
		t.Errorf("a message of %d lines:\n%v", n, err)
	}
	var missing *backend.MissingServiceError
	if !errors.As(err, &missing) || len(missing.Consumers) != 100 {
		t.Errorf("the problem does not name all consumers: %v", missing)
	}
}

func TestValidateAcceptsLegacyIDsWithWarning(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(emptyPlugin("old_plugin"), emptyModule("old_plugin", "A1-b"))
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	warnings := b.Graph().Warnings
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "underscore") {
		t.Errorf("warnings = %v, want one about the underscore", warnings)
	}
}

func TestUnusedDefaultsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	b := backend.New(backend.WithDefaults(intFactory(serviceA, serviceB))).Add(emptyPlugin("p"))
	if err := b.Validate(); err != nil {
		t.Errorf("Validate = %v, want nil: nothing uses the default", err)
	}
	b.Add(needing("q", func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	if err := b.Validate(); !is[*backend.MissingServiceError](err) {
		t.Errorf("Validate = %v, want the missing service of the default, now that it is used", err)
	}
}

func TestOnlyLeavesOutOtherPluginsWithTheirModules(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(
		emptyPlugin("a"), emptyModule("a", "m"),
		needing("b", func(env *backend.PluginEnv) { _ = serviceA.From(env) }), emptyModule("b", "m"),
	).Only("a")
	if err := b.Validate(); err != nil {
		t.Fatalf("Validate = %v, want nil: plugin b is left out", err)
	}
	g := b.Graph()
	if len(g.Plugins) != 1 || len(g.Modules) != 1 || g.Plugins[0].ID != "a" || g.Modules[0].Plugin != "a" {
		t.Errorf("graph has plugins %v and modules %v", g.Plugins, g.Modules)
	}
}

func TestEnvUsedAfterDeclareFailsTheInit(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(intFactory(serviceA), backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error { serviceA.From(env); return nil }
	}))
	err := b.Start(t.Context())
	if !is[*backend.PanicError](err) || !strings.Contains(err.Error(), "after its declare function had returned") {
		t.Errorf("Start = %v, want a panic that explains itself", err)
	}
}

func FuzzPluginID(f *testing.F) {
	for _, id := range []string{"catalog", "a1-b2", "A", "old_id", "-a", "a-", "a--b", "1a", "é", "a b", ""} {
		f.Add(id)
	}
	pattern := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*(?:[-_][a-zA-Z0-9]+)*$`)
	f.Fuzz(func(t *testing.T, id string) {
		b := backend.New().Add(emptyPlugin(id))
		err := b.Validate()
		if got, want := err == nil, pattern.MatchString(id); got != want {
			t.Fatalf("%q is accepted: %v, want %v", id, got, want)
		}
		if got, want := len(b.Graph().Warnings) > 0, err == nil && strings.Contains(id, "_"); got != want {
			t.Fatalf("%q is warned about: %v, want %v", id, got, want)
		}
	})
}
