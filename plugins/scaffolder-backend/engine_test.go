package scaffolderbackend_test

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// conf is configuration below scaffolder.
func conf(values map[string]any) backend.Feature {
	return backendtest.Config(map[string]any{"scaffolder": values})
}

// act makes an action without output.
func act(id string, run func(ctx context.Context, c *scaffoldernode.ActionContext) error) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: id}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
		return struct{}{}, run(ctx, c)
	})
}

// end is the last event of a task.
func end(t *testing.T, c backendtest.Client, path string) event {
	t.Helper()
	all := follow(t, c, path)
	return all[len(all)-1]
}

func TestCheckpointsBelongToAnIteration(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		fail := true
		var made []string
		action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "test:make"}, func(ctx context.Context, c *scaffoldernode.ActionContext, in struct {
			Name string `json:"name"`
		}) (out struct {
			Made string `json:"made"`
		}, err error) {
			out.Made, err = scaffoldernode.Checkpoint(ctx, c, "it", func(context.Context) (string, error) {
				made = append(made, c.StepID+" "+in.Name)
				return "made " + in.Name, nil
			})
			if err == nil && in.Name == "b" && fail {
				fail, err = false, errors.New("not yet")
			}
			return out, err
		})
		s := open(t, database, `"steps":[{"id":"a","action":"test:make","each":["a","b","c"],"input":{"name":"${{ each.value }}"}},
			{"id":"a.0","action":"test:make","input":{"name":"d"}}],"output":{"made":"${{ steps.a.output.made | dump }}"}`, withActions(action))
		c := s.Client(t)
		path := create(c, map[string]any{}, nil)
		if e := end(t, c, path); e.Body.Error.Message != "not yet" {
			t.Fatalf("the first run ends with %+v", e)
		}
		c.Post(path+"/retry", map[string]any{}).Expect(http.StatusCreated)
		if e := end(t, c, path); string(e.Body.Output) != `{"made":"[\"made a\",\"made b\",\"made c\"]"}` {
			t.Errorf("the second run ends with %+v", e)
		}
		if diff := cmp.Diff([]string{"a a", "a b", "a c", "a.0 d"}, made); diff != "" {
			t.Errorf("made (-want +got):\n%s", diff)
		}
	})
}

func TestStepsAndTasksHaveTimeLimits(t *testing.T) {
	t.Parallel()
	wait := act("test:wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
		<-ctx.Done()
		return ctx.Err()
	})
	for name, tt := range map[string]struct {
		step   string
		config map[string]any
		want   string
	}{
		"of the step":               {`,"timeout":{"milliseconds":30}`, map[string]any{}, "ran for longer than 30ms."},
		"of the configuration":      {``, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"not more than is allowed":  {`,"timeout":"1h"`, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"one that is no time":       {`,"timeout":"soon"`, map[string]any{"stepTimeout": "40ms"}, "ran for longer than 40ms."},
		"of the task":               {``, map[string]any{"taskTimeout": "1s"}, "scaffolder.taskTimeout"},
		"of the task, in all steps": {`,"timeout":"2s"`, map[string]any{"taskTimeout": "1s"}, "scaffolder.taskTimeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, backendtest.SQLite(t), `"steps":[{"id":"w","name":"W","action":"test:wait"`+tt.step+`},{"id":"x","action":"debug:log","if":"${{ failure() }}"}]`, withActions(wait), conf(tt.config))
			c := s.Client(t)
			path := create(c, map[string]any{}, nil)
			if e := end(t, c, path); !strings.Contains(e.Body.Error.Message, tt.want) {
				t.Errorf("it ends with %+v", e)
			}
		})
	}
}

// TestCancellingEndsChildren has an action whose child would run for long.
func TestCancellingEndsChildren(t *testing.T) {
	t.Parallel()
	child, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	begun, over := make(chan struct{}), make(chan error, 1)
	action := act("test:child", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
		cmd := exec.CommandContext(ctx, child, "600")
		if err := cmd.Start(); err != nil {
			return err
		}
		close(begun)
		over <- cmd.Wait()
		return ctx.Err()
	})
	s := open(t, backendtest.PostgreSQL(t), `"steps":[{"id":"w","name":"W","action":"test:child"}]`, withActions(action))
	c := s.Client(t)
	path := create(c, map[string]any{}, nil)
	<-begun
	c.Post(path+"/cancel", nil).Expect(http.StatusOK)
	if e := end(t, c, path); !strings.Contains(e.Body.Error.Message, "has been cancelled") {
		t.Errorf("it ends with %+v", e)
	}
	var exit *exec.ExitError
	if err := <-over; !errors.As(err, &exit) {
		t.Errorf("the child ended with %v", err)
	}
}
