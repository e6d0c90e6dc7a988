package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing/fstest"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// testPlugins are what tests add to the standard backend, by name.
var testPlugins = map[string]backend.Feature{
	"caller":    caller,
	"ticker":    ticker,
	"faulty":    faulty,
	"stillborn": stillborn,
	"slow":      slow,
	"migrator":  migrator,
	"guarded":   guarded,
	"feed":      feed,
	"counting":  counting,
	"meeting":   meeting,
	"duplicate": catalogbackend.Plugin,
}

// public opens all routes of a plugin.
var public = core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated}

// caller asks the catalog, wherever that is.
var caller = backend.NewPlugin("caller", func(env *backend.PluginEnv) backend.InitFunc {
	router, auth, catalog := core.HTTPRouter.From(env), core.Auth.From(env), catalognode.Catalog.From(env)
	return func(context.Context) error {
		router().AddAuthPolicy(public)
		router().HandleErr("GET /components", func(w http.ResponseWriter, r *http.Request) error {
			page, err := catalog().Query(r.Context(), catalognode.EntitiesQuery{Query: map[string]any{"kind": "component"}, OrderBy: "metadata.name"}, auth().Own())
			if err != nil {
				return apierr.Forward(err, "asking the catalog")
			}
			apierr.WriteJSON(w, http.StatusOK, page)
			return nil
		})
		return nil
	}
})

// Environment of the plugin ticker.
const (
	tickerInstance = "E2E_INSTANCE" // name of the instance
	tickerEvery    = "E2E_EVERY"    // duration from run to run
	tickerWork     = "E2E_WORK"     // duration of a run
)

var tickerMigrations = core.Migrations{FS: fstest.MapFS{
	"postgres/0001_runs.sql": &fstest.MapFile{Data: []byte(`CREATE TABLE runs (
		fence bigint NOT NULL, instance text NOT NULL, begun timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz)`)},
}}

// ticker has a global task that writes its runs down in PostgreSQL.
var ticker = backend.NewPlugin("ticker", func(env *backend.PluginEnv) backend.InitFunc {
	scheduler, database := core.Scheduler.From(env), core.Database.From(env)
	return func(ctx context.Context) error {
		every, err := time.ParseDuration(os.Getenv(tickerEvery))
		if err != nil {
			return err
		}
		work, err := time.ParseDuration(os.Getenv(tickerWork))
		if err != nil {
			return err
		}
		if err := database().Migrate(ctx, tickerMigrations); err != nil {
			return err
		}
		db, err := database().DB(ctx)
		if err != nil {
			return err
		}
		return scheduler().Schedule(ctx, core.Task{
			ID:       "tick",
			Schedule: core.Schedule{Frequency: core.Frequency{Every: every}, Timeout: time.Hour},
			Run: func(ctx context.Context, run core.TaskRun) error {
				if _, err := db.ExecContext(ctx, `INSERT INTO runs (fence, instance) VALUES ($1, $2)`, run.Fence, os.Getenv(tickerInstance)); err != nil {
					return err
				}
				t := time.NewTimer(work)
				defer t.Stop()
				select {
				case <-t.C:
				case <-ctx.Done():
					return ctx.Err()
				}
				_, err := db.ExecContext(ctx, `UPDATE runs SET ended = clock_timestamp() WHERE fence = $1`, run.Fence)
				return err
			},
		})
	}
})

// faulty panics wherever it can, after its start.
var faulty = backend.NewPlugin("faulty", func(env *backend.PluginEnv) backend.InitFunc {
	router, scheduler, events, lifecycle := core.HTTPRouter.From(env), core.Scheduler.From(env), core.Events.From(env), core.Lifecycle.From(env)
	return func(ctx context.Context) error {
		router().AddAuthPolicy(public)
		router().HandleFunc("GET /fine", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
		router().HandleFunc("GET /handler", func(http.ResponseWriter, *http.Request) { panic("handler is broken") })
		router().HandleErr("GET /event", func(w http.ResponseWriter, r *http.Request) error {
			return events().Publish(r.Context(), core.Event{Topic: "e2e", Payload: []byte(`{}`)})
		})
		router().HandleFunc("GET /goroutine", func(http.ResponseWriter, *http.Request) {
			lifecycle().Go("broken", func(context.Context) error { panic("goroutine is broken") })
		})
		router().HandleErr("GET /task", func(_ http.ResponseWriter, r *http.Request) error {
			return scheduler().Trigger(r.Context(), "broken")
		})
		if err := events().Subscribe(ctx, core.Subscription{
			ID: "broken", Topics: []string{"e2e"},
			OnEvent: func(context.Context, core.Event) error { panic("event handler is broken") },
		}); err != nil {
			return err
		}
		return scheduler().Schedule(ctx, core.Task{
			ID:       "broken",
			Schedule: core.Schedule{Frequency: core.Frequency{Manual: true}, Timeout: time.Minute},
			Run:      func(context.Context, core.TaskRun) error { panic("task is broken") },
		})
	}
})

// stillborn panics when it starts.
var stillborn = backend.NewPlugin("stillborn", func(env *backend.PluginEnv) backend.InitFunc {
	_ = core.HTTPRouter.From(env)
	return func(context.Context) error {
		var m map[string]int
		m["init"]++
		return nil
	}
})

// slow answers after the time that the query names.
var slow = backend.NewPlugin("slow", func(env *backend.PluginEnv) backend.InitFunc {
	router := core.HTTPRouter.From(env)
	return func(context.Context) error {
		router().AddAuthPolicy(public)
		router().HandleErr("GET /", func(w http.ResponseWriter, r *http.Request) error {
			d, err := time.ParseDuration(r.URL.Query().Get("for"))
			if err != nil {
				return apierr.Input("for: %v", err)
			}
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
				fmt.Fprint(w, "done")
				return nil
			case <-r.Context().Done():
				return errors.New("interrupted")
			}
		})
		return nil
	}
})

// migrator has a migration that takes two seconds.
var migrator = backend.NewPlugin("migrator", func(env *backend.PluginEnv) backend.InitFunc {
	database := core.Database.From(env)
	return func(ctx context.Context) error {
		return database().Migrate(ctx, core.Migrations{FS: fstest.MapFS{
			"postgres/0001_slow.sql": &fstest.MapFile{Data: []byte(`CREATE TABLE things (id int); INSERT INTO things VALUES (1); SELECT pg_sleep(2); CREATE INDEX ON things (id);`)},
		}})
	}
})

// guarded answers those who present a token.
var guarded = backend.NewPlugin("guarded", func(env *backend.PluginEnv) backend.InitFunc {
	router := core.HTTPRouter.From(env)
	return func(context.Context) error {
		router().HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "come in") })
		return nil
	}
})
