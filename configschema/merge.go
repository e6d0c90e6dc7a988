package configschema

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// maxDepth bounds the nesting of schemas and how deep references are
// followed.
const maxDepth = 64

// normalizer prepares the schema of one source: local references are
// replaced by what they refer to, allOf is merged into its parent, and each
// property learns its owner.
type normalizer struct {
	doc   map[string]any
	owner string
	open  []string // references being followed
}

func (n *normalizer) schema(schema map[string]any, depth int) map[string]any {
	if depth > maxDepth {
		return map[string]any{}
	}
	if ref, ok := schema["$ref"].(string); ok && strings.HasPrefix(ref, "#") {
		if slices.Contains(n.open, ref) {
			return map[string]any{} // a recursive schema is followed once
		}
		n.open = append(n.open, ref)
		target := n.schema(n.lookup(ref), depth+1)
		n.open = n.open[:len(n.open)-1]
		rest := map[string]any{}
		for k, v := range schema {
			if k != "$ref" {
				rest[k] = v
			}
		}
		m := merger{owner: n.owner}
		return m.merge(n.schema(rest, depth+1), target, nil)
	}
	out := make(map[string]any, len(schema))
	for k, v := range schema {
		switch {
		case k == "definitions" || k == "$defs" || k == "$schema" || k == "$id":
		case slices.Contains(mapKeywords, k):
			children := map[string]any{}
			m, _ := v.(map[string]any)
			for name, child := range m {
				c := n.value(child, depth)
				if object, ok := c.(map[string]any); ok && n.owner != "" && (k == "properties" || k == "patternProperties") {
					object[ownersKeyword] = []any{n.owner}
				}
				children[name] = c
			}
			out[k] = children
		case slices.Contains(listKeywords, k) || slices.Contains(schemaKeywords, k):
			out[k] = n.value(v, depth)
		default:
			out[k] = v
		}
	}
	if parts := schemasAt(out, "allOf"); len(parts) > 0 {
		delete(out, "allOf")
		m := merger{owner: n.owner}
		for _, part := range parts {
			out = m.merge(out, part, nil)
		}
	}
	return out
}

func (n *normalizer) value(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		return n.schema(v, depth+1)
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = n.value(x, depth+1)
		}
		return list
	default:
		return v
	}
}

func (n *normalizer) lookup(ref string) map[string]any {
	var v any = n.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		if part == "" {
			continue
		}
		m, _ := v.(map[string]any)
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
		v = m[name]
	}
	m, _ := v.(map[string]any)
	return m
}

// merger merges schemas and collects contradictions.
type merger struct {
	owner    string
	problems []error
}

func (m *merger) fail(format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf(format, args...))
}

// merge returns the schema of what satisfies both. Neither argument changes.
func (m *merger) merge(a, b map[string]any, path Path) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	maps.Copy(out, a)
	for _, k := range sortedKeys(b) {
		x, y := a[k], b[k]
		if _, ok := a[k]; !ok || reflect.DeepEqual(x, y) {
			out[k] = y
			continue
		}
		out[k] = m.keyword(out, k, x, y, path)
	}
	return out
}

// keyword merges the two values of a keyword. What has no merged form goes
// to allOf of out.
func (m *merger) keyword(out map[string]any, k string, x, y any, path Path) any {
	switch k {
	case "properties", "patternProperties":
		return m.members(x, y, path)
	case "items":
		if a, b := asSchema(x), asSchema(y); a != nil && b != nil {
			return m.merge(a, b, path.with("[]"))
		}
	case "additionalProperties":
		return m.additional(x, y, path)
	case "required", ownersKeyword:
		return union(x, y)
	case "type":
		types := intersectTypes(x, y)
		if len(types) == 0 {
			m.fail("configuration schemas contradict each other: %s asks for %v at %q, another one for %v", m.owner, y, path, x)
			return x
		}
		if len(types) == 1 {
			return types[0]
		}
		return types
	case "enum":
		both := []any{}
		ys, _ := y.([]any)
		xs, _ := x.([]any)
		for _, v := range xs {
			if slices.ContainsFunc(ys, func(w any) bool { return reflect.DeepEqual(v, w) }) {
				both = append(both, v)
			}
		}
		if len(both) == 0 {
			m.fail("configuration schemas contradict each other: no value at %q satisfies both %s and another one", path, m.owner)
			return x
		}
		return both
	case "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties":
		return pick(x, y, func(a, b float64) bool { return a > b })
	case "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties":
		return pick(x, y, func(a, b float64) bool { return a < b })
	case "visibility", "deepVisibility":
		v, ok := resolve(x, y)
		if !ok {
			m.fail("configuration schemas contradict each other: %s says that %q is %v, another one that it is %v", m.owner, path, y, x)
		}
		return v
	case "title", "description", "default", "examples", "$comment", "deprecated", "format", "readOnly", "writeOnly", "tsType":
		return x // the first who says it
	}
	rest, _ := out["allOf"].([]any)
	if k == "allOf" {
		more, _ := y.([]any)
		return append(slices.Clip(rest), more...)
	}
	out["allOf"] = append(slices.Clip(rest), map[string]any{k: y})
	return x
}

func (m *merger) members(x, y any, path Path) map[string]any {
	a, _ := x.(map[string]any)
	b, _ := y.(map[string]any)
	out := make(map[string]any, len(a)+len(b))
	maps.Copy(out, a)
	for _, name := range sortedKeys(b) {
		one, other := asSchema(a[name]), asSchema(b[name])
		if one == nil || other == nil {
			out[name] = b[name]
			continue
		}
		out[name] = m.merge(one, other, path.with(name))
	}
	return out
}

// additional lets the more permissive one win, because members add up.
func (m *merger) additional(x, y any, path Path) any {
	a, b := asSchema(x), asSchema(y)
	switch {
	case a != nil && b != nil:
		return m.merge(a, b, path.with("*"))
	case a != nil:
		return a
	case b != nil:
		return b
	default:
		return true // true and false: somebody knows of more
	}
}

func asSchema(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func union(x, y any) []any {
	xs, _ := x.([]any)
	ys, _ := y.([]any)
	out := slices.Clone(xs)
	for _, v := range ys {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func typesOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

func intersectTypes(x, y any) []any {
	var out []any
	for _, a := range typesOf(x) {
		for _, b := range typesOf(y) {
			switch {
			case a == b, a == "integer" && b == "number":
				out = append(out, a)
			case a == "number" && b == "integer":
				out = append(out, b)
			}
		}
	}
	return out
}

func pick(x, y any, better func(a, b float64) bool) any {
	a, ok1 := x.(float64)
	b, ok2 := y.(float64)
	if ok1 && ok2 && better(b, a) {
		return y
	}
	return x
}

// resolve returns the more specific of two visibilities; ok is false where
// one is frontend and the other secret.
func resolve(x, y any) (v any, ok bool) {
	switch {
	case x == string(Backend) || x == nil:
		return y, true
	case y == string(Backend) || y == nil || x == y:
		return x, true
	default:
		return x, false
	}
}

// checkVisibility reports unknown visibilities and those that contradict an
// inherited one.
func checkVisibility(schema map[string]any, inherited string, path Path, m *merger) {
	own, _ := schema["visibility"].(string)
	deep, _ := schema["deepVisibility"].(string)
	if v := Visibility(own); schema["visibility"] != nil && v != Backend && v != Frontend && v != Secret {
		m.fail("configuration schema: %q has the unknown visibility %q; use frontend, backend or secret", path, own)
	}
	if v := Visibility(deep); schema["deepVisibility"] != nil && v != Frontend && v != Secret {
		m.fail("configuration schema: %q has the unknown deepVisibility %q; use frontend or secret", path, deep)
	}
	clash := func(a, b string) bool {
		return a != "" && b != "" && a != b && a != string(Backend) && b != string(Backend)
	}
	for _, pair := range [][2]string{{own, inherited}, {deep, inherited}, {own, deep}} {
		if clash(pair[0], pair[1]) {
			m.fail("configuration schemas contradict each other: %q is both %s and %s", path, pair[0], pair[1])
			break
		}
	}
	if deep == "" {
		deep = inherited
	}
	for _, name := range sortedKeys(objectAt(schema, "properties")) {
		if child := asSchema(objectAt(schema, "properties")[name]); child != nil {
			checkVisibility(child, deep, path.with(name), m)
		}
	}
	for _, name := range sortedKeys(objectAt(schema, "patternProperties")) {
		if child := asSchema(objectAt(schema, "patternProperties")[name]); child != nil {
			checkVisibility(child, deep, path.with("<"+name+">"), m)
		}
	}
	if child := objectAt(schema, "items"); child != nil {
		checkVisibility(child, deep, path.with("[]"), m)
	}
	if child := objectAt(schema, "additionalProperties"); child != nil {
		checkVisibility(child, deep, path.with("*"), m)
	}
	for _, k := range listKeywords {
		for _, child := range schemasAt(schema, k) {
			checkVisibility(child, deep, path, m)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Serialized is the form in which a frontend build hands its schemas to the
// app backend (.config-schema.json).
type serialized struct {
	Version int                `json:"backstageConfigSchemaVersion"`
	Schemas []serializedSchema `json:"schemas"`
}

type serializedSchema struct {
	Path        string          `json:"path"`
	Value       json.RawMessage `json:"value"`
	PackageName string          `json:"packageName,omitempty"`
}

// ParseSerialized reads the schemas of a file .config-schema.json. Schemas
// are owned by their packages, or by their paths where they name none.
func ParseSerialized(data []byte) ([]Source, error) {
	var file serialized
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read serialized configuration schemas: %w", err)
	}
	if file.Version != 1 {
		return nil, fmt.Errorf("read serialized configuration schemas: version %d is not supported, only 1 is", file.Version)
	}
	sources := make([]Source, 0, len(file.Schemas))
	for _, s := range file.Schemas {
		owner := s.PackageName
		if owner == "" {
			owner = s.Path
		}
		sources = append(sources, Source{Owner: owner, Value: s.Value})
	}
	return sources, nil
}

// Serialize writes schemas in the form that [ParseSerialized] reads.
func Serialize(sources ...Source) ([]byte, error) {
	file := serialized{Version: 1, Schemas: []serializedSchema{}}
	for _, s := range sources {
		file.Schemas = append(file.Schemas, serializedSchema{Path: s.Owner, Value: s.Value, PackageName: s.Owner})
	}
	data, err := json.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("serialize configuration schemas: %w", err)
	}
	return data, nil
}
