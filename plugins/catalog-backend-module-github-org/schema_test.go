package catalogmodulegithuborg_test

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flytower/flytower/internal/configtest"
	catalogmodulegithuborg "github.com/flytower/flytower/plugins/catalog-backend-module-github-org"
)

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(catalogmodulegithuborg.ConfigSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		"catalog: {providers: {githubOrg: {id: a, githubUrl: x, orgs: [acme], schedule: {frequency: {cron: x}, timeout: PT1M}}}}": true,
		"catalog: {providers: {githubOrg: [{id: a, githubUrl: x}, {id: b, githubUrl: x, pageSizes: {teams: 5}}]}}":                true,
		"catalog: {providers: {githubOrg: {id: a}}}":                               false,
		"catalog: {providers: {githubOrg: [{id: a, githubUrl: x, orgs: acme}]}}":   false,
		"catalog: {providers: {githubOrg: {id: a, githubUrl: x, pageSizes: [1]}}}": false,
	} {
		v, _ := configtest.FromYAML(t, text).Value("")
		if err := schema.Validate(v); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	walk(doc, "", func(path string, s map[string]any) {
		if _, ok := s["description"]; !ok && path != "catalog" {
			t.Errorf("%s has no description", path)
		}
	})
}

// walk visits the schema of every key.
func walk(schema any, path string, visit func(string, map[string]any)) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if m, ok := p.(map[string]any); ok {
			visit(at, m)
		}
		walk(p, at, visit)
	}
	walk(s["items"], path+"[]", visit)
	alternatives, _ := s["anyOf"].([]any)
	for _, a := range alternatives {
		walk(a, path, visit)
	}
}
