// Package permissionsregistry is the default core.permissionsRegistry: it
// publishes the permissions and rules of a plugin, and applies conditions to
// its resources for the permission plugin.
//
// A plugin registers while it starts:
//
//	registry().AddResourceType(core.ResourceType{
//		Type:         "report",
//		Permissions:  []core.Permission{ReadReport},
//		Rules:        []core.PermissionRule{isAuthor},
//		GetResources: store.ReportsByRef,
//	})
//
// and gets two routes below its prefix, both part of the wire format that
// all backends of the family share:
//
//	GET  /.well-known/backstage/permissions/metadata
//	POST /.well-known/backstage/permissions/apply-conditions
//
// What was registered is frozen when the plugin has started.
package permissionsregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/internal/flight"
)

// DefaultBodyLimit is how large the body of an apply-conditions request may
// be: conditions on a page of resources reach megabytes.
const DefaultBodyLimit = 10 << 20

// Option adjusts the registry.
type Option func(*Registry)

// WithBodyLimit sets how many bytes an apply-conditions request may have;
// the default is [DefaultBodyLimit].
func WithBodyLimit(bytes int64) Option { return func(r *Registry) { r.bodyLimit = bytes } }

// Factory is the default factory of core.PermissionsRegistry.
var Factory = NewFactory()

// NewFactory returns a factory with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactory(core.PermissionsRegistry, func(env *backend.FactoryEnv) backend.MakeFunc[core.PermissionsRegistryService] {
		plugin, lifecycle := core.PluginMetadata.From(env), core.Lifecycle.From(env)
		router, auth := core.HTTPRouter.From(env), core.HTTPAuth.From(env)
		return func(context.Context) (core.PermissionsRegistryService, error) {
			r := New(plugin().ID(), opts...)
			err := lifecycle().OnStart("freeze the permissions registry", r.Freeze)
			if errors.Is(err, backend.ErrTooLate) {
				r.frozen = true
			} else if err != nil {
				return nil, fmt.Errorf("permissions registry: %w", err)
			}
			r.Mount(router(), auth())
			return r, nil
		}
	})
}

// Registry holds the permissions of one plugin. It is safe for concurrent
// use.
type Registry struct {
	plugin    string
	bodyLimit int64

	mu          sync.RWMutex
	frozen      bool
	permissions []core.Permission
	types       map[string]*resourceType
	ruleOrder   []*rule
}

type resourceType struct {
	name  string
	get   func(ctx context.Context, refs []string) ([]any, error)
	added bool // by AddResourceType, not just implied by a rule
	rules map[string]*rule
}

type rule struct {
	core.PermissionRule
	params *jsonschema.Schema
	// checked are parameters that were found valid: those of the conditions of
	// a user come with every list.
	checked *flight.Cache[string, json.RawMessage]
}

const (
	// checkedKept parameters of maxChecked bytes each are kept for a rule.
	checkedKept = 1000
	maxChecked  = 2 << 10
	checkedTTL  = time.Hour
)

// New returns an empty registry of the plugin.
func New(plugin string, opts ...Option) *Registry {
	r := &Registry{plugin: plugin, bodyLimit: DefaultBodyLimit, types: map[string]*resourceType{}}
	for _, opt := range opts {
		opt(r)
	}
	return r
}

// Freeze refuses registrations from now on. Its form is that of a lifecycle
// hook; it never fails.
func (r *Registry) Freeze(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
	return nil
}

func (r *Registry) checkOpen(what string) error {
	if r.frozen {
		return fmt.Errorf("plugin %s: %s added after the plugin has started; register in its init function, or in that of a module", r.plugin, what)
	}
	return nil
}

// AddPermissions publishes permissions. One with the name of an earlier one
// replaces it.
func (r *Registry) AddPermissions(permissions ...core.Permission) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkOpen("permissions"); err != nil {
		return err
	}
	return r.addPermissions(permissions)
}

func (r *Registry) addPermissions(permissions []core.Permission) error {
	for _, p := range permissions {
		if p.Name == "" {
			return fmt.Errorf("plugin %s: a permission without a name", r.plugin)
		}
		i := slices.IndexFunc(r.permissions, func(q core.Permission) bool { return q.Name == p.Name })
		if i >= 0 {
			r.permissions[i] = p
		} else {
			r.permissions = append(r.permissions, p)
		}
	}
	return nil
}

// AddResourceType publishes a type of resource with its permissions and
// rules. A type that was added already is an error.
func (r *Registry) AddResourceType(t core.ResourceType) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkOpen("resource type " + t.Type); err != nil {
		return err
	}
	if t.Type == "" {
		return fmt.Errorf("plugin %s: a resource type without a name", r.plugin)
	}
	if known := r.types[t.Type]; known != nil && known.added {
		return fmt.Errorf("plugin %s: resource type %s was added before", r.plugin, t.Type)
	}
	for _, rule := range t.Rules {
		if rule.ResourceType != "" && rule.ResourceType != t.Type {
			return fmt.Errorf("plugin %s: rule %s is for resource type %s, not %s", r.plugin, rule.Name, rule.ResourceType, t.Type)
		}
	}
	for _, p := range t.Permissions {
		if p.ResourceType != t.Type {
			return fmt.Errorf("plugin %s: permission %s is not for resource type %s", r.plugin, p.Name, t.Type)
		}
	}
	if err := r.addRules(t.Type, t.Rules); err != nil {
		return err
	}
	known := r.typeNamed(t.Type)
	known.added, known.get = true, t.GetResources
	return r.addPermissions(t.Permissions)
}

// AddRules publishes rules. Two rules of a resource type with one name are
// an error, and so is a schema that does not compile.
func (r *Registry) AddRules(rules ...core.PermissionRule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkOpen("rules"); err != nil {
		return err
	}
	return r.addRules("", rules)
}

func (r *Registry) addRules(resourceType string, rules []core.PermissionRule) error {
	for _, pr := range rules {
		if pr.ResourceType == "" {
			pr.ResourceType = resourceType
		}
		switch {
		case pr.Name == "":
			return fmt.Errorf("plugin %s: a permission rule without a name", r.plugin)
		case pr.ResourceType == "":
			return fmt.Errorf("plugin %s: rule %s names no resource type", r.plugin, pr.Name)
		case pr.Apply == nil:
			return fmt.Errorf("plugin %s: rule %s has no Apply function", r.plugin, pr.Name)
		}
		schema := pr.ParamsSchema
		if schema == nil {
			schema = json.RawMessage(jsonschema.Empty)
		}
		params, err := jsonschema.Compile(schema)
		if err != nil {
			return fmt.Errorf("plugin %s: parameters of rule %s: %w", r.plugin, pr.Name, err)
		}
		t := r.typeNamed(pr.ResourceType)
		if t.rules[pr.Name] != nil {
			return fmt.Errorf("plugin %s: resource type %s has two rules named %s", r.plugin, pr.ResourceType, pr.Name)
		}
		added := &rule{PermissionRule: pr, params: params, checked: flight.NewCache[string, json.RawMessage](checkedKept, checkedTTL, time.Now)}
		t.rules[pr.Name] = added
		r.ruleOrder = append(r.ruleOrder, added)
	}
	return nil
}

func (r *Registry) typeNamed(name string) *resourceType {
	t := r.types[name]
	if t == nil {
		t = &resourceType{name: name, rules: map[string]*rule{}}
		r.types[name] = t
	}
	return t
}

// Apply evaluates criteria for one resource; all their rules must be of one
// registered resource type. A nil resource satisfies nothing.
func (r *Registry) Apply(c core.PermissionCriteria, resource any) (bool, error) {
	if err := c.Validate(); err != nil {
		return false, apierr.Wrap(apierr.KindInput, err, "permission criteria are invalid")
	}
	if resource == nil {
		return false, nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	name := firstType(c)
	t := r.types[name]
	if t == nil {
		return false, apierr.Input("Unexpected resource types: %s.", name)
	}
	return newEvaluation(t).apply(c, resource)
}

// Query returns the query of a rule. A rule without one is a
// not-implemented error.
func (r *Registry) Query(name, resourceType string, params json.RawMessage) (any, error) {
	r.mu.RLock()
	t := r.types[resourceType]
	r.mu.RUnlock()
	if t == nil {
		return nil, apierr.Input("Unexpected resource types: %s.", resourceType)
	}
	rule, err := t.rule(name)
	if err != nil {
		return nil, err
	}
	if rule.PermissionRule.Query == nil {
		return nil, apierr.NotImplemented("permission rule %q of plugin %s cannot restrict lists; give it a Query function", name, r.plugin)
	}
	if params, err = rule.check(params); err != nil {
		return nil, err
	}
	q, err := rule.PermissionRule.Query(params)
	if err != nil {
		return nil, fmt.Errorf("permission rule %s: %w", name, err)
	}
	return q, nil
}

func (t *resourceType) rule(name string) (*rule, error) {
	if r := t.rules[name]; r != nil {
		return r, nil
	}
	return nil, apierr.New(apierr.KindError, "Permission rule '%s' does not exist for resource type '%s'", name, t.name)
}

// check returns valid parameters with their defaults.
func (r *rule) check(params json.RawMessage) (json.RawMessage, error) {
	if len(params) == 0 || string(params) == "null" {
		params = json.RawMessage(`{}`)
	}
	if valid, ok := r.checked.Peek(string(params)); ok {
		return valid, nil
	}
	key := string(params)
	params, err := r.params.Check(params)
	if err != nil {
		var invalid *jsonschema.ValidationError
		if errors.As(err, &invalid) {
			err = invalid.Wire()
		}
		return nil, apierr.Wrap(apierr.KindInput, err, "Parameters to rule are invalid")
	}
	if len(key) <= maxChecked {
		r.checked.Put(key, params, time.Now().Add(checkedTTL))
	}
	return params, nil
}

// firstType returns the resource type of the leftmost rule of valid criteria.
func firstType(c core.PermissionCriteria) string {
	for c.Rule == "" {
		switch {
		case c.Not != nil:
			c = *c.Not
		case c.AllOf != nil:
			c = c.AllOf[0]
		default:
			c = c.AnyOf[0]
		}
	}
	return c.ResourceType
}

// evaluation applies criteria to resources of one type. It checks the
// parameters of a condition once, however many resources it is applied to.
type evaluation struct {
	t      *resourceType
	params map[paramsKey]json.RawMessage
}

type paramsKey struct{ rule, params string }

func newEvaluation(t *resourceType) *evaluation {
	return &evaluation{t: t, params: map[paramsKey]json.RawMessage{}}
}

func (e *evaluation) apply(c core.PermissionCriteria, resource any) (bool, error) {
	switch {
	case c.AllOf != nil:
		for _, part := range c.AllOf {
			if ok, err := e.apply(part, resource); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	case c.AnyOf != nil:
		for _, part := range c.AnyOf {
			if ok, err := e.apply(part, resource); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	case c.Not != nil:
		ok, err := e.apply(*c.Not, resource)
		return !ok && err == nil, err
	default:
		return e.leaf(c, resource)
	}
}

func (e *evaluation) leaf(c core.PermissionCriteria, resource any) (bool, error) {
	if c.ResourceType != e.t.name {
		return false, apierr.Input("permission rule %q is for resource type %q, the resource is of type %q", c.Rule, c.ResourceType, e.t.name)
	}
	rule, err := e.t.rule(c.Rule)
	if err != nil {
		return false, err
	}
	key := paramsKey{c.Rule, string(c.Params)}
	params, checked := e.params[key]
	if !checked {
		if params, err = rule.check(c.Params); err != nil {
			return false, err
		}
		e.params[key] = params
	}
	ok, err := rule.Apply(resource, params)
	if err != nil {
		return false, fmt.Errorf("permission rule %s: %w", c.Rule, err)
	}
	return ok, nil
}

var errWrongCount = errors.New("GetResources must return one element per ref")
