package backendtest

import (
	"context"
	"errors"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Permissions replaces the permission system: decide is asked for each
// permission, with an empty resource ref where the caller asks without one.
//
//	backendtest.Permissions(func(core.Credentials, core.AuthorizeRequest) core.Decision {
//		return core.Decision{Result: core.Denied}
//	})
func Permissions(decide func(who core.Credentials, r core.AuthorizeRequest) core.Decision) backend.Feature {
	return backend.NewServiceFactory(core.Permissions, func(*backend.FactoryEnv) backend.MakeFunc[core.PermissionsService] {
		return func(context.Context) (core.PermissionsService, error) { return decider(decide), nil }
	})
}

type decider func(core.Credentials, core.AuthorizeRequest) core.Decision

func (d decider) Authorize(_ context.Context, who core.Credentials, requests ...core.AuthorizeRequest) ([]core.AuthorizeResult, error) {
	results := make([]core.AuthorizeResult, len(requests))
	for i, r := range requests {
		if results[i] = d(who, r).Result; results[i] == core.Conditional {
			return nil, errors.New("backendtest: the decision on " + r.Permission.Name + " for " + r.ResourceRef + " is conditional, and the plugin asks for a definite one")
		}
	}
	return results, nil
}

func (d decider) AuthorizeConditional(_ context.Context, who core.Credentials, permissions ...core.Permission) ([]core.Decision, error) {
	decisions := make([]core.Decision, len(permissions))
	for i, p := range permissions {
		decisions[i] = d(who, core.AuthorizeRequest{Permission: p})
	}
	return decisions, nil
}
