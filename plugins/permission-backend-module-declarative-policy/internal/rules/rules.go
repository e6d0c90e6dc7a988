// Package rules is a permission policy made of roles with rules, as the
// configuration describes it.
//
//	set, err := rules.Parse(config.Sub("permission.policy"))
//	if err != nil {
//		return err // everything that is wrong, with its place
//	}
//	outcome := set.Evaluate(permission, &rules.Subject{User: ref, Owns: refs})
//
// A user has the roles of which the user, or something by which the user owns
// things, is a member. Of all rules of these roles that speak of a permission:
//
//   - a rule that denies wins over all that allow
//   - one that allows is enough
//   - without any, the default decides
//
// Rules with conditions concern the resources that meet them.
package rules

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/wildcard"
)

// Set is a policy. It does not change and is safe for concurrent use.
type Set struct {
	// Default decides where no rule speaks: allowed or denied.
	Default core.AuthorizeResult
	Roles   []Role

	// byMember has the roles of a member, by their index.
	byMember map[string][]int
	// everybody are the roles that all users have.
	everybody []int
	// fixed are the conditions that are the same for everybody, by their
	// number; nil for those that are not.
	fixed []*core.PermissionCriteria
}

// Role is a set of rules and who they are for.
type Role struct {
	Name    string
	Members []string
	Rules   []Rule

	// exact are the rules that name a permission, by their index in Rules;
	// general those with patterns.
	exact   map[string][]int
	general []int
}

// Rule allows or denies permissions.
type Rule struct {
	// Position is where the rule stands.
	Position core.Position
	// Effect is allowed or denied.
	Effect core.AuthorizeResult
	// Permissions are names; * in them is any text.
	Permissions []string
	// Actions, if not empty, are the only ones that the rule speaks of.
	Actions []string
	// ResourceType, if not empty, is the only type of resource that the rule
	// speaks of, and Plugin is the plugin that has such resources.
	ResourceType string
	Plugin       string
	// When, if not nil, is the condition that resources must meet.
	When *Condition

	// condition is the number of When in the set: rules with the same condition
	// have the same.
	condition int
	patterns  []wildcard.Pattern
}

// Everybody is the member that stands for all users who are signed in.
const Everybody = "*"

// Subject is who asks.
type Subject struct {
	User string
	// Owns are the refs by which the user owns things.
	Owns []string
}

// Match is a rule that speaks of the permission.
type Match struct {
	Role  string
	Index int // of the rule in the role
	Rule  *Rule
	// Conditions are those of the rule, for the user who asks; nil if there
	// are none. Rules with the same conditions share them.
	Conditions *core.PermissionCriteria
}

// Outcome is a decision and what led to it.
type Outcome struct {
	Decision core.Decision
	// Roles are the names of those that the user has.
	Roles []string
	// Matches are the rules of these roles that speak of the permission.
	Matches []Match
	// Defaulted says that the default decided.
	Defaulted bool
}

// index prepares the set for evaluation.
func (s *Set) index() {
	s.byMember = map[string][]int{}
	numbers := map[string]int{}
	for i := range s.Roles {
		r := &s.Roles[i]
		for _, m := range r.Members {
			if m == Everybody {
				s.everybody = append(s.everybody, i)
			} else {
				s.byMember[m] = append(s.byMember[m], i)
			}
		}
		r.exact = map[string][]int{}
		for n := range r.Rules {
			s.indexRule(r, n, numbers)
		}
	}
}

func (s *Set) indexRule(r *Role, n int, numbers map[string]int) {
	rule := &r.Rules[n]
	if slices.ContainsFunc(rule.Permissions, isPattern) {
		r.general = append(r.general, n)
		for _, name := range rule.Permissions {
			rule.patterns = append(rule.patterns, wildcard.New(name))
		}
	} else {
		for _, name := range rule.Permissions {
			r.exact[name] = append(r.exact[name], n)
		}
	}
	if rule.When == nil {
		return
	}
	// With the names of variables in the place of their values, it tells
	// conditions apart.
	c := rule.When.criteria(rule.ResourceType, &Subject{User: CurrentUser, Owns: []string{OwnerRefs}})
	text, err := json.Marshal(c)
	number, known := numbers[string(text)]
	if !known || err != nil {
		number = len(s.fixed)
		numbers[string(text)] = number
		s.fixed = append(s.fixed, nil)
		if !rule.When.varies() {
			s.fixed[number] = &c
		}
	}
	rule.condition = number
}

// rolesOf returns the roles of the subject, in order, each once.
func (s *Set) rolesOf(who *Subject) []int {
	if who == nil {
		return nil // nobody is a member of anything
	}
	roles := slices.Clone(s.everybody)
	roles = append(roles, s.byMember[who.User]...)
	for _, ref := range who.Owns {
		roles = append(roles, s.byMember[ref]...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// speaks reports whether the rule, which may name it, concerns a permission.
func (r *Rule) speaks(p core.Permission) bool {
	if len(r.Actions) > 0 && !slices.Contains(r.Actions, p.Attributes.Action) {
		return false
	}
	return r.ResourceType == "" || r.ResourceType == p.ResourceType
}

func isPattern(name string) bool { return strings.Contains(name, "*") }
