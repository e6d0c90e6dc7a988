package rules

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
)

// Variables of parameters.
const (
	// CurrentUser is the ref of the user who asks.
	CurrentUser = "$currentUser"
	// OwnerRefs are the refs by which that user owns things. As an element of a
	// list it stands for all of them.
	OwnerRefs = "$ownerRefs"
)

// Condition is a tree of conditions, of which one member is set.
type Condition struct {
	AllOf []Condition
	AnyOf []Condition
	Not   *Condition

	Rule   string
	Params map[string]any

	// Position is where the condition stands.
	Position core.Position
}

// varies reports whether the condition depends on the one who asks.
func (c *Condition) varies() bool {
	return varies(c.Params) || c.Not != nil && c.Not.varies() ||
		slices.ContainsFunc(c.AllOf, func(inner Condition) bool { return inner.varies() }) ||
		slices.ContainsFunc(c.AnyOf, func(inner Condition) bool { return inner.varies() })
}

// criteria is the condition for the one who asks.
func (c *Condition) criteria(resourceType string, who *Subject) core.PermissionCriteria {
	list := func(from []Condition) []core.PermissionCriteria {
		out := make([]core.PermissionCriteria, len(from))
		for i := range from {
			out[i] = from[i].criteria(resourceType, who)
		}
		return out
	}
	switch {
	case c.AllOf != nil:
		return core.PermissionCriteria{AllOf: list(c.AllOf)}
	case c.AnyOf != nil:
		return core.PermissionCriteria{AnyOf: list(c.AnyOf)}
	case c.Not != nil:
		inner := c.Not.criteria(resourceType, who)
		return core.PermissionCriteria{Not: &inner}
	}
	var params json.RawMessage
	if c.Params != nil {
		// Strings, numbers, lists and objects of a configuration always encode.
		params, _ = json.Marshal(fill(c.Params, who))
	}
	return core.PermissionCriteria{Rule: c.Rule, ResourceType: resourceType, Params: params}
}

// varies reports whether there are variables in a value.
func varies(v any) bool {
	switch v := v.(type) {
	case string:
		return v == CurrentUser || v == OwnerRefs
	case []any:
		return slices.ContainsFunc(v, varies)
	case map[string]any:
		for _, inner := range v {
			if varies(inner) {
				return true
			}
		}
	}
	return false
}

// fill replaces the variables in a value.
func fill(v any, who *Subject) any {
	switch v := v.(type) {
	case string:
		switch v {
		case CurrentUser:
			return who.User
		case OwnerRefs:
			return append([]string{}, who.Owns...)
		}
	case []any:
		out := make([]any, 0, len(v))
		for _, inner := range v {
			if inner == OwnerRefs {
				for _, ref := range who.Owns {
					out = append(out, ref)
				}
			} else {
				out = append(out, fill(inner, who))
			}
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[name] = fill(inner, who)
		}
		return out
	}
	return v
}

// unknownVariable returns a string that looks like a variable and is none.
func unknownVariable(v any) string {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "$") && !varies(v) {
			return v
		}
	case []any:
		for _, inner := range v {
			if name := unknownVariable(inner); name != "" {
				return name
			}
		}
	case map[string]any:
		for _, inner := range v {
			if name := unknownVariable(inner); name != "" {
				return name
			}
		}
	}
	return ""
}

// Leaf is a condition of a rule that has no others below it.
type Leaf struct {
	Plugin, ResourceType, Rule string
	// Params are the parameters for an example of a user.
	Params   json.RawMessage
	Position core.Position
}

// Leaves returns all conditions of the policy.
func (s *Set) Leaves() []Leaf {
	example := &Subject{User: "user:default/example", Owns: []string{"user:default/example"}}
	var out []Leaf
	var walk func(of *Rule, c *Condition)
	walk = func(of *Rule, c *Condition) {
		if c == nil {
			return
		}
		for _, list := range [][]Condition{c.AllOf, c.AnyOf} {
			for i := range list {
				walk(of, &list[i])
			}
		}
		walk(of, c.Not)
		if c.Rule != "" {
			out = append(out, Leaf{of.Plugin, of.ResourceType, c.Rule, c.criteria(of.ResourceType, example).Params, c.Position})
		}
	}
	for i := range s.Roles {
		for n := range s.Roles[i].Rules {
			rule := &s.Roles[i].Rules[n]
			walk(rule, rule.When)
		}
	}
	return out
}
