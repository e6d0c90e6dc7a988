package permissionmoduledeclarativepolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionmoduledeclarativepolicy "github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy"
)

// large is a policy of 1000 roles and 10,000 rules, and the groups of a user
// who has ten roles and the one of everybody.
func large() (policy string, owns []string) {
	var b strings.Builder
	b.WriteString("permission:\n  enabled: true\n  policy:\n    roles:\n      - name: everybody\n        members: ['*']\n        rules:\n" +
		"          - {allow: [catalog.entity.read], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}\n")
	for role := range 999 {
		fmt.Fprintf(&b, "      - name: role%d\n        members: [group:default/group%d]\n        rules:\n", role, role)
		for rule := range 7 {
			fmt.Fprintf(&b, "          - {allow: [plugin%d.thing%d.read, plugin%d.thing%d.update]}\n", role, rule, role, rule)
		}
		fmt.Fprintf(&b, "          - {allow: [plugin%d.other.*], actions: [read]}\n          - {deny: [plugin%d.secret.*]}\n", role, role)
		fmt.Fprintf(&b, "          - {allow: [catalog.entity.delete], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}\n")
	}
	for i := range 10 {
		owns = append(owns, fmt.Sprintf("group:default/group%d", i*99))
	}
	return b.String(), owns
}

// BenchmarkDecision is what a plugin of the process pays to ask for a
// permission, with everything that is on the way: user info, audit, metrics.
func BenchmarkDecision(b *testing.B) {
	policy, owns := large()
	asks := backend.NewPlugin("asks", func(env *backend.PluginEnv) backend.InitFunc {
		core.Permissions.From(env)
		return func(context.Context) error { return nil }
	})
	srv := backendtest.Start(b, permissionbackend.Plugin, permissionmoduledeclarativepolicy.Module, asks,
		backendtest.Silent(), backendtest.YAML(policy), backendtest.Ownership("user:default/jane", owns...))
	service := backendtest.Service(b, srv, "asks", core.Permissions)
	jane := backendtest.User("user:default/jane").Credentials()
	for _, bm := range []struct {
		name string
		p    core.Permission
		want core.AuthorizeResult
	}{
		{"basic", core.NewPermission("plugin495.thing3.read", "read"), core.Allowed},
		{"default", core.NewPermission("nothing.of.all", ""), core.Denied},
		{"conditional", core.NewResourcePermission("catalog.entity.read", "read", "catalog-entity"), core.Conditional},
		{"many roles with one condition", core.NewResourcePermission("catalog.entity.delete", "delete", "catalog-entity"), core.Conditional},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decisions, err := service.AuthorizeConditional(b.Context(), jane, bm.p)
				if err != nil || decisions[0].Result != bm.want {
					b.Fatal(decisions, err)
				}
			}
		})
	}
}
