package permissionnode

import (
	"encoding/json"
	"fmt"

	"github.com/flytower/flytower/core"
)

// Allow is the decision to allow.
func Allow() core.Decision { return core.Decision{Result: core.Allowed} }

// Deny is the decision to deny.
func Deny() core.Decision { return core.Decision{Result: core.Denied} }

// ResourceType is a type of resource and the plugin that has the resources.
type ResourceType struct {
	// Plugin is the id of the plugin, for example "catalog".
	Plugin string
	// Type is the name of the type, for example "catalog-entity".
	Type string
}

// When is the decision to allow what concerns the resources that meet the
// condition, and to deny the rest.
func (t ResourceType) When(c core.PermissionCriteria) core.Decision {
	return core.Decision{Result: core.Conditional, PluginID: t.Plugin, ResourceType: t.Type, Conditions: &c}
}

// Rule is a rule that a plugin publishes, with parameters of type P, which
// encode as the JSON object that the plugin expects.
//
//	var isAuthor = permissionnode.NewRule[authorParams](reports, "IS_AUTHOR")
//	…
//	return reports.When(isAuthor.With(authorParams{User: user.Info.UserEntityRef})), nil
type Rule[P any] struct {
	name string
	of   ResourceType
}

// NewRule names a rule on resources of a type. It panics if a P cannot be
// JSON.
func NewRule[P any](of ResourceType, name string) Rule[P] {
	var zero P
	if _, err := json.Marshal(zero); err != nil {
		panic(fmt.Sprintf("permissionnode.NewRule: the parameters of rule %s cannot be JSON: %v", name, err))
	}
	return Rule[P]{name: name, of: of}
}

// With is the condition that the rule holds with the parameters. Parameters
// that cannot be JSON make a condition that the plugin refuses.
func (r Rule[P]) With(params P) core.PermissionCriteria {
	text, err := json.Marshal(params)
	if err != nil {
		// A node that is no valid condition: whoever gets the decision fails,
		// and nothing is allowed.
		return core.PermissionCriteria{}
	}
	return core.PermissionCriteria{Rule: r.name, ResourceType: r.of.Type, Params: text}
}

// AllOf is the condition that all of the conditions hold. There must be one
// at least.
func AllOf(all ...core.PermissionCriteria) core.PermissionCriteria {
	return core.PermissionCriteria{AllOf: list(all)}
}

// AnyOf is the condition that one of the conditions holds. There must be one
// at least.
func AnyOf(of ...core.PermissionCriteria) core.PermissionCriteria {
	return core.PermissionCriteria{AnyOf: list(of)}
}

// Not is the condition that c does not hold. A resource that does not exist
// meets no condition, not even such a one.
func Not(c core.PermissionCriteria) core.PermissionCriteria {
	return core.PermissionCriteria{Not: &c}
}

// list is not nil, so that it is told apart from an absent one.
func list(all []core.PermissionCriteria) []core.PermissionCriteria {
	return append([]core.PermissionCriteria{}, all...)
}
