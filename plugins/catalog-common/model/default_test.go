package model_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/catalog-common/kinds"
	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// The default layer takes for valid what the built-in kinds do.
func TestDefaultAgreesWithKinds(t *testing.T) {
	t.Parallel()
	m, set := compile(t, model.Default()), kinds.NewSet(kinds.Core()...)
	if len(m.Kinds()) != len(kinds.Core()) {
		t.Errorf("%d kinds", len(m.Kinds()))
	}
	specs := []string{
		`{}`, `{"type":"t","lifecycle":"l","owner":"o"}`, `{"type":"t","lifecycle":"l","owner":""}`, `{"type":"t","lifecycle":"l","owner":"o","definition":"d"}`,
		`{"type":"t","lifecycle":"l","owner":"o","dependsOn":["a:b"],"system":"s"}`, `{"type":"t","lifecycle":"l","owner":"o","dependsOn":"a:b"}`,
		`{"owner":"o","domain":"d","subdomainOf":"e"}`, `{"type":"t","children":[],"parent":"p","members":["u"]}`, `{"type":"t","children":[1]}`,
		`{"memberOf":["g"]}`, `{"memberOf":["g"],"profile":{"email":""}}`, `{"target":"t","presence":"optional"}`, `{"target":5}`, `{"presence":"never"}`, `{"free":{"x":1}}`,
	}
	valid := 0
	for _, k := range kinds.Core() {
		for _, version := range append(k.APIVersions(), "backstage.io/v9") {
			for _, spec := range specs {
				e := entity(t, fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"x","namespace":"default"},"spec":%s}`, version, k.Name(), spec))
				known, err := set.Validate(e)
				want := known && err == nil
				have := verdict(m, e)
				if have == "valid" != want {
					t.Errorf("%s %s %s: %s, but the built-in kinds say %t, %v", version, k.Name(), spec, have, known, err)
				}
				if err != nil && !strings.Contains(have, err.Error()) {
					t.Errorf("%s %s: %q does not say %q", k.Name(), spec, have, err)
				}
				if want {
					valid++
				}
			}
		}
	}
	if valid < 2*len(kinds.Core()) {
		t.Errorf("only %d entities were valid", valid)
	}
}

func TestMoreKinds(t *testing.T) {
	t.Parallel()
	m := compile(t, model.MCPServers(), model.AIResources(), model.Default())
	for _, tc := range []struct{ kind, spec, want string }{
		{"AiResource", `{"type":"idea","lifecycle":"l","owner":"o"}`, "valid"},
		{"AiResource", `{"type":"skill","lifecycle":"l","owner":"o","disciplines":["web"],"compatibility":"all"}`, "valid"},
		{"AiResource", `{"type":"skill","lifecycle":"l","owner":"o","compatibility":"` + strings.Repeat("x", 501) + `"}`, "Validation of AiResource entity failed: /spec/compatibility must NOT have more than 500 characters - limit: 500"},
		{"AiResource", `{"type":"rule","lifecycle":"l","owner":"o"}`,
			"Validation of AiResource entity failed: /spec must have required property 'category' - missingProperty: category; /spec must have required property 'rationale' - missingProperty: rationale"},
		{"AiResource", `{"type":"plugin","lifecycle":"l","owner":"o","skills":["a"]}`, "valid"},
		{"AiResource", `{"type":"marketplace","lifecycle":"l","owner":"o","plugins":[]}`, "valid"},
		{"API", `{"type":"mcp-server","lifecycle":"l","owner":"o","remotes":[{"type":"sse","url":"u"}]}`, "valid"},
		{"API", `{"type":"mcp-server","lifecycle":"l","owner":"o","remotes":[]}`, "Validation of API entity failed: /spec/remotes must NOT have fewer than 1 items - limit: 1"},
		{"API", `{"type":"openapi","lifecycle":"l","owner":"o"}`, "Validation of API entity failed: /spec must have required property 'definition' - missingProperty: definition"},
	} {
		e := entity(t, `{"apiVersion":"backstage.io/v1alpha1","kind":"`+tc.kind+`","metadata":{"name":"x"},"spec":`+tc.spec+`}`)
		if have := verdict(m, e); have != tc.want {
			t.Errorf("%s: %s, want %s", tc.spec, have, tc.want)
		}
	}
}
