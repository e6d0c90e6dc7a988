package scaffolderbackend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/internal/ownprocess"
	scaffoldermoduleworkspacedatabase "github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// attack is an action that does not mean well.
func attack(name string, run func(ctx context.Context, c *scaffoldernode.ActionContext) error) scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "attack:" + name, SupportsDryRun: true},
		func(ctx context.Context, c *scaffoldernode.ActionContext, _ struct{}) (struct{}, error) {
			c.Logger.Info("attacking by " + name)
			return struct{}{}, run(ctx, c)
		})
}

type lookInput struct {
	Paths []string `json:"paths"`
	PID   int      `json:"pid"`
}

// look tells what it sees of the machine.
var look = scaffoldernode.NewAction(scaffoldernode.ActionInfo{ID: "attack:look"},
	func(_ context.Context, c *scaffoldernode.ActionContext, in lookInput) (out struct {
		Read    []string `json:"read"`
		Environ []string `json:"environ"`
		Dir     string   `json:"dir"`
		Signal  string   `json:"signal"`
		Write   string   `json:"write"`
	}, err error) {
		out.Read, out.Environ = []string{}, os.Environ()
		for _, path := range in.Paths {
			if _, err := os.ReadFile(path); err == nil {
				out.Read = append(out.Read, path)
			}
		}
		out.Dir, _ = os.Getwd()
		out.Signal = fmt.Sprint(syscall.Kill(in.PID, syscall.SIGCONT))
		out.Write = fmt.Sprint(os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(c.Workspace.Name())), "planted"), nil, 0o644))
		return out, nil
	})

// isolatedActions are those that the processes of tasks have.
func isolatedActions() []scaffoldernode.Action {
	return []scaffoldernode.Action{
		look,
		attack("nothing", func(context.Context, *scaffoldernode.ActionContext) error { return nil }),
		attack("allocate", func(context.Context, *scaffoldernode.ActionContext) error {
			var kept [][]byte
			for {
				kept = append(kept, bytes.Repeat([]byte{1}, 16<<20))
				runtime.KeepAlive(kept)
			}
		}),
		attack("compute", func(context.Context, *scaffoldernode.ActionContext) error {
			for n := 0; ; n++ {
				runtime.KeepAlive(n)
			}
		}),
		attack("one-file", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			file, err := c.Workspace.Create("large")
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.CopyN(file, zeros{}, 1<<30)
			return err
		}),
		attack("many-files", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			for n := 0; ; n++ {
				if err := c.Workspace.WriteFile(strconv.Itoa(n), make([]byte, 1<<20), 0o600); err != nil {
					return err
				}
				time.Sleep(2 * time.Millisecond) // the machine is shared
			}
		}),
		attack("open-files", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			for {
				file, err := c.Workspace.Open(".")
				if err != nil {
					return err
				}
				defer file.Close()
			}
		}),
		attack("fork", func(context.Context, *scaffoldernode.ActionContext) error {
			for {
				if err := exec.Command("/bin/sleep", "600").Start(); err != nil {
					return err
				}
			}
		}),
		attack("leave-children", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			child := exec.Command("/bin/sleep", "600")
			if err := child.Start(); err != nil {
				return err
			}
			return c.Output("pid", child.Process.Pid)
		}),
		attack("sleep", func(context.Context, *scaffoldernode.ActionContext) error { select {} }),
		attack("wait", func(ctx context.Context, _ *scaffoldernode.ActionContext) error {
			<-ctx.Done()
			return ctx.Err()
		}),
		attack("die", func(context.Context, *scaffoldernode.ActionContext) error {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}),
		attack("exit", func(context.Context, *scaffoldernode.ActionContext) error { os.Exit(3); return nil }),
		attack("crash", func(context.Context, *scaffoldernode.ActionContext) error {
			var wait sync.WaitGroup
			wait.Go(func() { panic("boo") })
			wait.Wait()
			return nil
		}),
		attack("call", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
			who, err := c.InitiatorCredentials(ctx)
			if err != nil {
				return err
			}
			return c.Output("who", who.Principal.UserEntityRef)
		}),
		attack("write", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			return c.Workspace.WriteFile("made", []byte("by a step before"), 0o600)
		}),
		attack("read", func(_ context.Context, c *scaffoldernode.ActionContext) error {
			text, err := c.Workspace.ReadFile("made")
			if err != nil {
				return err
			}
			return c.Output("text", string(text))
		}),
		attack("checkpoint", func(ctx context.Context, c *scaffoldernode.ActionContext) error {
			n, err := scaffoldernode.Checkpoint(ctx, c, "n", func(context.Context) (int, error) { return os.Getpid(), nil })
			if err != nil {
				return err
			}
			if n == os.Getpid() {
				os.Exit(4) // kept, and gone
			}
			return c.Output("again", true)
		}),
	}
}

func needsLinux(t *testing.T) {
	t.Helper()
	if ownprocess.Supported() != nil {
		t.Skip("only Linux has what processes of their own need")
	}
}

// isolate starts a backend whose tasks have processes.
func isolate(t *testing.T, spec string, settings map[string]any, more ...backend.Feature) *backendtest.Server {
	t.Helper()
	needsLinux(t)
	all := map[string]any{"mode": "process", "memory": "0"}
	for key, v := range settings {
		all[key] = v
	}
	more = append(more, backendtest.Config(map[string]any{
		"scaffolder":   map[string]any{"taskIsolation": all, "taskSecrets": map[string]any{"keys": []any{"not-for-tasks"}}, "defaultAuthor": map[string]any{"name": "a"}},
		"integrations": map[string]any{"github": []any{map[string]any{"host": "github.com", "token": "for-tasks"}}},
	}), withActions(isolatedActions()...))
	return open(t, backendtest.SQLite(t), spec, more...)
}

func oneStep(action string) string {
	return `"steps":[{"id":"a","name":"A","action":"` + action + `"}],"output":{"all":"${{ steps.a.output }}"}`
}

func TestTasksRunInProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := isolate(t, `"steps":[{"id":"a","name":"A","action":"debug:log","input":{"message":"hello ${{ parameters.name }} ${{ secrets.s }} ${{ environment.parameters.x }}"}},{"id":"b","name":"B","action":"attack:call"}],"output":{"n":"${{ steps.b.output.who }}"}`,
		nil, backendtest.Config(map[string]any{"scaffolder": map[string]any{"defaultEnvironment": map[string]any{"parameters": map[string]any{"x": "env"}}}}))
	c := s.Client(t)
	got := transcript(follow(t, c, create(c, map[string]any{"name": "Ada"}, map[string]any{"s": "hush"})))
	want := `Starting up task with 2 steps
Beginning step A (processing)
info: {
  "message": "***"
}
info: ***
Finished step A (completed)
Beginning step B (processing)
info: attacking by call
Finished step B (completed)
Run completed with status: completed: {"n":"user:default/mock"}
`
	if strings.Contains(got, "hush") || !strings.HasSuffix(got, want[strings.Index(want, "Finished step A"):]) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProcessesOfTasksSeeLittle(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "app-config.yaml")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(os.Getpid())
	in, err := json.Marshal(lookInput{PID: os.Getpid(), Paths: []string{
		outside, "/proc/" + pid + "/environ", "/proc/" + pid + "/mem", "/proc/" + pid + "/cmdline", "/proc/self/environ", "/proc/1/environ", "/etc/shadow", "/etc/hostname", "/etc/passwd",
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := isolate(t, `"steps":[{"id":"a","name":"A","action":"attack:look","input":`+string(in)+`}],"output":{"all":"${{ steps.a.output }}"}`, nil)
	c := s.Client(t)
	events := follow(t, c, create(c, map[string]any{}, nil))
	var got struct {
		All struct {
			Read, Environ      []string
			Dir, Signal, Write string
		}
	}
	if err := json.Unmarshal(events[len(events)-1].Body.Output, &got); err != nil {
		t.Fatalf("%v\n%s", err, transcript(events))
	}
	for _, variable := range got.All.Environ {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HOME", "TMPDIR":
		default:
			t.Errorf("the task has the variable %s", name)
		}
	}
	if ownprocess.Landlock() == 0 {
		t.Log("this kernel has no Landlock: a task reads what its user may read")
		return
	}
	if len(got.All.Read) != 1 || got.All.Read[0] != "/etc/passwd" {
		t.Errorf("the task read %v", got.All.Read)
	}
	if !strings.Contains(got.All.Write, "permission denied") {
		t.Errorf("writing beside its folder: %s", got.All.Write)
	}
	if ownprocess.Landlock() >= 6 && !strings.Contains(got.All.Signal, "not permitted") {
		t.Errorf("a signal to the backend: %s", got.All.Signal)
	}
}

// Whatever a task does to its process, the task fails with the reason, and the
// backend goes on.
func TestProcessesOfTasksHaveLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings map[string]any
		message  string
		memory   bool
		root     bool // the limit counts only for another user
	}{
		"allocate":   {map[string]any{"memory": "256MB"}, "its process ran out of memory; it may have 256 MB", true, false},
		"compute":    {map[string]any{"cpuTime": "1s"}, "its process was ended: it used more than 1s of CPU time", false, false},
		"one-file":   {map[string]any{"fileSize": "1MB"}, "file too large", false, false},
		"many-files": {map[string]any{"disk": "8MB"}, "its process was ended: its files take more than 8 MB", false, false},
		"open-files": {map[string]any{"openFiles": 100.0}, "too many open files", false, false},
		"fork":       {map[string]any{"processes": 64.0, "uid": 54321.0}, "resource temporarily unavailable", false, true},
		"sleep":      {map[string]any{"time": "3s"}, "its process was ended: it ran for longer than 3s", false, false},
		"die":        {nil, "its process was killed, by the system for want of memory or by somebody", false, false},
		"exit":       {nil, "its process exited with code 3", false, false},
		"crash":      {nil, "its process exited with code 2: panic: boo", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needsLinux(t)
			if tt.memory && raceEnabled {
				t.Skip("the race detector needs more memory than the limit")
			}
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can change the user")
			}
			more := []backend.Feature{}
			if tt.root {
				more = append(more, passable(t))
			}
			s := isolate(t, oneStep("attack:"+name), tt.settings, more...)
			c := s.Client(t)
			got := transcript(follow(t, c, create(c, map[string]any{}, nil)))
			if !strings.Contains(got, "Run completed with status: failed") || !strings.Contains(got, tt.message) || !strings.Contains(got, " (failed)\n") {
				t.Errorf("the task says\n%s", got)
			}
			c.Get(tasksPath).Expect(http.StatusOK)
		})
	}
}

// passable makes a working directory that other users may enter.
func passable(t *testing.T) backend.Feature {
	t.Helper()
	dir, err := os.MkdirTemp("", "isolation-*") //nolint:usetesting // the folders around t.TempDir are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return backendtest.Config(map[string]any{"backend": map[string]any{"workingDirectory": dir}})
}

// What a task leaves running ends with it.
func TestChildrenOfTasksEnd(t *testing.T) {
	t.Parallel()
	s := isolate(t, oneStep("attack:leave-children"), nil)
	c := s.Client(t)
	events := follow(t, c, create(c, map[string]any{}, nil))
	var got struct{ All struct{ PID int } }
	if err := json.Unmarshal(events[len(events)-1].Body.Output, &got); err != nil || got.All.PID == 0 {
		t.Fatalf("%v\n%s", err, transcript(events))
	}
	for alive(got.All.PID) { // until the system has taken note
		runtime.Gosched()
	}
}

// alive reports whether a process runs.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestCancellingEndsTheProcess(t *testing.T) {
	t.Parallel()
	s := isolate(t, oneStep("attack:wait"), nil)
	c := s.Client(t)
	path := create(c, map[string]any{}, nil)
	for !strings.Contains(c.Get(path+"/events").Expect(http.StatusOK).Text(), "attacking by wait") {
		runtime.Gosched()
	}
	c.Post(path+"/cancel", nil).Expect(http.StatusOK)
	got := transcript(follow(t, c, path))
	if !strings.Contains(got, "Step a (A) of task "+strings.TrimPrefix(path, tasksPath+"/")+" has been cancelled.") {
		t.Errorf("the task says\n%s", got)
	}
}

// A checkpoint outlives the process: the retried step does not do it again.
func TestCheckpointsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	s := isolate(t, oneStep("attack:checkpoint"), nil, backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": map[string]any{"enabled": true}}}))
	c := s.Client(t)
	path := create(c, map[string]any{}, nil)
	if got := transcript(follow(t, c, path)); !strings.Contains(got, "its process exited with code 4") {
		t.Fatalf("the task says\n%s", got)
	}
	c.Post(path+"/retry", nil).Expect(http.StatusCreated)
	var events []event
	for len(events) == 0 || !strings.Contains(transcript(events), "Run completed") {
		c.Get(path + "/events").Expect(http.StatusOK).JSON(&events)
		runtime.Gosched()
	}
	if got := transcript(events); !strings.Contains(got, `{"all":{"again":true}}`) {
		t.Errorf("the task says\n%s", got)
	}
}

// The workspace is kept by the backend, and restored into the folder of the
// next process.
func TestWorkspacesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	s := isolate(t, `"steps":[{"id":"w","name":"W","action":"attack:write"},{"id":"a","name":"A","action":"attack:checkpoint"},{"id":"r","name":"R","action":"attack:read"}],"output":{"text":"${{ steps.r.output.text }}"}`, nil,
		scaffoldermoduleworkspacedatabase.Module,
		backendtest.Config(map[string]any{"scaffolder": map[string]any{"taskRecovery": map[string]any{"enabled": true, "workspaceProvider": "database"}}}))
	c := s.Client(t)
	path := create(c, map[string]any{}, nil)
	if got := transcript(follow(t, c, path)); !strings.Contains(got, "its process exited with code 4") {
		t.Fatalf("the task says\n%s", got)
	}
	c.Post(path+"/retry", nil).Expect(http.StatusCreated)
	var events []event
	for len(events) == 0 || !strings.Contains(transcript(events), "Run completed") {
		c.Get(path + "/events").Expect(http.StatusOK).JSON(&events)
		runtime.Gosched()
	}
	if got := transcript(events); !strings.Contains(got, `{"text":"by a step before"}`) {
		t.Errorf("the task says\n%s", got)
	}
}

// A task calls other plugins over the network, with tokens of the backend for
// who created it.
func TestProcessesCallPlugins(t *testing.T) {
	t.Parallel()
	s := isolate(t, `"steps":[{"id":"a","name":"A","action":"catalog:fetch","input":{"entityRef":"template:default/t"}}],"output":{"kind":"${{ steps.a.output.entity.kind }}"}`, nil)
	c := s.Client(t)
	if got := transcript(follow(t, c, create(c, map[string]any{}, nil))); !strings.Contains(got, `{"kind":"Template"}`) {
		t.Errorf("the task says\n%s", got)
	}
}

func TestDryRunsHaveProcesses(t *testing.T) {
	t.Parallel()
	s := isolate(t, oneStep("attack:nothing"), nil)
	c := s.Client(t)
	in := map[string]any{
		"template": json.RawMessage(tmpl(`"steps":[{"id":"f","action":"fetch:template","input":{"url":"./skeleton","values":{"n":"${{ parameters.n }}"}}},{"id":"a","action":"attack:nothing"}]`)),
		"values":   map[string]any{"n": "Ada"},
	}
	var got struct {
		DirectoryContents []struct{ Path, Base64Content string }
		Log               []struct{ Body struct{ Message string } }
	}
	in["directoryContents"] = []any{map[string]any{"path": "skeleton/hello", "base64Content": "JHt7IHZhbHVlcy5uIH19"}}
	c.Post("/api/scaffolder/v2/dry-run", in).Expect(http.StatusOK).JSON(&got)
	if len(got.DirectoryContents) != 1 || got.DirectoryContents[0].Path != "hello" || got.DirectoryContents[0].Base64Content != "QWRh" || len(got.Log) < 5 {
		t.Errorf("got %+v", got)
	}
	in["template"] = json.RawMessage(tmpl(oneStep("attack:exit")))
	c.Post("/api/scaffolder/v2/dry-run", in).Expect(http.StatusInternalServerError)
}

func TestIsolationIsConfiguredRight(t *testing.T) {
	t.Parallel()
	needsLinux(t)
	for settings, text := range map[string]string{
		"{mode: process, memory: lots}":                          `app-config.yaml:2: config key "scaffolder.taskIsolation.memory" is lots, no size; write bytes`,
		"{mode: process, memory: 1MB}":                           `config key "scaffolder.taskIsolation.memory" must be at least 128 MB`,
		"{mode: process, config: [backend]}":                     `config key "scaffolder.taskIsolation.config" names backend;`,
		"{mode: process, config: [scaffolder.taskSecrets.keys]}": `config key "scaffolder.taskIsolation.config" names scaffolder.taskSecrets.keys;`,
		"{mode: process, gid: 1}":                                `config key "scaffolder.taskIsolation.gid" has no effect`,
		"{mode: docker}":                                         `config key "scaffolder.taskIsolation.mode"`,
		"{mode: process, memory: 2 GiB, cpuTime: 5m}":            "0 errors",
	} {
		_, out, stderr := flytower(shop(t, map[string]string{"app-config.yaml": "backend: {baseUrl: 'http://localhost:7007', listen: ':7007', database: {client: better-sqlite3, connection: ':memory:'}}\nscaffolder: {taskIsolation: " + settings + "}\n"}), "check")
		if !strings.Contains(out, text) {
			t.Errorf("%s: got %s%s", settings, out, stderr)
		}
	}
}
