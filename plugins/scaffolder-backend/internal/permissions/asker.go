package permissions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Asker asks whether callers may do things.
type Asker struct {
	Permissions core.PermissionsService
	Rules       core.PermissionsRegistryService
}

// denied has no text, as clients expect.
func denied() error { return apierr.NotAllowed("") }

// Allowed is a not-allowed error unless the caller has all permissions.
func (a Asker) Allowed(ctx context.Context, who core.Credentials, permissions ...core.Permission) error {
	requests := make([]core.AuthorizeRequest, len(permissions))
	for i, p := range permissions {
		requests[i] = core.AuthorizeRequest{Permission: p}
	}
	results, err := a.Permissions.Authorize(ctx, who, requests...)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r core.AuthorizeResult) bool { return r != core.Allowed }) {
		return denied()
	}
	return nil
}

// holds reports whether a decision lets the caller have the resource.
func (a Asker) holds(d core.Decision, resource any) (bool, error) {
	switch d.Result {
	case core.Allowed:
		return true, nil
	case core.Conditional:
		if d.Conditions == nil {
			return false, nil
		}
		return a.Rules.Apply(*d.Conditions, resource)
	}
	return false, nil
}

// AllowedOn is a not-allowed error unless the caller has all permissions on a
// task.
func (a Asker) AllowedOn(ctx context.Context, who core.Credentials, task tasks.Task, permissions ...core.Permission) error {
	decisions, err := a.Permissions.AuthorizeConditional(ctx, who, permissions...)
	if err != nil {
		return err
	}
	for _, d := range decisions {
		if ok, err := a.holds(d, task); err != nil {
			return err
		} else if !ok {
			return denied()
		}
	}
	return nil
}

// Visible returns what restricts the list of tasks for the caller; nil is
// nothing.
func (a Asker) Visible(ctx context.Context, who core.Credentials) (tasks.Condition, error) {
	decisions, err := a.Permissions.AuthorizeConditional(ctx, who, ReadTask)
	if err != nil {
		return nil, err
	}
	switch d := decisions[0]; d.Result {
	case core.Allowed:
		return nil, nil
	case core.Conditional:
		if d.Conditions == nil {
			return nil, denied()
		}
		return a.condition(*d.Conditions, 0)
	}
	return nil, denied()
}

func (a Asker) condition(c core.PermissionCriteria, depth int) (tasks.Condition, error) {
	if depth > core.MaxCriteriaDepth {
		return nil, apierr.New(apierr.KindError, "the policy returned conditions that nest too deep")
	}
	many := func(parts []core.PermissionCriteria) ([]tasks.Condition, error) {
		var all []tasks.Condition
		for _, part := range parts {
			one, err := a.condition(part, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		return all, nil
	}
	switch {
	case c.AllOf != nil:
		all, err := many(c.AllOf)
		return tasks.All(all), err
	case c.AnyOf != nil:
		all, err := many(c.AnyOf)
		return tasks.Any(all), err
	case c.Not != nil:
		one, err := a.condition(*c.Not, depth+1)
		return tasks.Not{Condition: one}, err
	}
	query, err := a.Rules.Query(c.Rule, c.ResourceType, c.Params)
	if err != nil {
		return nil, err
	}
	condition, ok := query.(tasks.Condition)
	if !ok {
		return nil, apierr.New(apierr.KindError, "the rule %s does not restrict lists of tasks", c.Rule)
	}
	return condition, nil
}

// Parts returns what reports whether the caller may see a page of parameters
// and a step of a template.
func (a Asker) Parts(ctx context.Context, who core.Credentials) (parameter, step func(template.Value) (bool, error), err error) {
	decisions, err := a.Permissions.AuthorizeConditional(ctx, who, ReadParameter, ReadStep)
	if err != nil {
		return nil, nil, err
	}
	of := func(d core.Decision) func(template.Value) (bool, error) {
		return func(part template.Value) (bool, error) { return a.holds(d, part) }
	}
	return of(decisions[0]), of(decisions[1]), nil
}

// Actions asks once what actions the caller may use, and returns what decides
// on each use.
func (a Asker) Actions(ctx context.Context, who core.Credentials) (func(action string, input template.Value) (bool, error), error) {
	decisions, err := a.Permissions.AuthorizeConditional(ctx, who, Execute)
	if err != nil {
		return nil, err
	}
	d := decisions[0]
	return func(action string, input template.Value) (bool, error) {
		ok, err := a.holds(d, Use{action, input})
		if err != nil || !ok || d.Conditions == nil || d.Result != core.Conditional {
			return ok, err
		}
		return a.alsoByPath(d, action, input)
	}, nil
}

// alsoByPath closes a way around rules on the path of a group: its number
// instead of its path. The decision has to hold for every path that the rules
// name.
func (a Asker) alsoByPath(d core.Decision, action string, input template.Value) (bool, error) {
	if !slices.Contains(splitAction(action), "group") {
		return true, nil
	}
	record, isRecord := input.(*template.Record)
	if !isRecord || !isID(template.Member(record, "path")) {
		return true, nil
	}
	for _, path := range namedPaths(*d.Conditions) {
		if ok, err := a.holds(d, Use{action, record.With(template.String(path), "path")}); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// isID reports whether a value is the number of a group, as such or as text.
func isID(v template.Value) bool {
	switch v := v.(type) {
	case template.Number:
		return true
	case template.String:
		return v != "" && strings.Trim(string(v), "0123456789") == ""
	}
	return false
}

func namedPaths(c core.PermissionCriteria) (paths []string) {
	for _, part := range slices.Concat(c.AllOf, c.AnyOf) {
		paths = append(paths, namedPaths(part)...)
	}
	if c.Not != nil {
		paths = append(paths, namedPaths(*c.Not)...)
	}
	var p struct {
		Key   string
		Value *string
	}
	if c.Rule == "HAS_STRING_PROPERTY" && json.Unmarshal(c.Params, &p) == nil && property(p.Key) == "path" && p.Value != nil {
		paths = append(paths, *p.Value)
	}
	return paths
}
