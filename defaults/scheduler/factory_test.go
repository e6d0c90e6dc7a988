package scheduler_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/defaults/scheduler"
	"github.com/flytower/flytower/internal/configtest"
)

// In a backend, tasks run once their plugin has started, and their last word
// reaches the database when it stops.
func TestFactory(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	config := configtest.FromYAML(t, "backend: {}")
	b := backend.New(backend.WithDefaults(database.Factory, scheduler.Factory,
		backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
			return func(context.Context) (core.ConfigRoot, error) { return config, nil }
		}),
		backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
		}),
		backend.NewServiceFactory(core.Logger, func(*backend.FactoryEnv) backend.MakeFunc[*slog.Logger] {
			return func(context.Context) (*slog.Logger, error) { return slog.New(slog.DiscardHandler), nil }
		}),
		backend.NewServiceFactory(core.HTTPRouter, func(*backend.FactoryEnv) backend.MakeFunc[core.Router] {
			return func(context.Context) (core.Router, error) { return router{mux: mux}, nil }
		}),
	))
	initialised, begun, interrupted := false, make(chan bool, 1), make(chan error, 1)
	b.Add(backend.NewPlugin("a", func(env *backend.PluginEnv) backend.InitFunc {
		s := core.Scheduler.From(env)
		return func(ctx context.Context) error {
			defer func() { initialised = true }()
			return s().Schedule(ctx, core.Task{ID: "a", Schedule: core.Schedule{Frequency: hourly.Frequency, Timeout: hourly.Frequency.Every}, Run: func(ctx context.Context, _ core.TaskRun) error {
				begun <- initialised
				<-ctx.Done()
				interrupted <- context.Cause(ctx)
				return ctx.Err()
			}})
		}
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !<-begun {
		t.Error("the task ran before the plugin was initialised")
	}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/.backstage/scheduler/v1/tasks", nil))
	if rec.Code != http.StatusOK {
		t.Errorf("tasks: %d %s", rec.Code, rec.Body)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-interrupted; err == nil {
		t.Error("the run was not told why it ends")
	}
}
