package permissions_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/flytower/flytower/core/jsonschema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
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
				q, err := rule.Query(json.RawMessage(c.params))
				if err != nil {
					t.Fatal(err)
				}
				if got := holds(t, q, e); got != c.want {
					t.Errorf("as a predicate of lists, %+v: %v, want %v", q, got, c.want)
				}
			}
		})
	}
}

// holds evaluates what a rule restricts lists by, as the database does.
func holds(t *testing.T, predicate any, e catalogcommon.Entity) bool {
	t.Helper()
	rows, _ := entitysearch.Rows(e)
	switch p := predicate.(type) {
	case query.Any:
		return slices.ContainsFunc(p, func(inner query.Predicate) bool { return holds(t, inner, e) })
	case query.Exists:
		return slices.ContainsFunc(rows, func(r entitysearch.Row) bool { return r.Key == p.Key })
	case query.In:
		return slices.ContainsFunc(rows, func(r entitysearch.Row) bool { return r.Key == p.Key && slices.Contains(p.Values, r.Value) })
	default:
		t.Fatalf("a predicate of type %T", predicate)
		return false
	}
}
