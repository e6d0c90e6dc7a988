package main

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-node/conditions"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// policyModule brings the policy that the records of the group policy were
// made with.
var policyModule = backend.NewModule("permission", "golden-policy", func(env *backend.ModuleEnv) backend.InitFunc {
	policies := permissionnode.Policies.From(env)
	return func(context.Context) error {
		return policies().SetPolicy(permissionnode.PolicyFunc(goldenPolicy))
	}
})

// Resources of the scaffolder, and the rules on them.
var (
	task     = permissionnode.ResourceType{Plugin: "scaffolder", Type: "scaffolder-task"}
	action   = permissionnode.ResourceType{Plugin: "scaffolder", Type: "scaffolder-action"}
	template = permissionnode.ResourceType{Plugin: "scaffolder", Type: "scaffolder-template"}

	isTaskOwner = permissionnode.NewRule[struct {
		CreatedBy []string `json:"createdBy"`
	}](task, "IS_TASK_OWNER")
	hasActionID = permissionnode.NewRule[struct {
		ActionID string `json:"actionId"`
	}](action, "HAS_ACTION_ID")
	hasTag = permissionnode.NewRule[struct {
		Tag string `json:"tag"`
	}](template, "HAS_TAG")
)

func goldenPolicy(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
	who, refs := "none", []string(nil)
	if user != nil {
		who, refs = user.Info.UserEntityRef, user.Info.OwnershipEntityRefs
	}
	switch q.Permission.Name {
	case "catalog.entity.read":
		return conditions.Entity.When(permissionnode.AnyOf(
			conditions.IsEntityKind("Domain", "User", "Template", "Location"),
			permissionnode.AllOf(conditions.IsEntityOwner(refs...), permissionnode.Not(conditions.HasMetadataValue("name", "dangling"))),
			conditions.HasLabel("tier"),
		)), nil
	case "catalog.entity.refresh":
		return conditions.Entity.When(conditions.IsEntityOwner(refs...)), nil
	case "catalog.entity.delete":
		return conditions.Entity.When(conditions.IsEntityOwner("group:default/none")), nil
	case "catalog.location.create", "catalog.location.delete", "catalog.location.analyze", "catalog.entity.validate", "scaffolder.task.cancel", "devtools.info":
		return permissionnode.Deny(), nil
	case "scaffolder.task.read":
		return task.When(isTaskOwner.With(struct {
			CreatedBy []string `json:"createdBy"`
		}{[]string{who}})), nil
	case "scaffolder.action.execute":
		return action.When(permissionnode.Not(hasActionID.With(struct {
			ActionID string `json:"actionId"`
		}{"fs:readdir"}))), nil
	case "scaffolder.template.parameter.read":
		return template.When(permissionnode.Not(hasTag.With(struct {
			Tag string `json:"tag"`
		}{"secret"}))), nil
	default:
		return permissionnode.Allow(), nil
	}
}
