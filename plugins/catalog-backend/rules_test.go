package catalogbackend_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// typeRules is a module with rules of its own: one that can restrict lists, and
// two that cannot.
var typeRules = backend.NewModule("catalog", "type-rules", func(env *backend.ModuleEnv) backend.InitFunc {
	registry := core.PermissionsRegistry.From(env)
	return func(context.Context) error {
		schema := json.RawMessage(`{"type":"object","properties":{"type":{"type":"string"}},"required":["type"]}`)
		apply := func(resource any, raw json.RawMessage) (bool, error) {
			var p struct{ Type string }
			err := json.Unmarshal(raw, &p)
			e, _ := resource.(catalogcommon.Entity)
			return e.SpecString("type") == p.Type, err
		}
		return registry().AddRules(
			core.PermissionRule{
				Name: "HAS_TYPE", ResourceType: catalognode.ResourceTypeEntity, ParamsSchema: schema, Apply: apply,
				Query: func(raw json.RawMessage) (any, error) {
					var p struct{ Type string }
					return map[string]any{"spec.type": &p.Type}, json.Unmarshal(raw, &p)
				},
			},
			core.PermissionRule{Name: "NO_QUERY", ResourceType: catalognode.ResourceTypeEntity, ParamsSchema: schema, Apply: apply},
			core.PermissionRule{
				Name: "BAD_QUERY", ResourceType: catalognode.ResourceTypeEntity, ParamsSchema: schema, Apply: apply,
				Query: func(json.RawMessage) (any, error) { return map[string]any{"$nope": 1}, nil },
			},
		)
	}
})

func TestRulesOfModules(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		p := open(t, db, "", typeRules)
		when := func(rule, params string) core.Decision {
			return core.Decision{Result: core.Conditional, Conditions: &core.PermissionCriteria{
				Not: &core.PermissionCriteria{Rule: rule, ResourceType: "catalog-entity", Params: json.RawMessage(params)},
			}}
		}
		everything := p.do(getMethod, "/entities?fields=metadata.name", "").text
		for _, tc := range []struct {
			rule, params string
			status       int
		}{
			{"HAS_TYPE", `{"type":"service"}`, http.StatusOK},
			{"HAS_TYPE", `{}`, http.StatusBadRequest},
			{"NO_QUERY", `{"type":"service"}`, http.StatusNotImplemented},
			{"BAD_QUERY", `{"type":"service"}`, http.StatusInternalServerError},
			{"UNKNOWN", `{}`, http.StatusInternalServerError},
		} {
			p.policy.set("catalog.entity.read", when(tc.rule, tc.params))
			a := p.do(getMethod, "/entities?fields=metadata.name", "")
			if a.status != tc.status || a.text == everything {
				t.Errorf("%s %s: %d %s, want %d", tc.rule, tc.params, a.status, a.text, tc.status)
			}
		}
		p.policy.set("catalog.entity.read", when("HAS_TYPE", `{"type":"service"}`))
		if a := p.do(getMethod, "/entities?filter=spec.type=service", ""); a.text != `[]` {
			t.Errorf("what the policy hides: %s", a.text)
		}
	})
}
