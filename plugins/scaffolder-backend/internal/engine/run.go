// Package engine runs tasks: a [Runner] executes the steps of one, and an
// [Engine] takes open tasks out of the database and runs some at a time.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/redact"
	"github.com/flytower/flytower/internal/spread"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/templating"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Runner executes tasks. It is safe for concurrent use.
type Runner struct {
	Actions    *registry.Registry
	Templating *templating.Templating
	// Published are the actions of other plugins; nil knows none.
	Published *registry.Published
	// Parameters and Secrets are the default environment of all tasks.
	Parameters, Secrets map[string]string
	// WorkDir is where workspaces are made.
	WorkDir string
	// Authorize returns what decides whether the steps of a task may run; it is
	// asked once for each run.
	Authorize func(ctx context.Context, who core.Credentials) (Decide, error)
	// Guard turns a panic into an error.
	Guard func(ctx context.Context, what string, fn func(context.Context) error) error
	// StepTimeout is how long a step may run; 0 is as long as its task. A step
	// may ask for less.
	StepTimeout time.Duration
	// Metrics may be nil.
	Metrics *Metrics
	// Workspaces keeps the files of tasks, so that they go on elsewhere; nil
	// keeps none.
	Workspaces scaffoldernode.WorkspaceProvider
}

// Decide reports whether an action may run with an input.
type Decide func(action string, input template.Value) (bool, error)

// Run is one run of a task.
type Run struct {
	ID      string
	Spec    scaffoldercommon.TaskSpec
	Secrets map[string]string
	// Initiator returns the credentials of who created the task.
	Initiator func(ctx context.Context) (core.Credentials, error)
	Journal   Journal
	State     State
	// Resume skips the steps that an earlier run finished.
	Resume bool
	// DryRun runs only what changes nothing but the workspace.
	DryRun bool
	// AtEnd is given the workspace before it is removed; it may be nil.
	AtEnd func(workspace *os.Root) error
}

// State is what runs of a task leave for later ones.
type State interface {
	Load(ctx context.Context, kind string) (map[string]json.RawMessage, error)
	// Keep keeps all that it is given, or nothing.
	Keep(ctx context.Context, all ...tasks.Kept) error
}

// execution is a run under way.
type execution struct {
	*Runner
	run *Run
	// ctx lasts as long as the run may write; work ends also when the task is
	// cancelled or out of time.
	ctx, work context.Context
	workspace *os.Root
	secrets   redact.Redactor
	expander  template.Expander
	decide    Decide
	variables *template.Record // without secrets
	failure   error            // the first
	asked     bool             // whether always or failure was called
	// published are the actions of other plugins that were asked for.
	published map[string]*registry.Entry
	logged    atomic.Int64 // bytes that actions logged
	// learned are the texts that exist only because of secrets.
	learned      map[string]bool
	learnedBytes int
	skipped      bool // whether the step did nothing
	resumes      bool // whether the run leaves out what an earlier one finished
	bereft       bool // whether it does not because the files are not here
	kept         keptWorkspace
}

// leaves reports whether the run ends before its task does, which goes on in
// another run.
func (x *execution) leaves() bool {
	return x.ctx.Err() != nil || x.run.Resume && errors.Is(context.Cause(x.work), ErrStopped)
}

// measure counts a step that ended with an error, or with none.
func (x *execution) measure(step scaffoldercommon.TaskStep, err error, took time.Duration) {
	skipped := x.skipped
	x.skipped = false
	if x.run.DryRun {
		return
	}
	result, ref := resultOK, ""
	switch {
	case err != nil && errors.Is(context.Cause(x.work), ErrCancelled):
		result = resultCancelled
	case err != nil:
		result = resultFailed
	case skipped:
		result = resultSkipped
	}
	if x.run.Spec.Template != nil {
		ref = x.run.Spec.Template.EntityRef
	}
	x.Metrics.step(x.ctx, ref, step.Name, result, took)
}

// Execute runs the steps and returns the output of the task. What is written
// is written with ctx; work may end before, which cancels the task with its
// cause.
func (r *Runner) Execute(ctx, work context.Context, run *Run) (output *template.Record, err error) {
	x := &execution{Runner: r, run: run, ctx: ctx, work: work, learned: map[string]bool{}}
	for _, secrets := range []map[string]string{run.Secrets, r.Secrets} {
		for _, secret := range secrets {
			x.secrets.Add(secret)
		}
	}
	defer func() { err = x.hide(err) }()
	if run.Spec.APIVersion != scaffoldercommon.APIVersion {
		return nil, apierr.Input("Wrong template version executed with the workflow engine")
	}
	if err := checkSteps(run.Spec); err != nil {
		return nil, err
	}
	if err := x.prepare(); err != nil {
		return nil, err
	}
	dir := filepath.Join(r.WorkDir, run.ID)
	defer func() {
		// The folder of a task that goes on elsewhere may be that of its next run.
		if !x.leaves() {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := x.decideToResume(); err != nil {
		return nil, err
	}
	if !x.resumes {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("empty the workspace: %w", err)
		}
	}
	if err := spread.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the workspace: %w", err)
	}
	if x.workspace, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("open the workspace: %w", err)
	}
	defer x.workspace.Close()
	if err := x.restoreWorkspace(); err != nil {
		return nil, err
	}
	if output, err = x.steps(); err == nil {
		err = x.forgetWorkspace()
	}
	return output, err
}

// prepare makes what the templates of the task see.
func (x *execution) prepare() error {
	environment, err := x.Templating.Environment(map[string]template.Func{
		"always": func(context.Context, ...template.Value) (template.Value, error) {
			x.asked = true
			return template.Bool(true), nil
		},
		"failure": func(context.Context, ...template.Value) (template.Value, error) {
			x.asked = true
			return template.Bool(x.failure != nil), nil
		},
	})
	if err != nil {
		return err
	}
	x.expander = template.Expander{Environment: environment, Cache: x.Templating.Cache, MaxBytes: maxExpanded}
	parameters, err := optional(x.run.Spec.Parameters)
	if err != nil {
		return fmt.Errorf("read the parameters of the task: %w", err)
	}
	user, err := template.From(x.run.Spec.User)
	if err != nil {
		return fmt.Errorf("read the user of the task: %w", err)
	}
	defaults, err := template.From(x.Parameters)
	if err != nil {
		return err
	}
	x.variables = template.NewRecord(
		template.Entry{Key: "parameters", Value: parameters},
		template.Entry{Key: "environment", Value: template.NewRecord(
			template.Entry{Key: "parameters", Value: defaults}, template.Entry{Key: "secrets", Value: template.NewRecord()})},
		template.Entry{Key: "steps", Value: template.NewRecord()},
		template.Entry{Key: "user", Value: user},
		template.Entry{Key: "context", Value: template.NewRecord(template.Entry{Key: "task", Value: template.NewRecord(template.Entry{Key: "id", Value: template.String(x.run.ID)})})},
	)
	return nil
}

func optional(raw json.RawMessage) (template.Value, error) {
	if len(raw) == 0 {
		return template.Undefined{}, nil
	}
	return template.ParseJSON(raw)
}

func (x *execution) steps() (*template.Record, error) {
	count := len(x.run.Spec.Steps)
	if x.run.DryRun {
		count++ // clients know that the reference collects the files in a step
	}
	if err := x.log(scaffoldercommon.EventBody{Message: fmt.Sprintf("Starting up task with %d steps", count)}); err != nil {
		return nil, err
	}
	if x.bereft {
		if err := x.log(scaffoldercommon.EventBody{Message: "The files of earlier steps are not here - all steps run again."}); err != nil {
			return nil, err
		}
	}
	done := map[string]json.RawMessage{}
	if x.resumes {
		if err := x.hideCreated(); err != nil {
			return nil, err
		}
		var err error
		if done, err = x.load(stepState); err != nil {
			return nil, err
		}
		cleanups, err := x.load(cleanupState)
		if err != nil {
			return nil, err
		}
		maps.Copy(done, cleanups)
		if len(done) > 0 {
			if err := x.log(scaffoldercommon.EventBody{Message: fmt.Sprintf("Task recovered - resuming from last known good state. %d step(s) already completed.", len(done))}); err != nil {
				return nil, err
			}
		}
	}
	if err := x.authorize(count); err != nil {
		return nil, err
	}
	for _, step := range x.run.Spec.Steps {
		if kept, ok := done[step.ID]; ok {
			if err := x.restore(step, kept); err != nil {
				return nil, err
			}
			continue
		}
		if err := x.next(step); err != nil {
			return nil, err
		}
	}
	if x.failure != nil {
		return nil, x.failure
	}
	if x.run.AtEnd != nil {
		if err := x.run.AtEnd(x.workspace); err != nil {
			return nil, err
		}
	}
	return x.output()
}

func (x *execution) authorize(steps int) error {
	if steps == 0 || x.Authorize == nil {
		return nil
	}
	who, err := x.run.Initiator(x.ctx)
	if err != nil {
		return err
	}
	x.decide, err = x.Authorize(x.ctx, who)
	return err
}

// next runs a step, unless an earlier one failed and it does not ask for that.
// The error is one of the run itself.
func (x *execution) next(step scaffoldercommon.TaskStep) error {
	if x.failure != nil {
		run, err := x.runsAfterFailure(step)
		if err != nil {
			return err
		}
		if !run {
			x.skipped = true
			x.measure(step, nil, 0)
			return x.log(scaffoldercommon.EventBody{
				Message: "Skipping step " + step.ID + " because a previous step failed", StepID: step.ID, Status: scaffoldercommon.StepSkipped,
			})
		}
	}
	begun := time.Now()
	err := x.step(step)
	if x.leaves() && err != nil {
		return err // the next run does the step again
	}
	x.measure(step, err, time.Since(begun))
	if err == nil {
		return nil
	}
	text := describe(err)
	if err := x.log(scaffoldercommon.EventBody{Message: text, StepID: step.ID, Status: scaffoldercommon.StepFailed}); err != nil {
		return err
	}
	if x.failure == nil {
		x.failure = err
		return nil
	}
	return x.log(scaffoldercommon.EventBody{Message: "Additional error occurred: " + err.Error(), StepID: step.ID, Status: scaffoldercommon.StepFailed})
}

// describe names an error and says what happened.
func describe(err error) string { return string(apierr.KindOf(err)) + ": " + err.Error() }

func (x *execution) runsAfterFailure(step scaffoldercommon.TaskStep) (bool, error) {
	var condition string
	if json.Unmarshal(step.If, &condition) != nil {
		return false, nil
	}
	x.asked = false
	_, err := x.expander.Expand(x.ctx, "if", template.String(condition), x.variables)
	return x.asked, err
}

// restore brings back what an earlier run of a step gave.
func (x *execution) restore(step scaffoldercommon.TaskStep, kept json.RawMessage) error {
	output, err := template.ParseJSON(kept)
	if err != nil {
		return fmt.Errorf("read what the step %s gave: %w", step.ID, err)
	}
	x.variables = x.variables.With(output, "steps", step.ID, "output")
	return x.log(scaffoldercommon.EventBody{
		Message: "Skipping step " + step.ID + " because it was already completed in a previous run", StepID: step.ID, Status: scaffoldercommon.StepCompleted,
	})
}

// output renders the output of the task; links and texts whose condition does
// not hold are left out.
func (x *execution) output() (*template.Record, error) {
	raw, err := optional(x.run.Spec.Output)
	if err != nil {
		return nil, fmt.Errorf("read the output of the task: %w", err)
	}
	rendered, err := x.expander.Expand(x.ctx, "output", raw, x.variables)
	if err != nil {
		return nil, err
	}
	output, ok := rendered.(*template.Record)
	if !ok {
		return template.NewRecord(), nil
	}
	for _, key := range []string{"links", "text"} {
		items, _ := output.Get(key)
		written, ok := items.(*template.Array)
		if !ok {
			continue
		}
		kept := []template.Value{}
		for i, item := range written.All() {
			record, ok := item.(*template.Record)
			if !ok {
				kept = append(kept, item)
				continue
			}
			if condition, has := record.Get("if"); has && !truthy(condition) || !has && hadCondition(raw, key, i) {
				continue
			}
			record = record.With(template.Undefined{}, "if")
			kept = append(kept, record)
		}
		output = output.With(template.NewArray(kept...), key)
	}
	hidden, _ := x.hideValue(output).(*template.Record)
	return hidden, nil
}

// hadCondition reports whether an item has a condition, which was left out
// because it is undefined.
func hadCondition(raw template.Value, key string, i int) bool {
	items, _ := template.Member(raw, key).(*template.Array)
	return items != nil && i < items.Len() && template.Member(items.At(i), "if") != (template.Undefined{})
}

// truthy is what conditions of steps mean by true: as in JavaScript, except
// that an empty list is false.
func truthy(v template.Value) bool {
	switch v := v.(type) {
	case template.Undefined, template.Null:
		return false
	case template.Bool:
		return bool(v)
	case template.Number:
		return v == v && v != 0
	case template.String:
		return v != ""
	case template.SafeString:
		return v != ""
	case *template.Array:
		return v.Len() > 0
	}
	return true
}

// hide removes secrets from the text of an error and keeps its name.
func (x *execution) hide(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	text := err.Error()
	if hidden := x.redact(text); hidden != text {
		return apierr.New(apierr.KindOf(err), "%s", hidden)
	}
	return err
}
