// Package actiontest runs actions of the scaffolder in tests.
//
//	run := actiontest.Run(t, action, map[string]any{"name": "shop"}, actiontest.WithSecret("token", "hush"))
//	// run.Err, run.Outputs["path"], run.Files(), run.File("shop/README.md"), run.Log
//
// The log has secrets hidden as that of a task has. An error, an output or a
// checkpoint that tells a secret fails the test.
//
// An action has to survive a crash at any point. EachCrash ends it at each:
//
//	actiontest.EachCrash(t, func(t testing.TB, crash actiontest.Option) *actiontest.Result {
//		host := newHost()
//		first := actiontest.Run(t, publish(host), input, crash)
//		again := actiontest.Run(t, publish(host), input, actiontest.After(first))
//		if again.Err != nil || host.repositories != 1 {
//			t.Errorf("%d repositories, %v", host.repositories, again.Err)
//		}
//		return first
//	})
package actiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/internal/redact"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Option changes what an action runs with.
type Option func(t testing.TB, c *scaffoldernode.ActionContext, r *Result)

// WithFile puts a file into the workspace first.
func WithFile(path, content string) Option {
	return func(t testing.TB, c *scaffoldernode.ActionContext, _ *Result) {
		if err := writeFile(c.Workspace, path, content); err != nil {
			t.Fatalf("write %s into the workspace: %v", path, err)
		}
	}
}

// WithContext changes the context of the action: its secrets, or DryRun.
func WithContext(change func(c *scaffoldernode.ActionContext)) Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, _ *Result) { change(c) }
}

// In runs the action in a context, which a test can cancel; by default in that
// of the test.
func In(ctx context.Context) Option {
	return func(_ testing.TB, _ *scaffoldernode.ActionContext, r *Result) { r.ctx = ctx }
}

// WithSecret gives the task a secret.
func WithSecret(name, value string) Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, _ *Result) {
		c.Secrets[name] = core.NewToken(value)
	}
}

// WithUser chooses who created the task. Its credentials are those that the
// action gets, with a token for mocks.
func WithUser(ref string) Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, r *Result) {
		c.User.Ref = ref
		r.who = core.UserCredentials(ref, "", core.NewToken("mock-user-token"), time.Time{}, false)
	}
}

// DryRun runs the action in a dry run.
func DryRun() Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, _ *Result) { c.DryRun = true }
}

// After makes the run another one of the same step: it has the workspace and
// the checkpoints of the first.
func After(first *Result) Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, r *Result) {
		c.Workspace = first.workspace
		r.workspace = first.workspace
		r.checkpoints, r.sealed = first.checkpoints, first.sealed
	}
}

// Result is what an action did.
type Result struct {
	// Outputs are the outputs of the step, as JSON values.
	Outputs map[string]any
	// Err is the error of the action.
	Err error
	// Log is what it logged, a line each, without the values of secret
	// checkpoints.
	Log string

	// Crashed tells that the run was ended by CrashAt; Err is ErrCrashed then.
	Crashed bool

	t           testing.TB
	ctx         context.Context
	who         core.Credentials
	crashAt     int // 0 is never
	points      int // that were passed
	workspace   *os.Root
	mu          sync.Mutex
	checkpoints map[string]json.RawMessage
	sealed      map[string]json.RawMessage
	secrets     redact.Redactor
	log         bytes.Buffer
}

// Run runs an action with an input, which is checked as the scaffolder does,
// and checks its output. The task is mock-task-id, the step mock-step-id.
func Run(t testing.TB, action scaffoldernode.Action, input any, options ...Option) *Result {
	t.Helper()
	r := &Result{
		t: t, ctx: t.Context(), Outputs: map[string]any{}, who: core.NoCredentials(),
		checkpoints: map[string]json.RawMessage{}, sealed: map[string]json.RawMessage{},
	}
	r.workspace = openDir(t)
	c := &scaffoldernode.ActionContext{
		Workspace: r.workspace, Logger: slog.New(slog.NewTextHandler(&r.log, nil)), Secrets: map[string]core.Token{},
		TaskID: "mock-task-id", StepID: "mock-step-id", StepName: "mock step name",
		Template: scaffoldercommon.TemplateInfo{EntityRef: "template:default/mock"},
		User:     scaffoldercommon.TaskUser{Ref: "user:default/mock"},
		Host:     host{r},
	}
	for _, option := range options {
		option(t, c, r)
	}
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatalf("the input of action %s is no JSON: %v", action.ID, err)
	}
	if r.Err = check(t, action.Input, text); r.Err == nil {
		r.run(action, c, text)
	}
	r.hideSecrets(action, c.Secrets)
	if r.Err == nil {
		r.checkOutput(action)
	}
	return r
}

// run runs the action, up to the crash that it is to have.
func (r *Result) run(action scaffoldernode.Action, c *scaffoldernode.ActionContext, input json.RawMessage) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case crash:
			r.Crashed, r.Err = true, ErrCrashed
		default:
			panic(v)
		}
	}()
	r.Err = action.Run(r.ctx, c, input)
	if r.Err == nil {
		r.point() // the step is not stored as done yet
	}
}

// hideSecrets hides them in the log, and finds them where they must not be.
// Secrets that the action created may be outputs, which are sealed.
func (r *Result) hideSecrets(action scaffoldernode.Action, secrets map[string]core.Token) {
	r.t.Helper()
	var given redact.Redactor
	for _, secret := range secrets {
		given.Add(secret.Reveal())
		r.secrets.Add(secret.Reveal())
	}
	tells := func(text []byte, secrets *redact.Redactor) bool { return !bytes.Equal(secrets.Redact(text), text) }
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Log = string(r.secrets.Redact(r.log.Bytes()))
	if r.Err != nil && tells([]byte(r.Err.Error()), &r.secrets) {
		r.t.Errorf("the error of action %s tells a secret", action.ID)
	}
	for name, v := range r.Outputs {
		if text, err := json.Marshal(v); err == nil && tells(text, &given) {
			r.t.Errorf("the output %q of action %s tells a secret; it would be stored and shown", name, action.ID)
		}
	}
	for key, value := range r.checkpoints {
		if tells(value, &r.secrets) {
			r.t.Errorf("the checkpoint %q of action %s has a secret; keep that with scaffoldernode.SecretCheckpoint", key, action.ID)
		}
	}
}

func check(t testing.TB, schema, document json.RawMessage) error {
	t.Helper()
	if schema == nil {
		return nil
	}
	compiled, err := jsonschema.Compile(schema)
	if err != nil {
		t.Fatalf("a schema of the action: %v", err)
	}
	known, err := compiled.Check(document)
	if err != nil {
		return err
	}
	// Check leaves out what the schema does not have; the scaffolder refuses it
	var given, kept any
	if err := errors.Join(json.Unmarshal(document, &given), json.Unmarshal(known, &kept)); err != nil {
		return err
	}
	if !reflect.DeepEqual(given, kept) {
		return fmt.Errorf("%s has members that the schema does not have; it has %s", document, known)
	}
	return nil
}

func (r *Result) checkOutput(action scaffoldernode.Action) {
	r.t.Helper()
	text, err := json.Marshal(r.Outputs)
	if err == nil {
		err = check(r.t, action.Output, text)
	}
	if err != nil {
		r.t.Errorf("the output of action %s is not what its schema says: %v", action.ID, err)
	}
}

// Checkpoints returns what the runs of the step kept in clear, by key.
func (r *Result) Checkpoints() map[string]json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.checkpoints)
}

// File returns the content of a file in the workspace, which has to exist.
func (r *Result) File(path string) string {
	r.t.Helper()
	content, err := r.workspace.ReadFile(path)
	if err != nil {
		r.t.Fatalf("read from the workspace: %v", err)
	}
	return string(content)
}

// Files lists the files of the workspace, sorted, with slashes.
func (r *Result) Files() []string {
	r.t.Helper()
	names := []string{}
	err := fs.WalkDir(r.workspace.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		r.t.Fatalf("list the workspace: %v", err)
	}
	return names
}

func openDir(t testing.TB) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root
}

func writeFile(root *os.Root, path, content string) error {
	for i := range path {
		if path[i] == '/' {
			if err := root.MkdirAll(path[:i], 0o755); err != nil {
				return err
			}
		}
	}
	return root.WriteFile(path, []byte(content), 0o644)
}

// host does for the action what the scaffolder would.
type host struct{ *Result }

func (h host) Output(name string, value json.RawMessage) error {
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Outputs[name] = v
	return nil
}

func (h host) Checkpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	return h.checkpoint(ctx, h.checkpoints, key, fn)
}

func (h host) SecretCheckpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	value, err := h.checkpoint(ctx, h.sealed, key, fn)
	if err == nil {
		var text string
		err = json.Unmarshal(value, &text)
		h.secrets.Add(text)
	}
	return value, err
}

func (h host) checkpoint(ctx context.Context, checkpoints map[string]json.RawMessage, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	h.mu.Lock()
	kept, ok := checkpoints[key]
	h.mu.Unlock()
	if ok {
		return kept, nil
	}
	value, err := fn(ctx)
	if err != nil {
		return nil, err
	}
	h.point() // done, and not kept
	h.mu.Lock()
	checkpoints[key] = value
	h.mu.Unlock()
	h.point() // kept
	return value, nil
}

func (h host) TempDir(context.Context) (*os.Root, error) { return openDir(h.t), nil }

func (h host) InitiatorCredentials(context.Context) (core.Credentials, error) {
	return h.who, nil
}
