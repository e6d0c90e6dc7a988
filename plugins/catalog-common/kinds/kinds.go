// Package kinds holds the built-in kinds of the catalog: the eight core kinds
// and the scaffolder's Template. For each it has one JSON Schema document, from
// which validation works and which clients may be served, and the rules by
// which an entity's fields become relations.
//
//	set := kinds.NewSet(append(kinds.Core(), kinds.Template())...)
//	known, err := set.Validate(entity)     // false: somebody else's kind
//	relations, err := set.Relations(entity) // both directions of every link
//
// Kinds and sets are immutable and safe for concurrent use. Schemas compile on
// first use.
package kinds

import (
	"embed"
	"encoding/json"
	"slices"
	"sync"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

//go:embed schemas/*.json
var files embed.FS

// Kind is a kind of entity in the versions that share one schema.
type Kind struct {
	name        string
	apiVersions []string
	text        []byte
	compiled    func() *schema.Schema
	own         func() *schema.Schema // what the schema demands beyond Entity, or nil
	links       []Link
}

// New defines a kind by its JSON Schema, which must restrict apiVersion and
// kind to apiVersions and name, and by the fields that hold references. The document may refer to the documents of
// catalogcommon.BaseSchemas. It panics if the schema does not compile, at the
// first validation.
func New(name string, apiVersions []string, text []byte, links ...Link) *Kind {
	compile := func(root string) *schema.Schema {
		return schema.MustCompile(root, append(catalogcommon.BaseSchemas(), schema.Resource{ID: name, Text: text})...)
	}
	return &Kind{
		name:        name,
		apiVersions: slices.Clone(apiVersions),
		text:        text,
		links:       slices.Clone(links),
		compiled:    sync.OnceValue(func() *schema.Schema { return compile(name) }),
		own: sync.OnceValue(func() *schema.Schema {
			if !extendsEntity(text) {
				return nil
			}
			return compile(name + "#/allOf/1")
		}),
	}
}

// extendsEntity reports whether a schema document is the conjunction of Entity
// and one other schema, and nothing else.
func extendsEntity(text []byte) bool {
	var doc map[string]json.RawMessage
	if json.Unmarshal(text, &doc) != nil {
		return false
	}
	for keyword := range doc {
		switch keyword {
		case "$schema", "$id", "title", "description", "examples", "allOf":
		default:
			return false
		}
	}
	var allOf []map[string]any
	if json.Unmarshal(doc["allOf"], &allOf) != nil {
		return false
	}
	return len(allOf) == 2 && len(allOf[0]) == 1 && allOf[0]["$ref"] == "Entity"
}

// Name returns the kind in its exact case, for example "Component".
func (k *Kind) Name() string { return k.name }

// APIVersions returns the versions that the schema accepts.
func (k *Kind) APIVersions() []string { return slices.Clone(k.apiVersions) }

// JSONSchema returns the schema document. It refers to the documents of
// catalogcommon.BaseSchemas.
func (k *Kind) JSONSchema() []byte { return slices.Clone(k.text) }

// Links returns the fields that hold references.
func (k *Kind) Links() []Link { return slices.Clone(k.links) }

// Validate checks an entity of this kind.
//
// It returns false without error if the entity is of another kind or of a
// version that this kind does not have. The error is the schema.Issue that ajv
// would report first.
func (k *Kind) Validate(e catalogcommon.Entity) (bool, error) {
	if e.Kind() != "" && e.APIVersion() != "" && !k.Is(e) {
		return false, nil // what the schema would say, without asking it
	}
	// The common fields have a cheaper check than the schema.
	if own := k.own(); own != nil && catalogcommon.ValidateEntity(e) == nil && own.Valid(map[string]any(e)) {
		return true, nil
	}
	issues := k.compiled().Validate(map[string]any(e))
	if issues == nil {
		return true, nil
	}
	foreign := false
	for _, issue := range issues {
		if issue.Path != "/kind" && issue.Path != "/apiVersion" {
			continue
		}
		if issue.Keyword != "enum" {
			return false, issues[0]
		}
		foreign = true
	}
	if foreign {
		return false, nil
	}
	return false, issues[0]
}

// Is reports whether the entity states this kind in one of its versions.
func (k *Kind) Is(e catalogcommon.Entity) bool {
	return e.Kind() == k.name && slices.Contains(k.apiVersions, e.APIVersion())
}

// Set is a collection of kinds, asked as one.
type Set struct {
	kinds []*Kind
}

// NewSet returns the set of kinds. The first kind that recognises an entity decides.
func NewSet(kinds ...*Kind) *Set { return &Set{kinds: slices.Clone(kinds)} }

// Kinds returns the members.
func (s *Set) Kinds() []*Kind { return slices.Clone(s.kinds) }

// Validate reports whether a kind of the set recognises the entity as valid.
// See Kind.Validate for false and for the error.
func (s *Set) Validate(e catalogcommon.Entity) (bool, error) {
	for _, k := range s.kinds {
		if ok, err := k.Validate(e); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Relations returns what the fields of the entity mean as relations, according
// to its kind; see Kind.Relations. An entity of a foreign kind has none.
func (s *Set) Relations(e catalogcommon.Entity) ([]catalogcommon.Relation, error) {
	for _, k := range s.kinds {
		if k.Is(e) {
			return k.Relations(e)
		}
	}
	return nil, nil
}

// UnknownKindError reports an entity that no kind recognises.
type UnknownKindError struct {
	Ref catalogcommon.Ref
}

func (e *UnknownKindError) Error() string {
	return "No processor recognized the entity " + e.Ref.String() + " as valid, possibly caused by a foreign kind or apiVersion"
}

// ErrorName returns the name of the error in serialised form.
func (e *UnknownKindError) ErrorName() string { return "InputError" }

// SortReferences sorts the arrays of references in spec, so that their order
// in a file makes no difference to the stored entity. Arrays with anything but
// strings in them stay as they are.
func SortReferences(e catalogcommon.Entity) {
	spec := e.Spec()
	for _, field := range [...]string{"providesApis", "consumesApis", "dependsOn", "dependencyOf", "memberOf", "children", "members"} {
		items, _ := spec[field].([]any)
		if len(items) < 2 || slices.ContainsFunc(items, func(v any) bool { _, ok := v.(string); return !ok }) {
			continue
		}
		sorted := slices.Clone(items)
		slices.SortFunc(sorted, func(a, b any) int { return jsonvalue.CompareKeys(a.(string), b.(string)) })
		spec[field] = sorted
	}
}
