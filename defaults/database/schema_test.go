package database_test

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/internal/configtest"
)

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	core.ConfigSchema(database.ConfigSchema) // panics if it is no JSON
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(database.ConfigSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	for yaml, valid := range map[string]bool{
		"{client: pg, connection: 'postgres://db'}":                                                              true,
		"{client: pg, connection: {host: db, port: 5432, password: 12, ssl: {ca: x}}, maxConnections: 5}":        true,
		"{client: better-sqlite3, connection: ':memory:', plugin: {a: {connection: {filename: x}}}}":             true,
		"{client: pg, connection: {host: db}, pluginDivisionMode: schema, knexConfig: {pool: {min: 0, max: 5}}}": true,
		"{client: oracle}":                     false,
		"{client: pg, connection: 5}":          false,
		"{client: pg, maxConnections: 0}":      false,
		"{client: pg, plugin: {a: {role: 1}}}": false,
	} {
		value, _ := configtest.FromYAML(t, "backend: {database: "+yaml+"}").Value("")
		if err := schema.Validate(value); (err == nil) != valid {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
