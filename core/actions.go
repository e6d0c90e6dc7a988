package core

import (
	"context"
	"encoding/json"

	"github.com/flytower/flytower/backend"
)

// Action is something that a plugin lets tools and agents do through it.
type Action struct {
	// Name is unique in the plugin; the id is "<plugin>:<name>".
	Name        string
	Title       string
	Description string
	// Input and Output are JSON Schemas; Secrets is nil where none are taken.
	Input, Output, Secrets json.RawMessage
	Examples               []ActionExample
	Attributes             ActionAttributes
	// Visibility, if not nil, must be allowed to see and invoke the action.
	Visibility *Permission
	// Run does it. Input and secrets were validated, the output will be.
	Run func(ctx context.Context, call ActionCall) (output any, err error)
}

// ActionAttributes tell what an action does to the world.
type ActionAttributes struct {
	ReadOnly   bool `json:"readOnly"`
	Idempotent bool `json:"idempotent"`
	// NonDestructive is false by default unless ReadOnly is set.
	NonDestructive bool `json:"-"`
}

// Destructive reports whether the action may destroy something.
func (a ActionAttributes) Destructive() bool { return !a.ReadOnly && !a.NonDestructive }

// ActionExample shows a use.
type ActionExample struct {
	Description string          `json:"description"`
	Input       json.RawMessage `json:"input,omitempty"`
	Output      json.RawMessage `json:"output,omitempty"`
}

// ActionCall is one use of an action.
type ActionCall struct {
	Input   json.RawMessage
	Secrets map[string]string
	As      Credentials
}

// ActionsRegistryService publishes the actions of a plugin.
type ActionsRegistryService interface {
	Register(a Action) error
}

// ActionsRegistry publishes the actions of a plugin.
var ActionsRegistry = backend.NewServiceRef[ActionsRegistryService]("alpha.core.actionsRegistry")

// ActionInfo describes a published action.
type ActionInfo struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	PluginID    string          `json:"pluginId"`
	Attributes  map[string]bool `json:"attributes"`
	Examples    json.RawMessage `json:"examples,omitempty"`
	Schema      struct {
		Input   json.RawMessage `json:"input"`
		Output  json.RawMessage `json:"output"`
		Secrets json.RawMessage `json:"secrets,omitempty"`
	} `json:"schema"`
}

// ActionsService lists and invokes the actions of the deployment.
type ActionsService interface {
	// List returns the actions of the configured plugins that who may see. A
	// plugin that does not answer is logged and left out.
	List(ctx context.Context, who Credentials) ([]ActionInfo, error)
	// Find returns one action, and asks the plugin that has it only. ok is false
	// if there is none with the id that who may see; that the plugin does not
	// answer is an error.
	Find(ctx context.Context, who Credentials, id string) (a ActionInfo, ok bool, err error)
	// Invoke runs an action and returns its output.
	Invoke(ctx context.Context, id string, call ActionCall) (json.RawMessage, error)
}

// Actions lists and invokes actions.
var Actions = backend.NewServiceRef[ActionsService]("alpha.core.actions")
