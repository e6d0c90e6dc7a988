// Package model compiles what the catalog knows of entities from layers.
//
// A layer is a list of changes: it declares kinds, their versions and schemas,
// relations, annotations, labels and tags, and changes or removes those of
// other layers. The order of the layers makes no difference, except between
// changes of the same thing.
//
//	layer := model.Layer{ID: "acme.example/robots", Ops: slices.Concat(
//		model.AddKind(model.Kind{
//			Group: "acme.example", Kind: "Robot", Singular: "robot", Plural: "robots", Description: "A machine that moves.",
//			Versions: []model.Version{{
//				Names: []string{"v1"}, Schema: model.MustParseSchema(robotSchema),
//				RelationFields: []model.RelationField{{Path: "spec.owner", Relation: "ownedBy", DefaultKind: "Group"}},
//			}},
//		}),
//		model.UpdateRelationPair(model.RelationPairUpdate{FromKinds: []string{"Robot"}, ToKinds: []string{"Group"}, Forward: "ownedBy", Reverse: new("ownerOf")}),
//	)}
//	m, err := model.Compile(model.Default(), layer)
//	kind, err := m.KindOf(entity)
//	err = kind.Validate(entity)
package model

import (
	"strings"
	"sync"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

// Model is what layers compile to. It is immutable and safe for concurrent
// use.
type Model struct {
	kinds       map[string]*kindState
	order       []string // names of kinds, as declared
	compiled    map[kindKey]*CompiledKind
	relations   []RelationSummary
	pairs       map[string][]KindRelation
	metadata    Metadata
	fingerprint string
}

type kindKey struct{ kind, apiVersion, specType string }

// CompiledKind is a kind in a version and, perhaps, for a spec.type.
type CompiledKind struct {
	Kind, Singular, Plural, Description string
	APIVersion                          string
	RelationFields                      []RelationField

	schemaText []byte
	compiled   func() *schema.Schema
}

// JSONSchema returns the schema of whole entities, which refers to nothing
// else.
func (k *CompiledKind) JSONSchema() []byte { return append([]byte(nil), k.schemaText...) }

// Validate checks an entity of the kind. The error is a [*ValidationError].
func (k *CompiledKind) Validate(e catalogcommon.Entity) error {
	issues := k.compiled().Validate(map[string]any(e))
	if issues == nil {
		return nil
	}
	return &ValidationError{Kind: e.Kind(), Issues: issues}
}

func newCompiledKind(k CompiledKind, text []byte) *CompiledKind {
	k.schemaText = text
	k.compiled = sync.OnceValue(func() *schema.Schema {
		return schema.MustCompile("kind", schema.Resource{ID: "kind", Text: text}) // it compiled before
	})
	return &k
}

// KindOf returns what the model knows of the kind of an entity: nil if that is
// nothing. It is a [*VersionError] if the kind is known, and not in the
// version or for the spec.type of the entity.
func (m *Model) KindOf(e catalogcommon.Entity) (*CompiledKind, error) {
	state, ok := m.kinds[e.Kind()]
	if !ok {
		return nil, nil
	}
	version := state.byAPIVersion(e.APIVersion())
	if version == nil {
		return nil, &VersionError{Message: "Kind " + quote(e.Kind()) + " exists, but has no version matching apiVersion " + quote(e.APIVersion())}
	}
	for _, specType := range []string{e.Type(), ""} {
		if k := m.compiled[kindKey{e.Kind(), e.APIVersion(), specType}]; k != nil {
			return k, nil
		}
	}
	return nil, &VersionError{Message: "Kind " + quote(e.Kind()) + " version " + quote(version.name) + " exists, but has no matching spec type"}
}

// KindSummary describes a kind in all its versions.
type KindSummary struct {
	Kind, Singular, Plural, Description string
	Versions                            []VersionSummary
}

// VersionSummary is a version of a kind. SpecType is empty for the schema that
// holds unless there is one for the spec.type.
type VersionSummary struct{ APIVersion, SpecType string }

// Kinds returns all kinds in the order of their declarations.
func (m *Model) Kinds() []KindSummary {
	out := make([]KindSummary, 0, len(m.order))
	for _, name := range m.order {
		k := m.kinds[name]
		s := KindSummary{Kind: name, Singular: k.singular, Plural: k.plural, Description: k.description}
		for _, v := range k.versions {
			for _, t := range v.types {
				s.Versions = append(s.Versions, VersionSummary{v.apiVersion, t.specType})
			}
		}
		out = append(out, s)
	}
	return out
}

// Get returns a kind in a version, for a spec.type or, with "", for those that
// have no schema of their own; nil if there is none.
func (m *Model) Get(kind, apiVersion, specType string) *CompiledKind {
	return m.compiled[kindKey{kind, apiVersion, specType}]
}

// RelationSummary describes a relation type with all pairs of kinds.
type RelationSummary struct {
	FromKinds, ToKinds []string
	Description        string
	Forward, Reverse   Direction
}

// Direction is one end of a relation.
type Direction struct{ Type, Title string }

// Relations returns all relation types in the order of their declarations.
func (m *Model) Relations() []RelationSummary { return m.relations }

// KindRelation is what a relation type means from one kind.
type KindRelation struct {
	ToKinds     []string
	Description string
	Forward     Direction
	Reverse     Direction
}

// RelationsOf returns the relation types that lead from a kind.
func (m *Model) RelationsOf(kind string) []KindRelation { return m.pairs[kind] }

// Metadata is what the model knows of metadata fields.
type Metadata struct{ Annotations, Labels, Tags []FieldSummary }

// FieldSummary describes an annotation, a label or a tag.
type FieldSummary struct{ Name, Title, Description string }

// Metadata returns the declared annotations, labels and tags in the order of
// their declarations.
func (m *Model) Metadata() Metadata { return m.metadata }

// Fingerprint changes whenever the model takes another entity for valid, or
// makes other relations of one.
func (m *Model) Fingerprint() string { return m.fingerprint }

// Error reports layers that do not compile.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

// ErrorName returns the name of the error in serialised form.
func (*Error) ErrorName() string { return "InputError" }

// VersionError reports an entity of a known kind in an unknown version.
type VersionError struct{ Message string }

func (e *VersionError) Error() string { return e.Message }

// ErrorName returns the name of the error in serialised form.
func (*VersionError) ErrorName() string { return "TypeError" }

// ValidationError reports an entity that its schema does not allow.
type ValidationError struct {
	Kind   string
	Issues []schema.Issue
}

func (e *ValidationError) Error() string {
	issues := make([]string, len(e.Issues))
	for i, issue := range e.Issues {
		issues[i] = issue.Error()
	}
	return "Validation of " + e.Kind + " entity failed: " + strings.Join(issues, "; ")
}

// ErrorName returns the name of the error in serialised form.
func (*ValidationError) ErrorName() string { return "TypeError" }

func quote(s string) string { return `"` + s + `"` }

// Schema is a JSON Schema (draft-07) as a JSON object.
type Schema map[string]any

// ParseSchema reads a schema.
func ParseSchema(text []byte) (Schema, error) {
	v, err := jsonvalue.Parse(text)
	if err != nil {
		return nil, &Error{"Invalid JSON schema: " + err.Error()}
	}
	s, ok := v.(map[string]any)
	if !ok {
		return nil, &Error{"Invalid JSON schema: must be an object"}
	}
	return s, nil
}

// MustParseSchema is ParseSchema for schemas that are part of the program: it
// panics on error.
func MustParseSchema(text []byte) Schema {
	s, err := ParseSchema(text)
	if err != nil {
		panic(err)
	}
	return s
}
