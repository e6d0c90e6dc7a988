// Package configschema merges the JSON Schemas by which plugins describe
// their configuration, and answers what the merged schema says about a
// configuration: what violates it, which keys nobody knows, which values are
// secret, which may be shown to a browser, and what each key is for.
//
//	schema, err := configschema.Merge(
//		configschema.Source{Owner: "plugin catalog", Value: catalogSchema},
//		configschema.Source{Owner: "plugin auth", Value: authSchema},
//	)
//	public := schema.Filter(data, configschema.Frontend)
//
// Schemas are of draft 7, describe the whole configuration document, and
// have three more keywords: visibility (frontend, backend or secret; backend
// where it is not set), deepVisibility (frontend or secret, for a key and
// everything below it) and deprecated (a text that says what to use
// instead).
//
// Configuration data are values of encoding/json: map[string]any, []any,
// string, float64, bool and nil.
package configschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Visibility says who may see a value.
type Visibility string

// The visibilities.
const (
	Backend  Visibility = "backend"
	Frontend Visibility = "frontend"
	Secret   Visibility = "secret"
)

// Source is a schema and its publisher, by which messages and documentation
// call it: "plugin catalog". A source without an owner adds rules for keys
// that others describe.
type Source struct {
	Owner string
	Value json.RawMessage
}

// Schema is the merged schema. It does not change and is safe for concurrent
// use. A nil schema knows nothing.
type Schema struct {
	root     map[string]any
	compiled *jsonschema.Schema
	patterns map[string]*regexp.Regexp // of patternProperties
}

// Path leads to a value: string members and int indices.
type Path []any

// String returns the path as messages write it: app.arr[0].y.
func (p Path) String() string {
	var b strings.Builder
	for _, part := range p {
		switch part := part.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(part) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			fmt.Fprint(&b, part)
		}
	}
	return b.String()
}

func (p Path) with(part any) Path { return append(slices.Clip(p), part) }

// Private keywords of merged schemas.
const ownersKeyword = "$owners"

// Merge merges schemas. Members add up: what one schema does not mention
// another may add, even if the first forbids additional properties. It is
// an error if a key is both secret and visible to the frontend, or if no
// value can satisfy both of two schemas. All errors are reported at once.
func Merge(sources ...Source) (*Schema, error) {
	m := merger{}
	root := map[string]any{"type": "object"}
	for _, s := range sources {
		dec := json.NewDecoder(bytes.NewReader(s.Value))
		var doc any
		if err := dec.Decode(&doc); err != nil {
			m.fail("the configuration schema of %s is not valid JSON: %v", s.Owner, err)
			continue
		}
		object, ok := doc.(map[string]any)
		if !ok {
			m.fail("the configuration schema of %s is not a JSON object", s.Owner)
			continue
		}
		m.owner = s.Owner
		n := normalizer{doc: object, owner: s.Owner}
		root = m.merge(root, n.schema(object, 0), nil)
	}
	checkVisibility(root, "", nil, &m)
	if len(m.problems) > 0 {
		return nil, errors.Join(m.problems...)
	}
	s := &Schema{root: root, patterns: map[string]*regexp.Regexp{}}
	s.compilePatterns(root)
	compiled, err := compile(root)
	if err != nil {
		return nil, blame(sources, err)
	}
	s.compiled = compiled
	return s, nil
}

func compile(root map[string]any) (*jsonschema.Schema, error) {
	const name = "config:///schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.UseRegexpEngine(compileRegexp)
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(name, strip(root)); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
}

// blame finds the sources that do not compile on their own.
func blame(sources []Source, err error) error {
	var guilty []error
	for _, s := range sources {
		var doc map[string]any
		if json.Unmarshal(s.Value, &doc) != nil {
			continue
		}
		n := normalizer{doc: doc, owner: s.Owner}
		if _, err := compile(n.schema(doc, 0)); err != nil {
			guilty = append(guilty, fmt.Errorf("the configuration schema of %s is not a valid JSON Schema of draft 7: %w", s.Owner, err))
		}
	}
	if len(guilty) > 0 {
		return errors.Join(guilty...)
	}
	return fmt.Errorf("use the merged configuration schema: %w", err)
}

// MarshalJSON returns the merged schema, for editors and other tools.
func (s *Schema) MarshalJSON() ([]byte, error) {
	if s == nil {
		return []byte("{}"), nil
	}
	doc, _ := strip(s.root).(map[string]any)
	doc["$schema"] = "http://json-schema.org/draft-07/schema#"
	return json.Marshal(doc)
}

// noLoader refuses references to other documents.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a configuration schema must not refer to other documents: %s", url)
}

// anything is the regular expression that stands for one which Go cannot
// compile, such as one that looks ahead: it accepts every string.
type anything string

func (a anything) MatchString(string) bool { return true }
func (a anything) String() string          { return string(a) }

func compileRegexp(s string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return anything(s), nil
	}
	return re, nil
}

func (s *Schema) compilePatterns(schema map[string]any) {
	each(schema, func(child map[string]any) { s.compilePatterns(child) })
	for pattern := range objectAt(schema, "patternProperties") {
		if re, err := regexp.Compile(pattern); err == nil {
			s.patterns[pattern] = re
		}
	}
}

// strip copies a schema without the keywords that are only ours.
func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			if k != ownersKeyword {
				m[k] = strip(x)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = strip(x)
		}
		return list
	default:
		return v
	}
}

// objectAt returns the object at a keyword, nil where there is none.
func objectAt(schema map[string]any, keyword string) map[string]any {
	m, _ := schema[keyword].(map[string]any)
	return m
}

// schemasAt returns the schemas of a keyword that holds a list of them.
func schemasAt(schema map[string]any, keyword string) []map[string]any {
	list, _ := schema[keyword].([]any)
	var schemas []map[string]any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok {
			schemas = append(schemas, m)
		}
	}
	return schemas
}

// Keywords whose values are schemas.
var (
	mapKeywords    = []string{"properties", "patternProperties", "definitions", "$defs", "dependencies"}
	listKeywords   = []string{"allOf", "anyOf", "oneOf"}
	schemaKeywords = []string{"items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames"}
)

// each calls f for each direct child schema.
func each(schema map[string]any, f func(map[string]any)) {
	for _, k := range mapKeywords {
		for _, x := range objectAt(schema, k) {
			if m, ok := x.(map[string]any); ok {
				f(m)
			}
		}
	}
	for _, k := range append([]string{"items"}, listKeywords...) {
		for _, m := range schemasAt(schema, k) {
			f(m)
		}
	}
	for _, k := range schemaKeywords {
		if m := objectAt(schema, k); m != nil {
			f(m)
		}
	}
}
