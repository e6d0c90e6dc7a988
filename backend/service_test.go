package backend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/google/go-cmp/cmp"
)

func TestServicesArePerPluginAndSharedWithModules(t *testing.T) {
	t.Parallel()
	type box struct{ plugin string }
	ref := backend.NewServiceRef[*box]("test.box")
	var roots atomic.Int64
	factory := backend.NewServiceFactoryWithRoot(ref,
		func(*backend.RootEnv) backend.MakeFunc[int64] {
			return func(context.Context) (int64, error) { return roots.Add(1), nil }
		},
		func(env *backend.FactoryEnv, root func() int64) backend.MakeFunc[*box] {
			meta := backend.PluginMetadata.From(env)
			return func(context.Context) (*box, error) {
				if root() != 1 {
					return nil, fmt.Errorf("root context made %d times", root())
				}
				return &box{meta().ID()}, nil
			}
		})
	got := map[string]*box{}
	j := &journal{}
	use := func(id string) backend.Feature {
		return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			b := ref.From(env)
			return func(context.Context) error {
				j.mu.Lock()
				defer j.mu.Unlock()
				got[id] = b()
				return nil
			}
		})
	}
	mod := backend.NewModule("one", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		b := ref.From(env)
		return func(context.Context) error {
			j.mu.Lock()
			defer j.mu.Unlock()
			got["one/m"] = b()
			return nil
		}
	})
	start(t, factory, use("one"), use("two"), use("three"), mod)
	for _, id := range []string{"one", "two", "three"} {
		if got[id] == nil || got[id].plugin != id {
			t.Errorf("plugin %s got %v", id, got[id])
		}
	}
	if got["one/m"] != got["one"] {
		t.Error("the module got another instance than its plugin")
	}
	if n := roots.Load(); n != 1 {
		t.Errorf("root context was made %d times, want once", n)
	}
}

func TestPrecedenceOfFactories(t *testing.T) {
	t.Parallel()
	ref := backend.NewRootServiceRef[string]("test.s")
	withDefault := ref.WithDefault(func(r backend.RootServiceRef[string]) backend.ServiceFactory { return rootValue(r, "ref default") })
	loader := func(name string) backend.Feature {
		return backend.NewFeatureLoader(name, func(*backend.RootEnv) backend.LoadFunc {
			return func(context.Context) ([]backend.Feature, error) {
				return []backend.Feature{rootValue(ref, "loader "+name)}, nil
			}
		})
	}
	defaults := backend.WithDefaults(rootValue(ref, "default"))
	for _, c := range []struct {
		name string
		b    *backend.Backend
		want string
	}{
		{"default of the reference", backend.New(), "ref default"},
		{"default of the backend", backend.New(defaults), "default"},
		{"loader before default", backend.New(defaults).Add(loader("l")), "loader l"},
		{"loader before default of the reference", backend.New().Add(loader("l")), "loader l"},
		{"added before loader", backend.New(defaults).Add(loader("l"), rootValue(ref, "added")), "added"},
		{"two loaders", backend.New(defaults).Add(loader("l"), loader("k")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got string
			c.b.Add(backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
				s := withDefault.From(env)
				return func(context.Context) error { got = s(); return nil }
			}))
			err := c.b.Start(t.Context())
			defer c.b.Stop(context.Background())
			if c.want == "" {
				if !is[*backend.DuplicateError](err) {
					t.Fatalf("Start = %v, want a duplicate", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got the %q, want the %q", got, c.want)
			}
		})
	}
}

func TestMultitonsComeInTheOrderOfTheirFactories(t *testing.T) {
	t.Parallel()
	ref := backend.NewMultiServiceRef[int]("test.many")
	root := backend.NewRootMultiServiceRef[string]("test.rootMany")
	none := backend.NewMultiServiceRef[int]("test.none")
	one := func(i int) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return i, nil }
		})
	}
	rootOne := func(s string) backend.ServiceFactory {
		return backend.NewRootServiceFactory(root, func(*backend.RootEnv) backend.MakeFunc[string] {
			return func(context.Context) (string, error) { return s, nil }
		})
	}
	var got []int
	var gotRoot []string
	var gotNone []int
	p := backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		many, rootMany, nothing := ref.From(env), root.From(env), none.From(env)
		return func(context.Context) error { got, gotRoot, gotNone = many(), rootMany(), nothing(); return nil }
	})
	b := backend.New(backend.WithDefaults(one(0))).Add(p, one(1), rootOne("a"), one(2), rootOne("b"))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	if diff := cmp.Diff([]int{0, 1, 2}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, gotRoot); diff != "" {
		t.Error(diff)
	}
	if len(gotNone) != 0 {
		t.Errorf("got %v of a multiton without factories", gotNone)
	}
}

func TestOptionalAndZeroValues(t *testing.T) {
	t.Parallel()
	absent := backend.NewServiceRef[int]("test.absent")
	zero := backend.NewServiceRef[error]("test.zero")
	null := backend.NewServiceFactory(zero, func(*backend.FactoryEnv) backend.MakeFunc[error] {
		return func(context.Context) (error, error) { return nil, nil }
	})
	start(t, null, rootValue(rootA, 0), backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		a, z, required, r := absent.Optional(env), zero.Optional(env), zero.From(env), rootA.Optional(env)
		return func(context.Context) error {
			if _, ok := a(); ok {
				t.Error("a missing service was found")
			}
			if v, ok := z(); !ok || v != nil {
				t.Errorf("a nil service = %v, %v; want nil, true", v, ok)
			}
			if v, ok := r(); !ok || v != 0 {
				t.Errorf("a zero root service = %v, %v; want 0, true", v, ok)
			}
			if required() != nil {
				t.Error("a nil service is not nil")
			}
			return nil
		}
	}))
}

func TestReferencesWithDefaultsAndDeprecation(t *testing.T) {
	t.Parallel()
	multi := backend.NewMultiServiceRef[int]("test.multi").WithDefault(func(r backend.MultiServiceRef[int]) backend.ServiceFactory {
		return backend.NewServiceFactory(r, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return 1, nil }
		})
	}).Deprecated("")
	rootMulti := backend.NewRootMultiServiceRef[int]("test.rootMulti").WithDefault(func(r backend.RootMultiServiceRef[int]) backend.ServiceFactory {
		return backend.NewRootServiceFactory(r, func(*backend.RootEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return 2, nil }
		})
	}).Deprecated("test.other")
	single := backend.NewRootServiceRef[int]("test.single").Deprecated("test.other")
	ep := backend.NewExtensionPoint[int]("p", "absent")
	user := func(id string) backend.Feature {
		return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			m, r, s := multi.From(env), rootMulti.From(env), single.Optional(env)
			return func(context.Context) error {
				if got := append(m(), r()...); !cmp.Equal(got, []int{1, 2}) {
					return fmt.Errorf("got %v", got)
				}
				if _, ok := s(); ok {
					return errors.New("a missing service was found")
				}
				return nil
			}
		})
	}
	b := start(t, user("p"), backend.NewModule("p", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		point := ep.Optional(env)
		return func(context.Context) error {
			if _, ok := point(); ok {
				return errors.New("a missing extension point was found")
			}
			return nil
		}
	}))
	var got []string
	for _, w := range b.Graph().Warnings {
		got = append(got, w.Text)
	}
	want := []string{
		`plugin "p" uses the deprecated service "test.multi"`,
		`plugin "p" uses the deprecated service "test.rootMulti"; use test.other`,
		`plugin "p" uses the deprecated service "test.single"; use test.other`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	for _, id := range []string{multi.ID(), rootMulti.ID(), single.ID(), ep.ID(), backend.ServiceRef[int]{}.ID()} {
		if strings.Contains(id, " ") {
			t.Errorf("id %q", id)
		}
	}
}

func TestDeclareThatChangesLaterFailsTheInstance(t *testing.T) {
	t.Parallel()
	var declared atomic.Int64
	changing := backend.NewServiceFactory(serviceA, func(env *backend.FactoryEnv) backend.MakeFunc[int] {
		if declared.Add(1) > 2 {
			_ = backend.PluginMetadata.From(env)
		}
		return func(context.Context) (int, error) { return 1, nil }
	})
	fs := []backend.Feature{changing}
	for i := range 3 {
		fs = append(fs, needing(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	}
	err := backend.New().Add(fs...).Start(t.Context())
	if !is[*backend.ImpureDeclareError](err) {
		t.Errorf("Start = %v, want an impure declare function", err)
	}
}

func TestFailedServiceIsMadeOnceAndFailsItsUsers(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	broken := errors.New("no connection")
	failing := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { made.Add(1); return 0, broken }
	}, backend.Lazy())
	use := func(id string) backend.Feature {
		return needing(id, func(env *backend.PluginEnv) { _ = rootA.From(env) })
	}
	err := backend.New().Add(failing, use("a"), use("b"), use("c")).Start(t.Context())
	if !errors.Is(err, broken) || !is[*backend.StartupError](err) {
		t.Fatalf("Start = %v, want a startup error with the cause", err)
	}
	if n := made.Load(); n != 1 {
		t.Errorf("the service was made %d times, want once", n)
	}
	if n := strings.Count(err.Error(), "no connection"); n != 3 {
		t.Errorf("the cause is in the message %d times, want 3, once per plugin:\n%v", n, err)
	}
}

func TestConcurrentFirstUseSharesOneInstance(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	slow := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { return int(made.Add(1)), nil }
	}, backend.Lazy())
	fs := []backend.Feature{slow}
	for i := range 200 {
		fs = append(fs, backend.NewPlugin(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) backend.InitFunc {
			v := rootA.From(env)
			return func(context.Context) error {
				if v() != 1 {
					return fmt.Errorf("got instance %d", v())
				}
				return nil
			}
		}))
	}
	start(t, fs...)
}

func TestEagerAndLazy(t *testing.T) {
	t.Parallel()
	j := &journal{}
	mk := func(id string, opts ...backend.FactoryOption) (backend.ServiceFactory, backend.ServiceFactory) {
		return backend.NewRootServiceFactory(backend.NewRootServiceRef[int]("root."+id), func(*backend.RootEnv) backend.MakeFunc[int] {
				return func(context.Context) (int, error) { j.add("root." + id); return 0, nil }
			}, opts...), backend.NewServiceFactory(backend.NewServiceRef[int]("plugin."+id), func(*backend.FactoryEnv) backend.MakeFunc[int] {
				return func(context.Context) (int, error) { j.add("plugin." + id); return 0, nil }
			}, opts...)
	}
	r1, p1 := mk("default")
	r2, p2 := mk("eager", backend.Eager())
	r3, p3 := mk("lazy", backend.Lazy())
	b := start(t, r1, p1, r3, p3, r2, p2, plugin("p", j.log("init")))
	got := j.all()
	if len(got) != 4 || got[2] != "plugin.eager" || got[3] != "init" {
		t.Errorf("made %v; want the default and eager root services, then the eager plugin service, then init", got)
	}
	if _, err := backend.Get(b, backend.NewRootServiceRef[int]("root.lazy")); err != nil {
		t.Error(err)
	}
	if got := j.all(); got[len(got)-1] != "root.lazy" {
		t.Error("Get did not make the lazy service")
	}
}

func TestEagerMultitonsAndDecorators(t *testing.T) {
	t.Parallel()
	j := &journal{}
	many := backend.NewRootMultiServiceRef[int]("test.many")
	one := func(line string, opts ...backend.FactoryOption) backend.Feature {
		return backend.NewRootServiceFactory(many, func(*backend.RootEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { j.add(line); return 0, nil }
		}, opts...)
	}
	start(t, one("first"), one("second", backend.Lazy()))
	if j.String() != "first second" {
		t.Errorf("made %q, want both: the first factory decides for all", j)
	}
	k := &journal{}
	start(t, rootValue(rootA, 1), backend.DecorateRoot(rootA, func(_ *backend.RootEnv, inner func() int) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { k.add("decorator"); return inner(), nil }
	}))
	if k.String() != "decorator" {
		t.Error("the decorator of an eager service was not made")
	}
}

func TestDecorators(t *testing.T) {
	t.Parallel()
	ref := backend.NewServiceRef[string]("test.text")
	base := backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[string] {
		meta := backend.PluginMetadata.From(env)
		return func(context.Context) (string, error) { return meta().ID(), nil }
	})
	wrap := func(l, r string) backend.Feature {
		return backend.Decorate(ref, func(_ *backend.FactoryEnv, inner func() string) backend.MakeFunc[string] {
			return func(context.Context) (string, error) { return l + inner() + r, nil }
		})
	}
	ep := backend.NewExtensionPoint[string]("p", "point")
	wrapPoint := func(s string) backend.Feature {
		return backend.DecorateExtensionPoint(ep, func(c backend.ModuleContext, v string) (string, error) {
			return v + s + c.Module(), nil
		})
	}
	var got string
	p := backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		_ = ref.From(env)
		ep.OfferFunc(env, func(c backend.ModuleContext) string { return c.Plugin() + ":" + c.Module() })
		return initNothing
	})
	m := backend.NewModule("p", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		v := ep.From(env)
		return func(context.Context) error { got = v(); return nil }
	})
	b := start(t, wrap("(", ")"), base, p, wrap("[", "]"), m, wrapPoint("+"), wrapPoint("-"))
	if s, err := backend.GetFor(b, "p", ref); err != nil || s != "[(p)]" {
		t.Errorf("decorated service = %q, %v; want [(p)]", s, err)
	}
	if want := "p:m+m-m"; got != want {
		t.Errorf("decorated extension point = %q, want %q", got, want)
	}
}

// countingLifecycle counts the stop hooks that pass through it.
type countingLifecycle struct {
	backend.Lifecycle
	n *atomic.Int64
}

func (c countingLifecycle) OnStop(name string, fn func(context.Context) error) error {
	c.n.Add(1)
	return c.Lifecycle.OnStop(name, fn)
}

type countingRootLifecycle struct {
	backend.RootLifecycle
	n *atomic.Int64
}

func (c countingRootLifecycle) OnStop(name string, fn func(context.Context) error) error {
	c.n.Add(1)
	return c.RootLifecycle.OnStop(name, fn)
}

func TestBuiltInLifecyclesCanBeDecorated(t *testing.T) {
	t.Parallel()
	var n, rootN atomic.Int64
	j := &journal{}
	start(t,
		backend.Decorate(backend.PluginLifecycle, func(_ *backend.FactoryEnv, inner func() backend.Lifecycle) backend.MakeFunc[backend.Lifecycle] {
			return func(context.Context) (backend.Lifecycle, error) { return countingLifecycle{inner(), &n}, nil }
		}),
		backend.DecorateRoot(backend.BackendLifecycle, func(_ *backend.RootEnv, inner func() backend.RootLifecycle) backend.MakeFunc[backend.RootLifecycle] {
			return func(context.Context) (backend.RootLifecycle, error) {
				return countingRootLifecycle{inner(), &rootN}, nil
			}
		}),
		withLifecycle("p", func(l backend.Lifecycle) error { return l.OnStop("h", j.log("p")) }),
		withRoot("r", func(l backend.RootLifecycle) error { return l.OnStop("h", j.log("r")) }),
	)
	if n.Load() != 1 || rootN.Load() != 1 {
		t.Errorf("hooks through the decorators: %d and %d, want 1 and 1", n.Load(), rootN.Load())
	}
}

// The graph is resolved anew when a loader yields features and when something
// is fetched that nobody needed; the instances that exist stay the only ones.
func TestDefaultsOfReferencesAreMadeOnce(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	shared := backend.NewRootServiceRef[int]("test.shared").WithDefault(func(r backend.RootServiceRef[int]) backend.ServiceFactory {
		return backend.NewRootServiceFactory(r, func(*backend.RootEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return int(made.Add(1)), nil }
		})
	})
	onTop := backend.NewRootServiceFactory(rootA, func(env *backend.RootEnv) backend.MakeFunc[int] {
		below := shared.From(env)
		return func(context.Context) (int, error) { return 10 * below(), nil }
	}, backend.Lazy())
	var seen int
	b := start(t,
		backend.NewFeatureLoader("early", func(env *backend.RootEnv) backend.LoadFunc {
			v := shared.From(env)
			return func(context.Context) ([]backend.Feature, error) {
				seen = v()
				return []backend.Feature{needing("p", func(env *backend.PluginEnv) { _ = shared.From(env) })}, nil
			}
		}),
		onTop,
	)
	v, err := backend.Get(b, rootA)
	if err != nil || v != 10 || seen != 1 || made.Load() != 1 {
		t.Errorf("Get = %d, %v; the loader saw instance %d of %d", v, err, seen, made.Load())
	}
}

func TestGetNeedsAStartedBackend(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(rootValue(rootA, 1), intFactory(serviceA), emptyPlugin("p"))
	if _, err := backend.Get(b, rootA); !errors.Is(err, backend.ErrNotStarted) {
		t.Errorf("Get = %v, want ErrNotStarted", err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := backend.Get(b, rootA); err != nil || v != 1 {
		t.Errorf("Get = %v, %v", v, err)
	}
	if _, err := backend.Get(b, backend.NewRootServiceRef[int]("nope")); !is[*backend.MissingServiceError](err) {
		t.Errorf("Get of a missing service = %v", err)
	}
	if _, err := backend.Get(b, backend.NewRootServiceRef[string]("test.rootA")); err == nil {
		t.Error("Get with another type did not fail")
	}
	if _, err := backend.GetFor(b, "absent", serviceA); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("GetFor of an absent plugin = %v", err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.Get(b, rootA); !errors.Is(err, backend.ErrNotStarted) {
		t.Errorf("Get after Stop = %v, want ErrNotStarted", err)
	}
}
