package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/flytower/flytower/internal/jsonvalue"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

// What the value of a keyword is, so that merging knows schemas from data.
type mergeContext int

const (
	inSchema  mergeContext = iota
	inSchemas              // an object whose values are schemas
	inData
)

var keywords = map[string]mergeContext{
	"properties": inSchemas, "patternProperties": inSchemas, "definitions": inSchemas, "$defs": inSchemas,
	"dependencies": inSchemas, "dependentSchemas": inSchemas,

	"additionalProperties": inSchema, "additionalItems": inSchema, "items": inSchema, "contains": inSchema,
	"propertyNames": inSchema, "not": inSchema, "if": inSchema, "then": inSchema, "else": inSchema,
	"unevaluatedProperties": inSchema, "unevaluatedItems": inSchema, "contentSchema": inSchema,
}

// merge returns target changed by source, and changes neither.
func merge(target, source map[string]any, in mergeContext) map[string]any {
	out := maps.Clone(target)
	if out == nil || in == inSchema && changesType(target, source) {
		out = map[string]any{}
	}
	for key, value := range source {
		object, isObject := value.(map[string]any)
		switch {
		case in == inSchema && (key == "const" || key == "default"):
			out[key] = value
		case value == nil:
			delete(out, key)
		case isObject:
			next := inData
			switch in {
			case inSchemas:
				next = inSchema
			case inSchema:
				if c, ok := keywords[key]; ok {
					next = c
				}
			}
			there, _ := out[key].(map[string]any)
			out[key] = merge(there, object, next)
		default:
			out[key] = value
		}
	}
	return out
}

// changesType reports whether a schema is of another type, so that the
// keywords of the old type mean nothing any more.
func changesType(target, source map[string]any) bool {
	return target["type"] != nil && source["type"] != nil && !slices.Equal(types(target), types(source))
}

func types(s map[string]any) []string {
	list, ok := s["type"].([]any)
	if !ok {
		list = []any{s["type"]}
	}
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = fmt.Sprint(t)
	}
	slices.Sort(out)
	return out
}

// reduce takes from a schema that extends Entity what concerns the kind.
func reduce(s map[string]any) map[string]any {
	parts, _ := s["allOf"].([]any)
	if len(parts) != 2 {
		return s
	}
	entity, _ := parts[0].(map[string]any)
	own, _ := parts[1].(map[string]any)
	properties, ok := own["properties"].(map[string]any)
	if entity["$ref"] != "Entity" || own["type"] != "object" || !ok {
		return s
	}
	out := maps.Clone(s)
	delete(out, "allOf")
	maps.Copy(out, own)
	properties = maps.Clone(properties)
	delete(properties, "apiVersion")
	delete(properties, "kind")
	out["properties"] = properties
	return out
}

// checkSchema refuses what is no schema.
func checkSchema(s map[string]any) error {
	_, err := schema.Compile("kind", schema.Resource{ID: "kind", Text: jsonvalue.Append(nil, s)})
	if err != nil {
		return &Error{"Invalid JSON schema: " + strings.TrimPrefix(err.Error(), "schema kind: ")}
	}
	return nil
}

// structural are the keywords with which a schema would say more than what
// fields there are. Layers could not be merged with them.
var structural = []string{"allOf", "oneOf", "anyOf", "if", "else", "then", "not", "$ref"}

// reserved are the fields that the kind, the version and the catalog define.
var reserved = []string{"kind", "apiVersion", "metadata", "$ref"}

// checkRoot refuses schemas of kinds that say something about other fields
// than their own, or that cannot be merged.
func checkRoot(s map[string]any) error {
	if t, ok := s["type"]; ok && t != "object" {
		return &Error{`Schema root type must be "object"`}
	}
	for _, keyword := range structural {
		if _, ok := s[keyword]; ok {
			return &Error{"Schema must not use " + quote(keyword) + " keyword in the root"}
		}
	}
	properties, ok := s["properties"].(map[string]any)
	if !ok {
		return &Error{`Schema must have a "properties" field that is an object`}
	}
	for _, field := range reserved {
		if _, ok := properties[field]; ok {
			return &Error{"Schema must not try to declare the reserved root field " + quote(field)}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		field, ok := properties[name].(map[string]any)
		if !ok {
			return &Error{"Schema for root field " + quote(name) + " must be an object"}
		}
		for _, keyword := range structural {
			if _, ok := field[keyword]; ok {
				return &Error{"Schema for root field " + quote(name) + " must not use " + quote(keyword) + " keyword"}
			}
		}
	}
	return nil
}

// checkValueSchema refuses a schema of an annotation or a label that is for
// something else than strings.
func checkValueSchema(what, name string, s Schema) error {
	if s == nil {
		return nil
	}
	if err := checkSchema(s); err != nil {
		return &Error{what + " " + quote(name) + ": " + err.Error()}
	}
	if s["type"] != "string" {
		return &Error{what + " " + quote(name) + ` schema must have "type": "string" at the root, only string values are supported`}
	}
	return nil
}

// fullSchema returns the schema of whole entities of a kind in a version.
func (c *compiler) fullSchema(kind, apiVersion string, own map[string]any) (map[string]any, error) {
	if err := checkSchema(own); err != nil {
		return nil, err
	}
	if err := checkRoot(own); err != nil {
		return nil, err
	}
	metadata := jsonvalue.CloneObject(commonMetadata())
	properties := metadata["properties"].(map[string]any)
	for name, fields := range map[string]*fields{"annotations": &c.annotations, "labels": &c.labels} {
		values := map[string]any{}
		for _, f := range fields.all {
			values[f.name] = map[string]any{"type": "string"}
			if f.schema != nil {
				values[f.name] = map[string]any(f.schema)
			}
		}
		properties[name] = map[string]any{
			"type": "object", "description": properties[name].(map[string]any)["description"],
			"additionalProperties": map[string]any{"type": "string"}, "properties": values,
		}
	}
	required := []any{}
	listed, _ := own["required"].([]any)
	for _, name := range append(slices.Clone(listed), "apiVersion", "kind", "metadata") {
		if !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	full := merge(own, map[string]any{
		"type": "object", "required": required, "additionalProperties": false,
		"properties": map[string]any{"apiVersion": map[string]any{"const": apiVersion}, "kind": map[string]any{"const": kind}, "metadata": metadata},
	}, inSchema)
	return full, checkSchema(full)
}

// commonMetadata is the schema of metadata that all entities have to satisfy.
var commonMetadata = sync.OnceValue(func() map[string]any {
	for _, r := range catalogcommon.BaseSchemas() {
		if r.ID == "EntityMeta" {
			s := MustParseSchema(r.Text)
			delete(s, "$schema")
			delete(s, "$id")
			return s
		}
	}
	panic("there is no schema of metadata")
})
