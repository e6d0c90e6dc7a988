package schema

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// keywordOrder knows, for every place of every schema document, when ajv
// evaluates it: the ordinal of the place in an evaluation-order walk. The
// validator underneath visits objects in map order, so issues are sorted by
// these ordinals to say the same thing first every time, and the right thing.
type keywordOrder struct {
	ordinals map[string]int    // by document + "#" + pointer
	types    map[string]string // the "type" keyword at such a place, if it lists several
}

// evaluation is ajv's order of keywords within one schema: the type check, then
// rules for numbers, strings, any type, arrays and objects.
var evaluation = []string{
	"type",
	"maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf",
	"maxLength", "minLength", "pattern", "format",
	"$ref", "const", "enum", "not", "anyOf", "oneOf", "allOf", "if", "then", "else",
	"maxItems", "minItems", "uniqueItems", "additionalItems", "items", "contains",
	"maxProperties", "minProperties", "required", "propertyNames", "additionalProperties", "dependencies", "properties", "patternProperties",
}

func (o keywordOrder) add(doc string, text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	root, err := readOrdered(dec)
	if err != nil {
		return err
	}
	next := 0
	o.number(doc+"#", root, &next)
	return nil
}

// afterBranches marks the place of anyOf and oneOf themselves in the report:
// ajv names the issues of the branches first.
const afterBranches = "/"

// number gives ordinals to a schema and everything below it, in evaluation order.
func (o keywordOrder) number(at string, v any, next *int) {
	o.ordinals[at] = *next
	*next++
	switch v := v.(type) {
	case orderedObject:
		inSchema := !strings.HasSuffix(at, "/properties") && !strings.HasSuffix(at, "/patternProperties")
		members := slices.Clone(v)
		if inSchema {
			slices.SortStableFunc(members, func(a, b member) int {
				return cmp.Compare(evaluationRank(a.name), evaluationRank(b.name))
			})
		}
		for _, m := range members {
			o.number(at+"/"+escapeToken(m.name), m.value, next)
		}
	case []any:
		if place, ok := strings.CutSuffix(at, "/type"); ok {
			o.types[place] = displayString(v)
		}
		for i, item := range v {
			o.number(at+"/"+strconv.Itoa(i), item, next)
		}
		o.ordinals[at+afterBranches] = *next
		*next++
	}
}

func evaluationRank(keyword string) int {
	if i := slices.Index(evaluation, keyword); i >= 0 {
		return i
	}
	return len(evaluation)
}

// position is where an issue stands in ajv's report: one step for every
// schema place on the way to it, with the array index or property name that
// distinguishes several values at one place.
type position []step

type step struct {
	ordinal int
	index   int
	name    string
}

func comparePositions(a, b position) int {
	return slices.CompareFunc(a, b, func(x, y step) int {
		return cmp.Or(cmp.Compare(x.ordinal, y.ordinal), cmp.Compare(x.index, y.index), cmp.Compare(x.name, y.name))
	})
}

type placed struct {
	issue Issue
	at    position
}

func (o keywordOrder) issues(root *jsonschema.ValidationError) []Issue {
	var found []placed
	o.collect(&found, root, nil, 0)
	slices.SortStableFunc(found, func(a, b placed) int { return comparePositions(a.at, b.at) })
	out := make([]Issue, len(found))
	for i, f := range found {
		out[i] = f.issue
	}
	return out
}

// collect flattens the error tree. prefix is the position of the reference
// that led into the current document, depth how much of the instance location
// was used up on the way to it.
func (o keywordOrder) collect(found *[]placed, e *jsonschema.ValidationError, prefix position, depth int) {
	descend := func(prefix position, depth int) {
		for _, cause := range e.Causes {
			o.collect(found, cause, prefix, depth)
		}
	}
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf:
		descend(prefix, depth)
		return
	case *kind.Reference:
		descend(o.position(e, prefix, depth, "$ref"), len(e.InstanceLocation))
		return
	}
	for i, issue := range describe(e) {
		if issue.Keyword == "type" {
			issue = o.inDeclaredOrder(issue, e.SchemaURL)
		}
		keyword := escapeToken(issue.Keyword)
		switch e.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf:
			descend(prefix, depth)
			keyword += afterBranches
		}
		at := o.position(e, prefix, depth, keyword)
		if _, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
			at = append(at, step{name: issue.Params[0].Value.(string)})
		} else {
			at = append(at, step{index: i})
		}
		*found = append(*found, placed{issue, at})
	}
}

// inDeclaredOrder rewords a type issue to list the types as the schema does.
func (o keywordOrder) inDeclaredOrder(issue Issue, location string) Issue {
	doc, tokens := splitLocation(location)
	if types, ok := o.types[doc+"#"+pointer(tokens)]; ok {
		issue.Message = "must be " + types
		issue.Params = []Param{{"type", types}}
	}
	return issue
}

// position follows the schema location of e, keyword by keyword.
func (o keywordOrder) position(e *jsonschema.ValidationError, prefix position, depth int, keyword string) position {
	doc, tokens := splitLocation(e.SchemaURL)
	at := slices.Clone(prefix)
	place := doc + "#"
	instance := func() string {
		if depth < len(e.InstanceLocation) {
			depth++
			return e.InstanceLocation[depth-1]
		}
		return ""
	}
	for i := 0; i < len(tokens); i++ {
		word := tokens[i]
		place += "/" + escapeToken(word)
		s := step{}
		switch word {
		case "properties", "patternProperties", "definitions", "$defs", "allOf", "anyOf", "oneOf", "dependencies":
			if i+1 < len(tokens) {
				i++
				place += "/" + escapeToken(tokens[i])
			}
			switch word {
			case "properties":
				instance()
			case "patternProperties":
				s.name = instance()
			}
		case "additionalProperties":
			s.name = instance()
		case "items", "additionalItems", "contains":
			s.index, _ = strconv.Atoi(instance())
		}
		s.ordinal = o.ordinals[place]
		at = append(at, s)
	}
	return append(at, step{ordinal: o.ordinals[place+"/"+keyword]})
}

// orderedObject is a JSON object in document order.
type orderedObject []member

type member struct {
	name  string
	value any
}

// readOrdered reads one JSON value, keeping the order of object members.
func readOrdered(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			item, err := readOrdered(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := dec.Token()
		return list, err
	}
	object := orderedObject{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := readOrdered(dec)
		if err != nil {
			return nil, err
		}
		object = append(object, member{fmt.Sprint(name), value})
	}
	_, err = dec.Token()
	return object, err
}
