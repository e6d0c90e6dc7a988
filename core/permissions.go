package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/flytower/flytower/backend"
)

// Permission is something that a caller may or may not do.
type Permission struct {
	// Type is "basic" or "resource".
	Type       string               `json:"type"`
	Name       string               `json:"name"`
	Attributes PermissionAttributes `json:"attributes"`
	// ResourceType is set if Type is "resource".
	ResourceType string `json:"resourceType,omitempty"`
}

// PermissionAttributes describe a permission.
type PermissionAttributes struct {
	// Action is create, read, update, delete, or "".
	Action string `json:"action,omitempty"`
}

// NewPermission returns a permission that concerns no resource.
func NewPermission(name, action string) Permission {
	return Permission{Type: "basic", Name: name, Attributes: PermissionAttributes{Action: action}}
}

// NewResourcePermission returns a permission on resources of a type.
func NewResourcePermission(name, action, resourceType string) Permission {
	return Permission{Type: "resource", Name: name, Attributes: PermissionAttributes{Action: action}, ResourceType: resourceType}
}

// AuthorizeResult is a decision.
type AuthorizeResult string

// Decisions.
const (
	Allowed     AuthorizeResult = "ALLOW"
	Denied      AuthorizeResult = "DENY"
	Conditional AuthorizeResult = "CONDITIONAL"
)

// AuthorizeRequest asks for one decision. ResourceRef is needed to authorize
// a resource permission definitely.
type AuthorizeRequest struct {
	Permission  Permission
	ResourceRef string
}

// Decision is the answer to a conditional request: allowed and denied stand
// for themselves, a conditional one depends on the resource.
type Decision struct {
	Result       AuthorizeResult
	PluginID     string
	ResourceType string
	Conditions   *PermissionCriteria
}

// PermissionCriteria is a tree of conditions: exactly one of AllOf, AnyOf,
// Not and Rule is set.
type PermissionCriteria struct {
	AllOf []PermissionCriteria `json:"allOf,omitempty"`
	AnyOf []PermissionCriteria `json:"anyOf,omitempty"`
	Not   *PermissionCriteria  `json:"not,omitempty"`

	Rule         string          `json:"rule,omitempty"`
	ResourceType string          `json:"resourceType,omitempty"`
	Params       json.RawMessage `json:"params,omitempty"`
}

// MaxCriteriaDepth is how deep criteria may nest.
const MaxCriteriaDepth = 64

// Validate reports criteria in which a node is not exactly one of AllOf,
// AnyOf, Not and Rule, has an empty list, or lies deeper than
// [MaxCriteriaDepth]. The error names the node: "criteria.allOf[1].not".
func (c PermissionCriteria) Validate() error {
	if at, problem := c.invalid(1); problem != "" {
		return errors.New("criteria" + at + " " + problem)
	}
	return nil
}

// invalid returns a node and what is wrong with it; "" is nothing. Every list
// of a user with conditions asks, so places are put into words for errors only.
func (c *PermissionCriteria) invalid(depth int) (at, problem string) {
	if depth > MaxCriteriaDepth {
		return "", fmt.Sprintf("nests deeper than %d levels", MaxCriteriaDepth)
	}
	kinds := 0
	for _, set := range [...]bool{c.AllOf != nil, c.AnyOf != nil, c.Not != nil, c.Rule != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return "", "must be exactly one of allOf, anyOf, not and rule"
	}
	name, list := ".allOf", c.AllOf
	if c.AnyOf != nil {
		name, list = ".anyOf", c.AnyOf
	}
	if list != nil && len(list) == 0 {
		return name, "must not be empty"
	}
	for i := range list {
		if at, problem := list[i].invalid(depth + 1); problem != "" {
			return name + "[" + strconv.Itoa(i) + "]" + at, problem
		}
	}
	if c.Not != nil {
		at, problem := c.Not.invalid(depth + 1)
		return ".not" + at, problem
	}
	if c.Rule != "" && c.ResourceType == "" {
		return "", "names no resourceType"
	}
	return "", ""
}

// PermissionsService asks whether callers may do things.
type PermissionsService interface {
	// Authorize decides each request, in order: allowed or denied.
	Authorize(ctx context.Context, who Credentials, requests ...AuthorizeRequest) ([]AuthorizeResult, error)
	// AuthorizeConditional decides each permission, in order, as far as that is
	// possible without the resource.
	AuthorizeConditional(ctx context.Context, who Credentials, permissions ...Permission) ([]Decision, error)
}

// Permissions asks whether callers may do things.
var Permissions = backend.NewServiceRef[PermissionsService]("core.permissions")

// PermissionRule is a condition that policies may use on resources of a type.
type PermissionRule struct {
	Name         string
	Description  string
	ResourceType string
	// ParamsSchema is a JSON Schema; nil allows no parameters.
	ParamsSchema json.RawMessage
	// Apply decides for one resource, as returned by GetResources.
	Apply func(resource any, params json.RawMessage) (bool, error)
	// Query returns the same condition in the query language of the plugin that
	// has the resources, with which it restricts lists; for the catalog that is
	// a filter predicate, such as map[string]any{"spec.type": "service"}. A
	// plugin that needs it refuses conditions of a rule without it.
	Query func(params json.RawMessage) (any, error)
}

// ResourceType is a type of resource whose permissions a plugin owns.
type ResourceType struct {
	Type        string
	Permissions []Permission
	Rules       []PermissionRule
	// GetResources returns the resources of the refs, in order, nil for one
	// that is not there. Without it, conditions cannot be applied remotely.
	GetResources func(ctx context.Context, refs []string) ([]any, error)
}

// PermissionsRegistryService publishes the permissions of a plugin. It takes
// registrations until the plugin has started.
type PermissionsRegistryService interface {
	AddPermissions(p ...Permission) error
	AddResourceType(t ResourceType) error
	AddRules(rules ...PermissionRule) error
	// Apply evaluates criteria of a registered resource type for one resource.
	Apply(c PermissionCriteria, resource any) (bool, error)
	// Query returns the query of a rule with parameters; see [PermissionRule].
	Query(rule, resourceType string, params json.RawMessage) (any, error)
}

// PermissionsRegistry publishes the permissions of a plugin.
var PermissionsRegistry = backend.NewServiceRef[PermissionsRegistryService]("core.permissionsRegistry")
