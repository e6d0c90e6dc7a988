package rules_test

import (
	"testing"

	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/rules"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestAllowed(t *testing.T) {
	t.Parallel()
	const own = `
catalog:
  rules:
    - allow: [Component, {kind: System, spec.type: product}]
    - allow: [Group]
      locations: [{type: url, pattern: "https://github.com/acme/org/**"}]
    - allow: [User]
      locations: [{type: url, exact: "https://github.com/acme/users.yaml"}]
    - allow: [Domain]
      locations: [{type: file}]
    - allow: []
  locations:
    - type: url
      target: https://github.com/acme/templates.yaml
      rules: [{allow: [Template]}]
`
	for _, c := range []struct {
		name, config, kind, typ, origin string
		want                            bool
	}{
		{"default", "catalog: {}", "Component", "", "url:http://x", true},
		{"default of a group", "catalog: {}", "Group", "", "url:http://x", false},
		{"everywhere", own, "component", "service", "url:http://x", true},
		{"own rules replace the default", own, "API", "", "url:http://x", false},
		{"type", own, "System", "Product", "url:http://x", true},
		{"another type", own, "System", "service", "url:http://x", false},
		{"pattern", own, "Group", "", "url:https://GitHub.com/acme/org/a/.hidden/b.yaml", true},
		{"outside of the pattern", own, "Group", "", "url:https://github.com/acme/other/b.yaml", false},
		{"exact", own, "User", "", "url:https://github.com/acme/users.yaml", true},
		{"not exact", own, "User", "", "url:https://github.com/acme/users.yaml2", false},
		{"type of location", own, "Domain", "", "file:/x", true},
		{"another type of location", own, "Domain", "", "url:/x", false},
		{"location", own, "Template", "", "url:https://github.com/acme/templates.yaml", true},
		{"another location", own, "Template", "", "url:https://github.com/acme/other.yaml", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := rules.FromConfig(configtest.FromYAML(t, c.config))
			if err != nil {
				t.Fatal(err)
			}
			origin, err := catalogcommon.ParseLocationRef(c.origin)
			if err != nil {
				t.Fatal(err)
			}
			e := catalogcommon.Entity{"kind": c.kind, "spec": map[string]any{"type": c.typ}}
			if got := r.Allowed(e, origin); got != c.want {
				t.Errorf("Allowed(%s %s from %s) = %v, want %v", c.kind, c.typ, c.origin, got, c.want)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"no list":             "catalog: {rules: [{allow: Component}]}",
		"no kind":             "catalog: {rules: [{allow: [{spec.type: x}]}]}",
		"a number":            "catalog: {rules: [{allow: [1]}]}",
		"exact and pattern":   "catalog: {rules: [{allow: [User], locations: [{type: url, exact: a, pattern: b}]}]}",
		"no type":             "catalog: {rules: [{allow: [User], locations: [{exact: a}]}]}",
		"a broken pattern":    "catalog: {rules: [{allow: [User], locations: [{type: url, pattern: \"[\"}]}]}",
		"rules of a location": "catalog: {locations: [{type: url, target: x, rules: [{allow: User}]}]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := rules.FromConfig(configtest.FromYAML(t, config)); err == nil {
				t.Error("no error")
			}
		})
	}
}
