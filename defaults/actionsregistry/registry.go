// Package actionsregistry is the default alpha.core.actionsRegistry: it
// publishes the actions of a plugin, and runs them for tools and agents.
//
//	registry().Register(core.Action{
//		Name: "find-thing", Title: "Find a thing", Description: "Finds a thing by its name.",
//		Input: jsonschema.For[findInput](), Output: jsonschema.For[Thing](),
//		Attributes: core.ActionAttributes{ReadOnly: true, Idempotent: true},
//		Run: func(ctx context.Context, call core.ActionCall) (any, error) { … },
//	})
//
// gives three routes below the prefix of the plugin, part of the wire format
// that all backends of the family share:
//
//	GET  /.backstage/actions/v1/actions
//	POST /.backstage/actions/v1/actions/{id}/invoke   the body is the input
//	POST /.backstage/actions/v2/actions/{id}/invoke   {"input", "secrets"}
//
// An action that the configuration (backend.actions) or its visibility
// permission hides from the caller is not there. Every call is audited.
package actionsregistry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/internal/actionfilter"
)

// ConfigSchema describes the configuration of the service.
const ConfigSchema = actionfilter.ConfigSchema

// DefaultBodyLimit is how many bytes the input of an action may have.
const DefaultBodyLimit = 5 << 20

// Option adjusts the registry.
type Option func(*Registry)

// WithBodyLimit sets how many bytes the body of a call may have; the default
// is [DefaultBodyLimit].
func WithBodyLimit(bytes int64) Option { return func(r *Registry) { r.bodyLimit = bytes } }

// Factory is the default factory of core.ActionsRegistry.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactory(core.ActionsRegistry, func(env *backend.FactoryEnv) backend.MakeFunc[core.ActionsRegistryService] {
		plugin, config, router := core.PluginMetadata.From(env), core.RootConfig.From(env), core.HTTPRouter.From(env)
		auth, auditor := core.HTTPAuth.From(env), core.Auditor.From(env)
		permissions, permissionsRegistry := core.Permissions.From(env), core.PermissionsRegistry.From(env)
		return func(context.Context) (core.ActionsRegistryService, error) {
			filter, err := actionfilter.Read(config())
			if err != nil {
				return nil, fmt.Errorf("actions registry: %w", err)
			}
			r := New(Services{
				Plugin: plugin().ID(), Auth: auth(), Auditor: auditor(),
				Permissions: permissions(), PermissionsRegistry: permissionsRegistry(),
			}, filter, opts...)
			r.Mount(router())
			return r, nil
		}
	})
}

// Services are what a registry works with.
type Services struct {
	// Plugin is the id of the plugin whose actions these are.
	Plugin              string
	Auth                core.HTTPAuthService
	Auditor             core.AuditorService
	Permissions         core.PermissionsService
	PermissionsRegistry core.PermissionsRegistryService
}

// Registry holds the actions of one plugin. It is safe for concurrent use.
type Registry struct {
	services  Services
	filter    actionfilter.Filter
	bodyLimit int64

	mu      sync.RWMutex
	actions []*action
}

type action struct {
	core.Action
	id                     string
	attributes             map[string]bool
	input, output, secrets *jsonschema.Schema
	examples               json.RawMessage
}

// New returns an empty registry.
func New(services Services, filter actionfilter.Filter, opts ...Option) *Registry {
	r := &Registry{services: services, filter: filter, bodyLimit: DefaultBodyLimit}
	for _, opt := range opts {
		opt(r)
	}
	return r
}

// Register publishes an action. A second one of the same name, and a schema
// that does not compile, are errors.
func (r *Registry) Register(a core.Action) error {
	added, err := compile(r.services.Plugin, a)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.actions, func(known *action) bool { return known.id == added.id }) {
		return fmt.Errorf("action %s was registered before", added.id)
	}
	if a.Visibility != nil {
		if err := r.services.PermissionsRegistry.AddPermissions(*a.Visibility); err != nil {
			return fmt.Errorf("action %s: visibility permission: %w", added.id, err)
		}
	}
	r.actions = append(r.actions, added)
	return nil
}

func compile(plugin string, a core.Action) (*action, error) {
	added := &action{Action: a, id: plugin + ":" + a.Name}
	switch {
	case a.Name == "":
		return nil, fmt.Errorf("plugin %s: an action without a name", plugin)
	case a.Run == nil:
		return nil, fmt.Errorf("action %s has no Run function", added.id)
	}
	if a.Title == "" {
		added.Title = a.Name
	}
	for _, s := range []struct {
		name   string
		text   json.RawMessage
		absent string
		into   **jsonschema.Schema
	}{
		{"input", a.Input, jsonschema.Empty, &added.input},
		{"output", a.Output, `{}`, &added.output},
		{"secrets", a.Secrets, "", &added.secrets},
	} {
		text := s.text
		if text == nil {
			if s.absent == "" {
				continue
			}
			text = json.RawMessage(s.absent)
		}
		compiled, err := jsonschema.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("action %s: %s: %w", added.id, s.name, err)
		}
		*s.into = compiled
	}
	added.attributes = map[string]bool{
		"readOnly": a.Attributes.ReadOnly, "idempotent": a.Attributes.Idempotent, "destructive": a.Attributes.Destructive(),
	}
	if len(a.Examples) > 0 {
		text, err := json.Marshal(a.Examples)
		if err != nil {
			return nil, fmt.Errorf("action %s: examples: %w", added.id, err)
		}
		added.examples = text
	}
	return added, nil
}

func (a *action) info(plugin string) core.ActionInfo {
	info := core.ActionInfo{
		ID: a.id, Name: a.Name, Title: a.Title, Description: a.Description, PluginID: plugin,
		Attributes: a.attributes, Examples: a.examples,
	}
	info.Schema.Input, info.Schema.Output = a.input.JSON(), a.output.JSON()
	if a.secrets != nil {
		info.Schema.Secrets = a.secrets.JSON()
	}
	return info
}

// visible returns the actions that the configuration and the permissions show
// to who, all of them or the one with the id.
func (r *Registry) visible(ctx context.Context, who core.Credentials, id string) ([]*action, error) {
	r.mu.RLock()
	var shown, guarded []*action
	for _, a := range r.actions {
		if id != "" && a.id != id || !r.filter.Shows(r.services.Plugin, a.id, a.attributes) {
			continue
		}
		shown = append(shown, a)
		if a.Visibility != nil {
			guarded = append(guarded, a)
		}
	}
	r.mu.RUnlock()
	if len(guarded) == 0 {
		return shown, nil
	}
	requests := make([]core.AuthorizeRequest, len(guarded))
	for i, a := range guarded {
		requests[i].Permission = *a.Visibility
	}
	decisions, err := r.services.Permissions.Authorize(ctx, who, requests...)
	if err != nil {
		return nil, fmt.Errorf("deciding which actions are visible: %w", err)
	}
	return slices.DeleteFunc(shown, func(a *action) bool {
		i := slices.Index(guarded, a)
		return i >= 0 && decisions[i] != core.Allowed
	}), nil
}
