package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/formschema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/registry"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Kinds of state.
const (
	stepState       = tasks.StepState
	cleanupState    = tasks.CleanupState
	checkpointState = tasks.CheckpointState
)

// temporaryMark is between the id of a task and the rest in the names of its
// temporary folders.
const temporaryMark = "_step-"

// ErrCancelled is the cause of the end of a task that somebody cancelled.
var ErrCancelled = errors.New("the task was cancelled")

// ErrTimeout is the cause of the end of a task that ran for too long.
var ErrTimeout = errors.New("the task ran for longer than scaffolder.taskTimeout allows")

// alive is an error once the task is to end.
func (x *execution) alive(step scaffoldercommon.TaskStep) error {
	if x.work.Err() == nil {
		return nil
	}
	if cause := context.Cause(x.work); !errors.Is(cause, ErrCancelled) {
		return cause
	}
	return fmt.Errorf("Step %s (%s) of task %s has been cancelled.", step.ID, step.Name, x.run.ID) //nolint:revive,staticcheck // users see it
}

// iteration is one use of the action of a step.
type iteration struct {
	key   string
	value template.Value
	input template.Value
	runs  bool
	// inputShown is the input as it would be without secrets.
	inputShown template.Value
}

func (x *execution) step(step scaffoldercommon.TaskStep) error {
	if err := x.log(scaffoldercommon.EventBody{Message: "Beginning step " + step.Name, StepID: step.ID, Status: scaffoldercommon.StepProcessing}); err != nil {
		return err
	}
	if err := x.alive(step); err != nil {
		return err
	}
	hasEach := len(step.Each) > 0
	run, err := x.condition(step, hasEach)
	if err != nil {
		return err
	}
	if !run {
		x.skipped = true
		return x.log(scaffoldercommon.EventBody{
			Message: "Skipping step " + step.ID + " because its if condition was false", StepID: step.ID, Status: scaffoldercommon.StepSkipped,
		})
	}
	action, err := x.find(x.work, step.Action)
	if err != nil {
		return err
	}
	short := tokens{}
	logger := newStepLogger(x, step.ID, short)
	if x.run.DryRun {
		if err := x.announceDryRun(step, action, func(text string) { logger.InfoContext(x.ctx, text) }); err != nil {
			return err
		}
		if !action.SupportsDryRun {
			x.variables = x.variables.With(example(action.OutputSchema, 0), "steps", step.ID, "output")
			return x.log(scaffoldercommon.EventBody{Message: "Skipping because " + action.ID + " does not support dry-run", StepID: step.ID, Status: scaffoldercommon.StepSkipped})
		}
	}
	iterations, err := x.iterations(step, hasEach, &learned{short: short})
	if err != nil {
		return err
	}
	if err := x.check(action, iterations, hasEach); err != nil {
		return err
	}
	kept, err := x.load(checkpointState)
	if err != nil {
		return err
	}
	host := &host{x: x, step: step, collect: hasEach, outputs: template.NewRecord(), checkpoints: maps.Clone(kept)}
	defer host.clean()
	work, limit, done, err := x.timed(step)
	if err != nil {
		return err
	}
	defer done()
	for i := range iterations {
		it := &iterations[i]
		if hasEach {
			what := "Running"
			if !it.runs {
				what = "Skipping"
			}
			shown := template.NewRecord(template.Entry{Key: "key", Value: template.String(it.key)}, template.Entry{Key: "value", Value: template.String(template.Text(it.value))})
			logger.InfoContext(x.ctx, what+" step each: "+string(template.AppendJSON(nil, shown)))
		}
		if !it.runs {
			continue
		}
		if err := x.alive(step); err != nil {
			return err
		}
		host.begin(it.key)
		err := x.act(work, action, host.context(logger, it), it)
		if err == nil && work.Err() == nil {
			continue
		}
		if gone := x.alive(step); gone != nil {
			return gone
		}
		if errors.Is(context.Cause(work), errStepTimeout) {
			return fmt.Errorf("Step %s (%s) of task %s ran for longer than %s.", step.ID, step.Name, x.run.ID, limit) //nolint:revive,staticcheck // users see it
		}
		if err != nil {
			return err
		}
	}
	if err := x.alive(step); err != nil {
		return err
	}
	output := host.result()
	x.variables = x.variables.With(output, "steps", step.ID, "output")
	if x.run.State != nil {
		kind := stepState
		if x.failure != nil {
			kind = cleanupState // it has to run again if the task is retried
		}
		if err := x.keep(kind, step.ID, template.AppendJSON(nil, output)); err != nil {
			return err
		}
	}
	return x.log(scaffoldercommon.EventBody{Message: "Finished step " + step.Name, StepID: step.ID, Status: scaffoldercommon.StepCompleted})
}

// condition decides on the if of a step without each.
func (x *execution) condition(step scaffoldercommon.TaskStep, hasEach bool) (bool, error) {
	condition, err := optional(step.If)
	if err != nil {
		return false, fmt.Errorf("read the condition of the step %s: %w", step.ID, err)
	}
	switch c := condition.(type) {
	case template.Bool:
		return bool(c), nil
	case template.String:
		if hasEach {
			return true, nil // it is asked for each
		}
		v, err := x.expander.Expand(x.ctx, "if", c, x.variables)
		return truthy(v), err
	}
	return true, nil
}

// visible returns the variables with those that are secret.
func (x *execution) visible(variables *template.Record) (*template.Record, error) {
	secrets, err := template.From(x.run.Secrets)
	if err != nil {
		return nil, err
	}
	environment := template.Value(template.NewRecord())
	if !x.run.DryRun {
		if environment, err = template.From(x.Secrets); err != nil {
			return nil, err
		}
	}
	return variables.With(environment, "environment", "secrets").With(secrets, "secrets"), nil
}

func (x *execution) iterations(step scaffoldercommon.TaskStep, hasEach bool, found *learned) ([]iteration, error) {
	full, err := x.visible(x.variables)
	if err != nil {
		return nil, err
	}
	input, err := optional(step.Input)
	if err != nil {
		return nil, fmt.Errorf("read the input of the step %s: %w", step.ID, err)
	}
	if input == (template.Undefined{}) {
		input = template.NewRecord()
	}
	list := []iteration{{value: template.Undefined{}}}
	if hasEach {
		if list, err = x.each(step, full, found); err != nil {
			return nil, err
		}
	}
	for i := range list {
		it := &list[i]
		it.runs = true
		with, without := full, x.variables
		if hasEach {
			each := template.NewRecord(template.Entry{Key: "key", Value: template.String(it.key)}, template.Entry{Key: "value", Value: it.value})
			with, without = full.With(each, "each"), x.variables.With(each, "each")
			if condition, err := optional(step.If); err != nil {
				return nil, err
			} else if text, ok := condition.(template.String); ok {
				v, err := x.expander.Expand(x.ctx, "if", text, with)
				if err != nil {
					return nil, err
				}
				it.runs = truthy(v)
			}
		}
		if it.input, err = x.expander.Expand(x.ctx, "input", input, with); err != nil {
			return nil, err
		}
		if it.inputShown, err = x.expander.Expand(x.ctx, "input", input, without); err != nil {
			return nil, err
		}
		found.compare(it.input, it.inputShown)
	}
	return list, x.learn(step, found)
}

func (x *execution) each(step scaffoldercommon.TaskStep, full *template.Record, found *learned) ([]iteration, error) {
	raw, err := template.ParseJSON(step.Each)
	if err != nil {
		return nil, fmt.Errorf("read the list of the step %s: %w", step.ID, err)
	}
	values, err := x.expander.Expand(x.ctx, "each", raw, full)
	if err != nil {
		return nil, err
	}
	shown, err := x.expander.Expand(x.ctx, "each", raw, x.variables)
	if err != nil {
		return nil, err
	}
	found.compare(values, shown)
	var list []iteration
	switch v := values.(type) {
	case template.Undefined:
		return nil, apierr.Input(`Invalid value on action %s.each parameter, "%s" cannot be resolved to a value`, step.Action, template.Text(raw))
	case *template.Array:
		if err := checkIterations(step, v.Len()); err != nil {
			return nil, err
		}
		for i, value := range v.All() {
			list = append(list, iteration{key: strconv.Itoa(i), value: value})
		}
	case *template.Record:
		if err := checkIterations(step, v.Len()); err != nil {
			return nil, err
		}
		for key, value := range v.All() {
			list = append(list, iteration{key: key, value: value})
		}
	default:
		return nil, apierr.Input("Invalid value on action %s.each parameter, must resolve to an array or object", step.Action)
	}
	return list, nil
}

// check compares all inputs with the schema of the action, and asks whether
// the action may run with them.
func (x *execution) check(action *registry.Entry, iterations []iteration, hasEach bool) error {
	for _, it := range iterations {
		if !it.runs {
			continue
		}
		if action.InputSchema != (template.Undefined{}) {
			problems, err := formschema.Check(action.InputSchema, it.input)
			if err != nil {
				return fmt.Errorf("check the input of action %s: %w", action.ID, err)
			}
			if len(problems) > 0 {
				name := action.ID
				if hasEach {
					name += "[" + it.key + "]"
				}
				stacks := make([]string, len(problems))
				for i, p := range problems {
					stacks[i] = p.Stack
				}
				return apierr.Input("Invalid input passed to action %s, %s", name, strings.Join(stacks, ", "))
			}
		}
		if x.decide != nil {
			allowed, err := x.decide(action.ID, it.input)
			if err != nil {
				return err
			}
			if !allowed {
				return apierr.NotAllowed("Unauthorized action: %s. The action is not allowed.", action.ID)
			}
		}
	}
	return nil
}

func (x *execution) act(ctx context.Context, action *registry.Entry, c *scaffoldernode.ActionContext, it *iteration) error {
	input := json.RawMessage(template.AppendJSON(nil, it.input))
	run := func(ctx context.Context) error {
		defer func() {
			if p := recover(); p != nil {
				panic(x.redact(fmt.Sprint(p))) // the guard logs it
			}
		}()
		return action.Run(ctx, c, input)
	}
	if x.Guard == nil {
		return run(ctx)
	}
	return x.Guard(ctx, "action "+action.ID+" of task "+x.run.ID, run)
}

// host is the scaffolder as the action of a step sees it.
type host struct {
	x       *execution
	step    scaffoldercommon.TaskStep
	collect bool

	mu          sync.Mutex
	outputs     *template.Record
	iteration   string                     // its key
	checkpoints map[string]json.RawMessage // of the task
	temporary   []*os.Root
}

// begin says which iteration of a step with each runs now.
func (h *host) begin(iteration string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.iteration = iteration
}

func (h *host) context(logger *slog.Logger, it *iteration) *scaffoldernode.ActionContext {
	c := &scaffoldernode.ActionContext{
		Workspace: h.x.workspace, Logger: logger, Secrets: map[string]core.Token{}, TaskID: h.x.run.ID,
		StepID: h.step.ID, StepName: h.step.Name, Iteration: it.key, User: h.x.run.Spec.User, DryRun: h.x.run.DryRun, Host: h,
	}
	for name, secret := range h.x.run.Secrets {
		c.Secrets[name] = core.NewToken(secret)
	}
	if h.x.run.Spec.Template != nil {
		c.Template = *h.x.run.Spec.Template
	}
	return c
}

// clean removes the temporary folders of the step, however it ended.
func (h *host) clean() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, root := range h.temporary {
		_ = root.Close()
		_ = os.RemoveAll(root.Name())
	}
}

// Output implements [scaffoldernode.ActionHost].
func (h *host) Output(name string, value json.RawMessage) error {
	v, err := template.ParseJSON(value)
	if err != nil {
		return fmt.Errorf("read the output %q of the step %s: %w", name, h.step.ID, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.collect {
		var items []template.Value
		earlier, _ := h.outputs.Get(name)
		if list, ok := earlier.(*template.Array); ok {
			for _, item := range list.All() {
				items = append(items, item)
			}
		}
		v = template.NewArray(append(items, v)...)
	}
	h.outputs.Set(name, v)
	return nil
}

func (h *host) result() *template.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outputs
}

// Checkpoint implements [scaffoldernode.ActionHost].
func (h *host) Checkpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	h.mu.Lock()
	key = h.checkpointKey(key)
	kept, ok := h.checkpoints[key]
	h.mu.Unlock()
	if ok {
		return kept, nil
	}
	value, err := fn(ctx)
	if err != nil {
		return nil, err
	}
	if h.x.run.State != nil {
		// What is done is kept even if the task is being cancelled.
		if err := h.x.keep(checkpointState, key, value); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkpoints[key] = value
	return value, nil
}

// checkpointKey is a list of the step, the iteration where there are several,
// and the key that the action chose, so that no two have the same.
func (h *host) checkpointKey(key string) string {
	parts := template.NewArray(template.String(h.step.ID), template.String(key))
	if h.collect {
		parts = template.NewArray(template.String(h.step.ID), template.String(h.iteration), template.String(key))
	}
	return string(template.AppendJSON(nil, parts))
}

// TempDir implements [scaffoldernode.ActionHost].
func (h *host) TempDir(context.Context) (*os.Root, error) {
	dir, err := os.MkdirTemp(h.x.WorkDir, h.x.run.ID+temporaryMark+"*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a temporary folder: %w", err), os.RemoveAll(dir))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.temporary = append(h.temporary, root)
	return root, nil
}

// InitiatorCredentials implements [scaffoldernode.ActionHost].
func (h *host) InitiatorCredentials(ctx context.Context) (core.Credentials, error) {
	return h.x.run.Initiator(ctx)
}
