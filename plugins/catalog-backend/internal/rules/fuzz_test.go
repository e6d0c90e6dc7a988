package rules_test

import (
	"encoding/json"
	"testing"

	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/locations"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/rules"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// FuzzLocations reads rules and locations of any content: they are refused, or
// have an answer for any entity.
func FuzzLocations(f *testing.F) {
	f.Add(`"Component"`, `"url"`, `"https://h/**/a.yaml"`, "https://h/x/a.yaml", true)
	f.Add(`{"kind":"API","spec.type":"x"}`, `"file"`, `"./a/*.yaml"`, "/a/b.yaml", false)
	f.Add(`{"kind":7}`, `[]`, `{"a":[{}]}`, "", true)
	f.Add(`["a"]`, `"url"`, `"{a,{b,{c,[d-"`, "a", true)
	f.Add(`"x"`, `"url"`, `"**/**/**/**/**/**/**/**/x"`, "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", true)
	f.Fuzz(func(t *testing.T, allow, typ, target, at string, pattern bool) {
		if len(allow)+len(typ)+len(target)+len(at) > 1<<12 {
			return
		}
		var parts [3]any
		for i, text := range []string{allow, typ, target} {
			if json.Unmarshal([]byte(text), &parts[i]) != nil {
				return
			}
		}
		key := map[bool]string{true: "pattern", false: "exact"}[pattern]
		text, err := json.Marshal(map[string]any{"catalog": map[string]any{
			"rules":     []any{map[string]any{"allow": []any{parts[0]}, "locations": []any{map[string]any{"type": parts[1], key: parts[2]}}}},
			"locations": []any{map[string]any{"type": parts[1], "target": parts[2], "rules": []any{map[string]any{"allow": parts[0]}}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		config := configtest.FromYAML(t, string(text))
		if all, err := locations.Parse(config); err == nil && len(all) != 1 {
			t.Fatalf("%d locations of %s", len(all), text)
		}
		r, err := rules.FromConfig(config)
		if err != nil {
			return
		}
		origin := catalogcommon.LocationRef{Type: "url", Target: at}
		if kind, ok := parts[0].(string); ok && parts[1] == "url" && parts[2] == at && !pattern {
			if !r.Allowed(catalogcommon.Entity{"kind": kind}, origin) {
				t.Fatalf("%s does not allow %q", text, kind)
			}
		}
		_ = r.Allowed(catalogcommon.Entity{"kind": "Component", "spec": map[string]any{"type": "x"}}, origin)
	})
}
