package model_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// object is a schema in short.
func object(t testing.TB, text string) model.Schema {
	t.Helper()
	s, err := model.ParseSchema([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const robot = `{"type":"object","required":["spec"],"properties":{"spec":{"type":"object","required":["legs"],"properties":{"legs":{"type":"integer","minimum":2},"owner":{"type":"string"}}}}}`

func robots(t testing.TB) model.Layer {
	t.Helper()
	return model.Layer{ID: "robots", Ops: slices.Concat(
		model.AddKind(model.Kind{Group: "acme.example", Kind: "Robot", Singular: "robot", Plural: "robots", Description: "Moves.", Versions: []model.Version{
			{Names: []string{"v1", "v2"}, Schema: object(t, robot), RelationFields: []model.RelationField{{Path: "spec.owner", Relation: "ownedBy"}}},
			{Names: []string{"v1"}, SpecTypes: []string{"toy"}, Description: "Plays.", Schema: object(t, `{"properties":{"spec":{"type":"object","required":["colour"]}}}`)},
		}}),
		model.AddRelationPair(model.RelationPair{
			FromKinds: []string{"Robot"}, ToKinds: []string{"Group", "User"}, Description: "Who has it.",
			Forward: model.Direction{Type: "ownedBy", Title: "owned by"}, Reverse: model.Direction{Type: "ownerOf", Title: "owner of"},
		}),
		[]model.Op{
			model.DeclareAnnotation{Name: "acme.example/serial", Title: "Serial", Description: "Its number.", Schema: object(t, `{"type":"string","pattern":"^[0-9]+$"}`)},
			model.DeclareLabel{Name: "tier", Description: "How good."},
			model.DeclareTag{Name: "blue", Description: "Is blue."},
		},
	)}
}

func layer(id string, ops ...model.Op) model.Layer { return model.Layer{ID: id, Ops: ops} }

func compile(t testing.TB, layers ...model.Layer) *model.Model {
	t.Helper()
	m, err := model.Compile(layers...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func entity(t testing.TB, text string) catalogcommon.Entity {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// verdict is what a model says about an entity.
func verdict(m *model.Model, e catalogcommon.Entity) string {
	kind, err := m.KindOf(e)
	switch {
	case err != nil:
		return err.Error()
	case kind == nil:
		return "unknown"
	}
	if err := kind.Validate(e); err != nil {
		return err.Error()
	}
	return "valid"
}

func robotEntity(t testing.TB, version, metadata, spec string) catalogcommon.Entity {
	t.Helper()
	return entity(t, `{"apiVersion":"acme.example/`+version+`","kind":"Robot","metadata":{"name":"r"`+metadata+`},"spec":`+spec+`}`)
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	m := compile(t, robots(t))
	for _, tc := range []struct{ version, metadata, spec, want string }{
		{"v1", "", `{"legs":2}`, "valid"},
		{"v2", "", `{"legs":2,"more":{"free":1}}`, "valid"},
		{"v1", "", `{"legs":2,"type":"other"}`, "valid"}, // no schema of its own
		{"v1", "", `{"type":"toy","colour":"red"}`, "valid"},
		{"v1", "", `{"type":"toy"}`, "Validation of Robot entity failed: /spec must have required property 'colour' - missingProperty: colour"},
		{"v2", "", `{"type":"toy","legs":4}`, "valid"}, // only v1 has toys
		{"v1", "", `{"legs":1}`, "Validation of Robot entity failed: /spec/legs must be >= 2 - comparison: >=, limit: 2"},
		{"v3", "", `{"legs":2}`, `Kind "Robot" exists, but has no version matching apiVersion "acme.example/v3"`},
		{"v1", `,"annotations":{"acme.example/serial":"12","x":"y"}`, `{"legs":2}`, "valid"},
		{"v1", `,"annotations":{"acme.example/serial":"a"}`, `{"legs":2}`,
			`Validation of Robot entity failed: /metadata/annotations/acme.example~1serial must match pattern "^[0-9]+$" - pattern: ^[0-9]+$`},
		{"v1", `,"labels":{"tier":1,"other":2}`, `{"legs":2}`,
			"Validation of Robot entity failed: /metadata/labels/other must be string - type: string; /metadata/labels/tier must be string - type: string"},
		{"v1", `,"extra":1`, `{"legs":2}`, "valid"},
	} {
		if have := verdict(m, robotEntity(t, tc.version, tc.metadata, tc.spec)); have != tc.want {
			t.Errorf("%s %s %s: %s, want %s", tc.version, tc.metadata, tc.spec, have, tc.want)
		}
	}
	for text, want := range map[string]string{
		`{"apiVersion":"acme.example/v1","kind":"robot","metadata":{"name":"r"},"spec":{"legs":2}}`:            "unknown",
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"r"},"spec":{"legs":2},"status":1}`: "Validation of Robot entity failed: <root> must NOT have additional properties - additionalProperty: status",
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"r"}}`:                              "Validation of Robot entity failed: <root> must have required property 'spec' - missingProperty: spec",
	} {
		if have := verdict(m, entity(t, text)); have != want {
			t.Errorf("%s: %s, want %s", text, have, want)
		}
	}
	only := compile(t, layer("x", slices.Concat(model.AddKind(model.Kind{Group: "acme.example", Kind: "Robot"}),
		model.AddKindVersions("Robot", model.Version{Names: []string{"v1"}, SpecTypes: []string{"toy"}, Schema: object(t, robot)}))...))
	if have, want := verdict(only, robotEntity(t, "v1", "", `{"type":"other"}`)), `Kind "Robot" version "v1" exists, but has no matching spec type`; have != want {
		t.Errorf("%s, want %s", have, want)
	}
}

func TestSummaries(t *testing.T) {
	t.Parallel()
	m := compile(t, robots(t))
	if d := cmp.Diff([]model.KindSummary{{
		Kind: "Robot", Singular: "robot", Plural: "robots", Description: "Moves.",
		Versions: []model.VersionSummary{{"acme.example/v1", ""}, {"acme.example/v1", "toy"}, {"acme.example/v2", ""}},
	}}, m.Kinds()); d != "" {
		t.Errorf("kinds (-want +got):\n%s", d)
	}
	owned, owner := model.Direction{Type: "ownedBy", Title: "owned by"}, model.Direction{Type: "ownerOf", Title: "owner of"}
	if d := cmp.Diff([]model.RelationSummary{
		{FromKinds: []string{"Robot"}, ToKinds: []string{"Group", "User"}, Description: "Who has it.", Forward: owned, Reverse: owner},
		{FromKinds: []string{"Group", "User"}, ToKinds: []string{"Robot"}, Description: "Who has it.", Forward: owner, Reverse: owned},
	}, m.Relations()); d != "" {
		t.Errorf("relations (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]model.KindRelation{{ToKinds: []string{"Robot"}, Description: "Who has it.", Forward: owner, Reverse: owned}}, m.RelationsOf("User")); d != "" {
		t.Errorf("relations of users (-want +got):\n%s", d)
	}
	if d := cmp.Diff(model.Metadata{
		Annotations: []model.FieldSummary{{"acme.example/serial", "Serial", "Its number."}},
		Labels:      []model.FieldSummary{{"tier", "", "How good."}}, Tags: []model.FieldSummary{{"blue", "", "Is blue."}},
	}, m.Metadata()); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	toy := m.Get("Robot", "acme.example/v1", "toy")
	if toy.Description != "Plays." || toy.Plural != "robots" || m.Get("Robot", "acme.example/v1", "").Description != "Moves." || m.Get("Robot", "v1", "") != nil {
		t.Errorf("kind is %+v", toy)
	}
	full := object(t, string(toy.JSONSchema()))
	properties := full["properties"].(map[string]any)
	if d := cmp.Diff(map[string]any{
		"type": "object", "required": []any{"apiVersion", "kind", "metadata"}, "additionalProperties": false,
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": "acme.example/v1"}, "kind": map[string]any{"const": "Robot"},
			"metadata": properties["metadata"], "spec": map[string]any{"type": "object", "required": []any{"colour"}},
		},
	}, map[string]any(full)); d != "" {
		t.Errorf("schema (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]any{"acme.example/serial": map[string]any{"type": "string", "pattern": "^[0-9]+$"}},
		properties["metadata"].(map[string]any)["properties"].(map[string]any)["annotations"].(map[string]any)["properties"]); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
}

func TestUpdatesAndRemovals(t *testing.T) {
	t.Parallel()
	update := func(schema string) model.Op {
		return model.UpdateKindVersion{Kind: "Robot", Name: "v1", Schema: object(t, schema)}
	}
	spec := func(m *model.Model) any {
		return object(t, string(m.Get("Robot", "acme.example/v1", "").JSONSchema()))["properties"].(map[string]any)["spec"]
	}
	wantSpec := func(text string) func(*testing.T, *model.Model) {
		return func(t *testing.T, m *model.Model) {
			t.Helper()
			if d := cmp.Diff(text, string(jsonvalue.Append(nil, spec(m)))); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
		}
	}
	for _, tc := range []struct {
		name  string
		op    model.Op
		check func(t *testing.T, m *model.Model)
	}{
		{"kind", model.UpdateKind{Kind: "Robot", Singular: new("android"), Description: new("Walks.")}, func(t *testing.T, m *model.Model) {
			if k := m.Kinds()[0]; k.Singular != "android" || k.Plural != "robots" || k.Description != "Walks." {
				t.Errorf("%+v", k)
			}
		}},
		{"version", model.UpdateKindVersion{Kind: "Robot", Name: "v1", SpecType: "toy", Description: new("Breaks."), RelationFields: []model.RelationField{{Path: "spec.x"}}},
			func(t *testing.T, m *model.Model) {
				if k := m.Get("Robot", "acme.example/v1", "toy"); k.Description != "Breaks." || k.RelationFields[0].Path != "spec.x" {
					t.Errorf("%+v", k)
				}
			}},
		{"a keyword more", update(`{"properties":{"spec":{"properties":{"legs":{"maximum":8}}}}}`),
			wantSpec(`{"properties":{"legs":{"maximum":8,"minimum":2,"type":"integer"},"owner":{"type":"string"}},"required":["legs"],"type":"object"}`)},
		{"null removes", update(`{"properties":{"spec":{"required":null,"properties":{"owner":null}}}}`),
			wantSpec(`{"properties":{"legs":{"minimum":2,"type":"integer"}},"type":"object"}`)},
		{"another type", update(`{"properties":{"spec":{"properties":{"legs":{"type":"string","default":null,"const":null}}}}}`),
			wantSpec(`{"properties":{"legs":{"const":null,"default":null,"type":"string"},"owner":{"type":"string"}},"required":["legs"],"type":"object"}`)},
		{"the same type in a list", update(`{"properties":{"spec":{"properties":{"legs":{"type":["integer"]}}}}}`),
			wantSpec(`{"properties":{"legs":{"minimum":2,"type":["integer"]},"owner":{"type":"string"}},"required":["legs"],"type":"object"}`)},
		{"data are merged as data", update(`{"properties":{"spec":{"required":["owner"],"x-data":{"type":"a","const":null}}}}`),
			wantSpec(`{"properties":{"legs":{"minimum":2,"type":"integer"},"owner":{"type":"string"}},"required":["owner"],"type":"object","x-data":{"type":"a"}}`)},
		{"a schema that extends Entity", update(`{"allOf":[{"$ref":"Entity"},{"type":"object","properties":{"kind":{},"apiVersion":{},"spec":{"properties":{"name":{"type":"string"}}}}}]}`),
			wantSpec(`{"properties":{"legs":{"minimum":2,"type":"integer"},"name":{"type":"string"},"owner":{"type":"string"}},"required":["legs"],"type":"object"}`)},
		{"pair of a relation", model.UpdateRelation{Type: "ownedBy", FromKind: "Robot", ToKind: "Robot", Title: new("has"), Description: new("All.")}, func(t *testing.T, m *model.Model) {
			r := m.RelationsOf("Robot")[0]
			if !slices.Contains(r.ToKinds, "Robot") || r.Forward.Title != "has" || r.Description != "All." || r.Reverse.Title != "owner of" {
				t.Errorf("%+v", r)
			}
		}},
		{"reverse of a relation", model.UpdateRelation{Type: "ownedBy", FromKind: "Robot", ToKind: "User", ReverseTitle: new("boss of")}, func(t *testing.T, m *model.Model) {
			if r := m.Relations(); r[0].Reverse.Title != "boss of" || r[1].Forward.Title != "boss of" {
				t.Errorf("%+v", r)
			}
		}},
		{"another reverse", model.UpdateRelation{Type: "ownedBy", FromKind: "Robot", ToKind: "User", ReverseType: new("bossOf"), ReverseTitle: new("boss of")}, func(t *testing.T, m *model.Model) {
			if r := m.Relations()[0].Reverse; r != (model.Direction{Type: "bossOf", Title: "boss of"}) {
				t.Errorf("%+v", r)
			}
		}},
		{"annotation", model.UpdateAnnotation{Name: "acme.example/serial", Title: new("No."), Schema: object(t, `{"type":"string"}`)}, func(t *testing.T, m *model.Model) {
			if have := verdict(m, robotEntity(t, "v1", `,"annotations":{"acme.example/serial":"a"}`, `{"legs":2}`)); have != "valid" || m.Metadata().Annotations[0].Title != "No." {
				t.Errorf("%s, %+v", have, m.Metadata())
			}
		}},
		{"label", model.UpdateLabel{Name: "tier", Schema: object(t, `{"type":"string","enum":["1"]}`)}, func(t *testing.T, m *model.Model) {
			if have := verdict(m, robotEntity(t, "v1", `,"labels":{"tier":"2"}`, `{"legs":2}`)); !strings.Contains(have, "must be equal to one of the allowed values") {
				t.Error(have)
			}
		}},
		{"tag", model.UpdateTag{Name: "blue", Title: new("Blue"), Description: new("As the sky.")}, func(t *testing.T, m *model.Model) {
			if d := cmp.Diff([]model.FieldSummary{{"blue", "Blue", "As the sky."}}, m.Metadata().Tags); d != "" {
				t.Error(d)
			}
		}},
		{"no annotation", model.RemoveAnnotation{Name: "acme.example/serial"}, func(t *testing.T, m *model.Model) {
			if have := verdict(m, robotEntity(t, "v1", `,"annotations":{"acme.example/serial":"a"}`, `{"legs":2}`)); have != "valid" || len(m.Metadata().Annotations) > 0 {
				t.Errorf("%s, %+v", have, m.Metadata())
			}
		}},
		{"no label", model.RemoveLabel{Name: "tier"}, func(t *testing.T, m *model.Model) {
			if len(m.Metadata().Labels) > 0 {
				t.Errorf("%+v", m.Metadata())
			}
		}},
		{"no tag", model.RemoveTag{Name: "blue"}, func(t *testing.T, m *model.Model) {
			if len(m.Metadata().Tags) > 0 {
				t.Errorf("%+v", m.Metadata())
			}
		}},
		{"no kind", model.RemoveKind{Kind: "Robot"}, func(t *testing.T, m *model.Model) {
			if have := verdict(m, robotEntity(t, "v1", "", `{"legs":2}`)); have != "unknown" || len(m.Kinds()) > 0 {
				t.Errorf("%s, %+v", have, m.Kinds())
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.check(t, compile(t, layer("change", tc.op), robots(t))) // a layer may come before what it changes
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	version := func(schema string) model.Op {
		return model.DeclareKindVersion{Kind: "Robot", Name: "v9", Schema: object(t, schema)}
	}
	const v9 = `Version "v9" of kind "Robot", default spec type: `
	for _, tc := range []struct {
		op   model.Op
		want string
	}{
		{nil, `Catalog model layer "change": change 0 is nil`},
		{model.DeclareKind{Kind: "Robot"}, `Kind "Robot" is declared more than once`},
		{model.DeclareKindVersion{Kind: "Ghost", Name: "v1", Schema: object(t, robot)}, `Cannot declare version "v1" for unknown kind "Ghost"`},
		{model.DeclareKindVersion{Kind: "Robot", Name: "v1", Schema: object(t, robot)}, `Version "v1" of kind "Robot" already has default spec type declared`},
		{model.DeclareKindVersion{Kind: "Robot", Name: "v1", SpecType: "toy", Schema: object(t, robot)}, `Version "v1" of kind "Robot" already has spec type "toy" declared`},
		{model.DeclareKindVersion{Kind: "Robot", Name: "v1"}, `Version "v1" of kind "Robot" has no schema`},
		{model.DeclareKindVersion{Kind: "Robot", Name: "v9", Schema: model.Schema{"x": make(chan int)}}, `Catalog model layer "change": change 0 has a schema that is no JSON`},
		{model.DeclareAnnotation{Name: "acme.example/serial"}, `Annotation "acme.example/serial" is declared more than once`},
		{model.DeclareLabel{Name: "tier"}, `Label "tier" is declared more than once`},
		{model.DeclareTag{Name: "blue"}, `Tag "blue" is declared more than once`},
		{model.DeclareAnnotation{Name: "a", Schema: object(t, `{"type":"number"}`)}, `Annotation "a" schema must have "type": "string" at the root, only string values are supported`},
		{model.UpdateLabel{Name: "tier", Schema: object(t, `{}`)}, `Label "tier" schema must have "type": "string" at the root, only string values are supported`},
		{model.DeclareLabel{Name: "a", Schema: object(t, `{"type":"strung"}`)}, `Label "a": Invalid JSON schema: `},
		{model.UpdateKind{Kind: "Ghost"}, `Cannot update unknown kind "Ghost"`},
		{model.UpdateKindVersion{Kind: "Ghost", Name: "v1"}, `Cannot update version "v1" for unknown kind "Ghost"`},
		{model.UpdateKindVersion{Kind: "Robot", Name: "v9"}, `Cannot update unknown version "v9" of kind "Robot"`},
		{model.UpdateKindVersion{Kind: "Robot", Name: "v2", SpecType: "toy"}, `Cannot update undeclared spec type "toy" on version "v2" of kind "Robot"`},
		{model.UpdateRelation{Type: "ghostOf"}, `Cannot update undeclared relation "ghostOf"`},
		{model.UpdateAnnotation{Name: "ghost"}, `Cannot update undeclared annotation "ghost"`},
		{model.UpdateLabel{Name: "ghost"}, `Cannot update undeclared label "ghost"`},
		{model.UpdateTag{Name: "ghost"}, `Cannot update undeclared tag "ghost"`},
		{model.RemoveKind{Kind: "Ghost"}, `Cannot remove unknown kind "Ghost"`},
		{model.RemoveAnnotation{Name: "ghost"}, `Cannot remove unknown annotation "ghost"`},
		{model.RemoveLabel{Name: "ghost"}, `Cannot remove unknown label "ghost"`},
		{model.RemoveTag{Name: "ghost"}, `Cannot remove unknown tag "ghost"`},
		{version(`{"type":"strung","properties":{}}`), v9 + "Invalid JSON schema: "},
		{version(`{"type":"array","properties":{}}`), v9 + `Schema root type must be "object"`},
		{version(`{"type":"object"}`), v9 + `Schema must have a "properties" field that is an object`},
		{version(`{"anyOf":[{}],"properties":{}}`), v9 + `Schema must not use "anyOf" keyword in the root`},
		{version(`{"not":{},"properties":{}}`), v9 + `Schema must not use "not" keyword in the root`},
		{version(`{"allOf":[{"$ref":"#"},{"type":"object","properties":{}}],"properties":{}}`), v9 + `Schema must not use "allOf" keyword in the root`},
		{version(`{"properties":{"kind":{}}}`), v9 + `Schema must not try to declare the reserved root field "kind"`},
		{version(`{"properties":{"apiVersion":{}}}`), v9 + `Schema must not try to declare the reserved root field "apiVersion"`},
		{version(`{"properties":{"metadata":{}}}`), v9 + `Schema must not try to declare the reserved root field "metadata"`},
		{version(`{"properties":{"spec":true}}`), v9 + `Schema for root field "spec" must be an object`},
		{version(`{"properties":{"spec":{"oneOf":[{}]}}}`), v9 + `Schema for root field "spec" must not use "oneOf" keyword`},
		{model.UpdateKindVersion{Kind: "Robot", Name: "v1", Schema: object(t, `{"properties":{"spec":{"if":{}}}}`)},
			`Version "v1" of kind "Robot", default spec type: Schema for root field "spec" must not use "if" keyword`},
	} {
		t.Run(tc.want, func(t *testing.T) {
			t.Parallel()
			_, err := model.Compile(robots(t), layer("change", tc.op))
			var typed *model.Error
			if !errors.As(err, &typed) || !strings.HasPrefix(err.Error(), tc.want) || typed.ErrorName() != "InputError" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	plain := compile(t, robots(t)).Fingerprint()
	for _, tc := range []struct {
		op   model.Op
		same bool
	}{
		{model.UpdateKind{Kind: "Robot", Description: new("Walks.")}, true},
		{model.UpdateTag{Name: "blue", Title: new("Blue")}, true},
		{model.UpdateKindVersion{Kind: "Robot", Name: "v1", Schema: object(t, `{"properties":{"x":{}}}`)}, false},
		{model.UpdateKindVersion{Kind: "Robot", Name: "v1", RelationFields: []model.RelationField{}}, false},
		{model.UpdateRelation{Type: "ownedBy", FromKind: "Robot", ToKind: "Robot"}, false},
		{model.RemoveAnnotation{Name: "acme.example/serial"}, false},
	} {
		if same := compile(t, robots(t), layer("change", tc.op)).Fingerprint() == plain; same != tc.same {
			t.Errorf("%T: the fingerprint is the same: %t", tc.op, same)
		}
	}
}

func TestLayersWithOneID(t *testing.T) {
	t.Parallel()
	m := compile(t, robots(t), robots(t))
	if m.Fingerprint() != compile(t, robots(t)).Fingerprint() {
		t.Error("equal layers count twice")
	}
	other := robots(t)
	other.Ops = other.Ops[:1]
	_, err := model.Compile(robots(t), other)
	if err == nil || err.Error() != `Catalog model layer ID "robots" has conflicting definitions` {
		t.Error(err)
	}
}

func TestParseSchema(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"[]": "Invalid JSON schema: must be an object", "{": "Invalid JSON schema: "} {
		if _, err := model.ParseSchema([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
