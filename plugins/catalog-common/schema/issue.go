package schema

import (
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// Issue is one violation of a schema.
type Issue struct {
	// Path is the JSON pointer of the offending value; "" is the root.
	Path string
	// Keyword is the schema keyword that failed, for example "required".
	Keyword string
	// Message says what the value must be, for example "must be string".
	Message string
	// Params are the particulars of the keyword, in ajv's order.
	Params []Param
}

// Param is one particular of an issue, for example missingProperty: type.
type Param struct {
	Name  string
	Value any
}

// Location is Path, or "<root>" for the root.
func (i Issue) Location() string {
	if i.Path == "" {
		return "<root>"
	}
	return i.Path
}

// Error returns "<location> <message> - <param>: <value>, ...".
func (i Issue) Error() string {
	var b strings.Builder
	b.WriteString(i.Location())
	b.WriteByte(' ')
	b.WriteString(i.Message)
	b.WriteString(" - ")
	for n, p := range i.Params {
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.Name)
		b.WriteString(": ")
		b.WriteString(displayString(p.Value))
	}
	return b.String()
}

// String is Error.
func (i Issue) String() string { return i.Error() }

// ErrorName returns the name of the error in serialised form.
func (i Issue) ErrorName() string { return "TypeError" }

// describe words the failure of one keyword. A failure that ajv reports once
// per property gives one issue per property.
func describe(e *jsonschema.ValidationError) []Issue {
	path := pointer(e.InstanceLocation)
	one := func(keyword, message string, params ...Param) []Issue {
		return []Issue{{Path: path, Keyword: keyword, Message: message, Params: params}}
	}
	limit := func(keyword, message string, n int) []Issue {
		return one(keyword, message, Param{"limit", float64(n)})
	}
	bound := func(keyword, comparison, want string) []Issue {
		f, _ := strconv.ParseFloat(want, 64)
		return one(keyword, "must be "+comparison+" "+jsonvalue.FormatNumber(f),
			Param{"comparison", comparison}, Param{"limit", f})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		want := strings.Join(k.Want, ",")
		return one("type", "must be "+want, Param{"type", want})
	case *kind.Required:
		out := make([]Issue, len(k.Missing))
		for i, name := range k.Missing {
			out[i] = Issue{path, "required", "must have required property '" + name + "'", []Param{{"missingProperty", name}}}
		}
		return out
	case *kind.AdditionalProperties:
		out := make([]Issue, len(k.Properties))
		for i, name := range k.Properties {
			out[i] = Issue{path, "additionalProperties", "must NOT have additional properties", []Param{{"additionalProperty", name}}}
		}
		return out
	case *kind.Enum:
		return one("enum", "must be equal to one of the allowed values", Param{"allowedValues", k.Want})
	case *kind.Const:
		return one("const", "must be equal to constant", Param{"allowedValue", k.Want})
	case *kind.MinLength:
		return limit("minLength", "must NOT have fewer than "+strconv.Itoa(k.Want)+" characters", k.Want)
	case *kind.MaxLength:
		return limit("maxLength", "must NOT have more than "+strconv.Itoa(k.Want)+" characters", k.Want)
	case *kind.MinItems:
		return limit("minItems", "must NOT have fewer than "+strconv.Itoa(k.Want)+" items", k.Want)
	case *kind.MaxItems:
		return limit("maxItems", "must NOT have more than "+strconv.Itoa(k.Want)+" items", k.Want)
	case *kind.MinProperties:
		return limit("minProperties", "must NOT have fewer than "+strconv.Itoa(k.Want)+" properties", k.Want)
	case *kind.MaxProperties:
		return limit("maxProperties", "must NOT have more than "+strconv.Itoa(k.Want)+" properties", k.Want)
	case *kind.Minimum:
		return bound("minimum", ">=", k.Want.FloatString(10))
	case *kind.Maximum:
		return bound("maximum", "<=", k.Want.FloatString(10))
	case *kind.ExclusiveMinimum:
		return bound("exclusiveMinimum", ">", k.Want.FloatString(10))
	case *kind.ExclusiveMaximum:
		return bound("exclusiveMaximum", "<", k.Want.FloatString(10))
	case *kind.MultipleOf:
		f, _ := k.Want.Float64()
		return one("multipleOf", "must be multiple of "+jsonvalue.FormatNumber(f), Param{"multipleOf", f})
	case *kind.Pattern:
		return one("pattern", `must match pattern "`+k.Want+`"`, Param{"pattern", k.Want})
	case *kind.Format:
		return one("format", `must match format "`+k.Want+`"`, Param{"format", k.Want})
	case *kind.UniqueItems:
		i, j := k.Duplicates[0], k.Duplicates[1]
		return one("uniqueItems", "must NOT have duplicate items (items ## "+strconv.Itoa(i)+" and "+strconv.Itoa(j)+" are identical)",
			Param{"i", float64(j)}, Param{"j", float64(i)})
	case *kind.AnyOf:
		return one("anyOf", "must match a schema in anyOf")
	case *kind.OneOf:
		return one("oneOf", "must match exactly one schema in oneOf", Param{"passingSchemas", passing(k.Subschemas)})
	case *kind.Not:
		return one("not", "must NOT be valid")
	case *kind.FalseSchema:
		return one("false schema", "boolean schema is false")
	case *kind.PropertyNames:
		return one("propertyNames", "property name must be valid", Param{"propertyName", k.Property})
	case *kind.Contains:
		return one("contains", "must contain at least 1 valid item(s)", Param{"minContains", float64(1)})
	case *kind.Dependency:
		out := make([]Issue, len(k.Missing))
		for i, name := range k.Missing {
			out[i] = Issue{path, "dependencies", "must have property " + name + " when property " + k.Prop + " is present",
				[]Param{{"property", k.Prop}, {"missingProperty", name}}}
		}
		return out
	case *kind.AdditionalItems:
		return one("additionalItems", "must NOT have additional items")
	default:
		keyword := ""
		if p := e.ErrorKind.KeywordPath(); len(p) > 0 {
			keyword = p[0]
		}
		return one(keyword, `must pass "`+keyword+`" keyword validation`)
	}
}

func passing(subschemas []int) any {
	if len(subschemas) == 0 {
		return nil
	}
	out := make([]any, len(subschemas))
	for i, n := range subschemas {
		out[i] = float64(n)
	}
	return out
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escapeToken(token))
	}
	return b.String()
}

// displayString writes a value as JavaScript's string conversion does.
func displayString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			if item != nil {
				parts[i] = displayString(item)
			}
		}
		return strings.Join(parts, ",")
	case map[string]any:
		return "[object Object]"
	default:
		return string(jsonvalue.Append(nil, v))
	}
}
