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

// createRepository finds before it creates, and keeps what it cannot find.
func createRepository(world map[string]int) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:repository"},
		func(ctx context.Context, c *scaffoldernode.ActionContext, in struct {
			Name string `json:"name"`
		}) (out struct {
			URL string `json:"url"`
		}, err error) {
			if _, there := world[in.Name]; !there {
				world[in.Name] = 1
			}
			out.URL, err = scaffoldernode.Checkpoint(ctx, c, "url", func(context.Context) (string, error) { return "https://host/" + in.Name, nil })
			c.Logger.Info("using " + c.Secrets["token"].Reveal())
			return out, err
		})
}

func TestACrashAnywhereLeavesOne(t *testing.T) {
	t.Parallel()
	crashes := 0
	actiontest.EachCrash(t, func(t testing.TB, crash actiontest.Option) *actiontest.Result {
		world := map[string]int{}
		input := map[string]any{"name": "shop"}
		first := actiontest.Run(t, createRepository(world), input, crash, actiontest.WithSecret("token", "hush-hush"))
		again := actiontest.Run(t, createRepository(world), input, actiontest.After(first))
		if again.Err != nil || again.Outputs["url"] != "https://host/shop" || len(world) != 1 {
			t.Errorf("again: %v, %v; the host has %v", again.Outputs, again.Err, world)
		}
		if strings.Contains(first.Log, "hush-hush") {
			t.Errorf("the log has the secret: %s", first.Log)
		}
		if first.Crashed {
			crashes++
		}
		return first
	})
	if crashes != 3 {
		t.Errorf("%d crashes, want before and after the checkpoint, and at the end", crashes)
	}
}

// failures counts what a test would have been told.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Errorf(string, ...any) { f.n++ }

func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	leaky := scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "acme:leak"},
		func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (out struct {
			Token string `json:"token"`
		}, err error) {
			out.Token, err = scaffoldernode.Checkpoint(ctx, c, "token", func(context.Context) (string, error) { return c.Secrets["token"].Reveal(), nil })
			return out, errors.Join(err, c.Output("token", out.Token), errors.New("bad token "+out.Token))
		})
	told := &failures{TB: t}
	actiontest.Run(told, leaky, struct{}{}, actiontest.WithSecret("token", "hush-hush"), actiontest.WithUser("user:default/jane"), actiontest.DryRun())
	if told.n != 3 {
		t.Errorf("%d leaks were found, want the error, the output and the checkpoint", told.n)
	}
}

func TestAuthorsAreTold(t *testing.T) {
	t.Parallel()
	for want, declare := range map[string]func(){
		`action "" needs an id`: func() {
			scaffoldernode.NewAction(scaffoldernode.ActionInfo{}, func(context.Context, *scaffoldernode.ActionContext, struct{}) (struct{}, error) {
				return struct{}{}, nil
			})
		},
		`string of action "a:b" is no struct`: func() {
			scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "a:b"}, func(context.Context, *scaffoldernode.ActionContext, string) (struct{}, error) { return struct{}{}, nil })
		},
		`the input of action "a:b" has no schema: `: func() {
			scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "a:b"}, func(context.Context, *scaffoldernode.ActionContext, struct{ C chan int }) (struct{}, error) {
				return struct{}{}, nil
			})
		},
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, want) {
					t.Errorf("got %q, want %s", text, want)
				}
			}()
			declare()
		}()
	}
}
