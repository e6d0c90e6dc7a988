package formschema

import (
	"fmt"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
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
		return func(n *node, _ template.Value) { n.not() }
	case "if":
		return (*node).conditional
	case "dependencies":
		return (*node).dependencies
	}
	return nil
}

func (n *node) properties(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	for key, schema := range n.named("properties", v).All() {
		if schema == (template.Undefined{}) {
			continue
		}
		value, _ := object.Get(key)
		n.sub(schema, value, n.at.key(key))
	}
}

func (n *node) patternProperties(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	schemas := n.named("patternProperties", v)
	for key, value := range object.All() {
		matched := false
		for pattern, schema := range schemas.All() {
			if schema == (template.Null{}) {
				n.fail("patternProperties in the schema of %s has a schema that is null", n.at.property)
			}
			if n.err != nil {
				return
			}
			if n.matches(pattern, key) {
				matched = true
				n.sub(schema, value, n.at.key(key))
			}
		}
		if !matched {
			n.additional(key, value)
		}
	}
}

// additionalProperties is part of patternProperties where there are any.
func (n *node) additionalProperties(template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok || truthy(template.Member(n.schema, "patternProperties")) {
		return
	}
	for key, value := range object.All() {
		n.additional(key, value)
	}
}

func (n *node) additional(key string, value template.Value) {
	if template.Member(template.Member(n.schema, "properties"), key) != (template.Undefined{}) {
		return
	}
	switch schema := template.Member(n.schema, "additionalProperties"); {
	case schema == template.Bool(false):
		n.report("additionalProperties", "is not allowed to have the additional property "+string(template.AppendJSON(nil, template.String(key))), key)
	case truthy(schema):
		n.sub(schema, value, n.at.key(key))
	}
}

func (n *node) propertyNames(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	if !isSchema(v) {
		n.fail("propertyNames in the schema of %s has to be a schema", n.at.property)
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
	for i, value := range values.All() {
		schema := v
		if schemas, positional := v.(*template.Array); positional {
			if i < schemas.Len() {
				schema = schemas.At(i)
			} else {
				schema = template.Member(n.schema, "additionalItems")
			}
		}
		switch schema {
		case template.Undefined{}:
			continue
		case template.Bool(false):
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
	if !isSchema(v) {
		n.fail("contains in the schema of %s has to be a schema", n.at.property)
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
		text := string(jsonvalue.Append(nil, template.ToGo(value))) // with sorted keys
		if seen[text] {
			n.report("uniqueItems", "contains duplicate item", nil)
			return
		}
		seen[text] = true
	}
}

// schemas returns the list that a keyword needs.
func (n *node) schemas(keyword string, v template.Value) []template.Value {
	if _, ok := v.(*template.Array); !ok {
		n.fail("%s in the schema of %s has to be a list", keyword, n.at.property)
		return nil
	}
	return list(v)
}

func (n *node) choice(keyword string, v template.Value) {
	if n.absent() {
		return
	}
	schemas := n.schemas(keyword, v)
	count := 0
	names := make([]string, len(schemas))
	argument := make([]any, len(schemas))
	for i, schema := range schemas {
		if n.valid(schema) {
			count++
			if keyword == "anyOf" {
				return
			}
		}
		names[i] = titled(schema, i)
		argument[i] = names[i]
		if id := idOf(schema); id != nil && keyword == "oneOf" {
			names[i], argument[i] = template.Text(id), id
		} else if id != nil {
			names[i] = "<" + template.Text(id) + ">"
			argument[i] = names[i]
		}
	}
	switch {
	case n.err != nil:
	case keyword == "anyOf":
		n.report(keyword, "is not any of "+strings.Join(names, ","), argument)
	case count != 1:
		n.report(keyword, "is not exactly one from "+strings.Join(names, ","), argument)
	}
}

func (n *node) allOf(v template.Value) {
	if n.absent() {
		return
	}
	for i, schema := range n.schemas("allOf", v) {
		found := n.check(schema, n.value, n.at, n.depth+1)
		if len(found) == 0 {
			continue
		}
		name := template.Value(template.String(titled(schema, i)))
		if id := idOf(schema); id != nil {
			name = id
		}
		n.report("allOf", fmt.Sprintf("does not match allOf schema %s with %d error[s]:", template.Text(name), len(found)),
			template.NewRecord(template.Entry{Key: "id", Value: name}, template.Entry{Key: "length", Value: template.Number(len(found))}, template.Entry{Key: "valid", Value: template.Bool(false)}))
		n.add(found)
	}
}

// not is also the rule of disallow, an older name.
func (n *node) not() {
	v := template.Member(n.schema, "not")
	if !truthy(v) {
		v = template.Member(n.schema, "disallow")
	}
	if n.absent() || !truthy(v) {
		return
	}
	for _, t := range list(v) {
		if !n.isOf(t) || n.err != nil {
			continue
		}
		if id := idOf(t); id != nil {
			t = id
		}
		n.report("not", "is of prohibited type "+template.Text(t), t)
	}
}

func (n *node) conditional(v template.Value) {
	if n.absent() {
		return
	}
	if !isSchema(v) {
		n.fail("if in the schema of %s has to be a schema", n.at.property)
		return
	}
	key := "else"
	if n.valid(v) {
		key = "then"
	}
	schema, ok := n.schema.Get(key)
	if !ok {
		return
	}
	if !isSchema(schema) {
		n.fail("%s in the schema of %s has to be a schema", key, n.at.property)
		return
	}
	n.sub(schema, n.value, n.at)
}

func (n *node) dependencies(v template.Value) {
	object, ok := n.value.(*template.Record)
	if !ok {
		return
	}
	for key, dependency := range n.named("dependencies", v).All() {
		if value, _ := object.Get(key); value == (template.Undefined{}) {
			continue
		}
		from := n.at.key(key)
		switch d := dependency.(type) {
		case template.String, *template.Array:
			for _, needed := range list(d) {
				name := template.Text(needed)
				if value, _ := object.Get(name); value == (template.Undefined{}) {
					n.report("dependencies", "property "+name+" not found, required by "+from.property, from.property)
				}
			}
		default:
			found := n.check(dependency, n.value, from, n.depth+1)
			if len(found) > 0 {
				n.report("dependencies", "does not meet dependency required by "+from.property, from.property)
				n.add(found)
			}
		}
	}
}
