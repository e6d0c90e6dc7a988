package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configread"
	"github.com/flytower/flytower/internal/spelling"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// maxDepth is how deep conditions may nest: less than decisions may, which
// put them below others, as do explanations.
const maxDepth = core.MaxCriteriaDepth - 5

// Parse reads the policy at a level of the configuration. The error unwraps
// to one *core.ConfigError for each mistake.
func Parse(c core.Config) (*Set, error) {
	p := &parser{types: map[string]plugin{}, names: map[string]bool{}}
	r := p.reader(c, "default", "shadow", "roles")
	set := &Set{Default: core.Denied}
	switch d := r.String("default", "deny"); d {
	case "deny":
	case "allow":
		set.Default = core.Allowed
	default:
		r.Wrong("default", fmt.Sprintf("is %q, which is no decision", d), "use allow or deny")
	}
	r.Bool("shadow", false) // of the module
	roles, err := r.List("roles")
	r.Keep(err)
	p.done(r)
	for _, level := range roles {
		set.Roles = append(set.Roles, p.role(level))
	}
	if err := p.errs.Err(); err != nil {
		return nil, err
	}
	set.index()
	return set, nil
}

type parser struct {
	errs  configread.Reader
	types map[string]plugin // of resource types
	names map[string]bool   // of roles
}

type plugin struct {
	id       string
	position core.Position
}

// reader returns a reader of a level that has the known keys only: a mistyped
// key must not make a rule more generous than it was meant.
func (p *parser) reader(c core.Config, known ...string) *configread.Reader {
	r := configread.New(c)
	for _, key := range c.Keys("") {
		if slices.Contains(known, key) {
			continue
		}
		remedy := "known are " + strings.Join(known, ", ")
		if near := spelling.Nearest(key, known); near != "" {
			remedy = "did you mean " + near + "?"
		}
		r.Wrong(key, "is unknown here", remedy)
	}
	return r
}

// wrongItem notes that an element of a list is wrong.
func wrongItem(r *configread.Reader, key string, i int, problem, remedy string) {
	r.Keep(&core.ConfigError{Key: fmt.Sprintf("%s[%d]", r.Path(key), i), Position: r.Position(key), Problem: problem, Remedy: remedy})
}

// done keeps what was wrong with a level.
func (p *parser) done(r *configread.Reader) { p.errs.Keep(r.Err()) }

func (p *parser) role(c core.Config) Role {
	r := p.reader(c, "name", "members", "rules")
	role := Role{Name: r.String("name", "")}
	switch {
	case role.Name == "" && !r.Has("name"):
		r.Wrong("name", "is missing", "name the role; explanations show it")
	case p.names[role.Name]:
		r.Wrong("name", fmt.Sprintf("is %q, as that of another role", role.Name), "")
	}
	p.names[role.Name] = true
	for i, m := range r.Strings("members") {
		if m != Everybody {
			ref, err := catalogcommon.ParseRef(m, catalogcommon.RefDefaults{})
			if err != nil {
				wrongItem(r, "members", i, fmt.Sprintf("is %q, which is no entity reference", m), "write it like group:default/team, or '*' for everybody")
				continue
			}
			m = ref.String()
		}
		role.Members = append(role.Members, m)
	}
	if !r.Has("members") {
		r.Wrong("members", "is missing", "list users and groups, or '*' for everybody")
	}
	rules, err := r.List("rules")
	r.Keep(err)
	p.done(r)
	for _, level := range rules {
		role.Rules = append(role.Rules, p.rule(level))
	}
	return role
}

// always is the condition that all resources of a type meet.
const always = "always"

// actions are those that permissions may have.
var actions = []string{"create", "read", "update", "delete"}

func (p *parser) rule(c core.Config) Rule {
	r := p.reader(c, "allow", "deny", "actions", "plugin", "resourceType", "when")
	rule := Rule{Position: r.Position(""), Effect: core.Allowed, Actions: r.Strings("actions")}
	key := "allow"
	switch allow, deny := r.Has("allow"), r.Has("deny"); {
	case allow && deny:
		r.Wrong("deny", "is beside allow", "make two rules of it")
	case deny:
		key, rule.Effect = "deny", core.Denied
	case !allow:
		r.Wrong("", "has neither allow nor deny", "list names of permissions below one of them")
	}
	rule.Permissions = r.Strings(key)
	if r.Has(key) && len(rule.Permissions) == 0 {
		r.Wrong(key, "is empty", "list names of permissions, such as catalog.entity.read or catalog.*")
	}
	for i, name := range rule.Permissions {
		if name == "" || strings.ContainsAny(name, " \t\n") {
			wrongItem(r, key, i, fmt.Sprintf("is %q, which is no name of a permission", name), "")
		}
	}
	for i, a := range rule.Actions {
		if !slices.Contains(actions, a) {
			wrongItem(r, "actions", i, fmt.Sprintf("is %q, which is no action", a), "use create, read, update or delete")
		}
	}
	rule.ResourceType = r.String("resourceType", "")
	rule.Plugin = r.String("plugin", "")
	p.owner(r, &rule)
	// A rule on a type of resource has a condition, so that one whose lines
	// were lost does not allow everything.
	when, has := r.Value("when")
	switch {
	case !has && rule.ResourceType != "":
		r.Wrong("when", "is missing", "write a condition, or when: "+always+" for all resources of the type")
	case has && rule.ResourceType == "":
		r.Wrong("when", "needs a resourceType beside it", "name the type of resource that the condition is about, such as catalog-entity")
	case has && when != always:
		rule.When = p.condition(r.Sub("when"), when, 1)
	}
	p.done(r)
	return rule
}

// owner finds out which plugin has the resources of the rule. The names of
// resource types begin with that of their plugin, if nothing else is said.
func (p *parser) owner(r *configread.Reader, rule *Rule) {
	if rule.ResourceType == "" {
		if rule.Plugin != "" {
			r.Wrong("plugin", "needs a resourceType beside it", "")
		}
		return
	}
	at := "plugin"
	if rule.Plugin == "" {
		rule.Plugin, _, _ = strings.Cut(rule.ResourceType, "-")
		at = "resourceType"
	}
	other, known := p.types[rule.ResourceType]
	if !known {
		p.types[rule.ResourceType] = plugin{rule.Plugin, r.Position(at)}
	} else if other.id != rule.Plugin {
		r.Wrong(at, fmt.Sprintf("says that %s resources are of the plugin %q, and of %q at %s", rule.ResourceType, rule.Plugin, other.id, other.position), "name the same plugin in both rules")
	}
}

// condition reads a tree, whose value is v.
func (p *parser) condition(c core.Config, v any, depth int) *Condition {
	r := p.reader(c, "allOf", "anyOf", "not", "rule", "params")
	defer p.done(r)
	out := &Condition{Position: r.Position("")}
	if _, ok := v.(map[string]any); !ok {
		r.Wrong("", "must be an object", "write {rule: …, params: …}, or allOf, anyOf or not")
		return out
	}
	if depth > maxDepth {
		r.Wrong("", fmt.Sprintf("nests deeper than %d levels", maxDepth), "")
		return out
	}
	kinds := 0
	for _, key := range []string{"allOf", "anyOf", "not", "rule"} {
		if r.Has(key) {
			kinds++
		}
	}
	if kinds != 1 {
		r.Wrong("", fmt.Sprintf("has %d of allOf, anyOf, not and rule", kinds), "it must have exactly one")
		return out
	}
	if r.Has("params") && !r.Has("rule") {
		r.Wrong("params", "belongs beside a rule", "")
	}
	switch {
	case r.Has("allOf"):
		out.AllOf = p.list(r, "allOf", depth)
	case r.Has("anyOf"):
		out.AnyOf = p.list(r, "anyOf", depth)
	case r.Has("not"):
		not, _ := r.Value("not")
		out.Not = p.condition(r.Sub("not"), not, depth+1)
	default:
		p.leaf(r, out)
	}
	return out
}

func (p *parser) list(r *configread.Reader, key string, depth int) []Condition {
	levels, err := r.List(key)
	r.Keep(err)
	if err == nil && len(levels) == 0 {
		r.Wrong(key, "is empty", "list conditions")
	}
	out := make([]Condition, 0, len(levels))
	for _, level := range levels {
		v, _ := level.Value("")
		out = append(out, *p.condition(level, v, depth+1))
	}
	return out
}

func (p *parser) leaf(r *configread.Reader, out *Condition) {
	out.Rule = r.String("rule", "")
	if !r.Has("params") {
		return
	}
	v, _ := r.Value("params")
	var ok bool
	if out.Params, ok = v.(map[string]any); !ok {
		r.Wrong("params", "must be an object", "")
		return
	}
	if name := unknownVariable(out.Params); name != "" {
		r.Wrong("params", "has the unknown variable "+name, "known are "+CurrentUser+" and "+OwnerRefs)
	}
}
