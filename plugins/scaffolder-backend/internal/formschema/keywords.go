package formschema

import (
	"math"
	"net/url"
	"strconv"
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

// kinds tell whether a value has a type; of unknown types all values are.
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
	var argument []any
	for _, t := range list(types) {
		switch t := t.(type) {
		case template.String:
			if hasType(n.value, string(t)) {
				return
			}
			names, argument = append(names, string(t)), append(argument, string(t))
		case *template.Record:
			if n.valid(t) {
				return
			}
			names, argument = append(names, titled(t, "[schema]")), append(argument, t)
		default:
			return
		}
	}
	n.report("type", "is not of a type(s) "+strings.Join(names, ","), argument)
}

// titled names a schema in a message.
func titled(schema template.Value, standby string) string {
	r, ok := schema.(*template.Record)
	if !ok {
		return standby
	}
	for _, key := range []string{"$id", "id"} {
		if id, ok := textOf(r, key); ok && id != "" {
			return "<" + id + ">"
		}
	}
	if title, ok := textOf(r, "title"); ok && title != "" {
		return strconv.Quote(title)
	}
	if ref, ok := textOf(r, "$ref"); ok && ref != "" {
		return "<" + ref + ">"
	}
	return standby
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
			name := template.Text(key)
			if value, _ := object.Get(name); value == (template.Undefined{}) {
				n.report("required", "requires property "+strconv.Quote(name), name)
			}
		}
	}
}

func equal(a, b template.Value) bool {
	switch a := a.(type) {
	case *template.Array:
		other, ok := b.(*template.Array)
		if !ok || a.Len() != other.Len() {
			return false
		}
		for i, item := range a.All() {
			if !equal(item, other.At(i)) {
				return false
			}
		}
		return true
	case *template.Record:
		other, ok := b.(*template.Record)
		if !ok || a.Len() != other.Len() {
			return false
		}
		for key, item := range a.All() {
			if v, ok := other.Get(key); !ok || !equal(item, v) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case *template.Array, *template.Record:
		return false
	}
	return a == b
}

func (n *node) enum(v template.Value) {
	values, ok := v.(*template.Array)
	if n.absent() || !ok {
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
	if !n.absent() && !equal(n.value, v) {
		n.report("const", "does not exactly match expected constant: "+template.Text(v), v)
	}
}

func (n *node) size(keyword string, v template.Value) {
	limit, ok := v.(template.Number)
	if !ok {
		return
	}
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
	if least := strings.HasPrefix(keyword, "min"); least && size < int(limit) {
		n.report(keyword, "does not meet minimum "+what+" of "+template.Text(limit), limit)
	} else if !least && size > int(limit) {
		n.report(keyword, "does not meet maximum "+what+" of "+template.Text(limit), limit)
	}
}

func (n *node) bound(keyword string, v template.Value) {
	limit, ok := v.(template.Number)
	value, isNumber := n.value.(template.Number)
	if !ok || !isNumber {
		return
	}
	text := template.Text(limit)
	strict := func(key string) bool { v, _ := n.schema.Get(key); b, ok := v.(template.Bool); return ok && bool(b) }
	switch keyword {
	case "minimum":
		if strict("exclusiveMinimum") {
			if value <= limit {
				n.report(keyword, "must be greater than "+text, limit)
			}
		} else if value < limit {
			n.report(keyword, "must be greater than or equal to "+text, limit)
		}
	case "maximum":
		if strict("exclusiveMaximum") {
			if value >= limit {
				n.report(keyword, "must be less than "+text, limit)
			}
		} else if value > limit {
			n.report(keyword, "must be less than or equal to "+text, limit)
		}
	case "exclusiveMinimum":
		if value <= limit {
			n.report(keyword, "must be strictly greater than "+text, limit)
		}
	case "exclusiveMaximum":
		if value >= limit {
			n.report(keyword, "must be strictly less than "+text, limit)
		}
	}
}

func (n *node) multiple(keyword string, v template.Value) {
	of, ok := v.(template.Number)
	value, isNumber := n.value.(template.Number)
	if !ok || !isNumber || of == 0 {
		return
	}
	scale := math.Pow10(max(decimals(float64(of)), decimals(float64(value))))
	if math.Mod(math.Round(float64(value)*scale), math.Round(float64(of)*scale)) == 0 {
		return
	}
	if keyword == "multipleOf" {
		n.report(keyword, "is not a multiple of (divisible by) "+template.Text(of), of)
	} else {
		n.report(keyword, "is not divisible by (multiple of) "+template.Text(of), of)
	}
}

func decimals(f float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), ".")
	return min(len(fraction), 15)
}

// matches reports whether a pattern of ECMAScript is found in a text; one that
// cannot be read is found nowhere.
func (c *checker) matches(pattern, text string) bool {
	re, err := ecmaregexp.Compile(pattern, "u")
	if err != nil {
		re, err = ecmaregexp.Compile(pattern, "")
	}
	if err != nil {
		if c.err == nil {
			c.err = err
		}
		return false
	}
	found, err := re.MatchString(text, c.budget)
	if err != nil && c.err == nil {
		c.err = ErrTooMuch
	}
	return found
}

func (n *node) pattern(v template.Value) {
	value, ok := n.value.(template.String)
	pattern, isText := v.(template.String)
	if ok && isText && !n.matches(string(pattern), string(value)) {
		n.report("pattern", "does not match pattern "+string(template.AppendJSON(nil, pattern)), pattern)
	}
}

func unpercent(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
