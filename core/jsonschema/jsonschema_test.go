package jsonschema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core/jsonschema"
)

type base struct {
	ID string `json:"id"`
}

type sample struct {
	base                      // unexported embedded structs are promoted, too
	Name    string            `json:"name" description:"Name of it"`
	Kind    string            `json:"kind,omitempty" enum:"A,B"`
	Count   int               `json:"count"`
	Ratio   *float64          `json:"ratio"`
	Tags    []string          `json:"tags,omitempty" enum:"x,y"`
	Labels  map[string]string `json:"labels,omitzero"`
	At      time.Time         `json:"at,omitzero"`
	Any     any               `json:"any,omitempty"`
	Raw     json.RawMessage   `json:"raw,omitempty"`
	Inner   struct{ OK bool } `json:"inner"`
	Skipped string            `json:"-"`
	hidden  string
}

func TestFor(t *testing.T) {
	t.Parallel()
	_ = sample{hidden: ""}
	want := `{"type":"object","properties":{` +
		`"id":{"type":"string"},` +
		`"name":{"type":"string","description":"Name of it"},` +
		`"kind":{"type":"string","enum":["A","B"]},` +
		`"count":{"type":"integer"},` +
		`"ratio":{"type":"number"},` +
		`"tags":{"type":"array","items":{"type":"string","enum":["x","y"]}},` +
		`"labels":{"type":"object","additionalProperties":{"type":"string"}},` +
		`"at":{"type":"string","format":"date-time"},` +
		`"any":{},"raw":{},` +
		`"inner":{"type":"object","properties":{"OK":{"type":"boolean"}},"required":["OK"],"additionalProperties":false}},` +
		`"required":["id","name","count","inner"],"additionalProperties":false,` +
		`"$schema":"http://json-schema.org/draft-07/schema#"}`
	if diff := cmp.Diff(want, string(jsonschema.For[sample]())); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if _, err := jsonschema.Compile(jsonschema.For[sample]()); err != nil {
		t.Errorf("the made schema does not compile: %v", err)
	}
}

func TestForEmptyStruct(t *testing.T) {
	t.Parallel()
	if got := string(jsonschema.For[struct{}]()); got != jsonschema.Empty {
		t.Errorf("got %s, want %s", got, jsonschema.Empty)
	}
}

type loop struct{ Next *loop }

func TestForPanics(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(){
		"channel": func() { jsonschema.For[struct{ C chan int }]() },
		"map key": func() { jsonschema.For[map[int]string]() },
		"loop":    func() { jsonschema.For[loop]() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if r := recover(); r == nil {
					t.Error("no panic")
				}
			}()
			make()
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","properties":{"name":{"type":"string","minLength":2},"kind":{"enum":["A","B"]},` +
		`"list":{"type":"array","items":{"type":"object","properties":{"n":{"type":"number"}},"required":["n"],"additionalProperties":false}}},` +
		`"required":["name"],"additionalProperties":false}`
	s, err := jsonschema.Compile(json.RawMessage(schema))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, doc, want string
		issues          []jsonschema.Issue
	}{
		{name: "valid is returned as it is", doc: `{ "name":"ab" }`, want: `{ "name":"ab" }`},
		{name: "extra members are dropped", doc: `{"name":"a<b","x":1,"list":[{"n":12345678901234567890,"y":2}]}`, want: `{"list":[{"n":12345678901234567890}],"name":"a<b"}`},
		{name: "missing", doc: `{}`, issues: []jsonschema.Issue{{Code: "invalid_type", Expected: "string", Received: "undefined", Path: []any{"name"}, Message: "Required"}}},
		{name: "type", doc: `{"name":1}`, issues: []jsonschema.Issue{{Code: "invalid_type", Expected: "string", Received: "number", Path: []any{"name"}, Message: "Expected string, received number"}}},
		{name: "nested", doc: `{"name":"ab","list":[{"n":1},{}]}`, issues: []jsonschema.Issue{{Code: "invalid_type", Expected: "number", Received: "undefined", Path: []any{"list", 1, "n"}, Message: "Required"}}},
		{name: "enum", doc: `{"name":"ab","kind":"C"}`, issues: []jsonschema.Issue{{Code: "invalid_enum_value", Path: []any{"kind"}, Message: "Invalid enum value. Expected one of [A B]"}}},
		{name: "other", doc: `{"name":"a"}`, issues: []jsonschema.Issue{{Code: "custom", Path: []any{"name"}, Message: "minLength: got 1, want 2"}}},
		{name: "not an object", doc: `[]`, issues: []jsonschema.Issue{{Code: "invalid_type", Expected: "object", Received: "array", Path: []any{}, Message: "Expected object, received array"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := s.Check(json.RawMessage(tc.doc))
			if tc.issues == nil {
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
				return
			}
			var ve *jsonschema.ValidationError
			if !errors.As(err, &ve) {
				t.Fatalf("got error %v, want a ValidationError", err)
			}
			if diff := cmp.Diff(tc.issues, ve.Issues); diff != "" {
				t.Errorf("issues (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := s.Check(json.RawMessage(`{`)); err == nil {
		t.Error("a broken document passed")
	}
}

func TestCompile(t *testing.T) {
	t.Parallel()
	s, err := jsonschema.Compile(json.RawMessage(`{ "type": "object" }`))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"type":"object","$schema":"http://json-schema.org/draft-07/schema#"}`; string(s.JSON()) != want {
		t.Errorf("got %s, want %s", s.JSON(), want)
	}
	for name, schema := range map[string]string{
		"not JSON":       `{`,
		"not a schema":   `{"type":"nonsense"}`,
		"reads files":    `{"$ref":"file:///etc/passwd"}`,
		"fetches":        `{"$ref":"http://127.0.0.1/x.json"}`,
		"unknown anchor": `{"$ref":"#/definitions/nope"}`,
	} {
		if _, err := jsonschema.Compile(json.RawMessage(schema)); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

func TestValidationErrorText(t *testing.T) {
	t.Parallel()
	err := &jsonschema.ValidationError{Issues: []jsonschema.Issue{{Path: []any{"a", 0}, Message: "Required"}, {Message: "odd"}}}
	if want := "a.0: Required; document: odd"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func FuzzCheck(f *testing.F) {
	for _, doc := range []string{`{}`, `{"name":"ab","list":[{"n":1}]}`, `[1]`, `{"list":[[]]}`, `{`} {
		f.Add(doc)
	}
	s, err := jsonschema.Compile(json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"},"list":{"type":"array","items":{"type":"object","properties":{"n":{"type":"number"}},"additionalProperties":false}}},"additionalProperties":false}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := s.Check(json.RawMessage(doc))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a text")
			}
			return
		}
		again, err := s.Check(got)
		if err != nil || string(again) != string(got) {
			t.Errorf("checking the result again: %s, %v", again, err)
		}
	})
}
