package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// credentials returns those of the caller. The router has verified them
// already, so this costs a look-up.
func (h *Handler) credentials(r *http.Request) (core.Credentials, error) {
	return h.HTTPAuth.Credentials(r, core.Allow{User: true, Service: true})
}

// visible returns what the caller may see of the entities, for a permission
// on them: ok is false if that is nothing, and a nil predicate is all.
func (h *Handler) visible(r *http.Request, permission core.Permission) (p query.Predicate, ok bool, err error) {
	who, err := h.credentials(r)
	if err != nil {
		return nil, false, err
	}
	decisions, err := h.Permissions.AuthorizeConditional(r.Context(), who, permission)
	if err != nil {
		return nil, false, err
	}
	switch d := decisions[0]; d.Result {
	case core.Allowed:
		return nil, true, nil
	case core.Conditional:
		p, err := h.conditionPredicate(d.Conditions, 0)
		return p, err == nil, err
	default:
		return nil, false, nil
	}
}

// allowed is a not-allowed error unless the caller has the permission,
// definitely.
func (h *Handler) allowed(r *http.Request, permission core.Permission, resourceRef string) error {
	who, err := h.credentials(r)
	if err != nil {
		return err
	}
	results, err := h.Permissions.Authorize(r.Context(), who, core.AuthorizeRequest{Permission: permission, ResourceRef: resourceRef})
	if err != nil {
		return err
	}
	if results[0] != core.Allowed {
		return apierr.NotAllowed("Unauthorized: permission %s is needed", permission.Name)
	}
	return nil
}

// maxConditionDepth bounds the tree of conditions of a decision.
const maxConditionDepth = 64

// conditionPredicate translates the conditions of a policy, so that they
// restrict a query instead of being evaluated entity by entity.
func (h *Handler) conditionPredicate(c *core.PermissionCriteria, depth int) (query.Predicate, error) {
	if c == nil || depth > maxConditionDepth {
		return nil, apierr.New(apierr.KindError, "the policy returned conditions that are missing or nest too deep")
	}
	many := func(cs []core.PermissionCriteria) ([]query.Predicate, error) {
		out := make([]query.Predicate, 0, len(cs))
		for i := range cs {
			p, err := h.conditionPredicate(&cs[i], depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		return out, nil
	}
	switch {
	case c.AllOf != nil:
		ps, err := many(c.AllOf)
		return query.All(ps), err
	case c.AnyOf != nil:
		ps, err := many(c.AnyOf)
		return query.Any(ps), err
	case c.Not != nil:
		p, err := h.conditionPredicate(c.Not, depth+1)
		return query.Not{Predicate: p}, err
	}
	q, err := h.Rules.Query(c.Rule, c.ResourceType, c.Params)
	if err != nil {
		return nil, apierr.Forward(err, "restricting a list by the conditions of the policy")
	}
	if p, ready := q.(query.Predicate); ready {
		return p, nil
	}
	// A rule that a module added says it in the language of clients.
	text, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("the query of permission rule %s: %w", c.Rule, err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("the query of permission rule %s: %w", c.Rule, err)
	}
	p, err := query.Parse(v)
	if err != nil {
		return nil, apierr.Wrap(apierr.KindError, err, "the query of permission rule "+c.Rule+" is no predicate of the catalog")
	}
	return p, nil
}

// pathRef returns the ref that the path of r names.
func pathRef(r *http.Request) catalogcommon.Ref {
	return catalogcommon.Ref{Kind: r.PathValue("kind"), Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
}
