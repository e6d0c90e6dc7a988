package core

import "github.com/flytower/flytower/backend"

// PolicyQuestion asks why a policy of the configuration decides as it does.
type PolicyQuestion struct {
	// User is a user, and OwnershipEntityRefs are the groups of which that user
	// is a member: refs, of which the kind and the namespace "default" may be
	// left out.
	User                string
	OwnershipEntityRefs []string
	Permission          Permission
}

// PolicyExplanation is the answer: the decision, and what led to it. It is
// also what POST /api/permission/policy/explain answers.
type PolicyExplanation struct {
	User                string     `json:"user"`
	OwnershipEntityRefs []string   `json:"ownershipEntityRefs"`
	Roles               []string   `json:"roles"`
	Permission          Permission `json:"permission"`
	ResourceRef         string     `json:"resourceRef,omitempty"`
	// ResourceExists says whether there is such a resource, if one was named
	// and conditions decide. One that is not there is denied.
	ResourceExists *bool `json:"resourceExists,omitempty"`
	// Result is the decision, for the resource if one was named.
	Result AuthorizeResult `json:"result"`
	// Conditions are those of a conditional decision.
	Conditions *PermissionCriteria `json:"conditions,omitempty"`
	// Rules are those of the roles that speak of the permission.
	Rules []ExplainedRule `json:"rules"`
	// Default is what is decided where no rule speaks; it is absent where one
	// does.
	Default AuthorizeResult `json:"default,omitempty"`
	// Shadow says that the policy is not followed.
	Shadow bool `json:"shadow,omitempty"`
	// Broken says what is wrong with the policy of the configuration, where it
	// is broken and an older one is in effect.
	Broken string `json:"broken,omitempty"`
}

// ExplainedRule is a rule of a policy that speaks of a permission.
type ExplainedRule struct {
	Role       string              `json:"role"`
	Position   string              `json:"position"`
	Effect     AuthorizeResult     `json:"effect"`
	Conditions *PermissionCriteria `json:"conditions,omitempty"`
	// Holds says whether the resource that was named meets the conditions.
	Holds *bool `json:"holds,omitempty"`
}

// PolicyExplainer reads the policy of a configuration and explains a decision.
// Without a policy there, ok is false.
type PolicyExplainer func(config Config, q PolicyQuestion) (e PolicyExplanation, ok bool, err error)

// PolicyExplainerAnnotation is the key under which a module publishes how the
// policy that it reads from the configuration is explained.
const PolicyExplainerAnnotation = "core.policyExplainer"

// ExplainsPolicy publishes how the policy of a configuration is explained
// without a running backend, for the command "permission explain".
func ExplainsPolicy(explain PolicyExplainer) backend.FeatureOption {
	return backend.WithAnnotation(PolicyExplainerAnnotation, explain)
}

// PermissionsAnnotation is the key under which plugins publish the permissions
// that they ask for.
const PermissionsAnnotation = "core.permissions"

// AsksForPermissions publishes permissions that a plugin or module asks for,
// for commands that have no running backend to ask. A running one answers with
// what was registered: see [PermissionsRegistryService].
func AsksForPermissions(permissions ...Permission) backend.FeatureOption {
	return backend.WithAnnotation(PermissionsAnnotation, permissions)
}
