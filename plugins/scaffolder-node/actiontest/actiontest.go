// Package actiontest runs actions of the scaffolder in tests.
//
//	run := actiontest.Run(t, action, map[string]any{"name": "shop"})
//	// run.Outputs["path"], run.File("shop/README.md"), run.Log
package actiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
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

// After makes the run another one of the same step: it has the workspace and
// the checkpoints of the first.
func After(first *Result) Option {
	return func(_ testing.TB, c *scaffoldernode.ActionContext, r *Result) {
		c.Workspace = first.workspace
		r.workspace = first.workspace
		r.checkpoints = first.checkpoints
	}
}

// Result is what an action did.
type Result struct {
	// Outputs are the outputs of the step, as JSON values.
	Outputs map[string]any
	// Err is the error of the action.
	Err error
	// Log is what it logged, a line each.
	Log string

	t           testing.TB
	ctx         context.Context
	workspace   *os.Root
	mu          sync.Mutex
	checkpoints map[string]json.RawMessage
	log         bytes.Buffer
}

// Run runs an action with an input, which is checked as the scaffolder does,
// and checks its output. The task is mock-task-id, the step mock-step-id.
func Run(t testing.TB, action scaffoldernode.Action, input any, options ...Option) *Result {
	t.Helper()
	r := &Result{t: t, ctx: t.Context(), Outputs: map[string]any{}, checkpoints: map[string]json.RawMessage{}}
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
		r.Err = action.Run(r.ctx, c, text)
	}
	r.Log = r.log.String()
	if r.Err == nil {
		r.checkOutput(action)
	}
	return r
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

// File returns the content of a file in the workspace, which has to exist.
func (r *Result) File(path string) string {
	r.t.Helper()
	content, err := r.workspace.ReadFile(path)
	if err != nil {
		r.t.Fatalf("read from the workspace: %v", err)
	}
	return string(content)
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
	h.mu.Lock()
	kept, ok := h.checkpoints[key]
	h.mu.Unlock()
	if ok {
		return kept, nil
	}
	value, err := fn(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkpoints[key] = value
	return value, nil
}

func (h host) TempDir(context.Context) (*os.Root, error) { return openDir(h.t), nil }

func (h host) InitiatorCredentials(context.Context) (core.Credentials, error) {
	return core.NoCredentials(), nil
}
