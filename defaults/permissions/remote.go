package permissions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// check is one question. Its fields are comparable, so that equal questions
// can be found.
type check struct {
	permission  core.Permission
	ref         string
	conditional bool
}

type remote struct {
	plugins core.PluginClientService
	batched bool
}

type wireRequest struct {
	ID         string          `json:"id"`
	Permission core.Permission `json:"permission"`
	// ResourceRef is absent, a string, or a list of strings.
	ResourceRef any `json:"resourceRef,omitempty"`

	checks []int
}

type wireDecision struct {
	ID           string                   `json:"id"`
	Result       wireResult               `json:"result"`
	PluginID     string                   `json:"pluginId"`
	ResourceType string                   `json:"resourceType"`
	Conditions   *core.PermissionCriteria `json:"conditions"`
}

// wireResult is one result or a list of them.
type wireResult []core.AuthorizeResult

// UnmarshalJSON reads either form.
func (r *wireResult) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]core.AuthorizeResult)(r))
	}
	*r = make(wireResult, 1)
	return json.Unmarshal(text, &(*r)[0])
}

// ask puts the checks to the permission plugin in one request.
func (r *remote) ask(ctx context.Context, who core.Credentials, checks []check) ([]core.Decision, error) {
	requests := r.requests(checks)
	var answer struct {
		Items []wireDecision `json:"items"`
	}
	err := r.plugins.Call(ctx, core.PluginRequest{
		Plugin: "permission", Method: http.MethodPost, Path: "/authorize",
		JSON: map[string]any{"items": requests}, As: who,
	}, &answer)
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	byID := make(map[string]wireDecision, len(answer.Items))
	for _, item := range answer.Items {
		byID[item.ID] = item
	}
	if len(byID) != len(requests) || len(answer.Items) != len(requests) {
		return nil, fmt.Errorf("asking for permission: %d decisions for %d requests", len(answer.Items), len(requests))
	}
	decisions := make([]core.Decision, len(checks))
	for _, request := range requests {
		item, ok := byID[request.ID]
		if !ok {
			return nil, fmt.Errorf("asking for permission %s: the answer has no decision", request.Permission.Name)
		}
		if err := distribute(request, item, checks, decisions); err != nil {
			return nil, fmt.Errorf("asking for permission %s: %w", request.Permission.Name, err)
		}
	}
	return decisions, nil
}

// unanswered is the error where there are no decisions. What the permission
// plugin says passes through; that it says nothing is told as what it is, as
// every page of a user depends on it.
func unanswered(ctx context.Context, err error) error {
	var answered *apierr.Error
	if errors.As(err, &answered) || ctx.Err() != nil {
		return fmt.Errorf("asking for permission: %w", err)
	}
	return apierr.Wrap(apierr.KindServiceUnavailable, err, "the permission plugin does not answer, and nothing is allowed until it does")
}

// requests makes one request per check or, when batched, one per permission
// that is checked for several resources.
func (r *remote) requests(checks []check) []*wireRequest {
	requests := make([]*wireRequest, 0, len(checks))
	groups := map[core.Permission]*wireRequest{}
	for i, c := range checks {
		if r.batched && c.ref != "" {
			if g := groups[c.permission]; g != nil {
				g.ResourceRef = append(g.ResourceRef.([]string), c.ref)
				g.checks = append(g.checks, i)
				continue
			}
		}
		request := &wireRequest{ID: uuid.NewString(), Permission: c.permission, checks: []int{i}}
		switch {
		case c.ref == "":
		case r.batched:
			request.ResourceRef = []string{c.ref}
			groups[c.permission] = request
		default:
			request.ResourceRef = c.ref
		}
		requests = append(requests, request)
	}
	return requests
}

// distribute gives each check of the request its decision.
func distribute(request *wireRequest, item wireDecision, checks []check, decisions []core.Decision) error {
	if len(item.Result) != 1 && len(item.Result) != len(request.checks) {
		return fmt.Errorf("%d results for %d resources", len(item.Result), len(request.checks))
	}
	for n, i := range request.checks {
		result := item.Result[0] // one result is for all resources
		if len(item.Result) > 1 {
			result = item.Result[n]
		}
		d, err := accept(core.Decision{Result: result, PluginID: item.PluginID, ResourceType: item.ResourceType, Conditions: item.Conditions}, checks[i])
		if err != nil {
			return err
		}
		decisions[i] = d
	}
	return nil
}

// accept returns the decision without what does not belong to it, or says why
// it is none on the check.
func accept(d core.Decision, c check) (core.Decision, error) {
	switch {
	case d.Result == core.Allowed || d.Result == core.Denied:
		return core.Decision{Result: d.Result}, nil
	case d.Result == core.Conditional && c.conditional:
		if d.Conditions == nil || d.PluginID == "" || d.ResourceType == "" {
			return d, fmt.Errorf("the conditional decision lacks its plugin, resource type or conditions")
		}
		if err := d.Conditions.Validate(); err != nil {
			return d, fmt.Errorf("the conditional decision is invalid: %w", err)
		}
		return d, nil
	case d.Result == core.Conditional:
		return d, fmt.Errorf("the decision depends on a resource, and none was named")
	default:
		return d, fmt.Errorf("the decision is %q, want ALLOW or DENY", d.Result)
	}
}
