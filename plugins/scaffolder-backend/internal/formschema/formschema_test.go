package formschema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/formschema"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func parse(t testing.TB, text string) template.Value {
	t.Helper()
	v, err := template.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestProblemsHaveTheWordsThatUsersKnow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, value, want string }{
		{`{"type":["string","null"]}`, `1`, `instance is not of a type(s) string,null`},
		{`{"type":"no such type"}`, `1`, ``},
		{`{"required":["a","b"],"properties":{"a":{"type":"string"}}}`, `{"a":1}`, `instance requires property "b"; instance.a is not of a type(s) string`},
		{`{"properties":{"a":{"required":true}}}`, `{}`, `instance.a is required`},
		{`{"enum":["x",1]}`, `"y"`, `instance is not one of enum values: x,1`},
		{`{"const":{"a":1}}`, `{"a":1}`, ``},
		{`{"minLength":2}`, `"😀"`, `instance does not meet minimum length of 2`},
		{`{"maxItems":1,"uniqueItems":true}`, `[1,1]`, `instance does not meet maximum length of 1; instance contains duplicate item`},
		{`{"minProperties":1}`, `{}`, `instance does not meet minimum property length of 1`},
		{`{"minimum":1,"exclusiveMinimum":true}`, `1`, `instance must be greater than 1`},
		{`{"exclusiveMaximum":2}`, `2`, `instance must be strictly less than 2`},
		{`{"multipleOf":0.1}`, `0.3`, ``},
		{`{"multipleOf":2}`, `3`, `instance is not a multiple of (divisible by) 2`},
		{`{"pattern":"^(?!x)[a-z]+$"}`, `"xa"`, `instance does not match pattern "^(?!x)[a-z]+$"`},
		{`{"format":"date-time"}`, `"2020-01-01"`, `instance does not conform to the "date-time" format`},
		{`{"format":"entity-picker"}`, `"anything"`, ``},
		{`{"additionalProperties":false,"properties":{"a":{}}}`, `{"a":1,"b c":2}`, `instance is not allowed to have the additional property "b c"`},
		{`{"additionalProperties":{"type":"number"}}`, `{"a.b":"x","0":"y"}`, `instance[0] is not of a type(s) number; instance["a.b"] is not of a type(s) number`},
		{`{"items":[{"type":"number"}],"additionalItems":false}`, `[1,2]`, `instance additionalItems not permitted`},
		{`{"items":{"type":"number"}}`, `[1,"x"]`, `instance[1] is not of a type(s) number`},
		{`{"anyOf":[{"title":"A","type":"string"},{"type":"null"}]}`, `1`, `instance is not any of "A",[subschema 1]`},
		{`{"oneOf":[{"$id":"one","type":"number"},{"type":"integer"}]}`, `1`, `instance is not exactly one from one,[subschema 1]`},
		{`{"allOf":[{"type":"string"}]}`, `1`, `instance does not match allOf schema [subschema 0] with 1 error[s]:; instance is not of a type(s) string`},
		{`{"not":{"type":"string"}}`, `"x"`, `instance is of prohibited type [object Object]`},
		{`{"if":{"type":"string"},"then":{"minLength":2},"else":{"minimum":5}}`, `"x"`, `instance does not meet minimum length of 2`},
		{`{"dependencies":{"a":["b"],"c":{"required":["d"]}}}`, `{"a":1,"c":1}`, `instance property b not found, required by instance.a; instance does not meet dependency required by instance.c; instance.c requires property "d"`},
		{`{"properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"type":"string"}}}`, `{"a":1}`, `instance.a is not of a type(s) string`},
		{`{"description":5,"enum":[1,1],"ui:field":null}`, `1`, ``},
	} {
		problems, err := formschema.Check(parse(t, c.schema), parse(t, c.value))
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
		}
		var stacks []string
		for _, p := range problems {
			stacks = append(stacks, p.Stack)
		}
		if diff := cmp.Diff(c.want, strings.Join(stacks, "; ")); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", c.schema, c.value, diff)
		}
	}
}

func TestHostileSchemasEnd(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{`{"$ref":"#"}`, `1`},
		{`{"$ref":"#/nothing"}`, `1`},
		{`{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`, `1`},
		{`{"pattern":"^(a|a)*\\1$"}`, `"` + strings.Repeat("a", 10_000) + `!"`},
	} {
		if _, err := formschema.Check(parse(t, c[0]), parse(t, c[1])); err == nil && !strings.Contains(c[0], "pattern") {
			t.Errorf("%s was applied", c[0])
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"pattern":"x"}},"required":["a"]}`, `{"a":"x"}`)
	f.Add(`{"anyOf":[true,false,{"$ref":"#"}]}`, `[]`)
	f.Add(`{"items":[{}],"contains":{"const":null},"propertyNames":{"format":"regex"}}`, `[null]`)
	f.Fuzz(func(t *testing.T, schema, value string) {
		s, err := template.ParseJSON([]byte(schema))
		if err != nil {
			return
		}
		v, err := template.ParseJSON([]byte(value))
		if err != nil {
			return
		}
		problems, err := formschema.Check(s, v)
		if err != nil {
			return
		}
		for _, p := range problems {
			if _, err := p.MarshalJSON(); err != nil {
				t.Errorf("%s of %s: %v", schema, value, err)
			}
		}
	})
}
