package kinds_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

func all() *kinds.Set { return kinds.NewSet(append(kinds.Core(), kinds.Template())...) }

func entity(t testing.TB, kind, spec string) catalogcommon.Entity {
	t.Helper()
	version := catalogcommon.APIVersionV1alpha1
	if kind == "Template" {
		version = catalogcommon.APIVersionTemplate
	}
	text := `{"apiVersion":"` + version + `","kind":"` + kind + `","metadata":{"name":"Self","namespace":"own"},"spec":` + spec + `}`
	e, err := catalogcommon.ParseEntity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ kind, spec, want string }{
		{"Component", `{"type":"t","lifecycle":"l","owner":"o","free":{"x":1}}`, ""},
		{"Component", `{"type":"t","lifecycle":"l","owner":"o","system":"s","subcomponentOf":"c","providesApis":[],"consumesApis":["a"],"dependsOn":["k:x"],"dependencyOf":5}`, ""},
		{"Component", `{"lifecycle":"l","owner":"o"}`, "/spec must have required property 'type' - missingProperty: type"},
		{"Component", `{"owner":1}`, "/spec must have required property 'type' - missingProperty: type"},
		{"Component", `{"type":"t","lifecycle":"l","owner":""}`, "/spec/owner must NOT have fewer than 1 characters - limit: 1"},
		{"Component", `{"type":"t","lifecycle":"l","owner":"o","system":null}`, "/spec/system must be string - type: string"},
		{"Component", `{"type":"t","lifecycle":"l","owner":"o","providesApis":"a"}`, "/spec/providesApis must be array - type: array"},
		{"Component", `{"type":"t","lifecycle":"l","owner":"o","dependsOn":["k:x",""]}`, "/spec/dependsOn/1 must NOT have fewer than 1 characters - limit: 1"},
		{"Component", `[]`, "/spec must be object - type: object"},
		{"API", `{"type":"t","lifecycle":"l","owner":"o","definition":"d"}`, ""},
		{"API", `{"type":"t","lifecycle":"l","owner":"o","definition":{"$text":"./x"}}`, "/spec/definition must be string - type: string"},
		{"Resource", `{"type":"t","owner":"o","dependsOn":["k:x"],"system":"s"}`, ""},
		{"Resource", `{"type":"t"}`, "/spec must have required property 'owner' - missingProperty: owner"},
		{"System", `{"owner":"o","domain":"d","type":"t"}`, ""},
		{"System", `{"domain":"d"}`, "/spec must have required property 'owner' - missingProperty: owner"},
		{"Domain", `{"owner":"o","subdomainOf":"d","type":"t"}`, ""},
		{"Domain", `{"owner":"o","type":""}`, "/spec/type must NOT have fewer than 1 characters - limit: 1"},
		{"Group", `{"type":"t","children":[],"parent":"p","members":["m"],"profile":{"displayName":"d","email":"e","picture":"p","more":1}}`, ""},
		{"Group", `{"type":"t"}`, "/spec must have required property 'children' - missingProperty: children"},
		{"Group", `{"type":"t","children":[],"profile":{"email":""}}`, "/spec/profile/email must NOT have fewer than 1 characters - limit: 1"},
		{"User", `{"memberOf":[]}`, ""},
		{"User", `{"profile":{}}`, "/spec must have required property 'memberOf' - missingProperty: memberOf"},
		{"Location", `{}`, ""},
		{"Location", `{"type":"url","target":"t","targets":["a"],"presence":"optional"}`, ""},
		{"Location", `{"presence":"perhaps"}`, "/spec/presence must be equal to one of the allowed values - allowedValues: required,optional"},
		{"Template", `{"type":"t","steps":[]}`, ""},
		{
			"Template", `{"type":"t","owner":"o","lifecycle":"l","steps":[{"action":"a","id":"i","name":"n","input":{},"if":"${{ x }}","each":[1],"backstage:permissions":{"tags":["p"]}},{"action":"b","if":false}],
			"parameters":[{"title":"x"}],"secrets":{"schema":{}},"presentation":{"buttonLabels":{"backButtonText":""}},"output":{"links":[{"url":"u","if":true}],"text":[{"content":""}],"free":"s"},
			"formDecorators":[{"id":"d","input":{}}],"EXPERIMENTAL_recovery":{"EXPERIMENTAL_strategy":"startOver"}}`, "",
		},
		{"Template", `{"type":"t"}`, "/spec must have required property 'steps' - missingProperty: steps"},
		{"Template", `{"type":"t","steps":[{"id":"x"}]}`, "/spec/steps/0 must have required property 'action' - missingProperty: action"},
		{"Template", `{"type":"t","steps":[{"action":"a","if":1}]}`, "/spec/steps/0/if must be string,boolean - type: string,boolean"},
		{"Template", `{"type":"t","steps":[],"parameters":"x"}`, "/spec/parameters must be object - type: object"},
		{"Template", `{"type":"t","steps":[],"output":{"free":1}}`, "/spec/output/free must be string - type: string"},
	} {
		known, err := all().Validate(entity(t, tc.kind, tc.spec))
		switch {
		case tc.want == "" && (err != nil || !known):
			t.Errorf("%s %s: %t, %v, want valid", tc.kind, tc.spec, known, err)
		case tc.want != "" && (err == nil || err.Error() != tc.want):
			t.Errorf("%s %s:\n got  %v\n want %s", tc.kind, tc.spec, err, tc.want)
		}
	}
}

func TestForeignKindsAreNotErrors(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(catalogcommon.Entity){
		"kind":             func(e catalogcommon.Entity) { e["kind"] = "Plugin" },
		"case of the kind": func(e catalogcommon.Entity) { e["kind"] = "component" },
		"version":          func(e catalogcommon.Entity) { e["apiVersion"] = "backstage.io/v2" },
		"template's version": func(e catalogcommon.Entity) {
			e["kind"] = "Template"
			e["apiVersion"] = "scaffolder.backstage.io/v1beta2"
		},
		"core kind elsewhere": func(e catalogcommon.Entity) { e["apiVersion"] = "example.com/v1" },
	} {
		e := entity(t, "Component", `{}`)
		change(e)
		if known, err := all().Validate(e); known || err != nil {
			t.Errorf("%s: %t, %v, want false without error", name, known, err)
		}
		if relations, err := all().Relations(e); len(relations) != 0 || err != nil {
			t.Errorf("%s: relations %v, %v, want none", name, relations, err)
		}
	}
	e := entity(t, "Component", `{}`)
	e["apiVersion"] = catalogcommon.APIVersionV1beta1
	if known, err := all().Validate(e); known || err == nil {
		t.Errorf("v1beta1: %t, %v, want an error of the Component schema", known, err)
	}
	delete(e, "kind")
	if _, err := all().Validate(e); err == nil {
		t.Error("an entity without kind is nobody's, not an error")
	}
}

func TestRelations(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind, spec string
		want       []string // relations from the entity
	}{
		{
			"Component", `{"owner":"Team","subcomponentOf":"c","providesApis":["a","other/b"],"consumesApis":["x"],"dependsOn":["resource:db","component:n/c"],"dependencyOf":["component:d"],"system":"s"}`,
			[]string{
				"ownedBy Group:own/Team", "partOf Component:own/c", "providesApi API:own/a", "providesApi API:other/b", "consumesApi API:own/x",
				"dependsOn resource:own/db", "dependsOn component:n/c", "dependencyOf component:own/d", "partOf System:own/s",
			},
		},
		{"API", `{"owner":"user:default/jane","system":"s"}`, []string{"ownedBy user:default/jane", "partOf System:own/s"}},
		{"Resource", `{"owner":"o","dependsOn":["k:a"],"dependencyOf":["k:b"],"system":"s"}`, []string{"ownedBy Group:own/o", "dependsOn k:own/a", "dependencyOf k:own/b", "partOf System:own/s"}},
		{"System", `{"owner":"o","domain":"d"}`, []string{"ownedBy Group:own/o", "partOf Domain:own/d"}},
		{"Domain", `{"owner":"o","subdomainOf":"d"}`, []string{"ownedBy Group:own/o", "partOf Domain:own/d"}},
		{"Group", `{"parent":"p","children":["c"],"members":["m","User:x/n"]}`, []string{"childOf Group:own/p", "parentOf Group:own/c", "hasMember User:own/m", "hasMember User:x/n"}},
		{"User", `{"memberOf":["g"]}`, []string{"memberOf Group:own/g"}},
		{"Location", `{"target":"t"}`, nil},
		{"Template", `{"owner":"o"}`, []string{"ownedBy Group:own/o"}},
		{"Template", `{}`, nil},
	} {
		relations, err := all().Relations(entity(t, tc.kind, tc.spec))
		if err != nil {
			t.Errorf("%s: %v", tc.kind, err)
			continue
		}
		var forward []string
		self := catalogcommon.Ref{Kind: tc.kind, Namespace: "own", Name: "Self"}
		for i := 0; i+1 < len(relations); i += 2 {
			to, back := relations[i], relations[i+1]
			forward = append(forward, to.Type+" "+to.Target.Kind+":"+to.Target.Namespace+"/"+to.Target.Name)
			want := catalogcommon.Relation{Source: to.Target, Type: catalogcommon.ReverseRelation(to.Type), Target: self}
			if to.Source != self || back != want {
				t.Errorf("%s: %+v is followed by %+v", tc.kind, to, back)
			}
		}
		if diff := cmp.Diff(tc.want, forward); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.kind, diff)
		}
	}
}

func TestRelationErrorsNameTheField(t *testing.T) {
	t.Parallel()
	_, err := all().Relations(entity(t, "Component", `{"owner":"o","dependsOn":["no-kind"]}`))
	var typed *kinds.RelationError
	if !errors.As(err, &typed) || typed.Field != "spec.dependsOn" || typed.ErrorName() != "Error" {
		t.Fatalf("error = %v", err)
	}
	var ref *catalogcommon.RefError
	if !errors.As(err, &ref) || ref.Reason != catalogcommon.RefWithoutKind {
		t.Errorf("error = %v does not tell why", err)
	}
	for _, spec := range []string{`{"dependencyOf":5}`, `{"dependencyOf":[5]}`, `{"owner":":"}`} {
		if _, err := all().Relations(entity(t, "Component", spec)); err == nil {
			t.Errorf("%s passed", spec)
		}
	}
}

func TestSortReferences(t *testing.T) {
	t.Parallel()
	e := entity(t, "Component", `{"providesApis":["b","a"],"dependsOn":["x",1,"a"],"members":["m"],"other":["z","y"]}`)
	shared := e.Spec()["providesApis"].([]any)
	kinds.SortReferences(e)
	want := map[string]any{"providesApis": []any{"a", "b"}, "dependsOn": []any{"x", 1.0, "a"}, "members": []any{"m"}, "other": []any{"z", "y"}}
	if diff := cmp.Diff(want, e.Spec()); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if shared[0] != "b" {
		t.Error("an array that others may share was sorted in place")
	}
}

func TestSchemasAreServable(t *testing.T) {
	t.Parallel()
	var names []string
	for _, k := range all().Kinds() {
		names = append(names, k.Name())
		var doc struct {
			ID    string `json:"$id"`
			AllOf []struct {
				Ref        string `json:"$ref"`
				Properties struct {
					APIVersion struct{ Enum []string }
					Kind       struct{ Enum []string }
				}
			}
		}
		if err := json.Unmarshal(k.JSONSchema(), &doc); err != nil {
			t.Fatalf("%s: %v", k.Name(), err)
		}
		if doc.ID != k.Name() || doc.AllOf[0].Ref != "Entity" {
			t.Errorf("%s: $id %s, base %s", k.Name(), doc.ID, doc.AllOf[0].Ref)
		}
		if got := doc.AllOf[1].Properties.Kind.Enum; !slices.Equal(got, []string{k.Name()}) {
			t.Errorf("%s: schema is for kind %v", k.Name(), got)
		}
		if got := doc.AllOf[1].Properties.APIVersion.Enum; !slices.Equal(got, k.APIVersions()) {
			t.Errorf("%s: schema is for versions %v, the kind for %v", k.Name(), got, k.APIVersions())
		}
	}
	slices.Sort(names)
	want := []string{"API", "Component", "Domain", "Group", "Location", "Resource", "System", "Template", "User"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func TestOwnKind(t *testing.T) {
	t.Parallel()
	robot := kinds.New("Robot", []string{"example.com/v1"}, []byte(`{"allOf":[{"$ref":"Entity"},{"required":["spec"],
		"properties":{"apiVersion":{"enum":["example.com/v1"]},"kind":{"enum":["Robot"]},"spec":{"required":["arms"]}}}]}`),
		kinds.Link{Field: "factory", Relation: "builtBy", Reverse: "built", DefaultKind: "Factory"}, kinds.Link{Field: "knows", Relation: "knows"})
	set := kinds.NewSet(append(kinds.Core(), robot)...)
	e := entity(t, "Robot", `{"arms":2}`)
	e["apiVersion"] = "example.com/v1"
	if known, err := set.Validate(e); !known || err != nil {
		t.Errorf("Validate = %t, %v", known, err)
	}
	e.SetSpec("factory", "f")
	e.SetSpec("knows", []any{"robot:x"})
	relations, err := set.Relations(e)
	self := e.Ref()
	want := []catalogcommon.Relation{
		{Source: self, Type: "builtBy", Target: catalogcommon.Ref{Kind: "Factory", Namespace: "own", Name: "f"}},
		{Source: catalogcommon.Ref{Kind: "Factory", Namespace: "own", Name: "f"}, Type: "built", Target: self},
		{Source: self, Type: "knows", Target: catalogcommon.Ref{Kind: "robot", Namespace: "own", Name: "x"}},
	}
	if diff := cmp.Diff(want, relations); err != nil || diff != "" {
		t.Errorf("relations, %v (-want +got):\n%s", err, diff)
	}
	delete(e.Spec(), "arms")
	if _, err := set.Validate(e); err == nil || err.Error() != "/spec must have required property 'arms' - missingProperty: arms" {
		t.Errorf("error = %v", err)
	}
	unknown := &kinds.UnknownKindError{Ref: e.Ref()}
	if got, want := unknown.Error(), "No processor recognized the entity robot:own/self as valid, possibly caused by a foreign kind or apiVersion"; got != want {
		t.Errorf("message = %s", got)
	}
}
