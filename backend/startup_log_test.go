package backend_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/backend"
)

func TestStartLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logs := &logBuffer{}
		policy := rootValue(backend.StartupPolicies, backend.StartupPolicy{PluginMayFail: func(id string) bool { return id == "broken" }})
		old := backend.NewServiceRef[int]("test.a").Deprecated("test.b")
		ep := backend.NewExtensionPoint[int]("slow", "old").Deprecated("slow.new")
		b := start(t, logs.factory(), policy, intFactory(serviceA),
			backend.NewPlugin("slow", func(env *backend.PluginEnv) backend.InitFunc {
				_, _ = old.From(env), old.From(env) // one warning per consumer
				ep.Offer(env, 1)
				return func(ctx context.Context) error { return sleep(ctx, 5*time.Second) }
			}),
			backend.NewModule("slow", "m", func(env *backend.ModuleEnv) backend.InitFunc { _ = ep.From(env); return initNothing }),
			plugin("quick", initNothing),
			plugin("broken", func(context.Context) error { return errors.New("boom") }),
		)
		golden(t, "start-log.golden", logs.String())
		if n := len(b.Graph().Warnings); n != 2 {
			t.Errorf("%d warnings in the graph, want 2", n)
		}
	})
}
