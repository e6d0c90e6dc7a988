package backend_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/google/go-cmp/cmp"
)

// yielding returns a loader of features.
func yielding(name string, fs ...backend.Feature) backend.Feature {
	return backend.NewFeatureLoader(name, func(*backend.RootEnv) backend.LoadFunc {
		return func(context.Context) ([]backend.Feature, error) { return fs, nil }
	})
}

// selfYielding returns a loader that yields itself.
func selfYielding() backend.Feature {
	var l backend.Feature
	l = backend.NewFeatureLoader("l", func(*backend.RootEnv) backend.LoadFunc {
		return func(context.Context) ([]backend.Feature, error) { return []backend.Feature{l}, nil }
	})
	return l
}

func TestLoadersRunInOrderDepthFirst(t *testing.T) {
	t.Parallel()
	j := &journal{}
	noting := func(name string, fs ...backend.Feature) backend.Feature {
		return backend.NewFeatureLoader(name, func(env *backend.RootEnv) backend.LoadFunc {
			v := rootA.From(env)
			return func(context.Context) ([]backend.Feature, error) {
				if v() != 7 {
					t.Errorf("loader %s got %d", name, v())
				}
				j.add(name)
				return fs, nil
			}
		})
	}
	b := start(t,
		noting("1", emptyPlugin("one"), noting("1.1", backend.Features(emptyModule("one", "m"), noting("1.1.1"))), noting("1.2")),
		noting("2", emptyPlugin("two")),
		emptyPlugin("zero"), rootValue(rootA, 7),
	)
	if want := "1 1.1 1.1.1 1.2 2"; j.String() != want {
		t.Errorf("loaders ran in the order %s, want %s", j, want)
	}
	var ids []string
	for _, p := range b.Graph().Plugins {
		ids = append(ids, strings.TrimSpace(p.ID+" "+p.Loader))
	}
	if diff := cmp.Diff([]string{"zero", "one 1", "two 2"}, ids); diff != "" {
		t.Errorf("what is added comes before what is loaded (-want +got):\n%s", diff)
	}
}

func TestLoadersMayProvideWhatOthersMiss(t *testing.T) {
	t.Parallel()
	ep := backend.NewExtensionPoint[int]("host", "point")
	host := needing("host", func(env *backend.PluginEnv) { ep.Offer(env, 1) })
	mod := backend.NewModule("host", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		_, _ = ep.From(env), serviceA.From(env)
		return initNothing
	})
	b := backend.New().Add(mod, yielding("l", host, intFactory(serviceA)))
	if err := b.Validate(); err != nil {
		t.Errorf("Validate = %v, want nil: the loader may still provide it", err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestLoaderProblems(t *testing.T) {
	t.Parallel()
	ran := false
	j := &journal{}
	needsA := backend.NewFeatureLoader("needs-a", func(env *backend.RootEnv) backend.LoadFunc {
		_ = rootA.From(env)
		return func(context.Context) ([]backend.Feature, error) { ran = true; return nil, nil }
	})
	rootB := backend.NewRootServiceRef[int]("test.rootB")
	deep := backend.NewRootServiceFactory(rootA, func(env *backend.RootEnv) backend.MakeFunc[int] {
		b := rootB.From(env)
		return func(context.Context) (int, error) { return b(), nil }
	})
	boom := errors.New("boom")
	stopping := withRoot("r", func(l backend.RootLifecycle) error { return l.OnStop("r", j.log("stopped")) })
	usesR := backend.NewFeatureLoader("uses-r", func(env *backend.RootEnv) backend.LoadFunc {
		_ = backend.NewRootServiceRef[string]("r").From(env)
		return func(context.Context) ([]backend.Feature, error) { return nil, nil }
	})
	for _, c := range []struct {
		name string
		fs   []backend.Feature
		as   func(error) bool
		code int
	}{
		{"missing need", []backend.Feature{needsA}, is[*backend.MissingServiceError], 2},
		{"missing need of a need", []backend.Feature{needsA, deep, yielding("later", rootValue(rootB, 1))}, is[*backend.MissingServiceError], 2},
		{"error", []backend.Feature{backend.NewFeatureLoader("l", func(*backend.RootEnv) backend.LoadFunc {
			return func(context.Context) ([]backend.Feature, error) { return nil, boom }
		})}, func(err error) bool { return is[*backend.LoaderError](err) && errors.Is(err, boom) }, 1},
		{"panic", []backend.Feature{backend.NewFeatureLoader("l", func(*backend.RootEnv) backend.LoadFunc {
			return func(context.Context) ([]backend.Feature, error) { panic(boom) }
		})}, func(err error) bool { return is[*backend.PanicError](err) && errors.Is(err, boom) }, 1},
		{"nil feature", []backend.Feature{yielding("l", emptyPlugin("p"), nil)}, is[*backend.NilFeatureError], 2},
		{"orphan", []backend.Feature{yielding("l", emptyModule("p", "m"))}, is[*backend.OrphanModuleError], 2},
		{"two yield one factory", []backend.Feature{yielding("l", rootValue(rootA, 1)), yielding("k", rootValue(rootA, 2))}, is[*backend.DuplicateError], 2},
		{"factory of a service in use", []backend.Feature{usesR, stopping, yielding("late", backend.DecorateRoot(backend.NewRootServiceRef[string]("r"), func(_ *backend.RootEnv, inner func() string) backend.MakeFunc[string] {
			return func(context.Context) (string, error) { return inner(), nil }
		}))}, is[*backend.LateFactoryError], 2},
		{"yields itself", []backend.Feature{selfYielding()}, func(err error) bool {
			return is[*backend.LoaderError](err) && strings.Contains(err.Error(), "does one yield itself?")
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := backend.New().Add(c.fs...)
			err := b.Start(t.Context())
			if !c.as(err) {
				t.Errorf("Start = %v, which is of another type than expected", err)
			}
			var missing *backend.MissingServiceError
			if errors.As(err, &missing) && len(missing.Consumers) == 0 {
				t.Error("the missing service is not said to be needed by anyone")
			}
			if code := backend.ExitCode(err); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if s := b.Status(); s.Phase != backend.PhaseFailed || s.Error == "" {
				t.Errorf("status = %+v, want failed with an error", s)
			}
		})
	}
	if ran {
		t.Error("a loader ran although its need was missing")
	}
	if j.String() != "stopped" {
		t.Errorf("hooks of a root service that a loader used: %q, want them run", j)
	}
}
