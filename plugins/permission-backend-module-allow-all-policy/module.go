// Package permissionmoduleallowallpolicy lets everybody do everything, unless
// another module of the permission plugin brings a policy.
//
//	b.Add(permissionbackend.Plugin, permissionmoduleallowallpolicy.Module)
package permissionmoduleallowallpolicy

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// Module brings the policy.
var Module = backend.NewModule("permission", "allow-all-policy", func(env *backend.ModuleEnv) backend.InitFunc {
	policies := permissionnode.Policies.From(env)
	return func(context.Context) error {
		return policies().SetFallback(permissionnode.PolicyFunc(allow))
	}
}, backend.WithDescription("Lets everybody do everything, where no other module brings a policy"))

func allow(context.Context, permissionnode.Query, *permissionnode.User) (core.Decision, error) {
	return permissionnode.Allow(), nil
}
