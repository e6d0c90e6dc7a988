// Package permissionnode is what others need of the permission plugin: the
// extension point through which a module brings the policy, and what policies
// make their decisions of.
//
// A policy that lets users read what they own, and everything else be:
//
//	var Module = backend.NewModule("permission", "owners", func(env *backend.ModuleEnv) backend.InitFunc {
//		policies := permissionnode.Policies.From(env)
//		return func(context.Context) error {
//			return policies().SetPolicy(permissionnode.PolicyFunc(decide))
//		}
//	})
//
//	func decide(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
//		switch {
//		case user == nil:
//			return permissionnode.Deny(), nil
//		case q.Permission.Name == catalognode.PermissionEntityRead.Name:
//			return conditions.Entity.When(conditions.IsEntityOwner(user.Info.OwnershipEntityRefs...)), nil
//		default:
//			return permissionnode.Allow(), nil
//		}
//	}
//
// Package conditions of catalog-node has the conditions on entities; other
// plugins publish theirs as a [Rule].
package permissionnode

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Policies takes the policy.
var Policies = backend.NewExtensionPoint[PolicyRegistry]("permission", "policy")

// PolicyRegistry takes the policy in the init functions of modules.
type PolicyRegistry interface {
	// SetPolicy makes p the policy. A second policy is a conflict error.
	SetPolicy(p Policy) error
	// SetFallback makes p the policy of a backend in which no module calls
	// SetPolicy. A second one is a conflict error.
	SetFallback(p Policy) error
	// AddShadow has p asked beside the policy. What p decides never counts;
	// where it differs from what counts, that is logged under the name. A
	// second shadow with the name is a conflict error.
	AddShadow(name string, p Policy) error
}

// Policy decides what callers may do. Implementations are safe for concurrent
// use. A decision is about a permission as such; one that depends on the
// resource is conditional, and names the conditions.
//
// An error, a panic, and a decision that makes no sense for the permission
// fail the request: nothing is allowed then.
type Policy interface {
	// Decide is asked once per request and permission. user is nil for a
	// caller without credentials, whom only a backend with
	// backend.auth.dangerouslyDisableDefaultAuthPolicy lets in. Services are
	// never asked about: the token of a service says what it may do.
	Decide(ctx context.Context, q Query, user *User) (core.Decision, error)
}

// PolicyFunc is a function that is a [Policy].
type PolicyFunc func(ctx context.Context, q Query, user *User) (core.Decision, error)

// Decide calls f.
func (f PolicyFunc) Decide(ctx context.Context, q Query, user *User) (core.Decision, error) {
	return f(ctx, q, user)
}

// Query is what a policy is asked.
type Query struct {
	Permission core.Permission
}

// User is who asks.
type User struct {
	// Credentials tell, beside the user, the plugin that acts for the user:
	// Principal.Actor.
	Credentials core.Credentials
	// Info has the refs by which the user owns things.
	Info core.UserInfo
}
