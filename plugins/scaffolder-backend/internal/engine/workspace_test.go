package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/engine"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const taskID = "018f3a52-0000-4000-8000-000000000001"

// outside is what outlives a run: the state of the task, and the snapshots.
type outside struct {
	mu        sync.Mutex
	state     map[string]map[string]json.RawMessage
	snapshots map[scaffoldernode.WorkspaceSnapshot][]byte
	saves     int
	runs      int // the last one has the task
}

func newOutside() *outside {
	return &outside{state: map[string]map[string]json.RawMessage{}, snapshots: map[scaffoldernode.WorkspaceSnapshot][]byte{}}
}

// instance is a backend as it sees the outside, until its process ends.
type instance struct {
	*outside
	number int // of the run
	die    func()
	// left counts down to the end, at each moment in which it may come.
	left int
}

var errDead = errors.New("the process has ended")

// moment is one in which the process may end.
func (i *instance) moment() error {
	if i.left--; i.left == 0 {
		i.die()
	}
	if i.left <= 0 {
		return errDead
	}
	return nil
}

func (i *instance) Load(_ context.Context, kind string) (map[string]json.RawMessage, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.state[kind]), nil
}

func (i *instance) Keep(_ context.Context, all ...tasks.Kept) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.number != i.runs {
		return tasks.ErrLost
	}
	if err := i.moment(); err != nil {
		return err
	}
	for _, k := range all {
		if i.state[k.Kind] == nil {
			i.state[k.Kind] = map[string]json.RawMessage{}
		}
		i.state[k.Kind][k.Key] = k.Value
	}
	return i.moment()
}

func (i *instance) Save(_ context.Context, s scaffoldernode.WorkspaceSnapshot, archive io.Reader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.saves++
	half := make([]byte, 700)
	n, err := io.ReadFull(archive, half)
	if err != nil {
		return err
	}
	i.snapshots[s] = half[:n]
	if err := i.moment(); err != nil {
		return err
	}
	rest, err := io.ReadAll(archive)
	if err != nil {
		return err
	}
	i.snapshots[s] = append(half[:n], rest...)
	return i.moment()
}

func (i *instance) Open(_ context.Context, s scaffoldernode.WorkspaceSnapshot) (io.ReadCloser, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.moment(); err != nil {
		return nil, err
	}
	text, ok := i.snapshots[s]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func (i *instance) Remove(_ context.Context, s scaffoldernode.WorkspaceSnapshot) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.moment(); err != nil {
		return err
	}
	delete(i.snapshots, s)
	return i.moment()
}

func (*instance) List(context.Context) iter.Seq2[scaffoldernode.KeptWorkspace, error] {
	return func(func(scaffoldernode.KeptWorkspace, error) bool) {}
}

// silence is a journal that keeps nothing.
type silence struct{}

func (silence) Write(context.Context, scaffoldercommon.EventBody) error { return nil }

// appendTo is not idempotent: done twice, it shows.
func appendTo(root *os.Root, name, text string) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

type nothing struct{}

func action(id string, run func(ctx context.Context, c *scaffoldernode.ActionContext) error) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: id, SupportsDryRun: true}, func(ctx context.Context, c *scaffoldernode.ActionContext, _ nothing) (nothing, error) {
		return nothing{}, run(ctx, c)
	})
}

// storyActions write files in ways that work only once.
func storyActions() []scaffoldernode.Action {
	return []scaffoldernode.Action{
		action("write", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			return errors.Join(c.Workspace.MkdirAll("dir/empty", 0o755), appendTo(c.Workspace, "dir/a", "a"), c.Workspace.Symlink("dir/a", "link"))
		}),
		action("checkpoint", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
			for _, key := range []string{"one", "two"} {
				if _, err := scaffoldernode.Checkpoint(ctx, c, key, func(context.Context) (string, error) { return key, appendTo(c.Workspace, "b", key+" ") }); err != nil {
					return err
				}
			}
			return appendTo(c.Workspace, "b", "end")
		}),
		action("nothing", func(context.Context, *scaffoldernode.ActionContext) error { return nil }),
		action("rename", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			return c.Workspace.Rename("dir/a", "c")
		}),
		action("wipe", func(_ context.Context, c *scaffoldernode.ActionContext) error { return c.Workspace.RemoveAll("dir") }),
	}
}

var (
	story = []string{"nothing", "write", "checkpoint", "nothing", "rename", "wipe"}
	ended = map[string]string{"b": "one two end", "c": "a", "link": "-> dir/a"}
)

// runner returns a runner with its own folder for workspaces, as a machine has.
func runner(t *testing.T, workspaces scaffoldernode.WorkspaceProvider, all ...scaffoldernode.Action) *engine.Runner {
	t.Helper()
	hosts, err := integration.FromConfig(configtest.FromYAML(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	language, err := templating.New(hosts, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &engine.Runner{Actions: &registry.Registry{}, Templating: language, WorkDir: t.TempDir(), Workspaces: workspaces}
	if err := r.Actions.Add(all...); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the steps to their end, or to that of the process, and returns the
// files that there are at the end.
func (o *outside) run(t *testing.T, moments int, actions []scaffoldernode.Action, steps []string) (files map[string]string, err error) {
	t.Helper()
	ctx, die := context.WithCancelCause(t.Context())
	defer die(nil)
	o.runs++
	i := &instance{outside: o, number: o.runs, die: func() { die(errDead) }, left: moments}
	spec := scaffoldercommon.TaskSpec{APIVersion: scaffoldercommon.APIVersion}
	for n, action := range steps {
		id := fmt.Sprint("s", n)
		spec.Steps = append(spec.Steps, scaffoldercommon.TaskStep{ID: id, Name: id, Action: action})
	}
	_, err = runner(t, i, actions...).Execute(ctx, ctx, &engine.Run{
		ID: taskID, Spec: spec, Journal: silence{}, State: i, Resume: true,
		AtEnd: func(workspace *os.Root) (err error) {
			files, err = read(workspace)
			return err
		},
	})
	return files, err
}

func read(root *os.Root) (map[string]string, error) {
	files := map[string]string{}
	return files, fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case entry.IsDir():
			files[name] = "folder"
		case entry.Type() == fs.ModeSymlink:
			target, err := root.Readlink(name)
			files[name] = "-> " + target
			return err
		default:
			text, err := root.ReadFile(name)
			files[name] = string(text)
			return err
		}
		return nil
	})
}

const forever = 1 << 30

// TestAnotherMachineGoesOnWithTheFiles ends the process at every moment that
// there is, and in the second run once more: the state of a task and its
// files are always of the same moment, or what is appended would be there
// twice, and what is renamed would not be found.
func TestAnotherMachineGoesOnWithTheFiles(t *testing.T) {
	t.Parallel()
	for first := 1; ; first++ {
		if files, err := newOutside().run(t, first, storyActions(), story); err == nil {
			if diff := cmp.Diff(ended, files); diff != "" {
				t.Errorf("without a crash (-want +got):\n%s", diff)
			}
			if first < 20 {
				t.Errorf("there are only %d moments", first)
			}
			break
		}
		for second := 1 + first%3; ; second += 3 {
			world := newOutside()
			if _, err := world.run(t, first, storyActions(), story); !errors.Is(err, errDead) {
				t.Fatalf("the end of the process at moment %d: %v", first, err)
			}
			files, err := world.run(t, second, storyActions(), story)
			again, complete := errors.Is(err, errDead), len(world.state[tasks.StepState]) == len(story)
			if again {
				files, err = world.run(t, forever, storyActions(), story)
			}
			if err != nil {
				t.Fatalf("after ends at the moments %d and %d: %v", first, second, err)
			}
			// Where the end was all that was missing, no files are needed.
			if diff := cmp.Diff(ended, files); diff != "" && (!complete || len(files) > 0) {
				t.Fatalf("after ends at the moments %d and %d (-want +got):\n%s", first, second, diff)
			}
			if len(world.state[tasks.StepState]) != len(story) {
				t.Fatalf("after ends at the moments %d and %d only %v is done", first, second, world.state)
			}
			if !again {
				break
			}
		}
	}
}

func TestWhatDidNotChangeIsNotSaved(t *testing.T) {
	t.Parallel()
	world := newOutside()
	if _, err := world.run(t, forever, storyActions(), story); err != nil {
		t.Fatal(err)
	}
	// The steps write, checkpoint, rename and wipe, and two checkpoints.
	if world.saves != 6 {
		t.Errorf("it was saved %d times", world.saves)
	}
	if len(world.snapshots) != 1 {
		t.Errorf("%d snapshots are kept", len(world.snapshots))
	}
}

// TestARunThatLostItsTaskHarmsNothing saves while somebody else has the task.
func TestARunThatLostItsTaskHarmsNothing(t *testing.T) {
	t.Parallel()
	world := newOutside()
	slow := func(run func(c *scaffoldernode.ActionContext) error) []scaffoldernode.Action {
		return append(storyActions(), action("slow", func(_ context.Context, c *scaffoldernode.ActionContext) error { return run(c) }))
	}
	steps := []string{"write", "checkpoint", "slow", "rename"}
	_, err := world.run(t, forever, slow(func(c *scaffoldernode.ActionContext) error {
		// Here this run sleeps until its lease is over. Another one does the
		// step, and ends at the next one.
		other := slow(func(c *scaffoldernode.ActionContext) error { return appendTo(c.Workspace, "b", "!") })
		if _, err := world.run(t, forever, other, []string{"write", "checkpoint", "slow", "missing"}); err == nil {
			t.Error("a step without an action went well")
		}
		return appendTo(c.Workspace, "b", "?")
	}), steps)
	if !errors.Is(err, tasks.ErrLost) {
		t.Fatalf("the run that lost its task ended with %v", err)
	}
	if world.saves < 5 {
		t.Error("it saved nothing after it had lost the task, so this test shows nothing")
	}
	files, err := world.run(t, forever, storyActions(), steps)
	if err != nil || files["b"] != "one two end!" || files["c"] != "a" {
		t.Errorf("the files are %v, %v", files, err)
	}
}

func TestFilesThatAreGone(t *testing.T) {
	t.Parallel()
	for what, harm := range map[string]func(o *outside, s scaffoldernode.WorkspaceSnapshot){
		"it is not kept any more": func(o *outside, s scaffoldernode.WorkspaceSnapshot) { delete(o.snapshots, s) },
		"is not what was saved":   func(o *outside, s scaffoldernode.WorkspaceSnapshot) { o.snapshots[s][520] ^= 1 },
	} {
		world := newOutside()
		if _, err := world.run(t, forever, storyActions(), append(story[:3:3], "missing")); err == nil {
			t.Fatal("a step without an action went well")
		}
		for s := range world.snapshots {
			harm(world, s)
		}
		if _, err := world.run(t, forever, storyActions(), story); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("it ended with %v, not that %s", err, what)
		}
	}
}

// TestDryRunsKeepNothing runs where workspaces are kept.
func TestDryRunsKeepNothing(t *testing.T) {
	t.Parallel()
	world := newOutside()
	r := runner(t, &instance{outside: world, left: forever}, storyActions()...)
	_, err := r.Execute(t.Context(), t.Context(), &engine.Run{
		ID: "dry-run-1", Journal: silence{}, DryRun: true,
		Spec: scaffoldercommon.TaskSpec{APIVersion: scaffoldercommon.APIVersion, Steps: []scaffoldercommon.TaskStep{{ID: "s", Name: "S", Action: "write"}}},
	})
	if err != nil || world.saves != 0 {
		t.Errorf("%d saves, %v", world.saves, err)
	}
}
