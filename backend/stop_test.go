package backend_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/backend"
)

func TestStopOrder(t *testing.T) {
	t.Parallel()
	j := &journal{}
	hooks := func(name string) func(l backend.Lifecycle) error {
		return func(l backend.Lifecycle) error {
			err := l.OnStop("1", j.log(name+"1"))
			l.Go("work", func(ctx context.Context) error {
				<-ctx.Done()
				j.add(name + "-work")
				return ctx.Err()
			})
			return errors.Join(err, l.OnStop("2", func(context.Context) error {
				<-l.Done()
				j.add(name + "2")
				return nil
			}))
		}
	}
	late := make(chan backend.RootLifecycle, 1)
	b := backend.New().Add(
		withRoot("root.database", func(l backend.RootLifecycle) error { late <- l; return l.OnStop("close", j.log("close-database")) }),
		withRoot("root.server", func(l backend.RootLifecycle) error {
			return errors.Join(l.BeforeStop("drain", j.log("drain")), l.OnStop("close", j.log("close-server")))
		}, backend.NewRootServiceRef[string]("root.database")),
		withLifecycle("p", hooks("p")),
	)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	database := <-late
	if err := database.OnStop("close pool", j.log("close-pool")); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := j.all()
	// The goroutine ends as soon as the stop begins; its end is awaited after p2.
	got = append(got[:0:0], got...)
	for i, line := range got {
		if line == "p-work" {
			got = append(got[:i], got[i+1:]...)
			break
		}
	}
	if s, want := strings.Join(got, " "), "drain p2 p1 close-server close-pool close-database"; s != want {
		t.Errorf("order: %s\nwant:  %s", s, want)
	}
	if !strings.Contains(j.String(), "p-work") {
		t.Error("the goroutine did not end")
	}
	for name, err := range map[string]error{
		"OnStart":    database.OnStart("x", initNothing),
		"BeforeStop": database.BeforeStop("x", initNothing),
		"OnStop":     database.OnStop("x", initNothing),
	} {
		if !errors.Is(err, backend.ErrTooLate) {
			t.Errorf("%s after the stop = %v, want ErrTooLate", name, err)
		}
	}
	ran := false
	database.Go("late", func(context.Context) error { ran = true; return nil })
	if ran {
		t.Error("a goroutine ran after the stop")
	}
}

func TestStopCollectsErrorsAndKeepsItsLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		release := make(chan struct{})
		b := backend.New().Add(
			rootValue(backend.StartupPolicies, backend.StartupPolicy{HookTimeout: 5 * time.Second, StopTimeout: 30 * time.Second}),
			withRoot("r", func(l backend.RootLifecycle) error {
				return errors.Join(l.OnStop("last", j.log("last")), l.BeforeStop("b", func(context.Context) error { return errors.New("cannot drain") }))
			}),
			withLifecycle("hangs", func(l backend.Lifecycle) error {
				err := l.OnStop("polite", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				l.Go("deaf", func(context.Context) error { <-release; return nil })
				return errors.Join(err, l.OnStop("stuck", func(context.Context) error { <-release; return nil }))
			}),
			withLifecycle("panics", func(l backend.Lifecycle) error {
				return errors.Join(l.OnStop("next", j.log("next")), l.OnStop("boom", func(context.Context) error { panic("boom") }))
			}),
			withLifecycle("fails", func(l backend.Lifecycle) error {
				return l.OnStop("f", func(context.Context) error { return errors.New("no") })
			}),
		)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err := b.Stop(t.Context())
		var failed *backend.StopError
		if !errors.As(err, &failed) || backend.ExitCode(err) != 3 {
			t.Fatalf("Stop = %v, want a *StopError", err)
		}
		for _, want := range []string{
			"cannot drain",
			`stop hook "f" of plugin "fails": no`,
			`panic in stop hook "boom" of plugin "panics"`,
			`stop hook "stuck" of plugin "hangs" did not end within 5s`,
			`goroutine "deaf" of plugin "hangs" did not end within 5s`,
			`stop hook "polite" of plugin "hangs" did not end within 5s`,
			"still runs",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("message lacks %q:\n%v", want, err)
			}
		}
		if s := j.String(); s != "next last" {
			t.Errorf("hooks that ran: %q, want \"next last\"", s)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("the stop took %s", d)
		}
		close(release)
	})
}

func TestStopLimitSkipsWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := backend.New().Add(
			rootValue(backend.StartupPolicies, backend.StartupPolicy{HookTimeout: 20 * time.Second, StopTimeout: 10 * time.Second}),
			withLifecycle("p", func(l backend.Lifecycle) error {
				return errors.Join(l.OnStop("skipped", initNothing), l.OnStop("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
			}),
		)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err := b.Stop(t.Context())
		if err == nil || !strings.Contains(err.Error(), `stop hook "skipped" of plugin "p" did not run`) {
			t.Errorf("Stop = %v", err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("the stop took %s, want 10s", d)
		}
	})
}

func TestStopIsIdempotentAndShared(t *testing.T) {
	t.Parallel()
	j := &journal{}
	b := backend.New().Add(withLifecycle("p", func(l backend.Lifecycle) error {
		return l.OnStop("h", func(context.Context) error { j.add("stop"); return errors.New("no") })
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { errs[i] = b.Stop(context.Background()) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil || err != errs[0] {
			t.Errorf("Stop = %v, want the one error of all calls", err)
		}
	}
	if j.String() != "stop" {
		t.Errorf("hooks ran %q, want once", j)
	}
}

func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(emptyPlugin("p"))
	for range 2 {
		if err := b.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v, want nil", err)
		}
	}
	if err := b.Start(t.Context()); err == nil {
		t.Error("Start after Stop did not fail")
	}
	defer func() {
		if recover() == nil {
			t.Error("Add after Stop did not panic")
		}
	}()
	b.Add(emptyPlugin("q"))
}

func TestStopGivesARunningStartUp(t *testing.T) {
	t.Parallel()
	j := &journal{}
	inInit := make(chan struct{})
	b := backend.New().Add(
		withRoot("r", func(l backend.RootLifecycle) error { return l.OnStop("r", j.log("root")) }),
		plugin("slow", func(ctx context.Context) error { close(inInit); <-ctx.Done(); j.add("gave up"); return ctx.Err() }),
	)
	started := make(chan error)
	go func() { started <- b.Start(context.Background()) }()
	<-inInit
	if err := b.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := <-started; !is[*backend.StartupError](err) {
		t.Errorf("Start = %v, want a startup error", err)
	}
	if j.String() != "gave up root" {
		t.Errorf("ran %q", j)
	}
}

func TestStopWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := backend.New().Add(plugin("stuck", func(context.Context) error { <-release; return nil }))
		started := make(chan error)
		go func() { started <- b.Start(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop = %v, want the end of its context", err)
		}
		close(release)
		if err := <-started; err == nil {
			t.Error("the start that was given up returned no error")
		}
	})
}

func TestGoroutineErrorsAreLogged(t *testing.T) {
	t.Parallel()
	logs := &logBuffer{}
	ended := make(chan struct{})
	b := backend.New().Add(logs.factory(), withLifecycle("p", func(l backend.Lifecycle) error {
		l.Go("fails", func(context.Context) error { return errors.New("lost connection") })
		l.Go("stops", func(ctx context.Context) error { defer close(ended); <-ctx.Done(); return ctx.Err() })
		return nil
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ended
	if s := logs.String(); !strings.Contains(s, "lost connection") || strings.Contains(s, "context canceled") {
		t.Errorf("log:\n%s", s)
	}
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		var instance backend.Instance
		b := backend.New().Add(backend.NewRootServiceFactory(backend.NewRootServiceRef[int]("watch"), func(env *backend.RootEnv) backend.MakeFunc[int] {
			in := backend.InstanceMetadata.From(env)
			return func(context.Context) (int, error) {
				instance = in()
				in().Subscribe(func(s backend.Status) {
					line := s.Phase
					for _, p := range s.Plugins {
						line += "/" + p.State
					}
					j.add(line)
				})
				cancel := in().Subscribe(func(backend.Status) { t.Error("a cancelled subscription was called") })
				cancel()
				cancel()
				return 0, nil
			}
		}), withLifecycle("p", func(l backend.Lifecycle) error {
			return errors.Join(sleep(context.Background(), time.Second), l.OnStop("h", func(ctx context.Context) error { return sleep(ctx, time.Second) }))
		}))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := b.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"starting/starting", "started/started", "stopping/stopping", "stopped/stopped"} {
			if !strings.Contains(j.String(), want) {
				t.Errorf("states %s lack %s", j, want)
			}
		}
		if s := instance.Status(); s.Plugins[0].Duration < time.Second {
			t.Errorf("the start took %s, want a second", s.Plugins[0].Duration)
		}
	})
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	nothing := func(*backend.PluginEnv) backend.InitFunc { return initNothing }
	b := start(t,
		backend.NewPlugin("a", nothing, backend.WithAnnotation("schema", 1), backend.WithDescription("First letter.")),
		backend.NewModule("a", "m", func(*backend.ModuleEnv) backend.InitFunc { return initNothing }, backend.WithAnnotation("schema", 2)),
		backend.NewPlugin("b", nothing, backend.WithAnnotation("other", 3)),
	)
	in, err := backend.Get(b, backend.InstanceMetadata)
	if err != nil {
		t.Fatal(err)
	}
	got := in.Annotations("schema")
	if len(got) != 2 || got[0].Value != 1 || got[0].Plugin != "a" || got[0].Module != "" || got[1].Value != 2 || got[1].Module != "m" || !strings.HasPrefix(got[1].Source, "backend/stop_test.go:") {
		t.Errorf("annotations = %+v", got)
	}
	if d := in.Graph().Plugins[0].Description; d != "First letter." {
		t.Errorf("description = %q", d)
	}
}

// TestRunStopsOnASignal sends signals to the test process itself, so it does
// not run in parallel.
func TestRunStopsOnASignal(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	send := func(s os.Signal) {
		if err := self.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("clean", func(t *testing.T) {
		j := &journal{}
		b := backend.New().Add(withLifecycle("p", func(l backend.Lifecycle) error {
			return errors.Join(l.OnStop("h", j.log("stop")), l.OnStart("s", func(context.Context) error { send(syscall.SIGTERM); return nil }))
		}))
		if err := b.Run(t.Context()); err != nil || j.String() != "stop" {
			t.Errorf("Run = %v after %q, want nil after the stop hook", err, j)
		}
	})
	t.Run("while starting", func(t *testing.T) {
		j := &journal{}
		b := backend.New().Add(plugin("q", func(ctx context.Context) error {
			send(os.Interrupt)
			<-ctx.Done()
			j.add("gave up")
			return ctx.Err()
		}))
		if err := b.Run(t.Context()); err != nil || j.String() != "gave up" {
			t.Errorf("Run = %v after %q, want nil: the end was asked for", err, j)
		}
	})
	t.Run("second signal", func(t *testing.T) {
		stopping, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		b := backend.New().Add(withLifecycle("p", func(l backend.Lifecycle) error {
			return errors.Join(
				l.OnStart("s", func(context.Context) error { send(os.Interrupt); return nil }),
				l.OnStop("h", func(context.Context) error { close(stopping); <-release; close(ended); return nil }))
		}))
		go func() { <-stopping; send(syscall.SIGTERM) }()
		err := b.Run(t.Context())
		if !is[*backend.SignalError](err) || backend.ExitCode(err) != 143 {
			t.Errorf("Run = %v with exit code %d, want 143", err, backend.ExitCode(err))
		}
		close(release)
		<-ended
		if err := b.Stop(t.Context()); err != nil {
			t.Errorf("the stop ended with %v", err)
		}
	})
	t.Run("second signal while starting", func(t *testing.T) {
		release, ended := make(chan struct{}), make(chan struct{})
		b := backend.New().Add(plugin("p", func(ctx context.Context) error {
			send(syscall.SIGTERM)
			<-ctx.Done()
			send(os.Interrupt)
			<-release
			return nil
		}))
		err := b.Run(t.Context())
		if !is[*backend.SignalError](err) || backend.ExitCode(err) != 130 || !strings.Contains(err.Error(), "interrupt") {
			t.Errorf("Run = %v with exit code %d, want 130", err, backend.ExitCode(err))
		}
		close(release)
		go func() { _ = b.Stop(context.Background()); close(ended) }()
		<-ended
	})
	t.Run("end of context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := backend.New().Add(withLifecycle("p", func(l backend.Lifecycle) error {
			return errors.Join(
				l.OnStart("s", func(context.Context) error { return nil }),
				l.OnStop("h", func(context.Context) error { return errors.New("no") }))
		}), withRoot("r", func(l backend.RootLifecycle) error {
			return l.OnStart("s", func(context.Context) error { cancel(); return nil })
		}))
		if err := b.Run(ctx); backend.ExitCode(err) != 3 {
			t.Errorf("Run = %v, want an unclean stop", err)
		}
	})
	t.Run("failed start", func(t *testing.T) {
		b := backend.New().Add(plugin("p", func(context.Context) error { return errors.New("boom") }))
		if err := b.Run(t.Context()); backend.ExitCode(err) != 1 {
			t.Errorf("Run = %v, want a failed start", err)
		}
	})
	if backend.ExitCode(nil) != 0 || backend.ExitCode(errors.New("x")) != 1 {
		t.Error("exit codes of nil and of any error are not 0 and 1")
	}
}
