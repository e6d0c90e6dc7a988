package roothealth_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/roothealth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a backend and returns its health; init runs before the start
// has ended.
func start(t *testing.T, init func(core.HealthService)) (*backend.Backend, core.HealthService) {
	t.Helper()
	var health core.HealthService
	b := backend.New().Add(roothealth.Factory, backend.NewPlugin("demo", func(env *backend.PluginEnv) backend.InitFunc {
		service := core.RootHealth.From(env)
		return func(context.Context) error {
			health = service()
			init(health)
			return nil
		}
	}))
	if err := b.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b, health
}

func text(t *testing.T, h core.Health) string {
	t.Helper()
	b, err := json.Marshal(h.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadinessFollowsTheLifecycle(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b, health := start(t, func(h core.HealthService) {
		if got := h.Readiness(ctx); got.Status != 503 || text(t, got) != `{"message":"Backend has not started yet","status":"error"}` {
			t.Errorf("while starting: %d %s", got.Status, text(t, got))
		}
		if got := h.Liveness(ctx); got.Status != 200 || text(t, got) != `{"status":"ok"}` {
			t.Errorf("liveness: %d %s", got.Status, text(t, got))
		}
	})
	if got := health.Readiness(ctx); got.Status != 200 || text(t, got) != `{"status":"ok"}` {
		t.Errorf("started: %d %s", got.Status, text(t, got))
	}
	if err := b.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if got := health.Readiness(ctx); got.Status != 503 || text(t, got) != `{"message":"Backend is shutting down","status":"error"}` {
		t.Errorf("stopped: %d %s", got.Status, text(t, got))
	}
	if got := health.Liveness(ctx); got.Status != 200 {
		t.Errorf("liveness: %d", got.Status)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var failure error
		var runs atomic.Int64
		b, health := start(t, func(h core.HealthService) {
			h.AddCheck("database", true, func(context.Context) error { runs.Add(1); return failure })
			h.AddCheck("cache", false, func(context.Context) error { return errors.New("cold") })
			h.AddCheck("broken", false, func(context.Context) error { panic("boom") })
		})
		if got := health.Readiness(ctx); got.Status != 200 {
			t.Errorf("optional checks count for readiness: %s", text(t, got))
		}
		failure = errors.New("gone")
		if got := health.Readiness(ctx); got.Status != 200 || runs.Load() != 1 {
			t.Errorf("within a second the result is kept: %s after %d runs", text(t, got), runs.Load())
		}
		time.Sleep(time.Second) // of the bubble
		got := health.Readiness(ctx)
		if got.Status != 503 || text(t, got) != `{"message":"Check 'database' failed","status":"error"}` {
			t.Errorf("failing: %d %s", got.Status, text(t, got))
		}
		detail := text(t, health.Detail(ctx))
		for _, want := range []string{
			`"name":"database","required":true,"status":"error","error":"gone"`, `"name":"cache","required":false,"status":"error","error":"cold"`,
			`"name":"broken","required":false,"status":"error","error":"the check panicked"`, `"id":"demo"`, `"state":"started"`, `"message":"Check 'database' failed"`,
		} {
			if !strings.Contains(detail, want) {
				t.Errorf("the detail lacks %s: %s", want, detail)
			}
		}
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // of the bubble
		if got := text(t, health.Detail(ctx)); !strings.Contains(got, "the backend is stopping") {
			t.Errorf("after the stop: %s", got)
		}
	})
}

func TestAHangingCheckIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var runs atomic.Int64
		goOn := make(chan struct{})
		b, health := start(t, func(h core.HealthService) {
			h.AddCheck("stuck", true, func(context.Context) error { runs.Add(1); <-goOn; return nil })
		})
		begin := time.Now()
		for range 2 {
			if got := health.Readiness(ctx); got.Status != 503 {
				t.Errorf("a hanging check: %d", got.Status)
			}
		}
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("took %s", took)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs hang", n)
		}
		close(goOn)
		synctest.Wait()
		if got := health.Readiness(ctx); got.Status != 200 {
			t.Errorf("afterwards: %d %s", got.Status, text(t, got))
		}
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}
