package configschema

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Violation is a value that a schema does not allow, or a missing one.
type Violation struct {
	Path    Path
	Problem string // "must be a number, found a string"
	Remedy  string // may be empty
	Missing bool   // there is no value at Path, but there must be one
	Owners  []string

	visible map[Visibility]bool // whom it concerns
	shape   bool                // an object or a list is missing in place of something else
}

// maxRounds bounds how often data is validated while strings and numbers in
// it are converted.
const maxRounds = 50

// Validate returns everything in data that violates the schema. Scalars are
// converted where that satisfies the schema ("80" is a number); data itself
// does not change. Undeclared members are no violations: see
// [Schema.Unknown].
func (s *Schema) Validate(data map[string]any) []Violation {
	if s == nil || s.compiled == nil {
		return nil
	}
	working := deepCopy(data)
	tried := map[string]bool{}
	for range maxRounds {
		var failed *jsonschema.ValidationError
		if !errors.As(s.compiled.Validate(working), &failed) {
			return nil
		}
		if !convertTypes(&working, failed, tried) {
			break
		}
	}
	var failed *jsonschema.ValidationError
	if !errors.As(s.compiled.Validate(working), &failed) {
		return nil
	}
	c := collector{schema: s, data: data}
	c.collect(failed)
	slices.SortStableFunc(c.violations, func(a, b Violation) int { return strings.Compare(a.Path.String(), b.Path.String()) })
	return slices.CompactFunc(c.violations, func(a, b Violation) bool {
		return a.Path.String() == b.Path.String() && a.Problem == b.Problem
	})
}

// ValidateVisible returns the violations that concern whoever sees only
// values of the given visibilities: those of visible values, missing values
// that are visible or contain something visible, and whatever stands in
// place of an object or a list.
func (s *Schema) ValidateVisible(data map[string]any, keep ...Visibility) []Violation {
	return slices.DeleteFunc(s.Validate(data), func(v Violation) bool {
		return !v.shape && !slices.ContainsFunc(keep, func(k Visibility) bool { return v.visible[k] })
	})
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			if x != nil {
				m[k] = deepCopy(x)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = deepCopy(x)
		}
		return list
	default:
		return v
	}
}

// convertTypes converts the scalars of which an error says that they have
// the wrong type, each at most once. It reports whether there were any.
func convertTypes(data *any, failed *jsonschema.ValidationError, tried map[string]bool) bool {
	converted := false
	if t, ok := failed.ErrorKind.(*kind.Type); ok {
		id := strings.Join(failed.InstanceLocation, "\x00")
		if !tried[id] && replaceAt(data, failed.InstanceLocation, func(v any) (any, bool) { return convert(v, t.Want) }) {
			tried[id], converted = true, true
		}
	}
	for _, cause := range failed.Causes {
		if convertTypes(data, cause, tried) {
			converted = true
		}
	}
	return converted
}

func replaceAt(data *any, location []string, change func(any) (any, bool)) bool {
	if len(location) == 0 {
		v, ok := change(*data)
		if ok {
			*data = v
		}
		return ok
	}
	switch container := (*data).(type) {
	case map[string]any:
		child, found := container[location[0]]
		if found && replaceAt(&child, location[1:], change) {
			container[location[0]] = child
			return true
		}
	case []any:
		i, err := strconv.Atoi(location[0])
		if err == nil && i >= 0 && i < len(container) {
			return replaceAt(&container[i], location[1:], change)
		}
	}
	return false
}

// convert returns v as one of the wanted types.
func convert(v any, want []string) (any, bool) {
	for _, t := range want {
		switch v := v.(type) {
		case string:
			switch t {
			case "number", "integer":
				f, err := strconv.ParseFloat(v, 64)
				if err == nil && (t == "number" || f == float64(int64(f))) {
					return f, true
				}
			case "boolean":
				if v == "true" || v == "false" {
					return v == "true", true
				}
			}
		case float64:
			switch t {
			case "string":
				return strconv.FormatFloat(v, 'f', -1, 64), true
			case "boolean":
				if v == 0 || v == 1 {
					return v == 1, true
				}
			}
		case bool:
			switch t {
			case "string":
				return strconv.FormatBool(v), true
			case "number", "integer":
				if v {
					return 1.0, true
				}
				return 0.0, true
			}
		}
	}
	return nil, false
}

type collector struct {
	schema     *Schema
	data       map[string]any
	violations []Violation
}

// collect turns the tree of an error into violations.
func (c *collector) collect(e *jsonschema.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		c.collectAlternatives(e)
	case *kind.AdditionalProperties, *kind.FalseSchema:
		// Unknown reports undeclared members.
	case *kind.Required:
		for _, name := range k.Missing {
			c.add(append(slices.Clone(e.InstanceLocation), name), "is missing", "", true)
		}
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				c.collect(cause)
			}
			return
		}
		problem, remedy := describe(e.ErrorKind)
		c.add(e.InstanceLocation, problem, remedy, false)
	}
}

// collectAlternatives reports why none of several alternatives fits: the
// types that are allowed if the type is wrong, else the problems of the
// alternative that came furthest.
func (c *collector) collectAlternatives(e *jsonschema.ValidationError) {
	if one, ok := e.ErrorKind.(*kind.OneOf); ok && len(one.Subschemas) > 0 {
		c.add(e.InstanceLocation, "fits several of the alternatives of which only one may fit", "", false)
		return
	}
	var want []string
	var best *jsonschema.ValidationError
	deepest := -1
	for _, cause := range e.Causes {
		leaf := cause
		for len(leaf.Causes) == 1 {
			leaf = leaf.Causes[0]
		}
		if t, ok := leaf.ErrorKind.(*kind.Type); ok && len(leaf.InstanceLocation) == len(e.InstanceLocation) {
			want = append(want, t.Want...)
			continue
		}
		if d := depthOf(cause); d > deepest {
			deepest, best = d, cause
		}
	}
	if best != nil {
		c.collect(best)
		return
	}
	c.add(e.InstanceLocation, "must be "+typeNames(want), "", false)
}

func depthOf(e *jsonschema.ValidationError) int {
	depth := len(e.InstanceLocation)
	for _, cause := range e.Causes {
		depth = max(depth, depthOf(cause))
	}
	return depth
}

func (c *collector) add(location []string, problem, remedy string, absent bool) {
	path, schemas, value, deep := c.locate(location)
	if strings.HasPrefix(problem, "must be ") && !absent {
		problem += ", found " + typeName(value)
	}
	var owners []string
	for _, schema := range schemas {
		list, _ := schema[ownersKeyword].([]any)
		for _, o := range list {
			if name, ok := o.(string); ok && !slices.Contains(owners, name) {
				owners = append(owners, name)
			}
		}
	}
	if absent && remedy == "" {
		remedy = describeMissing(schemas, owners)
	}
	v := Violation{
		Path: path, Problem: problem, Remedy: remedy, Missing: absent, Owners: owners,
		visible: map[Visibility]bool{},
		shape:   strings.HasPrefix(problem, "must be an object") || strings.HasPrefix(problem, "must be a list"),
	}
	for _, schema := range schemas {
		collectVisibility(schema, deep, absent, v.visible, 0)
	}
	c.violations = append(c.violations, v)
}

// collectVisibility adds who sees the values of a schema, and, if inner is
// set, who sees something in them.
func collectVisibility(schema map[string]any, deep Visibility, inner bool, into map[Visibility]bool, depth int) {
	if d, ok := schema["deepVisibility"].(string); ok {
		deep = Visibility(d)
	}
	own, _ := schema["visibility"].(string)
	switch {
	case own != "":
		into[Visibility(own)] = true
	case deep != "":
		into[deep] = true
	default:
		into[Backend] = true
	}
	if inner && depth < maxDepth {
		each(schema, func(child map[string]any) { collectVisibility(child, deep, true, into, depth+1) })
	}
}

// describeMissing says who needs a value, and what for.
func describeMissing(schemas []map[string]any, owners []string) string {
	remedy := "add it"
	if len(owners) > 0 {
		remedy += ", " + strings.Join(owners, " and ") + " needs it"
	}
	for _, schema := range schemas {
		if text, ok := schema["description"].(string); ok {
			line, _, _ := strings.Cut(text, "\n")
			return remedy + ": " + line
		}
	}
	return remedy
}

// locate returns the path, the schemas and the value of a location, and the
// visibility that it inherits.
func (c *collector) locate(location []string) (path Path, schemas []map[string]any, value any, deep Visibility) {
	schemas = []map[string]any{c.schema.root}
	value = c.data
	for _, part := range location {
		schemas = applicable(schemas, value)
		if d := visibilityOf(schemas, "deepVisibility"); d != "" {
			deep = d
		}
		if list, ok := value.([]any); ok {
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(list) {
				return path, nil, nil, deep
			}
			path, schemas, value = path.with(i), item(schemas, i), list[i]
			continue
		}
		object, _ := value.(map[string]any)
		path, schemas, value = path.with(part), c.schema.member(schemas, part), object[part]
	}
	return path, schemas, value, deep
}

// describe words a problem without repeating the value, which may be secret.
func describe(k jsonschema.ErrorKind) (problem, remedy string) {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + typeNames(k.Want), ""
	case *kind.Enum:
		return "is none of the allowed values", "use " + valueNames(k.Want)
	case *kind.Const:
		return "is not the allowed value", "use " + valueNames([]any{k.Want})
	case *kind.Pattern:
		return fmt.Sprintf("does not match the pattern %s", k.Want), ""
	case *kind.Format:
		return fmt.Sprintf("is no valid %s", k.Want), ""
	case *kind.MinLength:
		if k.Want == 1 {
			return "must not be empty", ""
		}
		return fmt.Sprintf("is shorter than %d characters", k.Want), ""
	case *kind.MaxLength:
		return fmt.Sprintf("is longer than %d characters", k.Want), ""
	case *kind.MinItems:
		return fmt.Sprintf("has fewer than %d elements", k.Want), ""
	case *kind.MaxItems:
		return fmt.Sprintf("has more than %d elements", k.Want), ""
	case *kind.MinProperties:
		return fmt.Sprintf("has fewer than %d members", k.Want), ""
	case *kind.MaxProperties:
		return fmt.Sprintf("has more than %d members", k.Want), ""
	case *kind.Minimum:
		return "is less than " + k.Want.RatString(), ""
	case *kind.Maximum:
		return "is greater than " + k.Want.RatString(), ""
	case *kind.ExclusiveMinimum:
		return "is not greater than " + k.Want.RatString(), ""
	case *kind.ExclusiveMaximum:
		return "is not less than " + k.Want.RatString(), ""
	case *kind.UniqueItems:
		return fmt.Sprintf("has the same element at %d and %d", k.Duplicates[0], k.Duplicates[1]), ""
	}
	return "does not satisfy the rule " + strings.Join(k.KeywordPath(), "/"), ""
}

func typeNames(types []string) string {
	var names []string
	for _, t := range types {
		name := map[string]string{
			"string": "a string", "number": "a number", "integer": "a whole number", "boolean": "a boolean",
			"object": "an object", "array": "a list", "null": "null",
		}[t]
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case float64:
		return "a number"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

func valueNames(values []any) string {
	names := make([]string, 0, len(values))
	for _, v := range values {
		data, err := json.Marshal(v)
		if err != nil {
			data = []byte(fmt.Sprint(v))
		}
		names = append(names, string(data))
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
