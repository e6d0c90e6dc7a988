package permissions

import (
	"context"
	"fmt"

	"github.com/flytower/flytower/core"
)

// local asks the permission plugin of this process without a request: no
// token is issued and verified, and nothing is encoded.
type local struct {
	// caller is the plugin that asks.
	caller string
	place  *core.PermissionDeciderPlace
	// here says whether the permission plugin that is asked is that of this
	// process: the configuration may say that it is elsewhere.
	here func() bool
}

// decider returns who decides; ok is false if that is to be asked over HTTP.
// Callers without credentials are: the routes of the permission plugin say
// whether they are let in.
func (l *local) decider(who core.Credentials) (core.PermissionDecider, bool) {
	if l == nil || !who.IsUser() {
		return nil, false
	}
	d, ok := l.place.Get()
	return d, ok && l.here()
}

func (l *local) ask(ctx context.Context, d core.PermissionDecider, who core.Credentials, checks []check) ([]core.Decision, error) {
	requests := make([]core.AuthorizeRequest, len(checks))
	for i, c := range checks {
		requests[i] = core.AuthorizeRequest{Permission: c.permission, ResourceRef: c.ref}
	}
	user := core.UserCredentials(who.Principal.UserEntityRef, "plugin:"+l.caller, who.Token(), who.ExpiresAt, who.Limited())
	decisions, err := d.DecideFor(ctx, user, requests)
	if err != nil {
		return nil, fmt.Errorf("asking for permission: %w", err)
	}
	if len(decisions) != len(checks) {
		return nil, fmt.Errorf("asking for permission: %d decisions for %d requests", len(decisions), len(checks))
	}
	for i, d := range decisions {
		if decisions[i], err = accept(d, checks[i]); err != nil {
			return nil, fmt.Errorf("asking for permission %s: %w", checks[i].permission.Name, err)
		}
	}
	return decisions, nil
}
