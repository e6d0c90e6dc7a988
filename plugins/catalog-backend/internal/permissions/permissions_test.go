package permissions_test

import (
	"encoding/json"
	"testing"

	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/permissions"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func TestRules(t *testing.T) {
	t.Parallel()
	e := catalogcommon.Entity{
		"kind": "Component",
		"metadata": map[string]any{
			"name": "web", "annotations": map[string]any{"example.com/Tier": "Gold"}, "labels": map[string]any{"team": "A"}, "tags": []any{"java"},
		},
		"spec":      map[string]any{"type": "Service"},
		"relations": []any{map[string]any{"type": "ownedBy", "targetRef": "group:default/a"}},
	}
	for _, c := range []struct {
		rule, params string
		want         bool
	}{
		{"HAS_ANNOTATION", `{"annotation":"example.com/tier"}`, true},
		{"HAS_ANNOTATION", `{"annotation":"example.com/tier","value":"gold"}`, true},
		{"HAS_ANNOTATION", `{"annotation":"example.com/tier","value":"silver"}`, false},
		{"HAS_ANNOTATION", `{"annotation":"other"}`, false},
		{"HAS_LABEL", `{"label":"TEAM","value":"a"}`, true},
		{"HAS_LABEL", `{"label":"none"}`, false},
		{"HAS_METADATA", `{"key":"name","value":"WEB"}`, true},
		{"HAS_METADATA", `{"key":"tags.java"}`, true},
		{"HAS_METADATA", `{"key":"title"}`, false},
		{"HAS_SPEC", `{"key":"type","value":"service"}`, true},
		{"HAS_SPEC", `{"key":"type","value":"site"}`, false},
		{"IS_ENTITY_KIND", `{"kinds":["api","component"]}`, true},
		{"IS_ENTITY_KIND", `{"kinds":[]}`, false},
		{"IS_ENTITY_OWNER", `{"claims":["user:default/x","group:default/a"]}`, true},
		{"IS_ENTITY_OWNER", `{"claims":["group:default/b"]}`, false},
	} {
		t.Run(c.rule+c.params, func(t *testing.T) {
			t.Parallel()
			for _, rule := range permissions.Rules() {
				if rule.Name != c.rule {
					continue
				}
				schema, err := jsonschema.Compile(rule.ParamsSchema)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := schema.Check(json.RawMessage(c.params)); err != nil {
					t.Errorf("the schema refuses the parameters: %v", err)
				}
				got, err := rule.Apply(e, json.RawMessage(c.params))
				if err != nil || got != c.want {
					t.Errorf("Apply = %v, %v; want %v", got, err, c.want)
				}
			}
		})
	}
}
