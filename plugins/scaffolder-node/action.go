package scaffoldernode

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"reflect"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Action is what a step of a template does. [NewAction] makes one.
type Action struct {
	ActionInfo
	// Input and Output are JSON Schemas (draft 7) of objects.
	Input, Output json.RawMessage
	// Run does it. The input has been checked against its schema.
	Run func(ctx context.Context, c *ActionContext, input json.RawMessage) error
}

// ActionInfo says what an action is.
type ActionInfo struct {
	// ID is what steps name, such as publish:github.
	ID string
	// Description, in Markdown, and Examples are for authors of templates.
	Description string
	Examples    []ActionExample
	// SupportsDryRun says that the action may be run in a dry run. It has to
	// look at ActionContext.DryRun, and leave the world outside of the workspace
	// as it is.
	SupportsDryRun bool
}

// ActionExample shows a use of an action.
type ActionExample struct {
	Description string
	// Example is YAML with steps.
	Example string
	Notes   string
}

// NewAction makes an action of a function with typed input and output. In and
// Out are structs; their JSON tags, and the tags that package core/jsonschema
// knows, make the schemas. Each member of the output becomes an output of the
// step. It panics if no schemas can be made of the types.
//
// An action should find before it creates: after a crash it may run again with
// the same input. [Checkpoint] remembers what is done.
func NewAction[In, Out any](info ActionInfo, run func(ctx context.Context, c *ActionContext, input In) (Out, error)) Action {
	if info.ID == "" || run == nil {
		panic(fmt.Sprintf("scaffoldernode.NewAction: action %q needs an id, such as acme:greeting, and a function", info.ID))
	}
	for _, t := range []reflect.Type{reflect.TypeFor[In](), reflect.TypeFor[Out]()} {
		if t.Kind() != reflect.Struct {
			panic(fmt.Sprintf("scaffoldernode.NewAction: %s of action %q is no struct", t, info.ID))
		}
	}
	return Action{
		ActionInfo: info, Input: schemaOf[In](info.ID, "input"), Output: schemaOf[Out](info.ID, "output"),
		Run: func(ctx context.Context, c *ActionContext, raw json.RawMessage) error {
			var input In
			if err := json.Unmarshal(raw, &input); err != nil {
				return fmt.Errorf("read the input of action %s: %w", info.ID, err)
			}
			output, err := run(ctx, c, input)
			if err != nil {
				return err
			}
			return c.outputMembers(output)
		},
	}
}

// schemaOf makes the schema of a type, and names the action if that fails.
func schemaOf[T any](id, what string) json.RawMessage {
	defer func() {
		if problem := recover(); problem != nil {
			panic(fmt.Sprintf("scaffoldernode.NewAction: the %s of action %q has no schema: %v", what, id, problem))
		}
	}()
	return jsonschema.For[T]()
}

// ActionContext is what an action works with. That the task was cancelled, or
// is out of time, is the context.Context's to say.
type ActionContext struct {
	// Workspace is the task's folder. Paths of templates go through it: it
	// refuses what leads outside, links included.
	Workspace *os.Root
	// Logger writes to the log of the task, in which secrets are hidden.
	Logger *slog.Logger
	// Secrets are the secrets of the task.
	Secrets map[string]core.Token
	// TaskID, StepID and StepName say what runs.
	TaskID, StepID, StepName string
	// Iteration is the key of the item of a step with each that the action runs
	// for; empty without each.
	Iteration string
	// User is who created the task.
	User scaffoldercommon.TaskUser
	// Template is the template of the task; its EntityRef is empty in a dry run
	// of a template that is not in the catalog.
	Template scaffoldercommon.TemplateInfo
	// DryRun says that nothing outside of the workspace may change.
	DryRun bool
	// Host is what the scaffolder does for the action; methods of the context
	// use it.
	Host ActionHost
}

// ActionHost is the part of the scaffolder that runs an action.
type ActionHost interface {
	// Output sets an output of the step.
	Output(name string, value json.RawMessage) error
	// Checkpoint returns what an earlier run of the step kept under the key, or
	// else runs fn and keeps what it returns.
	Checkpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error)
	// SecretCheckpoint is a checkpoint whose value, a JSON string, is stored
	// sealed and hidden in the log.
	SecretCheckpoint(ctx context.Context, key string, fn func(context.Context) (json.RawMessage, error)) (json.RawMessage, error)
	// TempDir makes a folder that is removed after the step.
	TempDir(ctx context.Context) (*os.Root, error)
	// InitiatorCredentials are those of who created the task.
	InitiatorCredentials(ctx context.Context) (core.Credentials, error)
}

// Output sets an output of the step, for those that are known only at run time.
func (c *ActionContext) Output(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the output %q of step %s: %w", name, c.StepID, err)
	}
	return c.Host.Output(name, text)
}

func (c *ActionContext) outputMembers(output any) error {
	text, err := json.Marshal(output)
	if err != nil {
		return fmt.Errorf("write the output of step %s: %w", c.StepID, err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return fmt.Errorf("write the output of step %s: %w", c.StepID, err)
	}
	for name, value := range members {
		if err := c.Host.Output(name, value); err != nil {
			return err
		}
	}
	return nil
}

// TempDir makes a folder outside of the workspace; it is removed after the
// step.
func (c *ActionContext) TempDir(ctx context.Context) (*os.Root, error) { return c.Host.TempDir(ctx) }

// InitiatorCredentials returns the credentials of who created the task.
func (c *ActionContext) InitiatorCredentials(ctx context.Context) (core.Credentials, error) {
	return c.Host.InitiatorCredentials(ctx)
}

// Checkpoint runs a part of an action once per task: when the step runs again,
// after a crash or by a retry, it returns what fn returned then. The key is
// unique within the step; the value has to survive JSON.
//
//	id, err := scaffoldernode.Checkpoint(ctx, c, "repository", func(ctx context.Context) (int64, error) {
//		return createRepository(ctx, input)
//	})
func Checkpoint[T any](ctx context.Context, c *ActionContext, key string, fn func(context.Context) (T, error)) (value T, err error) {
	text, err := c.Host.Checkpoint(ctx, key, func(ctx context.Context) (json.RawMessage, error) {
		v, err := fn(ctx)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("keep the checkpoint %q: %w", key, err)
		}
		return text, nil
	})
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return value, fmt.Errorf("read the checkpoint %q of step %s: %w", key, c.StepID, err)
	}
	return value, nil
}

// SecretCheckpoint is [Checkpoint] for a credential that an action creates. The
// scaffolder stores it sealed, hides it in the log of the task from then on,
// and seals what the steps that follow leave, as their outputs may contain it.
//
//	token, err := scaffoldernode.SecretCheckpoint(ctx, c, "token", func(ctx context.Context) (core.Token, error) {
//		return createToken(ctx, input)
//	})
func SecretCheckpoint(ctx context.Context, c *ActionContext, key string, fn func(context.Context) (core.Token, error)) (secret core.Token, err error) {
	text, err := c.Host.SecretCheckpoint(ctx, key, func(ctx context.Context) (json.RawMessage, error) {
		created, err := fn(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(created.Reveal())
	})
	if err != nil {
		return secret, err
	}
	var revealed string
	if err := json.Unmarshal(text, &revealed); err != nil {
		return secret, fmt.Errorf("read the checkpoint %q of step %s: it is no text", key, c.StepID) // without the text
	}
	return core.NewToken(revealed), nil
}
