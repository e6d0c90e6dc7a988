package scaffolderbackend_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// TestATaskWhoseRunDiedGoesOn claims a task as an instance that then gives no
// sign of life, after its first step and a checkpoint of its second.
func TestATaskWhoseRunDiedGoesOn(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		created := 0
		action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:create"}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			ID int `json:"id"`
		}, err error) {
			out.ID, err = scaffoldernode.Checkpoint(ctx, c, "thing", func(context.Context) (int, error) { created++; return created, nil })
			return out, err
		})
		spec := `"steps":[{"id":"one","name":"One","action":"test:create"},{"id":"two","name":"Two","action":"test:create"},{"id":"three","name":"Three","action":"test:create"}],
			"output":{"ids":"${{ [steps.one.output.id, steps.two.output.id, steps.three.output.id] | dump }}"}`
		// Nothing runs here: the test is the instance that dies.
		idle := backendtest.Config(map[string]any{"scaffolder": map[string]any{"concurrentTasksLimit": 0}})
		first := open(t, database, spec, withActions(action), idle)
		path := create(first.Client(t), map[string]any{}, nil)
		store := tasks.NewStore(backendtest.Service(t, first, "scaffolder", core.Database))
		dead, err := store.Claim(t.Context(), 0)
		if err != nil || dead == nil {
			t.Fatalf("no task to claim: %v", err)
		}
		if other, err := store.Claim(t.Context(), time.Minute); other != nil || err != nil {
			t.Fatalf("the task was claimed twice: %v", err)
		}
		must(t, store.Log(t.Context(), dead, []scaffoldercommon.EventBody{{Message: "said before the end"}}))
		must(t, store.Keep(t.Context(), dead, tasks.StepState, "one", json.RawMessage(`{"id":71}`)))
		must(t, store.Keep(t.Context(), dead, tasks.CheckpointState, `["two","thing"]`, json.RawMessage(`72`)))

		recovering := backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": map[string]any{"enabled": true, "staleTimeout": "1s"}}})
		second := open(t, database, spec, withActions(action), recovering)
		all := follow(t, second.Client(t), path)
		if end := all[len(all)-1].Body; string(end.Output) != `{"ids":"[71,72,1]"}` || created != 1 {
			t.Errorf("it ended with %s %v, and created %d things", end.Output, end.Error, created)
		}
		for _, want := range []string{"said before the end", "resuming from last known good state. 1 step(s)", "Skipping step one because it was already completed"} {
			if !strings.Contains(transcript(all), want) {
				t.Errorf("the events do not say %q:\n%s", want, transcript(all))
			}
		}
		// What the dead run says now does not count.
		for what, err := range map[string]error{
			"a line": store.Log(t.Context(), dead, []scaffoldercommon.EventBody{{Message: "late"}}),
			"an end": store.Complete(t.Context(), dead, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{Message: "late"}),
			"state":  store.Keep(t.Context(), dead, tasks.StepState, "one", json.RawMessage(`{}`)),
		} {
			if !errors.Is(err, tasks.ErrLost) {
				t.Errorf("%s of the dead run: %v", what, err)
			}
		}
	})
}

// TestARunThatLosesItsTaskEnds has somebody else take the task over while its
// action runs.
func TestARunThatLosesItsTaskEnds(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		begun, causes := make(chan string), make(chan error, 1)
		action := act("test:wait", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
			begun <- c.Workspace.Name()
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})
		s := open(t, database, `"steps":[{"id":"w","name":"W","action":"test:wait"},{"id":"x","name":"X","action":"test:wait"}]`, withActions(action),
			conf(map[string]any{"taskRecovery": map[string]any{"enabled": true, "staleTimeout": "1s"}}))
		path := create(s.Client(t), map[string]any{}, nil)
		workspace := <-begun
		db, err := backendtest.Service(t, s, "scaffolder", core.Database).DB(t.Context())
		must(t, err)
		// The other run lives for long, and says nothing.
		_, err = db.ExecContext(t.Context(), `UPDATE scaffolder_task SET claim = claim + 1, lease_until = lease_until + 3600000`)
		must(t, err)
		if cause := <-causes; !errors.Is(cause, tasks.ErrLost) {
			t.Errorf("the run ended because of %v", cause)
		}
		must(t, s.Stop())
		if _, err := os.Stat(workspace); err != nil {
			t.Errorf("the workspace, which the other run may use, is gone: %v", err)
		}
		idle := open(t, database, `"steps":[]`, conf(map[string]any{"concurrentTasksLimit": 0}))
		var task struct{ Status string }
		if idle.Client(t).Get(path).JSON(&task); task.Status != "processing" {
			t.Errorf("the task is %s", task.Status)
		}
	})
}

// TestATaskThatNobodyRunsIsClosed has recovery off.
func TestATaskThatNobodyRunsIsClosed(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		s := open(t, database, `"steps":[]`, backendtest.Config(map[string]any{"scaffolder": map[string]any{"concurrentTasksLimit": 0, "taskTimeout": "1s"}}))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		store := tasks.NewStore(backendtest.Service(t, s, "scaffolder", core.Database))
		if dead, err := store.Claim(t.Context(), 0); err != nil || dead == nil {
			t.Fatalf("no task to claim: %v", err)
		}
		var task struct{ Status string }
		for task.Status != "failed" {
			must(t, s.RunTask(t, "scaffolder", "close_stale_tasks"))
			if c.Get(path).JSON(&task); t.Context().Err() != nil {
				t.Fatal("the task is not closed")
			}
		}
		if all := follow(t, c, path); all[len(all)-1].Body.Message != "This task was marked as stale as it exceeded its timeout" {
			t.Errorf("the end is %q", transcript(all))
		}
		if column(t, s, "secrets") != "" {
			t.Error("its secrets are still there")
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
