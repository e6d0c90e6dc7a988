// Package schema validates JSON values against JSON Schema (draft-07 by
// default) and reports violations in the words and the order of ajv, the
// validator whose messages catalog clients know from status items, validation
// responses and dry runs.
//
//	s := schema.MustCompile("Point", schema.Resource{ID: "Point", Text: []byte(
//		`{"type":"object","required":["x"],"properties":{"x":{"type":"number"}}}`)})
//	issues := s.Validate(map[string]any{})
//	fmt.Println(issues[0]) // <root> must have required property 'x' - missingProperty: x
//
// A Schema is compiled once and safe for concurrent use. A valid value costs
// one pass and no error values; only violations pay for wording and order.
package schema

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// base makes the relative ids of resources absolute, as the compiler needs them.
const base = "schema:///"

// Resource is a schema document. Documents refer to each other by ID, as in
// {"$ref": "Entity"} or {"$ref": "common#/definitions/relation"}.
type Resource struct {
	ID   string
	Text []byte
}

// Schema is a compiled schema.
type Schema struct {
	compiled *jsonschema.Schema
	order    keywordOrder
}

// Compile compiles the resource named root; the others are what it may refer to.
// References to anything else are an error: nothing is ever loaded.
func Compile(root string, resources ...Resource) (*Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(compilePattern)
	order := keywordOrder{ordinals: map[string]int{}, types: map[string]string{}}
	for _, r := range resources {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.Text))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", r.ID, err)
		}
		if err := compiler.AddResource(base+r.ID, doc); err != nil {
			return nil, fmt.Errorf("schema %s: %w", r.ID, err)
		}
		if err := order.add(base+r.ID, r.Text); err != nil {
			return nil, fmt.Errorf("schema %s: %w", r.ID, err)
		}
	}
	compiled, err := compiler.Compile(base + root)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", root, err)
	}
	return &Schema{compiled: compiled, order: order}, nil
}

// MustCompile is Compile for schemas that are part of the program: it panics on error.
func MustCompile(root string, resources ...Resource) *Schema {
	s, err := Compile(root, resources...)
	if err != nil {
		panic(err)
	}
	return s
}

// Valid reports whether the JSON value v satisfies the schema.
func (s *Schema) Valid(v any) bool { return s.compiled.Validate(v) == nil }

// Validate returns everything in the JSON value v that violates the schema, in
// the order in which ajv reports it, or nil.
func (s *Schema) Validate(v any) []Issue {
	err := s.compiled.Validate(v)
	if err == nil {
		return nil
	}
	verr, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return []Issue{{Message: err.Error()}}
	}
	return s.order.issues(verr)
}

type noLoader struct{}

func (noLoader) Load(id string) (any, error) {
	return nil, fmt.Errorf("unknown schema %q: add it as a resource", strings.TrimPrefix(id, base))
}

// pattern is a compiled "pattern" or "patternProperties" expression.
type pattern struct {
	text  string
	match func(string) bool
}

func (p *pattern) String() string            { return p.text }
func (p *pattern) MatchString(s string) bool { return p.match(s) }

func compilePattern(text string) (jsonschema.Regexp, error) {
	if text == "^.+$" { // guards every label and annotation of every entity
		return &pattern{text, func(s string) bool { return s != "" && !strings.ContainsAny(s, "\n\r\u2028\u2029") }}, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &pattern{text, re.MatchString}, nil
}

// splitLocation splits an absolute schema location into document and pointer tokens.
func splitLocation(location string) (doc string, tokens []string) {
	doc, fragment, _ := strings.Cut(location, "#")
	if fragment == "" || fragment == "/" {
		return doc, nil
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		if plain, err := url.PathUnescape(token); err == nil {
			token = plain
		}
		tokens = append(tokens, unescapeToken(token))
	}
	return doc, tokens
}

func unescapeToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
}

func escapeToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}
