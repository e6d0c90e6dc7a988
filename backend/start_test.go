package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/backend"
)

// sleep waits in the fake time of a synctest bubble, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestStartOrder(t *testing.T) {
	t.Parallel()
	j := &journal{}
	inner := backend.NewExtensionPoint[int]("p", "inner")
	fs := []backend.Feature{
		withRoot("root.b", func(l backend.RootLifecycle) error {
			j.add("root.b")
			return l.OnStart("b", j.log("root-started"))
		}, backend.NewRootServiceRef[string]("root.a")),
		withRoot("root.a", func(backend.RootLifecycle) error { j.add("root.a"); return nil }),
		backend.NewServiceFactory(serviceA, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { j.add("eager"); return 0, nil }
		}, backend.Eager()),
		withLifecycle("p", func(l backend.Lifecycle) error {
			j.add("plugin")
			return l.OnStart("p", j.log("started"))
		}),
		backend.NewModule("p", "offers", func(env *backend.ModuleEnv) backend.InitFunc {
			inner.Offer(env, 1)
			return j.log("offering")
		}),
		backend.NewModule("p", "uses", func(env *backend.ModuleEnv) backend.InitFunc {
			_ = inner.From(env)
			return j.log("using")
		}),
	}
	start(t, fs...)
	if want := "root.a root.b eager using offering plugin started root-started"; j.String() != want {
		t.Errorf("order: %s\nwant:  %s", j, want)
	}
}

func TestIndependentThingsStartAtTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) error { return sleep(ctx, time.Second) }
		var fs []backend.Feature
		for i := range 20 {
			fs = append(fs, plugin(fmt.Sprintf("p%d", i), slow), module(fmt.Sprintf("p%d", i), "m", slow), module(fmt.Sprintf("p%d", i), "n", slow))
			fs = append(fs, backend.NewRootServiceFactory(backend.NewRootServiceRef[int](fmt.Sprintf("r%d", i)), func(*backend.RootEnv) backend.MakeFunc[int] {
				return func(ctx context.Context) (int, error) { return 0, slow(ctx) }
			}))
		}
		begin := time.Now()
		start(t, fs...)
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("the start took %s, want 3s: root services, modules, plugins", d)
		}
	})
}

func TestServicesOfOnePluginAreMadeAtTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fs []backend.Feature
		var refs []backend.ServiceRef[int]
		for i := range 10 {
			ref := backend.NewServiceRef[int](fmt.Sprintf("s%d", i))
			refs = append(refs, ref)
			fs = append(fs, backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[int] {
				return func(ctx context.Context) (int, error) { return 0, sleep(ctx, time.Second) }
			}))
		}
		fs = append(fs, needing("p", func(env *backend.PluginEnv) {
			for _, r := range refs {
				_ = r.From(env)
			}
		}))
		begin := time.Now()
		start(t, fs...)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("the start took %s, want 1s", d)
		}
	})
}

func TestFailuresAreCollectedAndPolicyDecides(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	fail := func(context.Context) error { return boom }
	policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{
		PluginMayFail: func(id string) bool { return id == "tolerated" },
		ModuleMayFail: func(p, m string) bool { return p == "good" && m == "tolerated" },
	})
	t.Run("tolerated", func(t *testing.T) {
		t.Parallel()
		j := &journal{}
		b := start(t, policy, plugin("tolerated", fail), module("good", "tolerated", fail), plugin("good", j.log("init")))
		if j.String() != "init" {
			t.Error("the plugin did not start after its module had failed")
		}
		r := b.Result()
		if r.Outcome != backend.OutcomeSuccess || len(r.Plugins) != 2 {
			t.Fatalf("result = %+v", r)
		}
		for _, p := range r.Plugins {
			switch p.PluginID {
			case "tolerated":
				if p.Failure == nil || !p.Failure.Allowed || !errors.Is(p.Failure.Err, boom) {
					t.Errorf("failure = %+v, want it allowed", p.Failure)
				}
			case "good":
				if p.Failure != nil || len(p.Modules) != 1 || p.Modules[0].Failure == nil || !p.Modules[0].Failure.Allowed {
					t.Errorf("result = %+v, want a failed module", p)
				}
			}
		}
		for _, p := range b.Status().Plugins {
			want := backend.StateStarted
			if p.ID == "tolerated" {
				want = backend.StateFailed
			}
			if p.State != want || p.AllowedToFail != (p.ID == "tolerated") {
				t.Errorf("status = %+v, want %s", p, want)
			}
		}
	})
	t.Run("not tolerated", func(t *testing.T) {
		t.Parallel()
		j := &journal{}
		b := backend.New().Add(policy, plugin("bad", fail), plugin("tolerated", fail), module("good", "bad", fail),
			withLifecycle("good", func(l backend.Lifecycle) error {
				return errors.Join(l.OnStart("s", j.log("started")), l.OnStop("1", j.log("stop1")), l.OnStop("2", j.log("stop2")))
			}),
			withRoot("r", func(l backend.RootLifecycle) error {
				return errors.Join(l.OnStart("s", j.log("root-started")), l.BeforeStop("b", j.log("before-stop")), l.OnStop("r", j.log("root-stop")))
			}))
		err := b.Start(t.Context())
		var failed *backend.StartupError
		if !errors.As(err, &failed) || !errors.Is(err, boom) || backend.ExitCode(err) != 1 {
			t.Fatalf("Start = %v", err)
		}
		lines := strings.Split(err.Error(), "\n")
		slices.Sort(lines)
		want := []string{
			"  Module 'bad' for plugin 'good' startup failed; caused by boom",
			"  Plugin 'bad' startup failed; caused by boom",
			"the backend did not start",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("message:\n%s", err)
		}
		if want := "started stop2 stop1 root-stop"; j.String() != want {
			t.Errorf("what had started was undone by %q, want %q", j, want)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Errorf("Stop after a failed start = %v", err)
		}
		if s := b.Status(); s.Phase != backend.PhaseFailed {
			t.Errorf("phase %s, want failed", s.Phase)
		}
		if err := b.Start(t.Context()); err == nil {
			t.Error("a second Start did not fail")
		}
	})
}

func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	b := start(t, rootValue(backend.StartupPolicies, backend.StartupPolicy{PluginMayFail: func(string) bool { return true }}),
		plugin("p", func(context.Context) error { return errors.New("boom") }))
	text, err := json.Marshal(b.Result())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		BeginAt, ResultAt time.Time
		Outcome           string
		Plugins           []struct {
			PluginID string
			ResultAt time.Time
			Failure  struct {
				Error   struct{ Message string }
				Allowed bool
			}
			Modules []any
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Outcome != "success" || len(got.Plugins) != 1 || got.Plugins[0].PluginID != "p" || got.Plugins[0].Modules == nil ||
		got.Plugins[0].Failure.Error.Message != "boom" || !got.Plugins[0].Failure.Allowed || got.BeginAt.IsZero() || got.ResultAt.IsZero() {
		t.Errorf("result = %s", text)
	}
}

func TestModuleFailureReportedByThePlugin(t *testing.T) {
	t.Parallel()
	ep := backend.NewExtensionPoint[func(error)]("p", "point")
	logs := &logBuffer{}
	var reportLate func(error)
	p := backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		var reports []backend.ModuleContext
		ep.OfferFunc(env, func(c backend.ModuleContext) func(error) {
			reports = append(reports, c)
			return func(error) {}
		})
		return func(context.Context) error {
			for _, c := range reports {
				if c.Module() == "bad" {
					c.ReportFailure(errors.New("the contribution is broken"))
				}
				reportLate = c.ReportFailure
			}
			return nil
		}
	})
	use := func(id string) backend.Feature {
		return backend.NewModule("p", id, func(env *backend.ModuleEnv) backend.InitFunc { _ = ep.From(env); return initNothing })
	}
	policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{ModuleMayFail: func(string, string) bool { return true }})
	b := start(t, logs.factory(), policy, p, use("bad"))
	m := b.Result().Plugins[0].Modules[0]
	if m.Failure == nil || m.Failure.Err.Error() != "the contribution is broken" {
		t.Errorf("module result = %+v", m)
	}
	reportLate(errors.New("too late"))
	if !strings.Contains(logs.String(), "module failed after the start") {
		t.Errorf("a late report was not logged:\n%s", logs)
	}
	if got := b.Result().Plugins[0].Modules[0].Failure.Err.Error(); got != "the contribution is broken" {
		t.Errorf("a late report changed the result to %q", got)
	}

	err := backend.New().Add(p, use("bad"), use("good")).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Module 'bad' for plugin 'p' startup failed; caused by the contribution is broken") {
		t.Errorf("Start = %v, want the failure of the module", err)
	}
}

func TestModuleFailureReportedBeforeTheModuleHasStarted(t *testing.T) {
	t.Parallel()
	ep := backend.NewExtensionPoint[func()]("p", "point")
	p := needing("p", func(env *backend.PluginEnv) {
		ep.OfferFunc(env, func(c backend.ModuleContext) func() {
			return func() { c.ReportFailure(errors.New("refused")) }
		})
	})
	m := backend.NewModule("p", "m", func(env *backend.ModuleEnv) backend.InitFunc {
		contribute := ep.From(env)
		return func(context.Context) error { contribute()(); return nil }
	})
	err := backend.New().Add(p, m).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Module 'm' for plugin 'p' startup failed; caused by refused") {
		t.Errorf("Start = %v, want the failure of the module", err)
	}
}

func TestServiceThatEndsItsGoroutineFailsAllItsUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exits := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
			return func(ctx context.Context) (int, error) {
				_ = sleep(ctx, time.Second) // let the others wait for it
				exitGoroutine()
				return 1, nil
			}
		}, backend.Lazy())
		use := func(id string) backend.Feature {
			return needing(id, func(env *backend.PluginEnv) { _ = rootA.From(env) })
		}
		policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{PluginMayFail: func(string) bool { return true }})
		b := start(t, policy, exits, use("a"), use("b"), use("c"))
		for _, p := range b.Status().Plugins {
			if p.State != backend.StateFailed || !strings.Contains(p.Error, "Goexit") {
				t.Errorf("plugin = %+v, want it failed", p)
			}
		}
	})
}

func TestPanicOfARootServiceIsNotCountedForAPlugin(t *testing.T) {
	t.Parallel()
	panics := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { panic("boom") }
	}, backend.Lazy())
	policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{PluginMayFail: func(string) bool { return true }})
	s := start(t, policy, panics, needing("p", func(env *backend.PluginEnv) { _ = rootA.From(env) })).Status()
	if s.Panics != 1 || s.Plugins[0].Panics != 0 {
		t.Errorf("%d panics of the backend and %d of the plugin, want 1 and 0", s.Panics, s.Plugins[0].Panics)
	}
}

func TestInitDoesNotRunOnceTheStartIsGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	j := &journal{}
	giveUp := backend.NewServiceFactory(serviceA, func(*backend.FactoryEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { cancel(); return 1, nil }
	})
	err := backend.New().Add(giveUp, backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		_ = serviceA.From(env)
		return j.log("init")
	})).Start(ctx)
	if !errors.Is(err, context.Canceled) || j.String() != "" {
		t.Errorf("Start = %v after %q, want it given up before init", err, j)
	}
}

func TestHooksAreTooLateAfterAFailedStart(t *testing.T) {
	t.Parallel()
	var life backend.RootLifecycle
	var made context.Context
	keep := backend.NewRootServiceFactory(rootA, func(env *backend.RootEnv) backend.MakeFunc[int] {
		l := backend.BackendLifecycle.From(env)
		return func(ctx context.Context) (int, error) { life, made = l(), ctx; return 0, nil }
	})
	if err := backend.New().Add(keep, plugin("p", func(context.Context) error { return errors.New("boom") })).Start(t.Context()); err == nil {
		t.Fatal("the start did not fail")
	}
	for name, err := range map[string]error{
		"OnStart": life.OnStart("x", initNothing), "BeforeStop": life.BeforeStop("x", initNothing), "OnStop": life.OnStop("x", initNothing),
	} {
		if !errors.Is(err, backend.ErrTooLate) {
			t.Errorf("%s = %v, want ErrTooLate", name, err)
		}
	}
	if made.Err() == nil {
		t.Error("the context of the make function has not ended")
	}
}

func TestInitTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{InitTimeout: 10 * time.Second})
		stuck := make(chan struct{})
		b := backend.New().Add(policy,
			plugin("polite", func(ctx context.Context) error { <-ctx.Done(); return errors.New("gave up in the middle") }),
			plugin("stuck", func(context.Context) error { <-stuck; return nil }),
			plugin("fine", func(ctx context.Context) error { return sleep(ctx, time.Second) }),
		)
		begin := time.Now()
		err := b.Start(t.Context())
		if !is[*backend.TimeoutError](err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Start = %v, want a timeout", err)
		}
		for _, want := range []string{`init of plugin "polite" did not end within 10s: gave up in the middle`, `init of plugin "stuck" did not end within 10s`, "still runs"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("message lacks %q:\n%v", want, err)
			}
		}
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("the start took %s", d)
		}
		close(stuck)
	})
}

func TestTimeoutOfOnePluginDoesNotSpoilASharedService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		slow := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
			return func(ctx context.Context) (int, error) { return 5, sleep(ctx, 8*time.Second) }
		}, backend.Lazy())
		policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{
			InitTimeout:   10 * time.Second,
			PluginMayFail: func(id string) bool { return id == "hasty" },
		})
		hasty := backend.NewPlugin("hasty", func(env *backend.PluginEnv) backend.InitFunc {
			_ = rootA.From(env)
			return func(ctx context.Context) error { return sleep(ctx, 5*time.Second) } // 8s + 5s is too long
		})
		patient := backend.NewPlugin("patient", func(env *backend.PluginEnv) backend.InitFunc {
			v := rootA.From(env)
			return func(context.Context) error { j.add(fmt.Sprint(v())); return nil }
		})
		start(t, policy, slow, hasty, patient)
		if j.String() != "5" {
			t.Errorf("the patient plugin got %q", j)
		}
	})
}

func TestFailedRootAndEagerServices(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	j := &journal{}
	broken := func(id string, needs ...backend.RootServiceRef[string]) backend.Feature {
		return backend.NewRootServiceFactory(backend.NewRootServiceRef[string](id), func(env *backend.RootEnv) backend.MakeFunc[string] {
			for _, n := range needs {
				_ = n.From(env)
			}
			return func(context.Context) (string, error) { return "", boom }
		})
	}
	good := withRoot("good", func(l backend.RootLifecycle) error { return l.OnStop("good", j.log("good stopped")) })
	b := backend.New().Add(broken("bad"), broken("user", backend.NewRootServiceRef[string]("bad")), good, plugin("p", j.log("init")))
	err := b.Start(t.Context())
	var failed *backend.StartupError
	if !errors.As(err, &failed) || failed.Cause == nil || !errors.Is(err, boom) {
		t.Fatalf("Start = %v, want a startup error with a cause", err)
	}
	if j.String() != "good stopped" {
		t.Errorf("ran %q, want what had been made stopped, and no init", j)
	}
	if s := b.Status(); s.Plugins[0].State != backend.StateStopped {
		t.Errorf("plugin is %s, want stopped: it never started", s.Plugins[0].State)
	}

	eager := backend.NewServiceFactory(serviceA, func(*backend.FactoryEnv) backend.MakeFunc[int] {
		return func(context.Context) (int, error) { return 0, boom }
	}, backend.Eager())
	b = start(t, eager, plugin("p", j.log("p")), module("p", "m", j.log("m")),
		rootValue(backend.StartupPolicies, backend.StartupPolicy{PluginMayFail: func(string) bool { return true }}))
	p := b.Status().Plugins[0]
	if p.State != backend.StateFailed || p.Modules[0].State != backend.StateStopped || !strings.Contains(p.Error, "boom") {
		t.Errorf("plugin = %+v, want it failed, and its module not started", p)
	}
	if strings.Contains(j.String(), "m") || strings.Contains(j.String(), "p ") {
		t.Errorf("ran %q", j)
	}
}

func TestFailedDecorators(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, d := range map[string]backend.Feature{
		"service": backend.Decorate(serviceA, func(*backend.FactoryEnv, func() int) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { return 0, boom }
		}),
		"plugin lifecycle": backend.Decorate(backend.PluginLifecycle, func(*backend.FactoryEnv, func() backend.Lifecycle) backend.MakeFunc[backend.Lifecycle] {
			return func(context.Context) (backend.Lifecycle, error) { return nil, boom }
		}),
		"root lifecycle": backend.DecorateRoot(backend.BackendLifecycle, func(*backend.RootEnv, func() backend.RootLifecycle) backend.MakeFunc[backend.RootLifecycle] {
			return func(context.Context) (backend.RootLifecycle, error) { panic(boom) }
		}),
		"extension point": backend.DecorateExtensionPoint(wordsPoint, func(backend.ModuleContext, words) (words, error) { return nil, boom }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := backend.New().Add(d, intFactory(serviceA),
				needing("greeter", func(env *backend.PluginEnv) {
					_, _ = serviceA.From(env), backend.PluginLifecycle.From(env)
					wordsPoint.Offer(env, wordList{})
				}),
				backend.NewModule("greeter", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = wordsPoint.From(env); return initNothing }),
				withRoot("r", func(backend.RootLifecycle) error { return nil }))
			if err := b.Start(t.Context()); !errors.Is(err, boom) {
				t.Errorf("Start = %v, want the error of the decorator", err)
			}
		})
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		b := backend.New().Add(plugin("p", func(ctx context.Context) error {
			cancel(enough)
			<-ctx.Done()
			return ctx.Err()
		}))
		err := b.Start(ctx)
		if !errors.Is(err, enough) || backend.ExitCode(err) != 1 {
			t.Errorf("Start = %v", err)
		}
	})
}

func TestServicesOutliveTheContextOfTheStart(t *testing.T) {
	t.Parallel()
	lazy := backend.NewRootServiceFactory(rootA, func(*backend.RootEnv) backend.MakeFunc[int] {
		return func(ctx context.Context) (int, error) { return 1, ctx.Err() }
	}, backend.Lazy())
	b := backend.New().Add(lazy)
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if v, err := backend.Get(b, rootA); v != 1 || err != nil {
		t.Errorf("Get = %d, %v", v, err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	logs := &logBuffer{}
	b := start(t, logs.factory(),
		rootValue(backend.StartupPolicies, backend.StartupPolicy{
			PluginMayFail: func(id string) bool { return id != "good" }, ModuleMayFail: func(string, string) bool { return true },
		}),
		plugin("init", func(context.Context) error { panic("in init") }),
		plugin("exits", func(context.Context) error { exitGoroutine(); return nil }),
		backend.NewServiceFactory(serviceA, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { panic("in make") }
		}),
		backend.NewServiceFactory(serviceB, func(*backend.FactoryEnv) backend.MakeFunc[int] {
			return func(context.Context) (int, error) { exitGoroutine(); return 0, nil }
		}),
		needing("make", func(env *backend.PluginEnv) { _ = serviceA.From(env) }),
		needing("makeexits", func(env *backend.PluginEnv) { _ = serviceB.From(env) }),
		module("good", "m", func(context.Context) error { panic(errors.New("in module")) }),
		withLifecycle("good", func(l backend.Lifecycle) error {
			done := make(chan struct{})
			l.Go("g", func(context.Context) error { defer close(done); panic("in goroutine") })
			<-done
			var p *backend.PanicError
			if err := l.Guard(context.Background(), "a request", func(context.Context) error { panic("in guard") }); !errors.As(err, &p) || p.Plugin != "good" || len(p.Stack) == 0 {
				return fmt.Errorf("Guard = %v", err)
			}
			return l.OnStart("s", func(context.Context) error { panic("in start hook") })
		}),
	)
	states := map[string]backend.PluginStatus{}
	for _, p := range b.Status().Plugins {
		states[p.ID] = p
	}
	for id, want := range map[string]string{
		"init": "in init", "exits": "Goexit", "make": "in make", "makeexits": "Goexit",
	} {
		if s := states[id]; s.State != backend.StateFailed || !strings.Contains(s.Error, want) {
			t.Errorf("plugin %s: %+v, want it failed with %q", id, s, want)
		}
	}
	if s := states["good"]; s.State != backend.StateStarted || s.Modules[0].State != backend.StateFailed || s.Panics < 3 {
		t.Errorf("plugin good: %+v, want it started, its module failed, and its panics counted", s)
	}
	for _, want := range []string{"in goroutine", "in guard", "in start hook", "plugin=good", "start_test.go"} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}
