package configschema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/configschema"
)

func merge(t *testing.T, schemas ...string) *configschema.Schema {
	t.Helper()
	var sources []configschema.Source
	for i, s := range schemas {
		sources = append(sources, configschema.Source{Owner: "plugin " + string(rune('a'+i)), Value: json.RawMessage(s)})
	}
	schema, err := configschema.Merge(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func data(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// visibility is the example of the reference's conformance vectors.
const visibility = `{"type":"object","properties":{
	"app":{"type":"object","properties":{
		"title":{"type":"string","visibility":"frontend"},
		"deep":{"type":"object","deepVisibility":"frontend"},
		"arr":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string","visibility":"frontend"},"y":{"type":"string"}}}},
		"s":{"type":"array","items":{"type":"string","visibility":"frontend"}},
		"port":{"type":"number","visibility":"frontend"},
		"old":{"type":"string","visibility":"frontend","deprecated":"use title"},
		"hid":{"type":"string"}}},
	"sec":{"type":"string","visibility":"secret"}}}`

const visible = `{"app":{"title":"T","deep":{"a":{"b":1}},"arr":[{"x":"1","y":"2"},{"y":"3"}],"s":["q"],"port":"80","old":"o","hid":"h"},"sec":"zz"}`

func TestFilter(t *testing.T) {
	t.Parallel()
	schema := merge(t, visibility)
	got := schema.Filter(data(t, visible), configschema.Frontend)
	want := data(t, `{"app":{"title":"T","deep":{"a":{"b":1}},"arr":[{"x":"1"}],"s":["q"],"port":"80","old":"o"}}`)
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("frontend data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app.arr[0].y", "app.arr[1].y", "app.hid", "sec"}, got.FilteredKeys); diff != "" {
		t.Errorf("filtered keys (-want +got):\n%s", diff)
	}
	if len(got.Deprecated) != 1 || got.Deprecated[0].Key != "app.old" || got.Deprecated[0].Description != "use title" {
		t.Errorf("deprecated keys = %+v", got.Deprecated)
	}
	if v := schema.Validate(data(t, visible)); v != nil {
		t.Errorf("violations = %+v", v)
	}
	secret := schema.Filter(data(t, visible), configschema.Secret)
	if diff := cmp.Diff(data(t, `{"sec":"zz"}`), secret.Data); diff != "" {
		t.Errorf("secret data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"zz"}, schema.Secrets(data(t, visible))); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestVisibilityRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, schema, data, want string }{
		{
			"elements of a visible list are visible, the members of objects in it are not",
			`{"properties":{"l":{"type":"array","visibility":"frontend"}}}`,
			`{"l":["a",{"b":"c"},["d"]]}`, `{"l":["a"]}`,
		},
		{
			"a visible object stays when it is empty",
			`{"properties":{"o":{"type":"object","visibility":"frontend"},"p":{"type":"object"}}}`,
			`{"o":{"x":1},"p":{"x":1}}`, `{"o":{}}`,
		},
		{
			"backend ends an inherited visibility",
			`{"properties":{"o":{"deepVisibility":"frontend","properties":{"x":{"visibility":"backend"}}}}}`,
			`{"o":{"x":1,"y":2}}`, `{"o":{"y":2}}`,
		},
		{
			"free names and patterns",
			`{"properties":{"o":{"additionalProperties":{"visibility":"frontend"}},"p":{"patternProperties":{"^a":{"visibility":"frontend"}}}}}`,
			`{"o":{"x":1},"p":{"ab":1,"b":2}}`, `{"o":{"x":1},"p":{"ab":1}}`,
		},
		{
			"alternatives count for values of their type",
			`{"properties":{"c":{"anyOf":[{"type":"string","visibility":"secret"},{"type":"object","properties":{"host":{"type":"string","visibility":"frontend"}}}]}}}`,
			`{"c":{"host":"h","user":"u"}}`, `{"c":{"host":"h"}}`,
		},
		{"null is dropped", `{"properties":{"n":{"visibility":"frontend"}}}`, `{"n":null}`, `{}`},
		{
			"references", `{"definitions":{"v<x>":{"type":"string","visibility":"frontend"}},"properties":{"a":{"$ref":"#/definitions/v%3Cx%3E"}}}`,
			`{"a":"x","b":"y"}`, `{"a":"x"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := merge(t, tt.schema).Filter(data(t, tt.data), configschema.Frontend).Data
			if diff := cmp.Diff(data(t, tt.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		schemas []string
		err     string
	}{
		{"members add up", []string{
			`{"properties":{"a":{"additionalProperties":false,"properties":{"x":{"type":"string"}}}}}`,
			`{"properties":{"a":{"properties":{"y":{"type":"string"}}}}}`,
		}, ""},
		{"the more specific visibility wins", []string{
			`{"properties":{"a":{"visibility":"backend"}}}`, `{"properties":{"a":{"visibility":"secret"}}}`,
		}, ""},
		{"frontend and secret", []string{
			`{"properties":{"a":{"visibility":"frontend"}}}`, `{"properties":{"a":{"visibility":"secret"}}}`,
		}, `configuration schemas contradict each other: plugin b says that "a" is secret, another one that it is frontend`},
		{"inherited frontend and secret", []string{
			`{"properties":{"a":{"deepVisibility":"frontend"}}}`, `{"properties":{"a":{"properties":{"b":{"items":{"visibility":"secret"}}}}}}`,
		}, `configuration schemas contradict each other: "a.b.[]" is both secret and frontend`},
		{"types", []string{
			`{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":"number"}}}`,
		}, `configuration schemas contradict each other: plugin b asks for number at "a", another one for string`},
		{"no schema", []string{`{}`, `{"properties":{"a":{"minimum":"x"}}}`}, "the configuration schema of plugin b is not a valid JSON Schema of draft 7: " +
			"\"config:///schema.json#\" is not valid against metaschema: jsonschema validation failed with 'http://json-schema.org/draft-07/schema#'\n- at '/properties/a/minimum': got string, want number"},
		{"broken", []string{`{`, `[]`, `{"properties":{"a":{"visibility":"public"}}}`}, strings.Join([]string{
			"the configuration schema of plugin a is not valid JSON: unexpected EOF",
			"the configuration schema of plugin b is not a JSON object",
			`configuration schema: "a" has the unknown visibility "public"; use frontend, backend or secret`,
		}, "\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sources []configschema.Source
			for i, s := range tt.schemas {
				sources = append(sources, configschema.Source{Owner: "plugin " + string(rune('a'+i)), Value: json.RawMessage(s)})
			}
			_, err := configschema.Merge(sources...)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.err {
				t.Errorf("error:\n%s\nwant:\n%s", got, tt.err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	schema := merge(t, `{"required":["app"],"properties":{
		"app":{"type":"object","required":["baseUrl"],"properties":{"baseUrl":{"type":"string","description":"Where the app is."}}},
		"n":{"type":"number","minimum":5},
		"b":{"type":"boolean"},
		"e":{"enum":["x","y"]},
		"u":{"type":"string","pattern":"^https?:","visibility":"secret"},
		"look":{"type":"string","pattern":"^(?!x)"},
		"l":{"type":"array","minItems":1,"items":{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}},
		"any":{"anyOf":[{"type":"string"},{"type":"object","properties":{"p":{"type":"integer"}}}]},
		"closed":{"type":"object","additionalProperties":false,"properties":{"a":{"type":"string"}}}}}`)
	for _, tt := range []struct{ data, want string }{
		{`{"app":{"baseUrl":"x"},"n":"80","b":"true","e":"x","u":"http:","look":"x","l":[{"id":5}],"any":7,"closed":{"z":1}}`, ""},
		{`{}`, "app is missing; add it, plugin a needs it"},
		{`{"app":{}}`, "app.baseUrl is missing; add it, plugin a needs it: Where the app is."},
		{`{"app":{"baseUrl":{}},"n":1,"b":"maybe","e":"z","u":"ftp:secret","l":[{"id":"a"},{}],"any":{"p":1.5}}`, strings.Join([]string{
			"any.p must be a whole number, found a number",
			"app.baseUrl must be a string, found an object",
			"b must be a boolean, found a string",
			`e is none of the allowed values; use "x" or "y"`,
			"l[1].id is missing; add it, plugin a needs it",
			"n is less than 5",
			"u does not match the pattern ^https?:",
		}, "\n")},
		{`{"app":{"baseUrl":"x"},"any":[],"l":[]}`, "any must be a string or an object, found a list\nl has fewer than 1 elements"},
	} {
		var got []string
		for _, v := range schema.Validate(data(t, tt.data)) {
			line := v.Path.String() + " " + v.Problem
			if v.Remedy != "" {
				line += "; " + v.Remedy
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.data, diff)
		}
	}
}

func TestValidateVisible(t *testing.T) {
	t.Parallel()
	schema := merge(t, `{"properties":{
		"app":{"type":"object","required":["title","inner","hidden"],"properties":{
			"title":{"type":"string","visibility":"frontend"},
			"inner":{"type":"object","properties":{"x":{"visibility":"frontend"}}},
			"hidden":{"type":"string"},
			"deep":{"deepVisibility":"frontend","properties":{"n":{"type":"number"}}}}},
		"n":{"type":"number"},
		"o":{"type":"object"}}}`)
	var got []string
	for _, v := range schema.ValidateVisible(data(t, `{"app":{"deep":{"n":"x"}},"n":"x","o":1}`), configschema.Frontend) {
		got = append(got, v.Path.String())
	}
	if diff := cmp.Diff([]string{"app.deep.n", "app.inner", "app.title", "o"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(merge(t, `{"properties":{"a":{"type":"string"}}}`))
	want := `{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{"type":"string"}},"type":"object"}`
	if string(got) != want || err != nil {
		t.Errorf("schema = %s, %v", got, err)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	schema := merge(t,
		`{"properties":{"backend":{"properties":{"database":{"properties":{"client":{}}},"open":{"type":"object"},"free":{"properties":{"a":{}},"additionalProperties":true}}}}}`,
		`{"properties":{"backend":{"properties":{"cache":{"type":"object","additionalProperties":false}}}}}`,
	)
	var got []string
	for _, u := range schema.Unknown(data(t, `{"backend":{"databse":{},"database":{"clinet":1,"client":2},"open":{"x":1},"free":{"x":1},"cache":{"y":1}},"proxy":{},"bakend":{},"gone":null}`)) {
		line := u.Path.String()
		if u.Section {
			line += " section"
		}
		if u.Suggestion != "" {
			line += " -> " + u.Suggestion
		}
		got = append(got, line)
	}
	want := []string{"bakend section -> backend", "proxy section", "backend.databse -> database", "backend.cache.y", "backend.database.clinet -> client"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	schema := merge(t,
		`{"properties":{"a":{"type":"object","description":"Section A.","required":["x"],"properties":{"x":{"type":"string","enum":["p","q"],"default":"p","deprecated":"use y"}}}}}`,
		`{"properties":{"a":{"properties":{"l":{"type":"array","items":{"properties":{"k":{"visibility":"secret"}}}},"m":{"additionalProperties":{"type":"number"}}}}}}`,
	)
	want := []configschema.Key{
		{Key: "a", Types: []string{"object"}, Description: "Section A.", Visibility: "backend", Owners: []string{"plugin a", "plugin b"}},
		{Key: "a.l", Types: []string{"array"}, Visibility: "backend", Owners: []string{"plugin b"}},
		{Key: "a.l[].k", Visibility: "secret", Owners: []string{"plugin b"}},
		{Key: "a.m", Visibility: "backend", Owners: []string{"plugin b"}},
		{Key: "a.m.<name>", Types: []string{"number"}, Visibility: "backend", Owners: []string{"plugin b"}},
		{
			Key: "a.x", Types: []string{"string"}, Default: "p", Enum: []any{"p", "q"}, Required: true,
			Visibility: "backend", Deprecated: "use y", Owners: []string{"plugin a"},
		},
	}
	if diff := cmp.Diff(want, schema.Document()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSerialized(t *testing.T) {
	t.Parallel()
	file := `{"backstageConfigSchemaVersion":1,"schemas":[{"path":"packages/app","value":{"properties":{"a":{"visibility":"frontend"}}},"packageName":"app"},{"path":"p","value":{}}]}`
	sources, err := configschema.ParseSerialized([]byte(file))
	if err != nil || len(sources) != 2 || sources[0].Owner != "app" || sources[1].Owner != "p" {
		t.Fatalf("sources = %+v, %v", sources, err)
	}
	again, err := configschema.Serialize(sources...)
	if err != nil {
		t.Fatal(err)
	}
	back, err := configschema.ParseSerialized(again)
	if diff := cmp.Diff(sources, back); diff != "" || err != nil {
		t.Errorf("after writing and reading (-want +got):\n%s %v", diff, err)
	}
	_, err = configschema.ParseSerialized([]byte(`{"backstageConfigSchemaVersion":2}`))
	if err == nil || err.Error() != "read serialized configuration schemas: version 2 is not supported, only 1 is" {
		t.Errorf("version 2: %v", err)
	}
}

func FuzzMerge(f *testing.F) {
	f.Add(visibility, visible)
	f.Add(`{"$ref":"#"}`, `{"a":1}`)
	f.Add(`{"properties":{"a":{"$ref":"#/properties/a"}},"allOf":[{"anyOf":[{}]}]}`, `{"a":[1]}`)
	f.Fuzz(func(t *testing.T, schema, config string) {
		merged, err := configschema.Merge(configschema.Source{Owner: "x", Value: json.RawMessage(schema)}, configschema.Source{Owner: "y", Value: json.RawMessage(visibility)})
		var m map[string]any
		if err != nil || json.Unmarshal([]byte(config), &m) != nil {
			return
		}
		merged.Validate(m)
		merged.Unknown(m)
		merged.Document()
		for _, s := range merged.Filter(m, configschema.Frontend).FilteredKeys {
			if s == "" && m[""] == nil {
				t.Errorf("filtered key without name")
			}
		}
	})
}
