package jsonschema

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Draft7 is the value of $schema in the schemas of [For].
const Draft7 = "http://json-schema.org/draft-07/schema#"

// For returns the schema of the JSON form of T.
//
// A struct becomes an object that allows no other members than its fields,
// which are named by their json tags. A field is required unless it is a
// pointer or its tag says omitempty or omitzero. Two more tags are read:
//
//	description:"text for people and agents"
//	enum:"one,two"   the allowed values of a string, or of the elements of a list of strings
//
// Types that encode themselves as text are strings, [time.Time] with the
// format date-time; any and [json.RawMessage] allow everything. For panics on
// types that have no such schema: channels, functions, maps with keys other
// than strings, types that contain themselves, and types that encode
// themselves as other JSON.
func For[T any]() json.RawMessage {
	t := reflect.TypeFor[T]()
	b := builder{}
	o := b.typ(t, t.String(), "", nil)
	o = append(o, member{"$schema", Draft7})
	return o.encode()
}

type member struct {
	name  string
	value any
}

// object keeps its members in order, which is the order that people and
// agents read the fields in.
type object []member

func (o object) encode() json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		panic("jsonschema: " + err.Error()) // only strings, lists and objects of them get here
	}
	return bytes.TrimSpace(buf.Bytes())
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		buf.Write(name)
		buf.WriteByte(':')
		buf.Write(value)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

type builder struct{ open []reflect.Type }

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	marshalerType = reflect.TypeFor[json.Marshaler]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
)

func (b *builder) typ(t reflect.Type, at, description string, enum []string) object {
	var o object
	switch {
	case t == timeType:
		o = object{{"type", "string"}, {"format", "date-time"}}
	case t == rawType, t.Kind() == reflect.Interface:
		o = object{}
	case t.Kind() == reflect.Pointer:
		return b.typ(t.Elem(), at, description, enum)
	case t.Implements(marshalerType) || reflect.PointerTo(t).Implements(marshalerType):
		panic(fmt.Sprintf("jsonschema: %s is a %s, which encodes itself; use json.RawMessage or any", at, t))
	case t.Implements(textType) || reflect.PointerTo(t).Implements(textType):
		o = object{{"type", "string"}}
	default:
		o = b.kind(t, at, enum)
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			enum = nil // it belongs to the elements
		}
	}
	if enum != nil {
		o = append(o, member{"enum", enum})
	}
	if description != "" {
		o = append(o, member{"description", description})
	}
	return o
}

func (b *builder) kind(t reflect.Type, at string, enum []string) object {
	switch t.Kind() {
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{{"type", "integer"}}
	case reflect.Float32, reflect.Float64:
		return object{{"type", "number"}}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return object{{"type", "string"}, {"contentEncoding", "base64"}}
		}
		return object{{"type", "array"}, {"items", b.typ(t.Elem(), at+"[]", "", enum)}}
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			panic(fmt.Sprintf("jsonschema: %s is a %s: the keys of an object are strings", at, t))
		}
		return object{{"type", "object"}, {"additionalProperties", b.typ(t.Elem(), at+"{}", "", nil)}}
	case reflect.Struct:
		return b.structure(t, at)
	default:
		panic(fmt.Sprintf("jsonschema: %s is a %s, which has no JSON form", at, t))
	}
}

func (b *builder) structure(t reflect.Type, at string) object {
	if slices.Contains(b.open, t) {
		panic(fmt.Sprintf("jsonschema: %s is a %s, which contains itself; write its schema by hand", at, t))
	}
	b.open = append(b.open, t)
	defer func() { b.open = b.open[:len(b.open)-1] }()

	properties, required := object{}, []string(nil)
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" || !f.IsExported() || tag == "-" || len(f.Index) > 1 && !promoted(t, f) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		var enum []string
		if e := f.Tag.Get("enum"); e != "" {
			enum = strings.Split(e, ",")
		}
		properties = append(properties, member{name, b.typ(f.Type, at+"."+name, f.Tag.Get("description"), enum)})
		optional := f.Type.Kind() == reflect.Pointer || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if !optional {
			required = append(required, name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}}
	if required != nil {
		o = append(o, member{"required", required})
	}
	return append(o, member{"additionalProperties", false})
}

// promoted reports whether the field of an embedded struct appears on the
// level of t: the struct must not have a name of its own in JSON.
func promoted(t reflect.Type, f reflect.StructField) bool {
	for i := 1; i < len(f.Index); i++ {
		outer := t.FieldByIndex(f.Index[:i])
		if name, _, _ := strings.Cut(outer.Tag.Get("json"), ","); name != "" {
			return false
		}
	}
	return true
}
