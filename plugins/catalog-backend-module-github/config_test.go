package catalogmodulegithub_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/providertest"
	"github.com/flytower/flytower/internal/testdb"
	catalogmodulegithub "github.com/flytower/flytower/plugins/catalog-backend-module-github"
)

func TestProviders(t *testing.T) {
	t.Parallel()
	for label, tc := range map[string]struct {
		config string
		want   []string
	}{
		"absent": {"app: {}", []string{}},
		"one":    {"catalog: {providers: {github: {organization: acme}}}", []string{"github-provider:default"}},
		"app":    {"catalog: {providers: {github: {app: '7'}}}", []string{"github-provider:default"}},
		"many":   {"catalog: {providers: {github: {a: {organization: acme}, b: {organization: acme, host: GitHub.com}}}}", []string{"github-provider:a", "github-provider:b"}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			c := providertest.Start(t, tc.config, catalogmodulegithub.Module)
			if d := cmp.Diff(tc.want, c.Providers(), cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); d != "" {
				t.Errorf("providers (-want +got):\n%s", d)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	c := providertest.Start(t, `
		catalog:
		  providers:
		    github:
		      acme:
		        organization: acme
		        schedule:
		          frequency: {cron: "0 5 * * *"}
		          timeout: PT10M
		          initialDelay: {seconds: 15}
		          scope: local
	`, catalogmodulegithub.Module)
	task, _ := c.Task("github-provider:acme:refresh")
	want := core.Schedule{Frequency: core.Frequency{Cron: "0 5 * * *"}, Timeout: 10 * time.Minute, InitialDelay: 15 * time.Second, Local: true}
	if d := cmp.Diff(want, task.Schedule); d != "" {
		t.Errorf("schedule (-want +got):\n%s", d)
	}
}

// Every mistake is reported with its line, all at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	_, err := providertest.TryStart(t, `catalog:
  providers:
    github:
      a:
        host: github.com
        filters:
          branch: a/b
          repository: "(?=x)"
          visibility: [secret]
          allowForks: perhaps
      b:
        organization: acme
        catalogPath: "*.yaml"
        validateLocationsExist: true
        pageSizes:
          repositories: 101
        rejectRemovalsAbovePercentage: -1
      c:
        organization: acme
        catalogPath: "/{"
        schedule:
          frequency: {minutes: 1}
`, testdb.NewSQLite(t), catalogmodulegithub.Module)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`app-config.yaml:4: config key "catalog.providers.github.a.organization" is missing`,
		`app-config.yaml:7: config key "catalog.providers.github.a.filters.branch" must not have slashes`,
		`app-config.yaml:8: config key "catalog.providers.github.a.filters.repository" is not a regular expression`,
		`app-config.yaml:9: config key "catalog.providers.github.a.filters.visibility" has the unknown value "secret"`,
		`app-config.yaml:10: config key "catalog.providers.github.a.filters.allowForks" must be`,
		`app-config.yaml:14: config key "catalog.providers.github.b.validateLocationsExist" cannot be true with wildcards`,
		`app-config.yaml:16: config key "catalog.providers.github.b.pageSizes.repositories" must be from 1 to 100, found 101`,
		`app-config.yaml:17: config key "catalog.providers.github.b.rejectRemovalsAbovePercentage" must be from 0 to 100`,
		`app-config.yaml:20: config key "catalog.providers.github.c.catalogPath" is not a valid pattern`,
		`config key "catalog.providers.github.c.schedule.timeout" is missing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\n\nin:\n%v", want, err)
		}
	}
}

func TestUnknownHost(t *testing.T) {
	t.Parallel()
	_, err := providertest.TryStart(t, "catalog: {providers: {github: {organization: acme, host: ghe.example.com}}}", testdb.NewSQLite(t), catalogmodulegithub.Module)
	if err == nil || !strings.Contains(err.Error(), `no GitHub integration for the host "ghe.example.com"`) {
		t.Errorf("%v", err)
	}
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(catalogmodulegithub.ConfigSchema))
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
		"catalog: {providers: {github: {organization: acme}}}": true,
		"catalog: {providers: {github: {acme: {organization: acme, filters: {topic: {include: [a]}}, schedule: {frequency: PT1H, timeout: PT1M}}}}}": true,
		"catalog: {providers: {github: {acme: {organization: [acme]}}}}":                                                                             false,
		"catalog: {providers: {github: {filters: {allowForks: 7}}}}":                                                                                 false,
	} {
		v, _ := configtest.FromYAML(t, text).Value("")
		if err := schema.Validate(v); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	var undescribed []string
	walk(doc, "", func(path string, s map[string]any) {
		if _, ok := s["description"]; !ok {
			undescribed = append(undescribed, path)
		}
	})
	slices.Sort(undescribed)
	if d := cmp.Diff([]string{"catalog"}, undescribed); d != "" {
		t.Errorf("keys without description (-want +got):\n%s", d)
	}
}

// walk visits the schema of every key.
func walk(schema any, path string, visit func(string, map[string]any)) {
	s, _ := schema.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if m, ok := p.(map[string]any); ok {
			visit(at, m)
		}
		walk(p, at, visit)
	}
	if extra, ok := s["additionalProperties"].(map[string]any); ok {
		visit(path+".*", extra)
		walk(extra, path+".*", visit)
	}
}
