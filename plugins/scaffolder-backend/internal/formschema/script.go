package formschema

import (
	"math"
	"strconv"
	"strings"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// What follows is how JavaScript, in which schemas were applied first, reads
// what stands in the wrong place: a limit that is a text, for example.

// truthy is the boolean that a value counts as.
func truthy(v template.Value) bool {
	switch v := v.(type) {
	case template.Undefined, template.Null:
		return false
	case template.Bool:
		return bool(v)
	case template.Number:
		return v != 0 && v == v
	case template.String:
		return v != ""
	}
	return true
}

// number is the number that a value counts as.
func number(v template.Value) float64 {
	switch v := v.(type) {
	case template.Number:
		return float64(v)
	case template.Null:
		return 0
	case template.Bool:
		if v {
			return 1
		}
		return 0
	case template.String:
		text := strings.TrimSpace(string(v))
		if text == "" {
			return 0
		}
		if strings.Trim(text, "0123456789+-.eE") != "" {
			return math.NaN()
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case *template.Array:
		return number(template.String(template.Text(v)))
	}
	return math.NaN()
}

// round rounds halves up.
func round(f float64) float64 { return math.Floor(f + 0.5) }

// decimals is how many decimal places a number is written with.
func decimals(f float64) int {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	digits, exponent, _ := strings.Cut(template.Text(template.Number(f)), "e")
	places := 0
	if exponent != "" {
		n, err := strconv.Atoi(exponent)
		if err != nil || n >= 0 {
			return 0
		}
		places = -n
	}
	_, fraction, _ := strings.Cut(digits, ".")
	return places + len(fraction)
}

// equal compares deeply; the order of keys does not count. An empty list is
// equal to an empty object that it is compared with.
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
		other := members(b)
		if other == nil || a.Len() != other.Len() {
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

// members returns what can be asked for by a key; nil where nothing can.
func members(v template.Value) *template.Record {
	switch v := v.(type) {
	case *template.Record:
		return v
	case *template.Array:
		r := template.NewRecord()
		for i, item := range v.All() {
			r.Set(strconv.Itoa(i), item)
		}
		return r
	}
	return nil
}

// named returns the schemas that a keyword has by names. Texts that are no
// schemas are an error.
func (n *node) named(keyword string, v template.Value) *template.Record {
	if r := members(v); r != nil {
		return r
	}
	if text, ok := v.(template.String); ok && text != "" {
		n.fail("%s in the schema of %s has to be an object", keyword, n.at.property)
	}
	return template.NewRecord()
}

// isSchema reports whether a value may be a schema.
func isSchema(v template.Value) bool {
	switch v.(type) {
	case template.Bool, *template.Record, *template.Array:
		return true
	}
	return false
}
