package schema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

func validate(t *testing.T, text, value string, more ...schema.Resource) []string {
	t.Helper()
	s, err := schema.Compile("root", append(more, schema.Resource{ID: "root", Text: []byte(text)})...)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonvalue.Parse([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, issue := range s.Validate(v) {
		out = append(out, issue.Error())
	}
	if s.Valid(v) != (out == nil) {
		t.Errorf("Valid and Validate disagree about %s", value)
	}
	return out
}

func TestIssuesAreWordedAsAJV(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ schema, value, want string }{
		{`{"type":"string"}`, `1`, "<root> must be string - type: string"},
		{`{"type":["string","boolean"]}`, `1`, "<root> must be string,boolean - type: string,boolean"},
		{`{"type":["boolean","string"]}`, `1`, "<root> must be boolean,string - type: boolean,string"},
		{`{"required":["a"]}`, `{}`, "<root> must have required property 'a' - missingProperty: a"},
		{`{"properties":{"a/~b":{"type":"null"}}}`, `{"a/~b":1}`, "/a~1~0b must be null - type: null"},
		{`{"items":{"type":"string"}}`, `["x",1]`, "/1 must be string - type: string"},
		{`{"additionalProperties":false}`, `{"x":1}`, "<root> must NOT have additional properties - additionalProperty: x"},
		{`{"enum":["a","b"]}`, `"c"`, "<root> must be equal to one of the allowed values - allowedValues: a,b"},
		{`{"const":"a"}`, `"c"`, "<root> must be equal to constant - allowedValue: a"},
		{`{"minLength":1}`, `""`, "<root> must NOT have fewer than 1 characters - limit: 1"},
		{`{"maxLength":1}`, `"ab"`, "<root> must NOT have more than 1 characters - limit: 1"},
		{`{"pattern":"^\\w+$"}`, `"a b"`, `<root> must match pattern "^\w+$" - pattern: ^\w+$`},
		{`{"minItems":1}`, `[]`, "<root> must NOT have fewer than 1 items - limit: 1"},
		{`{"maxItems":1}`, `[1,2]`, "<root> must NOT have more than 1 items - limit: 1"},
		{`{"minProperties":1}`, `{}`, "<root> must NOT have fewer than 1 properties - limit: 1"},
		{`{"maxProperties":0}`, `{"a":1}`, "<root> must NOT have more than 0 properties - limit: 0"},
		{`{"minimum":1.5}`, `1`, "<root> must be >= 1.5 - comparison: >=, limit: 1.5"},
		{`{"maximum":1}`, `2`, "<root> must be <= 1 - comparison: <=, limit: 1"},
		{`{"exclusiveMinimum":1}`, `1`, "<root> must be > 1 - comparison: >, limit: 1"},
		{`{"exclusiveMaximum":1}`, `1`, "<root> must be < 1 - comparison: <, limit: 1"},
		{`{"multipleOf":2}`, `3`, "<root> must be multiple of 2 - multipleOf: 2"},
		{`{"uniqueItems":true}`, `[1,2,1]`, "<root> must NOT have duplicate items (items ## 0 and 2 are identical) - i: 2, j: 0"},
		{`{"not":{}}`, `1`, "<root> must NOT be valid - "},
		{`{"properties":{"a":false}}`, `{"a":1}`, "/a boolean schema is false - "},
		{`{"dependencies":{"a":["b"]}}`, `{"a":1}`, "<root> must have property b when property a is present - property: a, missingProperty: b"},
	} {
		got := validate(t, tc.schema, tc.value)
		if diff := cmp.Diff([]string{tc.want}, got); diff != "" {
			t.Errorf("%s against %s (-want +got):\n%s", tc.value, tc.schema, diff)
		}
	}
}

func TestIssuesAreInTheOrderOfAJV(t *testing.T) {
	t.Parallel()
	shared := schema.Resource{ID: "shared", Text: []byte(`{"definitions":{"item":{"type":"object","required":["y","x"],"properties":{"z":{"type":"string"},"a":{"type":"string"}}}}}`)}
	for _, tc := range []struct {
		name, schema, value string
		want                []string
	}{
		{
			"keywords by rank, properties as declared",
			`{"properties":{"b":{"type":"string"},"a":{"type":"string"}},"additionalProperties":false,"required":["r2","r1"],"type":"object"}`,
			`{"a":1,"b":1,"y":1,"x":1}`,
			[]string{"r2", "r1", "additionalProperty: x", "additionalProperty: y", "/b ", "/a "},
		},
		{
			"items by index, not by keyword",
			`{"items":{"minLength":2,"pattern":"^b"}}`, `["a","b","a"]`,
			[]string{"/0 must NOT", "/0 must match", "/1 must NOT", "/2 must NOT", "/2 must match"},
		},
		{
			"through references",
			`{"allOf":[{"properties":{"list":{"items":{"$ref":"shared#/definitions/item"}}}},{"required":["q"]}]}`,
			`{"list":[{"z":1,"a":1},{"x":1,"y":1,"a":2}]}`,
			[]string{"/list/0 must have required property 'y'", "/list/0 must have required property 'x'", "/list/0/z ", "/list/0/a ", "/list/1/a ", "<root> must have required property 'q'"},
		},
		{
			"branches before their anyOf",
			`{"properties":{"p":{"anyOf":[{"type":"string"},{"type":"array"}]},"q":{"oneOf":[{"type":"string"},{"type":"object"}]}},"required":["r"]}`,
			`{"p":1,"q":2}`,
			[]string{"'r'", "/p must be string", "/p must be array", "/p must match a schema in anyOf", "/q must be string", "/q must be object", "/q must match exactly one schema in oneOf - passingSchemas: null"},
		},
		{
			"additional and pattern properties by name",
			`{"additionalProperties":{"type":"string"},"patternProperties":{"^x":{"type":"number"}}}`,
			`{"c":1,"a":1,"b":1,"x2":"","x1":""}`,
			[]string{"/a ", "/b ", "/c ", "/x1 ", "/x2 "},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for range 10 { // map order must not show
				got := validate(t, tc.schema, tc.value, shared)
				if len(got) != len(tc.want) {
					t.Fatalf("got %d issues, want %d:\n%s", len(got), len(tc.want), strings.Join(got, "\n"))
				}
				for i := range got {
					if !strings.Contains(got[i], tc.want[i]) {
						t.Fatalf("issue %d is %q, want one with %q; all:\n%s", i, got[i], tc.want[i], strings.Join(got, "\n"))
					}
				}
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{`{`, "schema root:"},
		{`{"type":"nonsense"}`, "schema root:"},
		{`{"$ref":"missing"}`, `unknown schema "missing"`},
		{`{"$ref":"https://example.com/x.json"}`, `unknown schema "https://example.com/x.json"`},
		{`{"pattern":"("}`, "schema root:"},
	} {
		_, err := schema.Compile("root", schema.Resource{ID: "root", Text: []byte(tc.text)})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Compile(%s) error = %v, want one with %s", tc.text, err, tc.want)
		}
	}
}

func TestLabelPatternNeedsNoRegexp(t *testing.T) {
	t.Parallel()
	const guard = `{"patternProperties":{"^.+$":{"type":"string"}}}`
	if got := validate(t, guard, `{"":1,"a\nb":1,"ok":"x"}`); got != nil {
		t.Errorf("keys that the pattern does not match are checked: %v", got)
	}
	if got := validate(t, guard, `{"k":1}`); len(got) != 1 {
		t.Errorf("issues = %v, want one", got)
	}
}
