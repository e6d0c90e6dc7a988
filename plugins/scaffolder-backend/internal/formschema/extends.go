package formschema

import "github.com/flytower/flytower/plugins/scaffolder-node/template"

// extended merges the schemas into a schema that it says it extends, as drafts
// before the fourth had it.
func (c *checker) extended(schema *template.Record, depth int) *template.Record {
	base := template.Member(schema, "extends")
	if !truthy(base) {
		return schema
	}
	merged := template.Value(schema)
	for _, b := range list(base) {
		ref, isText := b.(template.String)
		if !isText {
			ref, isText = template.Member(b, "$ref").(template.String)
		}
		if isText {
			target, err := c.resolve(string(ref))
			if err != nil {
				c.fail("%w", err)
				return schema
			}
			b = target
		}
		merged = c.merge(merged, b, depth)
	}
	record, ok := merged.(*template.Record)
	if !ok {
		return schema
	}
	return record
}

// merge returns what both have; where they differ, the members of b count.
func (c *checker) merge(a, b template.Value, depth int) template.Value {
	if c.steps--; depth > maxDepth || c.steps < 0 {
		c.fail("%w", ErrTooMuch)
		return a
	}
	if added, ok := b.(*template.Array); ok {
		var items []template.Value
		if truthy(a) {
			items = list(a)
		}
		for i, item := range added.All() {
			switch item.(type) {
			case *template.Array, *template.Record:
				for len(items) <= i {
					items = append(items, template.Undefined{})
				}
				items[i] = c.merge(items[i], item, depth+1)
			default:
				present := false
				for _, earlier := range items {
					present = present || earlier == item
				}
				if !present {
					items = append(items, item)
				}
			}
		}
		return template.NewArray(items...)
	}
	out := template.NewRecord()
	if first := members(a); first != nil {
		for key, v := range first.All() {
			out.Set(key, v)
		}
	}
	added := members(b)
	if added == nil {
		return out
	}
	for key, v := range added.All() {
		if earlier, ok := out.Get(key); ok && truthy(earlier) {
			switch v.(type) {
			case *template.Array, *template.Record:
				v = c.merge(earlier, v, depth+1)
			}
		}
		out.Set(key, v)
	}
	return out
}
