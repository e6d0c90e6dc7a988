package configschema

import (
	"slices"

	"github.com/flytower/flytower/internal/spelling"
)

// applicable lists what a schema asks of a value: the schema itself and the
// alternatives in it that fit the type of the value.
func applicable(schemas []map[string]any, data any) []map[string]any {
	var out []map[string]any
	var visit func(schema map[string]any, depth int)
	visit = func(schema map[string]any, depth int) {
		if depth > maxDepth || !fits(schema, data) {
			return
		}
		out = append(out, schema)
		for _, k := range listKeywords {
			for _, child := range schemasAt(schema, k) {
				visit(child, depth+1)
			}
		}
		for _, k := range []string{"then", "else"} {
			if child := objectAt(schema, k); child != nil {
				visit(child, depth+1)
			}
		}
	}
	for _, s := range schemas {
		visit(s, 0)
	}
	return out
}

// fits reports whether the type of a value is one that the schema allows,
// perhaps after a conversion.
func fits(schema map[string]any, data any) bool {
	types := typesOf(schema["type"])
	if len(types) == 0 || data == nil {
		return true
	}
	for _, t := range types {
		switch data.(type) {
		case map[string]any:
			if t == "object" {
				return true
			}
		case []any:
			if t == "array" {
				return true
			}
		default:
			if t != "object" && t != "array" {
				return true
			}
		}
	}
	return false
}

// member returns the schemas of a member of an object.
func (s *Schema) member(schemas []map[string]any, name string) []map[string]any {
	var out []map[string]any
	for _, schema := range schemas {
		found := false
		if p, ok := objectAt(schema, "properties")[name]; ok {
			found = true
			if m := asSchema(p); m != nil {
				out = append(out, m)
			}
		}
		for pattern, p := range objectAt(schema, "patternProperties") {
			if re := s.patterns[pattern]; re != nil && re.MatchString(name) {
				found = true
				if m := asSchema(p); m != nil {
					out = append(out, m)
				}
			}
		}
		if m := objectAt(schema, "additionalProperties"); m != nil && !found {
			out = append(out, m)
		}
	}
	return out
}

// item returns the schemas of an element of an array.
func item(schemas []map[string]any, i int) []map[string]any {
	var out []map[string]any
	for _, schema := range schemas {
		if m := objectAt(schema, "items"); m != nil {
			out = append(out, m)
		} else if list := schemasAt(schema, "items"); i < len(list) {
			out = append(out, list[i])
		}
	}
	return out
}

// visibilityOf resolves a visibility keyword over several schemas. Where
// alternatives disagree, the more careful one counts.
func visibilityOf(schemas []map[string]any, keyword string) Visibility {
	var found Visibility
	rank := map[Visibility]int{"": 0, Backend: 1, Frontend: 2, Secret: 3}
	for _, schema := range schemas {
		if v, ok := schema[keyword].(string); ok && rank[Visibility(v)] > rank[found] {
			found = Visibility(v)
		}
	}
	return found
}

// leaf is what a walk tells about a value.
type leaf struct {
	path       Path
	data       any
	schemas    []map[string]any
	visibility Visibility
}

// walk visits a value and everything in it, parents first. Null is left out.
func (s *Schema) walk(data any, visit func(leaf)) {
	if s == nil {
		return
	}
	s.descend(data, []map[string]any{s.root}, nil, "", "", visit)
}

// descend walks from one value. Deep is the inherited deep visibility;
// array is the visibility of the array of which the value is an element.
func (s *Schema) descend(data any, schemas []map[string]any, path Path, deep, array Visibility, visit func(leaf)) {
	if data == nil || len(path) > 4*maxDepth {
		return
	}
	schemas = applicable(schemas, data)
	own := visibilityOf(schemas, "visibility")
	if d := visibilityOf(schemas, "deepVisibility"); d != "" {
		deep = d
	}
	visibility := own
	if visibility == "" {
		visibility = deep
	}
	if visibility == "" {
		visibility = array
	}
	if visibility == "" {
		visibility = Backend
	}
	visit(leaf{path: path, data: data, schemas: schemas, visibility: visibility})
	switch data := data.(type) {
	case map[string]any:
		for _, name := range sortedKeys(data) {
			s.descend(data[name], s.member(schemas, name), path.with(name), deep, "", visit)
		}
	case []any:
		for i, x := range data {
			inherited := visibility
			switch x.(type) {
			case map[string]any, []any:
				inherited = ""
			}
			s.descend(x, item(schemas, i), path.with(i), deep, inherited, visit)
		}
	}
}

// Secrets returns the strings at secret keys, in the order of the keys,
// without repetition.
func (s *Schema) Secrets(data any) []string {
	var secrets []string
	s.walk(data, func(l leaf) {
		if text, ok := l.data.(string); ok && l.visibility == Secret && !slices.Contains(secrets, text) {
			secrets = append(secrets, text)
		}
	})
	return secrets
}

// SecretPaths returns the paths of all scalar values at secret keys.
func (s *Schema) SecretPaths(data any) []Path {
	var paths []Path
	s.walk(data, func(l leaf) {
		switch l.data.(type) {
		case map[string]any, []any:
		default:
			if l.visibility == Secret {
				paths = append(paths, l.path)
			}
		}
	})
	return paths
}

// DeprecatedKey is a key that should not be used any more.
type DeprecatedKey struct {
	Path        Path   `json:"-"`
	Key         string `json:"key"`
	Description string `json:"description"` // what to use instead
}

// Deprecated returns the deprecated keys that data uses.
func (s *Schema) Deprecated(data any) []DeprecatedKey {
	var keys []DeprecatedKey
	s.walk(data, func(l leaf) {
		for _, schema := range l.schemas {
			if text, ok := schema["deprecated"].(string); ok {
				keys = append(keys, DeprecatedKey{Path: l.path, Key: l.path.String(), Description: text})
				return
			}
		}
	})
	return keys
}

// Filtered is what remains of a configuration.
type Filtered struct {
	Data         map[string]any  `json:"data"`
	FilteredKeys []string        `json:"filteredKeys,omitempty"` // scalars that were left out
	Deprecated   []DeprecatedKey `json:"deprecatedKeys,omitempty"`
}

// Filter keeps the values that have one of the given visibilities. Objects
// and lists stay if something in them stays or if they are visible
// themselves; elements of lists that are left out make the following ones
// move up.
func (s *Schema) Filter(data map[string]any, keep ...Visibility) Filtered {
	visible := map[string]bool{}
	s.walk(data, func(l leaf) {
		if slices.Contains(keep, l.visibility) {
			visible[l.path.String()] = true
		}
	})
	out := Filtered{Data: map[string]any{}, Deprecated: s.Deprecated(data)}
	f := filter{visible: visible}
	if m, ok := f.value(data, nil); ok {
		out.Data, _ = m.(map[string]any)
	}
	out.FilteredKeys = f.dropped
	return out
}

type filter struct {
	visible map[string]bool
	dropped []string
}

func (f *filter) value(data any, path Path) (any, bool) {
	key := path.String()
	visible := f.visible[key]
	switch data := data.(type) {
	case nil:
		return nil, false
	case map[string]any:
		out := map[string]any{}
		for _, name := range sortedKeys(data) {
			if v, ok := f.value(data[name], path.with(name)); ok {
				out[name] = v
			}
		}
		return out, visible || len(out) > 0
	case []any:
		out := []any{}
		for i, x := range data {
			if v, ok := f.value(x, path.with(i)); ok {
				out = append(out, v)
			}
		}
		return out, visible || len(out) > 0
	default:
		if !visible {
			f.dropped = append(f.dropped, key)
		}
		return data, visible
	}
}

// UnknownKey is a key that no schema declares.
type UnknownKey struct {
	Path Path
	// Section is set for a key at the top: whatever it configures is not
	// installed. Otherwise the section is known, but not this member.
	Section    bool
	Suggestion string // a known key that it probably means; may be empty
}

// Unknown returns the keys of data that no schema declares. Sections that
// declare no members, or that explicitly allow additional ones, know all.
func (s *Schema) Unknown(data map[string]any) []UnknownKey {
	var unknown []UnknownKey
	s.walk(data, func(l leaf) {
		object, ok := l.data.(map[string]any)
		if !ok {
			return
		}
		known, closed := declared(l.schemas)
		if !closed {
			return
		}
		for _, name := range sortedKeys(object) {
			if object[name] == nil || slices.Contains(known, name) || len(s.member(l.schemas, name)) > 0 {
				continue
			}
			unknown = append(unknown, UnknownKey{
				Path: l.path.with(name), Section: len(l.path) == 0, Suggestion: spelling.Nearest(name, known),
			})
		}
	})
	return unknown
}

// declared returns the members that schemas of an object declare, and
// whether there are no others.
func declared(schemas []map[string]any) (names []string, closed bool) {
	for _, schema := range schemas {
		switch extra := schema["additionalProperties"].(type) {
		case bool:
			if extra {
				return nil, false
			}
			closed = true
		case map[string]any:
			return nil, false
		}
		properties := objectAt(schema, "properties")
		if len(properties) > 0 {
			closed = true
		}
		for _, name := range sortedKeys(properties) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, closed
}
