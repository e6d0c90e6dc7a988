package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/wildcard"
)

func parse(t testing.TB, text string) (*Set, error) {
	t.Helper()
	return Parse(configtest.FromYAML(t, text))
}

var (
	read    = core.NewResourcePermission("catalog.entity.read", "read", "catalog-entity")
	remove  = core.NewResourcePermission("catalog.entity.delete", "delete", "catalog-entity")
	create  = core.NewPermission("catalog.location.create", "create")
	inspect = core.NewPermission("devtools.info", "read")
)

const policy = `
roles:
  - name: everybody
    members: ['*']
    rules:
      - allow: [catalog.entity.read]
        resourceType: catalog-entity
        when:
          anyOf:
            - {rule: IS_ENTITY_KIND, params: {kinds: [Domain, User]}}
            - {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}
      - deny: [catalog.entity.*]
        resourceType: catalog-entity
        when: {rule: HAS_LABEL, params: {label: secret}}
  - name: team
    members: [group:default/Team]
    rules:
      - allow: [catalog.entity.read, catalog.entity.delete]
        resourceType: catalog-entity
        when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}
      - allow: [catalog.*]
        actions: [create]
  - name: admins
    members: [user:default/root, group:default/ops]
    rules:
      - allow: ['*']
  - name: suspended
    members: [user:default/eve]
    rules:
      - deny: ['*']
      - deny: ['devtools.*']
  - name: idle
    members: [group:default/nothing]
`

func TestEvaluate(t *testing.T) {
	t.Parallel()
	set, err := parse(t, policy)
	if err != nil {
		t.Fatal(err)
	}
	owner := func(refs string) string {
		return `{"rule":"IS_ENTITY_OWNER","resourceType":"catalog-entity","params":{"claims":[` + refs + `]}}`
	}
	const (
		kinds  = `{"rule":"IS_ENTITY_KIND","resourceType":"catalog-entity","params":{"kinds":["Domain","User"]}}`
		secret = `{"not":{"rule":"HAS_LABEL","resourceType":"catalog-entity","params":{"label":"secret"}}}`
	)
	jane := &Subject{User: "user:default/jane", Owns: []string{"user:default/jane", "group:default/team"}}
	joe := &Subject{User: "user:default/joe", Owns: []string{"user:default/joe"}}
	root := &Subject{User: "user:default/root"}
	eve := &Subject{User: "user:default/eve", Owns: []string{"group:default/ops", "group:default/nothing"}}
	for _, tt := range []struct {
		name       string
		permission core.Permission
		who        *Subject
		want       string
		roles      []string
		matches    int
		defaulted  bool
	}{
		{"nobody", inspect, nil, "DENY", nil, 0, true},
		{"by default", inspect, joe, "DENY", []string{"everybody"}, 0, true},
		{"conditions of all, but not", read, joe, `{"allOf":[{"anyOf":[` + kinds + `,` + owner(`"user:default/joe"`) + `]},` + secret + `]}`, []string{"everybody"}, 2, false},
		{
			"of two roles", read, jane,
			`{"allOf":[{"anyOf":[{"anyOf":[` + kinds + `,` + owner(`"user:default/jane","group:default/team"`) + `]},` + owner(`"user:default/jane","group:default/team"`) + `]},` + secret + `]}`,
			[]string{"everybody", "team"}, 3, false,
		},
		{"denied by default, whatever is denied besides", remove, joe, "DENY", []string{"everybody"}, 1, true},
		{"action", create, jane, "ALLOW", []string{"everybody", "team"}, 1, false},
		{"another action", inspect, jane, "DENY", []string{"everybody", "team"}, 0, true},
		{"all but some", read, root, secret, []string{"everybody", "admins"}, 3, false},
		{"everything", inspect, root, "ALLOW", []string{"everybody", "admins"}, 1, false},
		{"who is denied and allowed is denied", read, eve, "DENY", []string{"everybody", "admins", "suspended", "idle"}, 4, false},
		{"denied twice", inspect, eve, "DENY", []string{"everybody", "admins", "suspended", "idle"}, 3, false},
		{"a resource of another type", core.NewResourcePermission("catalog.entity.read", "read", "other"), joe, "DENY", []string{"everybody"}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := set.Evaluate(tt.permission, tt.who)
			if diff := cmp.Diff(tt.roles, got.Roles); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
			if len(got.Matches) != tt.matches || got.Defaulted != tt.defaulted {
				t.Errorf("%d rules, default %t", len(got.Matches), got.Defaulted)
			}
			d := got.Decision
			text := string(d.Result)
			if d.Result == core.Conditional {
				if d.PluginID != "catalog" || d.ResourceType != "catalog-entity" {
					t.Errorf("%+v", d)
				}
				if err := d.Conditions.Validate(); err != nil {
					t.Error(err)
				}
				encoded, err := json.Marshal(d.Conditions)
				if err != nil {
					t.Fatal(err)
				}
				text = string(encoded)
			}
			if text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
		})
	}
}

func TestDefaultAllow(t *testing.T) {
	t.Parallel()
	set, err := parse(t, "default: allow\nroles: [{name: a, members: ['*'], rules: [{deny: [devtools.*]}, {deny: ['*.read'], resourceType: catalog-entity, when: {rule: X}}, {deny: [y], resourceType: catalog-entity, when: always}, {deny: [z], resourceType: catalog-entity, when: {not: {rule: Z}}}]}]")
	if err != nil {
		t.Fatal(err)
	}
	who := &Subject{User: "user:default/a"}
	if d := set.Evaluate(core.NewResourcePermission("z", "", "catalog-entity"), who).Decision; d.Conditions == nil || d.Conditions.Rule != "Z" {
		t.Errorf("who is denied what does not meet a condition is allowed what does: %+v", d)
	}
	for name, want := range map[string]struct {
		permission core.Permission
		result     core.AuthorizeResult
	}{
		"allowed":     {create, core.Allowed},
		"denied":      {inspect, core.Denied},
		"conditional": {read, core.Conditional},
		"always":      {core.NewResourcePermission("y", "", "catalog-entity"), core.Denied},
		"not it":      {core.NewPermission("y", ""), core.Allowed},
	} {
		if d := set.Evaluate(want.permission, who).Decision; d.Result != want.result {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := set.Evaluate(create, nil).Decision; d.Result != core.Denied {
		t.Errorf("a caller without credentials: %+v", d)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	set, err := parse(t, `
roles:
  - name: a
    members: ['*']
    rules:
      - allow: [x]
        resourceType: a-b
        plugin: c
        when:
          not: {rule: R, params: {user: $currentUser, refs: $ownerRefs, list: [x, $ownerRefs, $currentUser, 1], deep: {a: [{b: $currentUser}]}, plain: 'a $currentUser'}}
`)
	if err != nil {
		t.Fatal(err)
	}
	p := core.NewResourcePermission("x", "", "a-b")
	for _, tt := range []struct {
		who  Subject
		want string
	}{
		{Subject{"user:a/b", []string{"g:a/1", "g:a/2"}}, `{"deep":{"a":[{"b":"user:a/b"}]},"list":["x","g:a/1","g:a/2","user:a/b",1],"plain":"a $currentUser","refs":["g:a/1","g:a/2"],"user":"user:a/b"}`},
		{Subject{"user:a/c", nil}, `{"deep":{"a":[{"b":"user:a/c"}]},"list":["x","user:a/c",1],"plain":"a $currentUser","refs":[],"user":"user:a/c"}`},
	} {
		d := set.Evaluate(p, &tt.who).Decision
		if d.PluginID != "c" || d.Conditions == nil || string(d.Conditions.Not.Params) != tt.want {
			t.Errorf("%+v\n%s\n%s", d, d.Conditions.Not.Params, tt.want)
		}
	}
	leaves := set.Leaves()
	if len(leaves) != 1 || leaves[0].Plugin != "c" || leaves[0].Rule != "R" || leaves[0].Position.Line != 10 || !json.Valid(leaves[0].Params) {
		t.Errorf("%+v", leaves)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "anything", true},
		{"a.*", "a.b.c", true},
		{"a.*", "a", false},
		{"*.read", "a.read", true},
		{"*.read", "a.reads", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.c", false},
		{"*b*b*", "abab", true},
		{"*b*b*", "ab", false},
	} {
		if got := wildcard.New(tt.pattern).Match(tt.name); got != tt.want {
			t.Errorf("%q, %q: %t", tt.pattern, tt.name, got)
		}
	}
}

// Every mistake is told with its line, all at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	_, err := parse(t, `
default: maybe
shadows: true
roles:
  - name: a
    members: ['*', no ref]
    rules:
      - allow: [a]
        deny: [b]
      - actions: [fly]
      - allow: []
      - allow: [a]
        resourceType: catalog-entity
      - allow: [a]
        when: {rule: X}
      - allow: [a]
        wen: {rule: X}
      - allow: [a b]
  - name: a
    members: []
  - rules:
      - allow: [a]
        resourceType: catalog-entity
        when:
          allOf:
            - {rule: A, params: {x: $ownerRef}}
            - {}
            - {not: {rule: A}, rule: B}
            - {anyOf: []}
            - {params: {}, not: {rule: A}}
            - {rule: A, params: 1}
            - {not: 7}
      - allow: [a]
        resourceType: catalog-entity
        plugin: other
        when: sometimes
      - {allow: [a], plugin: p}
`)
	if err == nil {
		t.Fatal("no mistake was found")
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "app-config.yaml:"))
	}
	want := []string{
		`3: config key "shadows" is unknown here; did you mean shadow?`,
		`2: config key "default" is "maybe", which is no decision; use allow or deny`,
		`6: config key "roles[0].members[1]" is "no ref", which is no entity reference; write it like group:default/team, or '*' for everybody`,
		`9: config key "roles[0].rules[0].deny" is beside allow; make two rules of it`,
		`10: config key "roles[0].rules[1]" has neither allow nor deny; list names of permissions below one of them`,
		`10: config key "roles[0].rules[1].actions[0]" is "fly", which is no action; use create, read, update or delete`,
		`11: config key "roles[0].rules[2].allow" is empty; list names of permissions, such as catalog.entity.read or catalog.*`,
		`12: config key "roles[0].rules[3].when" is missing; write a condition, or when: always for all resources of the type`,
		`15: config key "roles[0].rules[4].when" needs a resourceType beside it; name the type of resource that the condition is about, such as catalog-entity`,
		`17: config key "roles[0].rules[5].wen" is unknown here; did you mean when?`,
		`18: config key "roles[0].rules[6].allow[0]" is "a b", which is no name of a permission`,
		`19: config key "roles[1].name" is "a", as that of another role`,
		`21: config key "roles[2].name" is missing; name the role; explanations show it`,
		`21: config key "roles[2].members" is missing; list users and groups, or '*' for everybody`,
		`26: config key "roles[2].rules[0].when.allOf[0].params" has the unknown variable $ownerRef; known are $currentUser and $ownerRefs`,
		`27: config key "roles[2].rules[0].when.allOf[1]" has 0 of allOf, anyOf, not and rule; it must have exactly one`,
		`28: config key "roles[2].rules[0].when.allOf[2]" has 2 of allOf, anyOf, not and rule; it must have exactly one`,
		`29: config key "roles[2].rules[0].when.allOf[3].anyOf" is empty; list conditions`,
		`30: config key "roles[2].rules[0].when.allOf[4].params" belongs beside a rule`,
		`31: config key "roles[2].rules[0].when.allOf[5].params" must be an object`,
		`32: config key "roles[2].rules[0].when.allOf[6].not" must be an object; write {rule: …, params: …}, or allOf, anyOf or not`,
		`36: config key "roles[2].rules[1].when" must be an object; write {rule: …, params: …}, or allOf, anyOf or not`,
		`35: config key "roles[2].rules[1].plugin" says that catalog-entity resources are of the plugin "other", and of "catalog" at app-config.yaml:13; name the same plugin in both rules`,
		`37: config key "roles[2].rules[2].plugin" needs a resourceType beside it`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var one *core.ConfigError
	if !errors.As(err, &one) || one.Position.Line == 0 {
		t.Errorf("%T", err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		return "roles: [{name: a, members: ['*'], rules: [{allow: [a], resourceType: a-b, when: " +
			strings.Repeat("{not: ", n-1) + "{rule: A}" + strings.Repeat("}", n-1) + "}]}]"
	}
	set, err := parse(t, deep(maxDepth))
	if err != nil {
		t.Fatal(err)
	}
	d := set.Evaluate(core.NewResourcePermission("a", "", "a-b"), &Subject{}).Decision
	if err := d.Conditions.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := parse(t, deep(maxDepth+1)); err == nil || !strings.Contains(err.Error(), "deeper than") {
		t.Errorf("got %v", err)
	}
}

// FuzzEvaluate: whatever the roles are, a decision is valid, a rule without a
// condition that denies wins, and nobody is allowed nothing.
func FuzzEvaluate(f *testing.F) {
	f.Add(`{"roles":[{"name":"a","members":["*"],"rules":[{"allow":["*"]}]}]}`, "catalog.entity.read")
	f.Add(`{"default":"allow","roles":[{"name":"a","members":["*"],"rules":[{"deny":["c*"],"resourceType":"catalog-entity","when":{"not":{"rule":"R","params":{"a":["$ownerRefs"]}}}}]}]}`, "catalog.entity.read")
	f.Add(`{"roles":[{"name":"a","members":["user:default/a"],"rules":[{"allow":["x"],"resourceType":"catalog-entity","when":{"anyOf":[{"rule":"R"},{"allOf":[{"rule":"S"}]}]}}]}]}`, "x")
	f.Fuzz(func(t *testing.T, text, name string) {
		var doc map[string]any
		if json.Unmarshal([]byte(text), &doc) != nil || strings.Contains(text, "${") || strings.Contains(text, `"$`) && !strings.Contains(text, `"$ownerRefs"`) {
			return // no configuration, or one that the loader changes
		}
		set, err := parse(t, text)
		if err != nil {
			return
		}
		p := core.NewResourcePermission(name, "read", "catalog-entity")
		if d := set.Evaluate(p, nil).Decision; d.Result != core.Denied {
			t.Fatalf("nobody: %+v", d)
		}
		o := set.Evaluate(p, &Subject{User: "user:default/a", Owns: []string{"group:default/b"}})
		switch d := o.Decision; d.Result {
		case core.Allowed, core.Denied:
		case core.Conditional:
			if err := d.Conditions.Validate(); err != nil || d.PluginID == "" || d.ResourceType != p.ResourceType {
				t.Fatalf("%+v: %v", d, err)
			}
		default:
			t.Fatalf("%+v", d)
		}
		for _, m := range o.Matches {
			if m.Rule.Effect == core.Denied && m.Conditions == nil && o.Decision.Result != core.Denied {
				t.Fatalf("%+v", o)
			}
		}
	})
}

// large is a policy of 1000 roles and 10,000 rules; the user has ten roles.
func large(t testing.TB) (*Set, *Subject) {
	var b strings.Builder
	b.WriteString("roles:\n  - {name: everybody, members: ['*'], rules: [{allow: [catalog.entity.read], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}]}\n")
	for role := range 1000 {
		fmt.Fprintf(&b, "  - name: role%d\n    members: [group:default/group%d]\n    rules:\n", role, role)
		for rule := range 5 {
			fmt.Fprintf(&b, "      - {allow: [plugin%d.thing%d.read, plugin%d.thing%d.update]}\n", role, rule, role, rule)
		}
		fmt.Fprintf(&b, "      - {allow: [plugin%d.other.*], actions: [read]}\n      - {deny: [plugin%d.secret.*]}\n      - {allow: ['*.%d']}\n", role, role, role)
		fmt.Fprintf(&b, "      - {allow: [catalog.entity.read], resourceType: catalog-entity, when: {rule: HAS_LABEL, params: {label: l%d}}}\n", role)
		fmt.Fprintf(&b, "      - {allow: [catalog.entity.delete], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}\n")
	}
	set, err := parse(t, b.String())
	if err != nil {
		t.Fatal(err)
	}
	who := &Subject{User: "user:default/jane", Owns: []string{"user:default/jane"}}
	for i := range 10 {
		who.Owns = append(who.Owns, fmt.Sprintf("group:default/group%d", i*100))
	}
	return set, who
}

func BenchmarkEvaluate(b *testing.B) {
	set, who := large(b)
	for name, p := range map[string]core.Permission{
		"basic":       core.NewPermission("plugin500.thing3.read", "read"),
		"defaulted":   core.NewPermission("nothing", ""),
		"conditional": read,
		"same":        remove,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				set.Evaluate(p, who)
			}
		})
	}
}
