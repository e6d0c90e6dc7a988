package rules

import (
	"slices"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/wildcard"
)

// Evaluate decides on a permission. who is nil for a caller without
// credentials, who is denied everything.
func (s *Set) Evaluate(p core.Permission, who *Subject) Outcome {
	if who == nil {
		return Outcome{Decision: core.Decision{Result: core.Denied}, Defaulted: true}
	}
	e := evaluation{set: s, permission: p, who: who}
	for _, i := range s.rolesOf(who) {
		role := &s.Roles[i]
		e.out.Roles = append(e.out.Roles, role.Name)
		for _, n := range role.exact[p.Name] {
			e.match(role, n)
		}
		for _, n := range role.general {
			if slices.ContainsFunc(role.Rules[n].patterns, func(of wildcard.Pattern) bool { return of.Match(p.Name) }) {
				e.match(role, n)
			}
		}
	}
	s.decide(&e.out, p)
	return e.out
}

// evaluation is under way for one user.
type evaluation struct {
	set        *Set
	permission core.Permission
	who        *Subject
	out        Outcome
	// filled are the conditions with the values of the user, by their number.
	filled map[int]*core.PermissionCriteria
}

func (e *evaluation) match(role *Role, n int) {
	rule := &role.Rules[n]
	if !rule.speaks(e.permission) {
		return
	}
	m := Match{Role: role.Name, Index: n, Rule: rule}
	if rule.When != nil {
		m.Conditions = e.conditions(rule)
	}
	e.out.Matches = append(e.out.Matches, m)
}

func (e *evaluation) conditions(rule *Rule) *core.PermissionCriteria {
	if c := e.set.fixed[rule.condition]; c != nil {
		return c
	}
	if c := e.filled[rule.condition]; c != nil {
		return c
	}
	c := rule.When.criteria(rule.ResourceType, e.who)
	if e.filled == nil {
		e.filled = map[int]*core.PermissionCriteria{}
	}
	e.filled[rule.condition] = &c
	return &c
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
	seen := map[int]bool{}
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
		if number := m.Rule.condition; !seen[number] {
			seen[number] = true
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
		parts = append(parts, not(anyOf(denied.some)))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return core.PermissionCriteria{AllOf: parts}
}

func not(c core.PermissionCriteria) core.PermissionCriteria {
	if c.Not != nil {
		return *c.Not
	}
	return core.PermissionCriteria{Not: &c}
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
