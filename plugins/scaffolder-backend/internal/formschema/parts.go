package formschema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// ruleOfParts returns the rules that compare parts, or apply other schemas.
func ruleOfParts(keyword string) func(*node, template.Value) {
	switch keyword {
	case "properties":
		return (*node).properties
	case "patternProperties":
		return (*node).patternProperties
	case "additionalProperties":
		return (*node).additionalProperties
	case "propertyNames":
		return (*node).propertyNames
	case "items":
		return (*node).items
	case "contains":
		return (*node).contains
	case "uniqueItems":
		return (*node).uniqueItems
	case "anyOf", "oneOf":
		return func(n *node, v template.Value) { n.choice(keyword, v) }
	case "allOf":
		return (*node).allOf
	case "not", "disallow":
		return (*node).not
	case "if":
		return (*node).conditional
	case "dependencies":
		return (*node).dependencies
	}
	return nil
}

func (n *node) properties(v template.Value) {
	object, ok := n.value.(*template.Record)
	schemas, isRecord := v.(*template.Record)
	if !ok || !isRecord {
		return
	}
	for key, schema := range schemas.All() {
		if schema == (template.Undefined{}) || schema == (template.Null{}) {
			continue
		}
		value, _ := object.Get(key)
		n.sub(schema, value, n.at.key(key))
	}
}

func (n *node) patternProperties(v template.Value) {
	object, ok := n.value.(*template.Record)
	schemas, isRecord := v.(*template.Record)
	if !ok || !isRecord {
		return
	}
	for key, value := range object.All() {
		for pattern, schema := range schemas.All() {
			if n.matches(pattern, key) {
				n.sub(schema, value, n.at.key(key))
			}
		}
	}
}

func (n *node) additionalProperties(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	listed, _ := n.schema.Get("properties")
	known, _ := listed.(*template.Record)
	patterned, _ := n.schema.Get("patternProperties")
	patterns, _ := patterned.(*template.Record)
	for key, value := range object.All() {
		if _, ok := known.Get(key); ok || n.anyMatches(patterns, key) {
			continue
		}
		if allowed, ok := v.(template.Bool); ok {
			if !allowed {
				n.report("additionalProperties", "is not allowed to have the additional property "+strconv.Quote(key), key)
			}
			continue
		}
		n.sub(v, value, n.at.key(key))
	}
}

func (n *node) anyMatches(patterns *template.Record, key string) bool {
	if patterns == nil {
		return false
	}
	for pattern := range patterns.All() {
		if n.matches(pattern, key) {
			return true
		}
	}
	return false
}

func (n *node) propertyNames(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	for key := range object.All() {
		n.sub(v, template.String(key), n.at)
	}
}

func (n *node) items(v template.Value) {
	values, ok := n.value.(*template.Array)
	if !ok {
		return
	}
	schemas, positional := v.(*template.Array)
	for i, value := range values.All() {
		schema := v
		if positional {
			if i < schemas.Len() {
				schema = schemas.At(i)
			} else if rest, ok := n.schema.Get("additionalItems"); ok {
				schema = rest
			} else {
				return
			}
		}
		if schema == template.Bool(false) {
			n.report("items", "additionalItems not permitted", nil)
			return
		}
		n.sub(schema, value, n.at.index(i))
	}
}

func (n *node) contains(v template.Value) {
	values, ok := n.value.(*template.Array)
	if !ok {
		return
	}
	for i, value := range values.All() {
		if len(n.check(v, value, n.at.index(i), n.depth+1)) == 0 {
			return
		}
	}
	n.report("contains", "must contain an item matching given schema", v)
}

func (n *node) uniqueItems(v template.Value) {
	values, ok := n.value.(*template.Array)
	if !ok || v != template.Bool(true) {
		return
	}
	seen := make(map[string]bool, values.Len())
	for _, value := range values.All() {
		text := string(template.AppendJSON(nil, value))
		if seen[text] {
			n.report("uniqueItems", "contains duplicate item", nil)
			return
		}
		seen[text] = true
	}
}

func (n *node) choice(keyword string, v template.Value) {
	schemas, ok := v.(*template.Array)
	if n.absent() || !ok {
		return
	}
	count := 0
	names := make([]string, 0, schemas.Len())
	for i, schema := range schemas.All() {
		if n.valid(schema) {
			count++
		}
		name := titled(schema, fmt.Sprintf("[subschema %d]", i))
		if keyword == "oneOf" && !strings.HasPrefix(name, `"`) {
			if r, ok := schema.(*template.Record); ok {
				if id, ok := schemaOf(r).(template.String); ok {
					name = string(id)
				}
			}
		}
		names = append(names, name)
	}
	argument := make([]any, len(names))
	for i, name := range names {
		argument[i] = name
	}
	switch {
	case keyword == "anyOf" && count == 0:
		n.report(keyword, "is not any of "+strings.Join(names, ","), argument)
	case keyword == "oneOf" && count != 1:
		n.report(keyword, "is not exactly one from "+strings.Join(names, ","), argument)
	}
}

func (n *node) allOf(v template.Value) {
	schemas, ok := v.(*template.Array)
	if n.absent() || !ok {
		return
	}
	for i, schema := range schemas.All() {
		found := n.check(schema, n.value, n.at, n.depth+1)
		if len(found) == 0 {
			continue
		}
		name := titled(schema, fmt.Sprintf("[subschema %d]", i))
		n.report("allOf", fmt.Sprintf("does not match allOf schema %s with %d error[s]:", name, len(found)),
			map[string]any{"id": name, "length": len(found), "valid": false})
		n.found = append(n.found, found...)
	}
}

func (n *node) not(v template.Value) {
	if n.absent() {
		return
	}
	for _, t := range list(v) {
		switch t := t.(type) {
		case template.String:
			if hasType(n.value, string(t)) {
				n.report("not", "is of prohibited type "+string(t), t)
			}
		case *template.Record, template.Bool:
			if n.valid(t) {
				n.report("not", "is of prohibited type "+titled(t, `"[object Object]"`), t)
			}
		}
	}
}

func (n *node) conditional(v template.Value) {
	if n.absent() {
		return
	}
	key := "else"
	if n.valid(v) {
		key = "then"
	}
	if schema, ok := n.schema.Get(key); ok {
		n.sub(schema, n.value, n.at)
	}
}

func (n *node) dependencies(v template.Value) {
	object, ok := n.value.(*template.Record)
	all, isRecord := v.(*template.Record)
	if !ok || !isRecord {
		return
	}
	for key, dependency := range all.All() {
		if value, _ := object.Get(key); value == (template.Undefined{}) {
			continue
		}
		from := n.at.key(key).property
		switch d := dependency.(type) {
		case template.String, *template.Array:
			for _, needed := range list(d) {
				name := template.Text(needed)
				if value, _ := object.Get(name); value == (template.Undefined{}) {
					n.report("dependencies", "property "+name+" not found, required by "+from, from)
				}
			}
		default:
			found := n.check(dependency, n.value, n.at, n.depth+1)
			if len(found) > 0 {
				n.report("dependencies", "does not meet dependency required by "+from, from)
				n.found = append(n.found, found...)
			}
		}
	}
}
