// Package formschema checks values against the schemas of template forms and
// of actions, as leniently as the reference does.
//
// Schemas in the wild mix drafts 3, 4 and 7 with keywords of their own, and a
// strict validator refuses many of them. Here unknown keywords and types are
// ignored, and the errors have the texts that users of templates know:
//
//	problems, err := formschema.Check(schema, values)
//	…
//	problems[0].Stack // instance.name is not of a type(s) string
package formschema

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Problem is a violation, in the form in which clients get it.
type Problem struct {
	Path     []any          `json:"path"`
	Property string         `json:"property"`
	Message  string         `json:"message"`
	Schema   template.Value `json:"schema"`
	Instance template.Value `json:"instance"`
	Name     string         `json:"name"`
	Argument any            `json:"argument"`
	Stack    string         `json:"stack"`
}

const (
	// maxDepth bounds how deep schemas and references are followed.
	maxDepth = 256
	// maxProblems bounds what a check reports.
	maxProblems = 1000
	// maxSteps bounds how many pairs of a schema and a value are compared.
	maxSteps = 200_000
	// patternSteps bounds the work of all patterns of a check.
	patternSteps = 20_000_000
)

// ErrTooMuch reports a schema that needs more work than a check may do.
var ErrTooMuch = errors.New("checking the value against its schema takes too much work; simplify the schema")

// Check returns what is wrong with a value, in the order of the keywords of
// the schema; nothing if it is valid. The error reports a schema that cannot
// be applied, such as one with a reference to nothing.
func Check(schema, value template.Value) ([]Problem, error) {
	c := &checker{root: schema, budget: ecmaregexp.NewBudget(patternSteps), steps: maxSteps}
	problems := c.check(schema, value, place{property: "instance"}, 0)
	if c.err != nil {
		return nil, c.err
	}
	return problems, nil
}

type checker struct {
	root   template.Value
	budget *ecmaregexp.Budget
	steps  int
	err    error
}

// place is where in the value the check is.
type place struct {
	path     []any
	property string
}

var needsQuotes = regexp.MustCompile(`^[0-9]|[.\[\]\s]`)

func (p place) key(key string) place {
	path := append(append([]any{}, p.path...), key)
	switch {
	case key != "" && strings.Trim(key, "0123456789") == "":
		return place{path, p.property + "[" + key + "]"}
	case needsQuotes.MatchString(key):
		return place{path, p.property + "[" + strconv.Quote(key) + "]"}
	}
	return place{path, p.property + "." + key}
}

func (p place) index(i int) place {
	return place{append(append([]any{}, p.path...), i), fmt.Sprintf("%s[%d]", p.property, i)}
}

// node is one comparison of a schema with a value.
type node struct {
	*checker
	schema *template.Record
	value  template.Value
	at     place
	depth  int
	found  []Problem
}

func (n *node) report(name, message string, argument any) {
	if len(n.found) >= maxProblems {
		return
	}
	path := n.at.path
	if path == nil {
		path = []any{}
	}
	n.found = append(n.found, Problem{
		Path: path, Property: n.at.property, Message: message, Schema: schemaOf(n.schema), Instance: n.value,
		Name: name, Argument: argument, Stack: n.at.property + " " + message,
	})
}

// schemaOf is what a problem says of the schema: its id, if it has one.
func schemaOf(schema *template.Record) template.Value {
	if id := idOf(schema); id != nil {
		return id
	}
	return schema
}

// idOf returns the id of a schema; nil if it has none.
func idOf(schema template.Value) template.Value {
	for _, key := range []string{"$id", "id"} {
		if id := template.Member(schema, key); truthy(id) {
			return id
		}
	}
	return nil
}

// nothing is the schema of which no value is.
var nothing = template.NewRecord(template.Entry{Key: "type", Value: template.NewArray()})

func (c *checker) check(schema, value template.Value, at place, depth int) []Problem {
	if c.err != nil {
		return nil
	}
	if c.steps--; depth > maxDepth || c.steps < 0 {
		c.err = ErrTooMuch
		return nil
	}
	var record *template.Record
	switch s := schema.(type) {
	case template.Bool:
		if s {
			return nil
		}
		record = nothing
	case *template.Record:
		record = s
	case *template.Array, template.Number:
		if s != template.Number(0) {
			return nil // it has no keywords
		}
	case template.String: // the reference takes it for a reference
		if s != "" {
			record = template.NewRecord(template.Entry{Key: "$ref", Value: s})
		}
	}
	if record == nil {
		c.err = fmt.Errorf("the schema of %s has to be an object or a boolean", at.property)
		return nil
	}
	if record = c.extended(record, depth); c.err != nil {
		return nil
	}
	if ref, ok := textOf(record, "$ref"); ok {
		target, err := c.resolve(ref)
		if err != nil {
			c.err = err
			return nil
		}
		return c.check(target, value, at, depth+1)
	}
	n := &node{checker: c, schema: record, value: value, at: at, depth: depth}
	for keyword, argument := range record.All() {
		if rule := ruleOf(keyword); rule != nil {
			rule(n, argument)
		}
	}
	return n.found
}

// sub checks a part; what is wrong with it counts as wrong here.
func (n *node) sub(schema, value template.Value, at place) {
	n.add(n.check(schema, value, at, n.depth+1))
}

// add keeps as many problems as there is room for.
func (n *node) add(found []Problem) {
	if room := maxProblems - len(n.found); len(found) > room {
		found = found[:max(room, 0)]
	}
	n.found = append(n.found, found...)
}

// valid reports whether a schema holds for the value itself.
func (n *node) valid(schema template.Value) bool {
	return len(n.check(schema, n.value, n.at, n.depth+1)) == 0
}

// resolve finds what a reference within the document points to.
func (c *checker) resolve(ref string) (template.Value, error) {
	missing := fmt.Errorf("the schema refers to %q, which it does not contain", ref)
	if id, found := findID(c.root, ref, 0); found {
		return id, nil
	}
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil, missing
	}
	at := c.root
	if pointer == "" {
		return at, nil
	}
	if !strings.HasPrefix(pointer, "/") {
		return nil, missing
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for part := range strings.SplitSeq(pointer[1:], "/") {
		part = unescape.Replace(unpercent(part))
		switch v := at.(type) {
		case *template.Record:
			next, ok := v.Get(part)
			if !ok {
				return nil, missing
			}
			at = next
		case *template.Array:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= v.Len() {
				return nil, missing
			}
			at = v.At(i)
		default:
			return nil, missing
		}
	}
	return at, nil
}

func findID(v template.Value, id string, depth int) (template.Value, bool) {
	if depth > maxDepth {
		return nil, false
	}
	switch v := v.(type) {
	case *template.Record:
		for _, key := range []string{"$id", "id"} {
			if own, ok := textOf(v, key); ok && own == id {
				return v, true
			}
		}
		for _, part := range v.All() {
			if found, ok := findID(part, id, depth+1); ok {
				return found, true
			}
		}
	case *template.Array:
		for _, part := range v.All() {
			if found, ok := findID(part, id, depth+1); ok {
				return found, true
			}
		}
	}
	return nil, false
}

func textOf(r *template.Record, key string) (string, bool) {
	v, _ := r.Get(key)
	text, ok := v.(template.String)
	return string(text), ok
}

// MarshalJSON writes the members in the order that clients know.
func (p Problem) MarshalJSON() ([]byte, error) {
	out := template.NewRecord()
	for _, member := range []struct {
		key   string
		value any
	}{
		{"path", p.Path},
		{"property", p.Property},
		{"message", p.Message},
		{"schema", p.Schema},
		{"instance", p.Instance},
		{"name", p.Name},
		{"argument", p.Argument},
		{"stack", p.Stack},
	} {
		if member.key == "argument" && member.value == nil {
			continue
		}
		value, err := template.From(member.value)
		if err != nil {
			return nil, fmt.Errorf("write a problem of %s: %w", p.Property, err)
		}
		out.Set(member.key, value)
	}
	return out.MarshalJSON()
}

func unpercent(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
