package configschema

import (
	"slices"
	"strings"
)

// Key documents a configuration key.
type Key struct {
	Key         string     `json:"key"` // elements of lists end with [], free names are <name>
	Types       []string   `json:"types,omitempty"`
	Description string     `json:"description,omitempty"`
	Default     any        `json:"default,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Required    bool       `json:"required,omitempty"` // within its parent
	Visibility  Visibility `json:"visibility"`
	Deprecated  string     `json:"deprecated,omitempty"` // what to use instead
	Owners      []string   `json:"owners,omitempty"`     // who publishes it
}

// Document lists all keys that the schema declares, sorted. Keys that only
// sources without an owner mention are left out.
func (s *Schema) Document() []Key {
	if s == nil {
		return nil
	}
	d := documenter{keys: map[string]*Key{}}
	d.members(s.root, "", "", nil, 0)
	keys := make([]Key, 0, len(d.keys))
	for _, k := range d.keys {
		if len(k.Owners) > 0 {
			keys = append(keys, *k)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Key, b.Key) })
	return keys
}

type documenter struct{ keys map[string]*Key }

// members documents what lies below a key.
func (d *documenter) members(schema map[string]any, key string, deep Visibility, owners []string, depth int) {
	if depth > maxDepth {
		return
	}
	required, _ := schema["required"].([]any)
	properties := objectAt(schema, "properties")
	for _, name := range sortedKeys(properties) {
		if child := asSchema(properties[name]); child != nil {
			d.key(child, joinKey(key, name), slices.Contains(required, any(name)), deep, owners, depth+1)
		}
	}
	free := objectAt(schema, "patternProperties")
	for _, pattern := range sortedKeys(free) {
		if child := asSchema(free[pattern]); child != nil {
			d.key(child, joinKey(key, "<name>"), false, deep, owners, depth+1)
		}
	}
	if child := objectAt(schema, "additionalProperties"); len(child) > 0 {
		d.key(child, joinKey(key, "<name>"), false, deep, owners, depth+1)
	}
	if child := objectAt(schema, "items"); child != nil {
		d.element(child, key+"[]", deep, owners, depth+1)
	}
	for _, child := range schemasAt(schema, "items") {
		d.element(child, key+"[]", deep, owners, depth+1)
	}
	for _, k := range listKeywords {
		for _, child := range schemasAt(schema, k) {
			inherited := deep
			if v, ok := child["deepVisibility"].(string); ok {
				inherited = Visibility(v)
			}
			d.members(child, key, inherited, owners, depth+1)
		}
	}
}

// element documents the elements of a list: itself only if there is
// something to say that the list does not.
func (d *documenter) element(schema map[string]any, key string, deep Visibility, owners []string, depth int) {
	if schema["description"] != nil || schema["enum"] != nil || schema["visibility"] != nil {
		d.key(schema, key, false, deep, owners, depth)
		return
	}
	if v, ok := schema["deepVisibility"].(string); ok {
		deep = Visibility(v)
	}
	d.members(schema, key, deep, owners, depth)
}

func (d *documenter) key(schema map[string]any, key string, required bool, deep Visibility, owners []string, depth int) {
	k := d.keys[key]
	if k == nil {
		k = &Key{Key: key, Visibility: Backend}
		d.keys[key] = k
	}
	k.Required = k.Required || required
	d.types(schema, k, depth)
	if text, ok := schema["description"].(string); ok && k.Description == "" {
		k.Description = text
	}
	if v, ok := schema["default"]; ok && k.Default == nil {
		k.Default = v
	}
	if list, ok := schema["enum"].([]any); ok && k.Enum == nil {
		k.Enum = list
	}
	if text, ok := schema["deprecated"].(string); ok {
		k.Deprecated = text
	}
	if list, ok := schema[ownersKeyword].([]any); ok {
		owners = nil
		for _, o := range list {
			if name, ok := o.(string); ok {
				owners = append(owners, name)
			}
		}
	}
	for _, o := range owners {
		if !slices.Contains(k.Owners, o) {
			k.Owners = append(k.Owners, o)
		}
	}
	if v, ok := schema["deepVisibility"].(string); ok {
		deep = Visibility(v)
	}
	switch own := visibilityOf([]map[string]any{schema}, "visibility"); {
	case own != "":
		k.Visibility = own
	case deep != "":
		k.Visibility = deep
	}
	for _, list := range listKeywords {
		if v := visibilityOf(schemasAt(schema, list), "visibility"); v != "" && k.Visibility == Backend {
			k.Visibility = v
		}
	}
	d.members(schema, key, deep, owners, depth)
}

// types adds the types of a schema and of its alternatives.
func (d *documenter) types(schema map[string]any, k *Key, depth int) {
	for _, t := range typesOf(schema["type"]) {
		if !slices.Contains(k.Types, t) {
			k.Types = append(k.Types, t)
		}
	}
	if depth > maxDepth {
		return
	}
	for _, list := range listKeywords {
		for _, child := range schemasAt(schema, list) {
			d.types(child, k, depth+1)
		}
	}
}

func joinKey(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
