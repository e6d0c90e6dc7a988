package rules

import (
	"slices"

	"github.com/flytower/flytower/core"
)

// Evaluate decides on a permission. who is nil for a caller without
// credentials, who is denied everything.
func (s *Set) Evaluate(p core.Permission, who *Subject) Outcome {
	if who == nil {
		return Outcome{Decision: core.Decision{Result: core.Denied}, Defaulted: true}
	}
	out := Outcome{}
	for _, i := range s.rolesOf(who) {
		role := &s.Roles[i]
		out.Roles = append(out.Roles, role.Name)
		for _, n := range role.exact[p.Name] {
			out.match(role, n, p, who)
		}
		for _, n := range role.patterns {
			if slices.ContainsFunc(role.Rules[n].Permissions, func(pattern string) bool { return matches(pattern, p.Name) }) {
				out.match(role, n, p, who)
			}
		}
	}
	s.decide(&out, p)
	return out
}

func (o *Outcome) match(role *Role, n int, p core.Permission, who *Subject) {
	rule := &role.Rules[n]
	if !rule.speaks(p) {
		return
	}
	m := Match{Role: role.Name, Index: n, Rule: rule}
	if rule.When != nil {
		c := rule.When.criteria(rule.ResourceType, who)
		m.Conditions = &c
	}
	o.Matches = append(o.Matches, m)
}

// decide combines what the rules say.
func (s *Set) decide(out *Outcome, p core.Permission) {
	allowed, denied := gather(out.Matches, core.Allowed), gather(out.Matches, core.Denied)
	if !allowed.any && !denied.always {
		// What denies some resources leaves the others to the default.
		out.Defaulted = true
		allowed.always = s.Default == core.Allowed
	}
	switch {
	case denied.always, !allowed.always && len(allowed.some) == 0:
		out.Decision.Result = core.Denied
	case allowed.always && len(denied.some) == 0:
		out.Decision.Result = core.Allowed
	default:
		c := conditions(allowed, denied)
		out.Decision = core.Decision{Result: core.Conditional, PluginID: s.pluginOf(out.Matches), ResourceType: p.ResourceType, Conditions: &c}
	}
}

// said is what all rules with one effect say.
type said struct {
	any    bool
	always bool // without a condition
	some   []core.PermissionCriteria
}

func gather(matches []Match, effect core.AuthorizeResult) (s said) {
	seen := map[string]bool{}
	for _, m := range matches {
		if m.Rule.Effect != effect {
			continue
		}
		s.any = true
		if m.Conditions == nil {
			s.always = true
			return s
		}
		// Many roles say the same of what their members own.
		if key := text(*m.Conditions); !seen[key] {
			seen[key] = true
			s.some = append(s.some, *m.Conditions)
		}
	}
	return s
}

func conditions(allowed, denied said) core.PermissionCriteria {
	var parts []core.PermissionCriteria
	if !allowed.always {
		parts = append(parts, anyOf(allowed.some))
	}
	if len(denied.some) > 0 {
		but := anyOf(denied.some)
		parts = append(parts, core.PermissionCriteria{Not: &but})
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return core.PermissionCriteria{AllOf: parts}
}

func anyOf(list []core.PermissionCriteria) core.PermissionCriteria {
	if len(list) == 1 {
		return list[0]
	}
	return core.PermissionCriteria{AnyOf: list}
}

// pluginOf returns the plugin of the conditions. All rules on a type of
// resource name the same, which Parse checks.
func (s *Set) pluginOf(matches []Match) string {
	for _, m := range matches {
		if m.Conditions != nil {
			return m.Rule.Plugin
		}
	}
	return ""
}
