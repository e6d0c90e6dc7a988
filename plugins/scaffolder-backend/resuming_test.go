package scaffolderbackend_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// TestStopping stops a backend while a task runs.
func TestStopping(t *testing.T) {
	t.Parallel()
	const waits = `"steps":[{"id":"one","name":"One","action":"test:once"},{"id":"two","name":"Two","action":"test:wait"}]`
	// start runs a task until its second step waits for release.
	start := func(t *testing.T, database backend.Feature, config map[string]any) (s *backendtest.Server, path string, release chan struct{}, action backend.Feature) {
		begun, release := make(chan struct{}, 2), make(chan struct{})
		runs := 0
		action = withActions(
			act("test:once", func(context.Context, *scaffoldernode.ActionContext) error {
				if runs++; runs > 1 {
					return errors.New("it ran again")
				}
				return nil
			}),
			act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
				begun <- struct{}{}
				select {
				case <-release:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}),
		)
		s = open(t, database, waits, action, conf(config))
		path = create(s.Client(t), map[string]any{}, nil)
		<-begun
		return s, path, release, action
	}
	recovery := map[string]any{"enabled": true, "staleTimeout": "1h"}

	t.Run("waits for tasks where it is asked to", func(t *testing.T) {
		t.Parallel()
		database := backendtest.SQLite(t)
		s, path, release, action := start(t, database, map[string]any{"EXPERIMENTAL_gracefulShutdown": true, "taskRecovery": recovery})
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop() }()
		time.AfterFunc(50*time.Millisecond, func() { close(release) })
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		again := open(t, database, waits, action, conf(map[string]any{"concurrentTasksLimit": 0}))
		if text := transcript(follow(t, again.Client(t), path)); !strings.HasSuffix(text, "Run completed with status: completed: {}\n") || strings.Contains(text, "already completed") {
			t.Errorf("the task says:\n%s", text)
		}
	})
	t.Run("gives tasks back at once", func(t *testing.T) {
		t.Parallel()
		backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
			s, path, release, action := start(t, database, map[string]any{"taskRecovery": recovery})
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			close(release)
			again := open(t, database, waits, action, conf(map[string]any{"taskRecovery": recovery}))
			text := transcript(follow(t, again.Client(t), path))
			if !strings.HasSuffix(text, "Run completed with status: completed: {}\n") || !strings.Contains(text, "Skipping step one because it was already completed") || strings.Contains(text, "failed") {
				t.Errorf("the task says:\n%s", text)
			}
		})
	})
	t.Run("fails tasks that nobody would take over", func(t *testing.T) {
		t.Parallel()
		database := backendtest.SQLite(t)
		s, path, _, action := start(t, database, map[string]any{})
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		again := open(t, database, waits, action, conf(map[string]any{"concurrentTasksLimit": 0}))
		if e := end(t, again.Client(t), path); e.Body.Error.Message != "the backend stopped while the task ran; retry the task" {
			t.Errorf("it ends with %+v", e)
		}
	})
}

// TestCleanupRunsAgain retries a task whose second step fails: what cleans up
// after it runs each time, what went well does not.
func TestCleanupRunsAgain(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		var ran []string
		action := act("test:note", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			if ran = append(ran, c.StepID); c.StepID == "fail" {
				return errors.New("no")
			}
			return nil
		})
		s := open(t, database, `"steps":[{"id":"well","action":"test:note"},{"id":"fail","action":"test:note"},{"id":"clean","action":"test:note","if":"${{ always() }}"}]`,
			withActions(action), conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}}))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		end(t, c, path)
		c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
		end(t, c, path)
		if diff := cmp.Diff([]string{"well", "fail", "clean", "fail", "clean"}, ran); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestATaskThatStartsOver loses its files: all of its steps run again, but
// what is kept by checkpoints is not done again.
func TestATaskThatStartsOver(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		begun := make(chan struct{}, 2)
		var ran, made []string
		actions := withActions(
			act("test:note", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
				ran = append(ran, c.StepID)
				_, err := scaffoldernode.Checkpoint(ctx, c, "made", func(context.Context) (bool, error) {
					made = append(made, c.StepID)
					return true, nil
				})
				return err
			}),
			act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
				if begun <- struct{}{}; len(ran) > 1 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}),
		)
		recovery := conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}})
		const spec = `"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"},"steps":[{"id":"a","name":"A","action":"test:note"},{"id":"b","name":"B","action":"test:wait"}]`
		first := open(t, database, spec, actions, recovery)
		path := create(first.Client(t), map[string]any{}, nil)
		<-begun
		must(t, first.Stop())
		second := open(t, database, spec, actions, recovery)
		all := follow(t, second.Client(t), path)
		if all[0].Type != "recovered" || !all[0].Recoverable || !strings.HasSuffix(transcript(all), "completed: {}\n") {
			t.Errorf("the events are:\n%s", transcript(all))
		}
		if !cmp.Equal(ran, []string{"a", "a"}) || !cmp.Equal(made, []string{"a"}) {
			t.Errorf("%v ran, and %v was made", ran, made)
		}
	})
}

// TestATaskWithoutItsFilesRunsAllSteps stops a backend after a step that wrote
// a file. Another one goes on if it has the file.
func TestATaskWithoutItsFilesRunsAllSteps(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		same bool
		want []string
	}{"on the same machine": {true, []string{"a"}}, "on another one": {false, []string{"a", "a"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{}, 2)
			var ran []string
			stopped := false
			actions := withActions(
				act("test:write", func(_ context.Context, c *scaffoldernode.ActionContext) error {
					ran = append(ran, c.StepID)
					return c.Workspace.WriteFile("file", []byte("x"), 0o600)
				}),
				act("test:read", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
					if begun <- struct{}{}; !stopped {
						<-ctx.Done()
						return ctx.Err()
					}
					_, err := c.Workspace.ReadFile("file")
					return err
				}),
			)
			dir := backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": t.TempDir()}})
			recovery := conf(map[string]any{"taskRecovery": map[string]any{"enabled": true}})
			const spec = `"steps":[{"id":"a","name":"A","action":"test:write"},{"id":"b","name":"B","action":"test:read"}]`
			database := backendtest.SQLite(t)
			first := open(t, database, spec, actions, recovery, dir)
			path := create(first.Client(t), map[string]any{}, nil)
			<-begun
			must(t, first.Stop())
			stopped = true
			features := []backend.Feature{actions, recovery}
			if tt.same {
				features = append(features, dir)
			}
			all := follow(t, open(t, database, spec, features...).Client(t), path)
			if text := transcript(all); !strings.HasSuffix(text, "completed: {}\n") || strings.Contains(text, "The files of earlier steps are not here") == tt.same {
				t.Errorf("the events are:\n%s", text)
			}
			if diff := cmp.Diff(tt.want, ran); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
