package catalogcommon

import (
	"embed"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

//go:embed schemas/*.json
var schemaFiles embed.FS

// BaseSchemas returns the JSON Schema documents that all kinds share:
// EntityEnvelope, Entity, EntityMeta and common.
func BaseSchemas() []schema.Resource {
	ids := []string{"EntityEnvelope", "Entity", "EntityMeta", "common"}
	out := make([]schema.Resource, len(ids))
	for i, id := range ids {
		text, err := schemaFiles.ReadFile("schemas/" + id + ".json")
		if err != nil {
			panic(err) // the file is part of the program
		}
		out[i] = schema.Resource{ID: id, Text: text}
	}
	return out
}

var (
	envelopeSchema = sync.OnceValue(func() *schema.Schema { return schema.MustCompile("EntityEnvelope", BaseSchemas()...) })
	entitySchema   = sync.OnceValue(func() *schema.Schema { return schema.MustCompile("Entity", BaseSchemas()...) })
)

// ValidateEnvelope checks the least that anything must have to enter the
// catalog: apiVersion, kind and metadata.name, and a namespace that is not
// empty if it is there. The error is a schema.Issue.
func ValidateEnvelope(e Entity) error {
	if wellFormed(e) {
		return nil
	}
	return firstIssue(envelopeSchema(), e)
}

// ValidateEntity checks an entity against the Entity schema, which knows
// everything but the fields of its kind. The error is a schema.Issue.
func ValidateEntity(e Entity) error {
	if wellFormed(e) {
		return nil
	}
	return firstIssue(entitySchema(), e)
}

func firstIssue(s *schema.Schema, e Entity) error {
	if issues := s.Validate(map[string]any(e)); issues != nil {
		return issues[0]
	}
	return nil
}

// Policy is a rule that entities of every kind must obey. It may complete the
// entity in place, so the caller must own it.
type Policy func(Entity) error

// AllOf applies policies in order until one fails.
func AllOf(policies ...Policy) Policy {
	return func(e Entity) error {
		for _, policy := range policies {
			if err := policy(e); err != nil {
				return err
			}
		}
		return nil
	}
}

// DefaultPolicy is the policy stage of the catalog: SchemaPolicy,
// DefaultNamespacePolicy, RootFieldsPolicy and FieldFormatPolicy, in this order.
// Formats that custom leaves unset are the default ones.
func DefaultPolicy(custom Validators) Policy {
	return AllOf(SchemaPolicy, DefaultNamespacePolicy, RootFieldsPolicy, FieldFormatPolicy(custom))
}

// SchemaPolicy demands a valid entity in the sense of ValidateEntity.
func SchemaPolicy(e Entity) error {
	if wellFormed(e) {
		return nil
	}
	if issues := entitySchema().Validate(map[string]any(e)); issues != nil {
		return &PolicyError{Message: "Malformed envelope, " + issues[0].Location() + " " + issues[0].Message}
	}
	return nil
}

// DefaultNamespacePolicy sets metadata.namespace where it is missing or empty.
func DefaultNamespacePolicy(e Entity) error {
	if metadata := e.Metadata(); metadata != nil && stringAt(metadata, "namespace") == "" {
		metadata["namespace"] = DefaultNamespace
	}
	return nil
}

// RootFieldsPolicy demands that the root has no other fields than apiVersion,
// kind, metadata and spec. Relations and status are the catalog's to add.
func RootFieldsPolicy(e Entity) error {
	unknown := ""
	for field := range e {
		switch field {
		case "apiVersion", "kind", "metadata", "spec":
		default:
			if unknown == "" || field < unknown {
				unknown = field
			}
		}
	}
	if unknown != "" {
		return &PolicyError{Field: unknown, Message: "Unknown field " + unknown}
	}
	return nil
}

// FieldFormatPolicy demands the formats of the well-known fields. Formats that
// custom leaves unset are the default ones.
func FieldFormatPolicy(custom Validators) Policy {
	v := DefaultValidators().With(custom)
	return v.check
}

func (v *Validators) check(e Entity) error {
	metadata := e.Metadata()
	if err := require(field("apiVersion"), e["apiVersion"], &v.APIVersion); err != nil {
		return err
	}
	if err := require(field("kind"), e["kind"], &v.Kind); err != nil {
		return err
	}
	if err := require(field("metadata.name"), metadata["name"], &v.EntityName); err != nil {
		return err
	}
	if namespace := metadata["namespace"]; namespace != nil {
		if err := require(field("metadata.namespace"), namespace, &v.Namespace); err != nil {
			return err
		}
	}
	if err := requireMap("labels.", objectAt(metadata, "labels"), &v.LabelKey, &v.LabelValue); err != nil {
		return err
	}
	if err := requireMap("annotations.", objectAt(metadata, "annotations"), &v.AnnotationKey, &v.AnnotationValue); err != nil {
		return err
	}
	tags, _ := metadata["tags"].([]any)
	for i, tag := range tags {
		if err := require(func() string { return "tags." + strconv.Itoa(i) }, tag, &v.Tag); err != nil {
			return err
		}
	}
	links, _ := metadata["links"].([]any)
	for i, link := range links {
		link, _ := link.(map[string]any)
		name := func(part string) func() string {
			return func() string { return "links." + strconv.Itoa(i) + "." + part }
		}
		if err := require(name("url"), link["url"], &formatURL); err != nil {
			return err
		}
		for _, part := range [...]string{"title", "icon"} {
			if value := link[part]; value != nil {
				if err := require(name(part), value, &formatText); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var (
	formatURL  = FieldFormat{IsURL, expectsURL}
	formatText = FieldFormat{func(s string) bool { return strings.TrimFunc(s, isSpace) != "" }, expectsText}
)

func field(name string) func() string { return func() string { return name } }

func requireMap(prefix string, m map[string]any, key, value *FieldFormat) error {
	bad := false
	for k, v := range m {
		s, ok := v.(string)
		if !ok || !key.Valid(k) || !value.Valid(s) {
			bad = true
			break
		}
	}
	if !bad {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(m)) { // name the same one each time
		name := field(prefix + k)
		if err := require(name, k, key); err != nil {
			return err
		}
		if err := require(name, m[k], value); err != nil {
			return err
		}
	}
	return nil
}

const formatHelp = " To learn more about catalog file format, visit: https://github.com/backstage/backstage/blob/master/docs/architecture-decisions/adr002-default-catalog-file-format.md"

// require takes the field name as a function so that the good case builds no strings.
func require(name func() string, value any, format *FieldFormat) error {
	if value == nil {
		return &PolicyError{Field: name(), Message: name() + " must have a value"}
	}
	s, ok := value.(string)
	if ok && format.Valid(s) {
		return nil
	}
	if !ok {
		s = string(jsonvalue.Append(nil, value))
	}
	message := `"` + name() + `" is not valid;`
	if format.Expects != "" {
		message += ` expected ` + format.Expects + ` but found "` + s + `".`
	}
	return &PolicyError{Field: name(), Message: message + formatHelp}
}

// PolicyError reports an entity that breaks a rule for entities of every kind.
type PolicyError struct {
	// Field is the offending field, for example "metadata.name" or "tags.2";
	// empty if the message names a place in the schema instead.
	Field   string
	Message string
}

func (e *PolicyError) Error() string { return e.Message }

// ErrorName returns the name of the error in serialised form.
func (e *PolicyError) ErrorName() string { return "Error" }
