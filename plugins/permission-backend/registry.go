package permissionbackend

import (
	"sync"

	"github.com/flytower/flytower/apierr"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// registry collects the policies that modules bring.
type registry struct {
	mu       sync.Mutex
	frozen   bool
	policy   permissionnode.Policy
	fallback permissionnode.Policy
	shadows  []shadow
}

// chosen is what came together.
type chosen struct {
	policy   permissionnode.Policy
	fallback bool // no module called SetPolicy
	shadows  []shadow
}

// freeze ends the time for additions.
func (r *registry) freeze() (chosen, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
	c := chosen{policy: r.policy, shadows: r.shadows}
	if c.policy == nil {
		c.policy, c.fallback = r.fallback, true
	}
	if c.policy == nil {
		return chosen{}, errNoPolicy
	}
	return c, nil
}

func (r *registry) add(p permissionnode.Policy, fn func() error) error {
	if p == nil {
		return apierr.Input("the permission policy is nil")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen {
		return apierr.Conflict("the permission plugin has started: set the policy in the init function of a module, not later")
	}
	return fn()
}

// SetPolicy implements [permissionnode.PolicyRegistry].
func (r *registry) SetPolicy(p permissionnode.Policy) error {
	return r.add(p, func() error {
		if r.policy != nil {
			return apierr.Conflict("Policy already set: two modules of the permission plugin bring a policy, remove one of them")
		}
		r.policy = p
		return nil
	})
}

// SetFallback implements [permissionnode.PolicyRegistry].
func (r *registry) SetFallback(p permissionnode.Policy) error {
	return r.add(p, func() error {
		if r.fallback != nil {
			return apierr.Conflict("Policy already set: two modules of the permission plugin bring a fallback policy, remove one of them")
		}
		r.fallback = p
		return nil
	})
}

// AddShadow implements [permissionnode.PolicyRegistry].
func (r *registry) AddShadow(name string, p permissionnode.Policy) error {
	return r.add(p, func() error {
		for _, s := range r.shadows {
			if s.name == name {
				return apierr.Conflict("there are two shadow policies named %q", name)
			}
		}
		r.shadows = append(r.shadows, shadow{name, p})
		return nil
	})
}
