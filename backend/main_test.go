package backend_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/flytower/flytower/backend"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal records what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

func (j *journal) String() string { return strings.Join(j.all(), " ") }

// log returns a hook or init function that records a line.
func (j *journal) log(line string) func(context.Context) error {
	return func(context.Context) error { j.add(line); return nil }
}

// logBuffer collects what the backend logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// factory returns a root logger that writes to the buffer, without times.
func (l *logBuffer) factory() backend.ServiceFactory {
	h := slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return rootValue(backend.RootLogger, slog.New(h))
}

// rootValue returns a factory of a root service with a fixed value.
func rootValue[T any](ref backend.RootServiceRef[T], v T) backend.ServiceFactory {
	return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

// start starts a backend and stops it when the test ends.
func start(t *testing.T, fs ...backend.Feature) *backend.Backend {
	t.Helper()
	b := backend.New().Add(fs...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// plugin returns a plugin whose init is fn.
func plugin(id string, fn func(context.Context) error) backend.Feature {
	return backend.NewPlugin(id, func(*backend.PluginEnv) backend.InitFunc { return fn })
}

// module returns a module whose init is fn.
func module(plugin, id string, fn func(context.Context) error) backend.Feature {
	return backend.NewModule(plugin, id, func(*backend.ModuleEnv) backend.InitFunc { return fn })
}

// withLifecycle returns a plugin that uses its lifecycle.
func withLifecycle(id string, fn func(backend.Lifecycle) error) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		life := backend.PluginLifecycle.From(env)
		return func(context.Context) error { return fn(life()) }
	})
}

// withRoot returns an eager root service that uses the root lifecycle.
func withRoot(id string, fn func(backend.RootLifecycle) error, needs ...backend.RootServiceRef[string]) backend.ServiceFactory {
	return backend.NewRootServiceFactory(backend.NewRootServiceRef[string](id), func(env *backend.RootEnv) backend.MakeFunc[string] {
		life := backend.BackendLifecycle.From(env)
		for _, n := range needs {
			_ = n.From(env)
		}
		return func(context.Context) (string, error) { return id, fn(life()) }
	})
}

// exitGoroutine ends the goroutine as t.FailNow does.
func exitGoroutine() { runtime.Goexit() }
