package permissionbackend

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// decider asks the policy.
type decider struct {
	policy   permissionnode.Policy
	shadows  *shadows
	guard    guard
	measures measures
}

// decideAtOnce is how many permissions of a request the policy is asked for at
// the same time: it may have to ask others itself.
const decideAtOnce = 8

// decide returns the decision on each permission of the items. The policy is
// asked once for each, as it sees the permission and the user only.
func (d *decider) decide(ctx context.Context, user *permissionnode.User, items []item) (map[core.Permission]core.Decision, error) {
	decisions := make(map[core.Permission]core.Decision, 1)
	var order []core.Permission
	for _, i := range items {
		if _, known := decisions[i.permission]; !known {
			decisions[i.permission] = core.Decision{}
			order = append(order, i.permission)
		}
	}
	results := make([]core.Decision, len(order))
	ask := func(ctx context.Context, i int) error {
		defer func() { d.measures.decided(ctx, results[i].Result) }()
		return d.guard(ctx, "permission policy", func(ctx context.Context) (err error) {
			results[i], err = d.one(ctx, order[i], user)
			return err
		})
	}
	if len(order) == 1 {
		if err := ask(ctx, 0); err != nil {
			return nil, err
		}
	} else {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(decideAtOnce)
		for i := range order {
			group.Go(func() error { return ask(ctx, i) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	for i, p := range order {
		decisions[p] = results[i]
	}
	return decisions, nil
}

func (d *decider) one(ctx context.Context, p core.Permission, user *permissionnode.User) (core.Decision, error) {
	if err := ctx.Err(); err != nil {
		return core.Decision{}, err
	}
	q := permissionnode.Query{Permission: p}
	decision, err := d.policy.Decide(ctx, q, user)
	if err != nil {
		return core.Decision{}, fmt.Errorf("the permission policy failed for permission %s: %w", p.Name, err)
	}
	if decision, err = checked(decision, p); err != nil {
		return core.Decision{}, err
	}
	d.shadows.compare(ctx, d.guard, q, user, decision)
	return decision, nil
}

// checked refuses decisions that make no sense for the permission.
func checked(d core.Decision, p core.Permission) (core.Decision, error) {
	switch d.Result {
	case core.Allowed, core.Denied:
		return core.Decision{Result: d.Result}, nil
	case core.Conditional:
		switch {
		case p.Type != typeResource:
			return d, apierr.New(apierr.KindError, "Conditional decision returned from permission policy for non-resource permission %s", p.Name)
		case d.ResourceType != p.ResourceType:
			return d, apierr.New(apierr.KindError, "Invalid resource conditions returned from permission policy for permission %s", p.Name)
		case d.PluginID == "" || d.Conditions == nil:
			return d, apierr.New(apierr.KindError, "Invalid resource conditions returned from permission policy for permission %s: the plugin or the conditions are missing", p.Name)
		}
		if err := d.Conditions.Validate(); err != nil {
			return d, apierr.New(apierr.KindError, "Invalid resource conditions returned from permission policy for permission %s: %s", p.Name, err.Error())
		}
		return d, nil
	default:
		return d, apierr.New(apierr.KindError, "the permission policy decided %q on permission %s, want ALLOW, DENY or CONDITIONAL", d.Result, p.Name)
	}
}
