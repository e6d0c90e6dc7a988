package formschema

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func ruleOf(keyword string) func(*node, template.Value) {
	switch keyword {
	case "type":
		return (*node).typ
	case "required":
		return (*node).required
	case "enum":
		return (*node).enum
	case "const":
		return (*node).constant
	case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
		return func(n *node, v template.Value) { n.size(keyword, v) }
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		return func(n *node, v template.Value) { n.bound(keyword, v) }
	case "multipleOf", "divisibleBy":
		return func(n *node, v template.Value) { n.multiple(keyword, v) }
	case "pattern":
		return (*node).pattern
	case "format":
		return (*node).format
	}
	return ruleOfParts(keyword)
}

func (n *node) absent() bool { _, is := n.value.(template.Undefined); return is }

// fail says that the schema cannot be applied.
func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// known reports whether there is a type of the name.
func known(name string) bool {
	switch name {
	case "string", "number", "integer", "boolean", "array", "null", "object", "date", "any":
		return true
	}
	return false
}

// hasType reports whether a value has a type; of unknown types all values are.
func hasType(v template.Value, name string) bool {
	switch name {
	case "string":
		_, ok := v.(template.String)
		return ok
	case "number":
		f, ok := v.(template.Number)
		return ok && !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0)
	case "integer":
		f, ok := v.(template.Number)
		return ok && math.Trunc(float64(f)) == float64(f) && !math.IsInf(float64(f), 0)
	case "boolean":
		_, ok := v.(template.Bool)
		return ok
	case "array":
		_, ok := v.(*template.Array)
		return ok
	case "null":
		_, ok := v.(template.Null)
		return ok
	case "object":
		_, ok := v.(*template.Record)
		return ok
	case "date":
		return false // JSON has none
	}
	return true
}

// isOf reports whether the value is of a type, which is a name or a schema.
func (n *node) isOf(t template.Value) bool {
	switch t := t.(type) {
	case template.Undefined:
		return false
	case template.Null:
		n.fail("a type in the schema of %s is null", n.at.property)
		return true
	case *template.Record:
		return n.valid(t)
	case *template.Array:
		if name := template.Text(t); known(name) { // as the reference looks it up
			return hasType(n.value, name)
		}
		return true
	}
	return hasType(n.value, template.Text(t))
}

// list returns the items of an array, or the value alone.
func list(v template.Value) []template.Value {
	a, ok := v.(*template.Array)
	if !ok {
		return []template.Value{v}
	}
	items := make([]template.Value, 0, a.Len())
	for _, item := range a.All() {
		items = append(items, item)
	}
	return items
}

func (n *node) typ(types template.Value) {
	if n.absent() {
		return
	}
	var names []string
	argument := []any{}
	for _, t := range list(types) {
		if n.isOf(t) || n.err != nil {
			return
		}
		name := template.Text(t)
		if id := idOf(t); id != nil {
			name = "<" + template.Text(id) + ">"
		}
		names, argument = append(names, name), append(argument, name)
	}
	n.report("type", "is not of a type(s) "+strings.Join(names, ","), argument)
}

// titled names a schema in a message, by its title, its reference or else its
// number.
func titled(schema template.Value, number int) string {
	if title := template.Member(schema, "title"); truthy(title) {
		return string(template.AppendJSON(nil, title))
	}
	if ref := template.Member(schema, "$ref"); truthy(ref) {
		return "<" + template.Text(ref) + ">"
	}
	return fmt.Sprintf("[subschema %d]", number)
}

func (n *node) required(v template.Value) {
	switch v := v.(type) {
	case template.Bool:
		if bool(v) && n.absent() {
			n.report("required", "is required", nil)
		}
	case *template.Array:
		object, ok := n.value.(*template.Record)
		if !ok {
			return
		}
		for _, key := range v.All() {
			if value, _ := object.Get(template.Text(key)); value == (template.Undefined{}) {
				n.report("required", "requires property "+string(template.AppendJSON(nil, key)), key)
			}
		}
	}
}

func (n *node) enum(v template.Value) {
	if n.absent() {
		return
	}
	values, ok := v.(*template.Array)
	if !ok {
		n.fail("enum in the schema of %s has to be a list", n.at.property)
		return
	}
	texts := make([]string, 0, values.Len())
	for _, allowed := range values.All() {
		if equal(n.value, allowed) {
			return
		}
		texts = append(texts, template.Text(allowed))
	}
	n.report("enum", "is not one of enum values: "+strings.Join(texts, ","), values)
}

func (n *node) constant(v template.Value) {
	if !n.absent() && !equal(v, n.value) {
		n.report("const", "does not exactly match expected constant: "+template.Text(v), v)
	}
}

func (n *node) size(keyword string, v template.Value) {
	var size int
	what := "length"
	switch value := n.value.(type) {
	case template.String:
		if !strings.HasSuffix(keyword, "Length") {
			return
		}
		size = utf8.RuneCountInString(string(value))
	case *template.Array:
		if !strings.HasSuffix(keyword, "Items") {
			return
		}
		size = value.Len()
	case *template.Record:
		if !strings.HasSuffix(keyword, "Properties") {
			return
		}
		size, what = value.Len(), "property length"
	default:
		return
	}
	// What is no number holds for nothing, as NaN does.
	limit := number(v)
	if strings.HasPrefix(keyword, "min") {
		if !(float64(size) >= limit) {
			n.report(keyword, "does not meet minimum "+what+" of "+template.Text(v), v)
		}
	} else if !(float64(size) <= limit) {
		n.report(keyword, "does not meet maximum "+what+" of "+template.Text(v), v)
	}
}

func (n *node) bound(keyword string, v template.Value) {
	given, ok := n.value.(template.Number)
	if !ok {
		return
	}
	value, limit, text := float64(given), number(v), template.Text(v)
	strict := func(key string) bool { b, _ := n.schema.Get(key); return b == template.Bool(true) }
	_, isBool := v.(template.Bool)
	holds, problem := true, ""
	switch keyword {
	case "minimum":
		if strict("exclusiveMinimum") {
			holds, problem = value > limit, "must be greater than "
		} else {
			holds, problem = value >= limit, "must be greater than or equal to "
		}
	case "maximum":
		if strict("exclusiveMaximum") {
			holds, problem = value < limit, "must be less than "
		} else {
			holds, problem = value <= limit, "must be less than or equal to "
		}
	case "exclusiveMinimum":
		holds, problem = isBool || value > limit, "must be strictly greater than "
	case "exclusiveMaximum":
		holds, problem = isBool || value < limit, "must be strictly less than "
	}
	if !holds {
		n.report(keyword, problem+text, v)
	}
}

func (n *node) multiple(keyword string, v template.Value) {
	given, ok := n.value.(template.Number)
	if !ok {
		return
	}
	value, of := float64(given), number(v)
	if _, null := v.(template.Null); !null && of == 0 {
		n.fail("%s in the schema of %s must not be zero", keyword, n.at.property)
		return
	}
	scale := math.Pow10(max(decimals(of), decimals(value)))
	if math.Mod(round(value*scale), round(of*scale)) == 0 {
		return
	}
	text := string(template.AppendJSON(nil, v))
	if keyword == "multipleOf" {
		n.report(keyword, "is not a multiple of (divisible by) "+text, v)
	} else {
		n.report(keyword, "is not divisible by (multiple of) "+text, v)
	}
}

// matches reports whether a pattern of ECMAScript is found in a text. One that
// cannot be read is an error of the schema.
func (c *checker) matches(pattern, text string) bool {
	re, err := ecmaregexp.Compile(pattern, "u")
	if err != nil {
		re, err = ecmaregexp.Compile(pattern, "")
	}
	if err != nil {
		c.fail("%w", err)
		return false
	}
	found, err := re.MatchString(text, c.budget)
	if err != nil {
		c.fail("%w", errors.Join(ErrTooMuch, err))
	}
	return found
}

func (n *node) pattern(v template.Value) {
	value, ok := n.value.(template.String)
	if !ok || n.matches(template.Text(v), string(value)) {
		return
	}
	if _, null := v.(template.Null); null {
		n.fail("pattern in the schema of %s is null", n.at.property)
		return
	}
	n.report("pattern", "does not match pattern "+string(template.AppendJSON(nil, template.String(template.Text(v)))), v)
}
