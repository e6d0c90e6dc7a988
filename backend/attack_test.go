package backend_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/backend"
	"pgregory.net/rapid"
)

// randomService is a service of a random graph: edges lead to other services.
type randomService struct {
	root, eager, decorated bool
	needs                  []int
}

// build turns random services and plugins into features. Each make function
// and init checks that what it needs was there before; made counts instances.
func build(services []randomService, plugins [][]int, fail func(string), made *sync.Map) []backend.Feature {
	type done struct{ name string }
	rootRefs, refs := map[int]backend.RootServiceRef[*done]{}, map[int]backend.ServiceRef[*done]{}
	for i, s := range services {
		if s.root {
			rootRefs[i] = backend.NewRootServiceRef[*done](fmt.Sprintf("s%d", i))
		} else {
			refs[i] = backend.NewServiceRef[*done](fmt.Sprintf("s%d", i))
		}
	}
	check := func(who string, gets []func() *done) {
		for _, get := range gets {
			if get() == nil {
				fail(who + " ran before what it needs")
			}
		}
	}
	count := func(key string) {
		if _, twice := made.LoadOrStore(key, true); twice {
			fail(key + " was made twice")
		}
	}
	var fs []backend.Feature
	for i, s := range services {
		name := fmt.Sprintf("s%d", i)
		if s.root {
			fs = append(fs, backend.NewRootServiceFactory(rootRefs[i], func(env *backend.RootEnv) backend.MakeFunc[*done] {
				var gets []func() *done
				for _, n := range s.needs {
					gets = append(gets, rootRefs[n].From(env))
				}
				return func(context.Context) (*done, error) {
					check(name, gets)
					count(name)
					return &done{name}, nil
				}
			}))
			if s.decorated {
				fs = append(fs, backend.DecorateRoot(rootRefs[i], func(_ *backend.RootEnv, inner func() *done) backend.MakeFunc[*done] {
					return func(context.Context) (*done, error) { return inner(), nil }
				}))
			}
			continue
		}
		opts := []backend.FactoryOption{backend.Lazy()}
		if s.eager {
			opts = []backend.FactoryOption{backend.Eager()}
		}
		fs = append(fs, backend.NewServiceFactory(refs[i], func(env *backend.FactoryEnv) backend.MakeFunc[*done] {
			meta := backend.PluginMetadata.From(env)
			var gets []func() *done
			for _, n := range s.needs {
				if services[n].root {
					gets = append(gets, rootRefs[n].From(env))
				} else {
					gets = append(gets, refs[n].From(env))
				}
			}
			return func(context.Context) (*done, error) {
				check(name, gets)
				count(name + " for " + meta().ID())
				return &done{name}, nil
			}
		}, opts...))
		if s.decorated {
			fs = append(fs, backend.Decorate(refs[i], func(_ *backend.FactoryEnv, inner func() *done) backend.MakeFunc[*done] {
				return func(context.Context) (*done, error) { return inner(), nil }
			}))
		}
	}
	for i, needs := range plugins {
		id := fmt.Sprintf("p%d", i)
		fs = append(fs, backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			var gets []func() *done
			for _, n := range needs {
				if services[n].root {
					gets = append(gets, rootRefs[n].From(env))
				} else {
					gets = append(gets, refs[n].From(env))
				}
			}
			return func(context.Context) error { check(id, gets); count(id); return nil }
		}))
	}
	return fs
}

// cyclic reports by another method (removing what has no needs) whether the
// services have a cycle.
func cyclic(services []randomService) bool {
	gone := make([]bool, len(services))
	for range services {
		for i, s := range services {
			free := true
			for _, n := range s.needs {
				free = free && gone[n]
			}
			gone[i] = gone[i] || free
		}
	}
	for _, g := range gone {
		if !g {
			return true
		}
	}
	return false
}

func TestRandomGraphs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "services")
		acyclic := rapid.Bool().Draw(t, "acyclic")
		services := make([]randomService, n)
		for i := range services {
			services[i].root = rapid.Bool().Draw(t, "root")
			services[i].eager = rapid.Bool().Draw(t, "eager")
			services[i].decorated = rapid.Bool().Draw(t, "decorated")
		}
		for i := range services {
			for _, to := range rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(3, n), rapid.ID[int]).Draw(t, "needs") {
				if acyclic && to >= i || services[i].root && !services[to].root {
					continue
				}
				services[i].needs = append(services[i].needs, to)
			}
		}
		plugins := make([][]int, rapid.IntRange(0, 6).Draw(t, "plugins"))
		for i := range plugins {
			plugins[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, n, rapid.ID[int]).Draw(t, "plugin needs")
		}
		var mu sync.Mutex
		var failures []string
		fs := build(services, plugins, func(s string) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, s)
		}, &sync.Map{})
		rand.Shuffle(len(fs), func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
		b := backend.New().Add(fs...)
		err := b.Validate()
		if got, want := is[*backend.CycleError](err), cyclic(services); got != want || !want && err != nil {
			t.Fatalf("Validate = %v; cyclic by the other method: %v", err, want)
		}
		if err != nil {
			return
		}
		if err := b.Start(context.Background()); err != nil {
			t.Fatalf("Start = %v after a valid Validate", err)
		}
		if err := b.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(failures) > 0 {
			t.Fatal(failures)
		}
	})
}

// TestRandomModules checks that a module that offers an extension point runs
// after the modules that use it, and that circles are found.
func TestRandomModules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "modules")
		uses := make([][]int, n) // of the extension point that another module offers
		for i := range uses {
			uses[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(2, n), rapid.ID[int]).Draw(t, "uses")
		}
		points := make([]backend.ExtensionPoint[int], n)
		for i := range points {
			points[i] = backend.NewExtensionPoint[int]("p", fmt.Sprintf("point%d", i))
		}
		var mu sync.Mutex
		done := map[int]bool{}
		var early []string
		fs := []backend.Feature{plugin("p", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if len(done) != n {
				early = append(early, "the plugin")
			}
			return nil
		})}
		waits := make([]randomService, n) // a module waits for the users of its point
		for i := range n {
			for _, to := range uses[i] {
				waits[to].needs = append(waits[to].needs, i)
			}
		}
		for i := range n {
			fs = append(fs, backend.NewModule("p", fmt.Sprintf("m%d", i), func(env *backend.ModuleEnv) backend.InitFunc {
				points[i].Offer(env, i)
				for _, to := range uses[i] {
					_ = points[to].From(env)
				}
				return func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					for _, user := range waits[i].needs {
						if !done[user] {
							early = append(early, fmt.Sprintf("m%d before m%d", i, user))
						}
					}
					done[i] = true
					return nil
				}
			}))
		}
		b := backend.New().Add(fs...)
		err := b.Validate()
		if got, want := is[*backend.CycleError](err), cyclic(waits); got != want || !want && err != nil {
			t.Fatalf("Validate = %v; cyclic by the other method: %v", err, want)
		}
		if err != nil {
			return
		}
		if err := b.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(early) > 0 {
			t.Fatalf("too early: %v", early)
		}
	})
}

func TestHundredsOfPluginsWithPanicsEverywhere(t *testing.T) {
	t.Parallel()
	const n = 300
	var good, stopped atomic.Int64
	fs := []backend.Feature{
		rootValue(backend.StartupPolicies, backend.StartupPolicy{
			PluginMayFail: func(string) bool { return true }, ModuleMayFail: func(string, string) bool { return true },
		}),
		rootValue(rootA, 1), intFactory(serviceA),
	}
	for i := range n {
		id := fmt.Sprintf("p%d", i)
		fs = append(fs, backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			life, a := backend.PluginLifecycle.From(env), serviceA.From(env)
			return func(context.Context) error {
				l := life()
				l.Go("worker", func(ctx context.Context) error {
					if i%2 == 0 {
						panic("worker")
					}
					<-ctx.Done()
					return ctx.Err()
				})
				err := errors.Join(
					l.OnStart("start", func(context.Context) error {
						if i%5 == 0 {
							panic("start hook")
						}
						return nil
					}),
					l.OnStop("stop", func(context.Context) error { stopped.Add(1); return nil }),
					l.OnStop("boom", func(context.Context) error {
						if i%7 == 0 {
							panic("stop hook")
						}
						return nil
					}),
				)
				switch {
				case i%3 == 0:
					panic(fmt.Sprintf("init %d", a()))
				case i%11 == 0:
					exitGoroutine()
				}
				good.Add(1)
				return err
			}
		}), backend.NewModule(id, "m", func(env *backend.ModuleEnv) backend.InitFunc {
			return func(context.Context) error {
				if i%4 == 0 {
					panic("module")
				}
				return nil
			}
		}))
	}
	b := backend.New().Add(fs...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	started := int64(0)
	for _, p := range b.Status().Plugins {
		if p.State == backend.StateStarted {
			started++
		}
	}
	if started != good.Load() || started == 0 {
		t.Errorf("%d plugins are started, but the init of %d returned", started, good.Load())
	}
	err := b.Stop(context.Background())
	if !is[*backend.StopError](err) {
		t.Errorf("Stop = %v, want the panics of the stop hooks", err)
	}
	if got := stopped.Load(); got != n {
		t.Errorf("%d stop hooks ran, want %d", got, n)
	}
}

func TestStopRacingStart(t *testing.T) {
	t.Parallel()
	for i := range 200 {
		var running atomic.Int64
		fs := []backend.Feature{withRoot("r", func(l backend.RootLifecycle) error {
			running.Add(1)
			return l.OnStop("r", func(context.Context) error { running.Add(-1); return nil })
		})}
		for k := range 5 {
			fs = append(fs, withLifecycle(fmt.Sprintf("p%d", k), func(l backend.Lifecycle) error {
				running.Add(1)
				return l.OnStop("p", func(context.Context) error { running.Add(-1); return nil })
			}))
		}
		b := backend.New().Add(fs...)
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Start(context.Background()) })
		for range 3 {
			wg.Go(func() {
				for range i % 7 {
					b.Status() // passes a little time
				}
				if err := b.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := running.Load(); n != 0 {
			t.Fatalf("run %d: %d things still run after Stop", i, n)
		}
		if s := b.Status().Phase; s != backend.PhaseStopped && s != backend.PhaseFailed {
			t.Fatalf("phase %s after Stop", s)
		}
	}
}

func TestEverythingHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		b := backend.New().Add(
			rootValue(backend.StartupPolicies, backend.StartupPolicy{
				InitTimeout: time.Minute, HookTimeout: 10 * time.Second, StopTimeout: 25 * time.Second,
				PluginMayFail: func(id string) bool { return id == "init" }, ModuleMayFail: func(string, string) bool { return true },
			}),
			plugin("init", hang), module("init", "m", hang),
			withLifecycle("hooks", func(l backend.Lifecycle) error {
				return errors.Join(l.OnStart("s", hang), l.OnStop("t", hang), l.OnStop("u", hang), l.OnStop("v", hang))
			}),
			withRoot("r", func(l backend.RootLifecycle) error {
				return errors.Join(l.OnStart("s", hang), l.BeforeStop("b", hang), l.OnStop("t", hang))
			}),
		)
		begin := time.Now()
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > 3*time.Minute {
			t.Errorf("the start took %s", d)
		}
		begin = time.Now()
		if err := b.Stop(t.Context()); !is[*backend.StopError](err) {
			t.Errorf("Stop = %v, want its limits reported", err)
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("the stop took %s, want no more than its limit and a moment", d)
		}
		close(release)
	})
}

func TestHooksMayUseTheBackend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *backend.Backend
		b = backend.New().Add(withLifecycle("p", func(l backend.Lifecycle) error {
			l.Go("g", func(ctx context.Context) error {
				<-ctx.Done()
				b.Status()
				l.Go("too late", func(context.Context) error { return nil })
				return nil
			})
			return l.OnStop("h", func(context.Context) error {
				b.Status()
				b.Result()
				b.Graph()
				return l.OnStart("late", initNothing)
			})
		}))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(t.Context()); !errors.Is(err, backend.ErrTooLate) {
			t.Errorf("Stop = %v, want the error of the late hook", err)
		}
	})
}

func TestPolicyThatPanicsFailsTheStart(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(emptyPlugin("p"), rootValue(backend.StartupPolicies, backend.StartupPolicy{
		PluginMayFail: func(string) bool { panic("no config") },
	}))
	if err := b.Start(t.Context()); !is[*backend.PanicError](err) {
		t.Errorf("Start = %v, want the panic", err)
	}
}

func TestConcurrentGets(t *testing.T) {
	t.Parallel()
	lazy := backend.NewRootServiceRef[int]("test.lazy").WithDefault(func(ref backend.RootServiceRef[int]) backend.ServiceFactory {
		return backend.NewRootServiceFactory(ref, func(env *backend.RootEnv) backend.MakeFunc[int] {
			a := rootA.From(env)
			return func(context.Context) (int, error) { return a() + 1, nil }
		})
	})
	b := start(t, rootValue(rootA, 1), intFactory(serviceA), emptyPlugin("p"),
		backend.Decorate(serviceA, func(_ *backend.FactoryEnv, inner func() int) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return inner() + 10, nil }
		}))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if v, err := backend.Get(b, lazy); v != 2 || err != nil {
				t.Errorf("Get = %d, %v", v, err)
			}
			if v, err := backend.GetFor(b, "p", serviceA); v != 11 || err != nil {
				t.Errorf("GetFor = %d, %v", v, err)
			}
			b.Graph()
			b.Status()
		})
	}
	wg.Wait()
}

func TestManyGoroutinesLeaveNoRecord(t *testing.T) {
	t.Parallel()
	b := start(t, withLifecycle("p", func(l backend.Lifecycle) error {
		var wg sync.WaitGroup
		for range 10_000 {
			wg.Add(1)
			l.Go("g", func(context.Context) error { wg.Done(); return nil })
		}
		wg.Wait()
		return nil
	}))
	if s := b.Status(); s.Plugins[0].State != backend.StateStarted {
		t.Errorf("status = %+v", s)
	}
}
