package scaffoldernode_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

// An action: it writes a file and says where.
type greetingInput struct {
	Name string `json:"name" description:"Whom to greet"`
	Path string `json:"path,omitempty" description:"The file to write, greeting.txt by default"`
}

type greetingOutput struct {
	Path string `json:"path"`
}

var greeting = scaffoldernode.NewAction(
	scaffoldernode.ActionInfo{ID: "acme:greeting", Description: "Writes a greeting into the workspace", SupportsDryRun: true},
	func(_ context.Context, c *scaffoldernode.ActionContext, in greetingInput) (greetingOutput, error) {
		if in.Path == "" {
			in.Path = "greeting.txt"
		}
		c.Logger.Info("Writing a greeting", "path", in.Path)
		return greetingOutput{in.Path}, c.Workspace.WriteFile(in.Path, []byte("Hello "+in.Name), 0o644)
	},
)

func TestAnActionIsAFunction(t *testing.T) {
	t.Parallel()
	run := actiontest.Run(t, greeting, map[string]any{"name": "Ada"})
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	if diff := cmp.Diff(map[string]any{"path": "greeting.txt"}, run.Outputs); diff != "" {
		t.Error(diff)
	}
	if got := run.File("greeting.txt"); got != "Hello Ada" {
		t.Errorf("the file says %q", got)
	}
	if !strings.Contains(run.Log, "Writing a greeting") {
		t.Errorf("the log is %q", run.Log)
	}
}

func TestTheInputIsChecked(t *testing.T) {
	t.Parallel()
	for _, input := range []map[string]any{{}, {"name": 1}, {"name": "x", "other": 1}} {
		if run := actiontest.Run(t, greeting, input); run.Err == nil {
			t.Errorf("%v was accepted", input)
		}
	}
}

func TestNothingLeavesTheWorkspace(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../out.txt", "/etc/out.txt", "a/../../out.txt"} {
		if run := actiontest.Run(t, greeting, map[string]any{"name": "x", "path": path}); run.Err == nil {
			t.Errorf("%s was written", path)
		}
	}
}

func TestCheckpointsRunOnce(t *testing.T) {
	t.Parallel()
	created, crash := 0, errors.New("crash")
	action := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:create"},
		func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			ID int `json:"id"`
		}, err error) {
			out.ID, err = scaffoldernode.Checkpoint(ctx, c, "repository", func(context.Context) (int, error) {
				created++
				return 40 + created, nil
			})
			if err == nil && c.Secrets["crash"].Reveal() != "" {
				err = crash
			}
			return out, err
		})
	first := actiontest.Run(t, action, struct{}{}, actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
		c.Secrets["crash"] = core.NewToken("yes")
	}))
	if !errors.Is(first.Err, crash) {
		t.Fatalf("the first run: %v", first.Err)
	}
	again := actiontest.Run(t, action, struct{}{}, actiontest.After(first))
	if again.Err != nil || again.Outputs["id"] != 41.0 || created != 1 {
		t.Errorf("again: %v, %v; created %d times", again.Outputs, again.Err, created)
	}
}
