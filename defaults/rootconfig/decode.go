package rootconfig

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/spelling"
)

// Decode implements core.Config. It reports everything that is wrong at
// once: an error with several problems unwraps to one *core.ConfigError each.
// Strings convert to numbers, booleans and durations as the other methods of
// Config do it.
func (l level) Decode(key string, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("config key %q: Decode needs a non-nil pointer, not %T", l.Path(key), into)
	}
	at := l.at(key)
	n, err := at.value()
	if err != nil {
		return err
	}
	d := decoder{}
	if n != nil {
		d.decode(at.name(), n, target.Elem())
	}
	if len(d.problems) > 0 {
		return errors.Join(d.problems...)
	}
	v, ok := into.(interface{ Validate() error })
	if !ok {
		return nil
	}
	if err := v.Validate(); err != nil {
		var known *core.ConfigError
		if errors.As(err, &known) {
			return err
		}
		_, pos, _ := at.node()
		return &core.ConfigError{Key: at.name(), Position: pos, Problem: "is not valid: " + err.Error(), Err: err}
	}
	return nil
}

type decoder struct{ problems []error }

func (d *decoder) add(err *core.ConfigError) {
	if err != nil {
		d.problems = append(d.problems, err)
	}
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

func (d *decoder) decode(key string, n *conftree.Node, v reflect.Value) {
	if !n.Exists() {
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(key, n, v.Elem())
		return
	}
	switch v.Type() {
	case durationType:
		x, err := toDuration(key, n)
		v.SetInt(int64(x))
		d.add(err)
		return
	case rawType:
		raw, err := json.Marshal(n.Value())
		v.SetBytes(raw)
		if err != nil {
			d.add(&core.ConfigError{Key: key, Position: n.Pos, Problem: "cannot be written as JSON", Err: err})
		}
		return
	}
	if d.unmarshal(key, n, v) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.Kind != conftree.String {
			e := wrongKind(key, n, "a string")
			if n.Kind == conftree.Number || n.Kind == conftree.Bool {
				e.Remedy = "put it in quotes"
			}
			d.add(e)
			return
		}
		v.SetString(n.Str)
	case reflect.Bool:
		x, err := toBool(key, n)
		v.SetBool(x)
		d.add(err)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		x, err := toInt(key, n)
		d.add(err)
		if err == nil && v.OverflowInt(int64(x)) {
			d.add(outOfRange(key, n))
		} else if err == nil {
			v.SetInt(int64(x))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		x, err := toInt(key, n)
		d.add(err)
		if err == nil && (x < 0 || v.OverflowUint(uint64(x))) {
			d.add(outOfRange(key, n))
		} else if err == nil {
			v.SetUint(uint64(x))
		}
	case reflect.Float32, reflect.Float64:
		x, err := toNumber(key, n)
		v.SetFloat(x)
		d.add(err)
	case reflect.Interface:
		d.decodeAny(key, n, v)
	case reflect.Slice:
		d.decodeSlice(key, n, v)
	case reflect.Map:
		d.decodeMap(key, n, v)
	case reflect.Struct:
		d.decodeStruct(key, n, v)
	default:
		d.problems = append(d.problems, fmt.Errorf("config key %q cannot be stored in a %s", key, v.Type()))
	}
}

func outOfRange(key string, n *conftree.Node) *core.ConfigError {
	return &core.ConfigError{Key: key, Position: n.Pos, Problem: "is out of range"}
}

// unmarshal lets types that read JSON or text read the value.
func (d *decoder) unmarshal(key string, n *conftree.Node, v reflect.Value) bool {
	if !v.CanAddr() {
		return false
	}
	var err error
	switch u := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		var raw []byte
		if raw, err = json.Marshal(n.Value()); err == nil {
			err = u.UnmarshalJSON(raw)
		}
	case encoding.TextUnmarshaler:
		switch n.Kind {
		case conftree.String:
			err = u.UnmarshalText([]byte(n.Str))
		case conftree.Number:
			err = u.UnmarshalText([]byte(jsonvalue.FormatNumber(n.Num)))
		default:
			d.add(wrongKind(key, n, "a string"))
			return true
		}
	default:
		return false
	}
	if err != nil {
		d.add(&core.ConfigError{Key: key, Position: n.Pos, Problem: "is not valid: " + err.Error(), Err: err})
	}
	return true
}

func (d *decoder) decodeAny(key string, n *conftree.Node, v reflect.Value) {
	if v.NumMethod() > 0 {
		d.problems = append(d.problems, fmt.Errorf("config key %q cannot be stored in the interface %s", key, v.Type()))
		return
	}
	if x := n.Value(); x != nil {
		v.Set(reflect.ValueOf(x))
	}
}

func (d *decoder) decodeSlice(key string, n *conftree.Node, v reflect.Value) {
	if n.Kind != conftree.Array {
		d.add(wrongKind(key, n, "a list"))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		d.decode(key+"["+strconv.Itoa(i)+"]", item, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) decodeMap(key string, n *conftree.Node, v reflect.Value) {
	if n.Kind != conftree.Object {
		d.add(wrongKind(key, n, "an object"))
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		d.problems = append(d.problems, fmt.Errorf("config key %q cannot be stored in a %s", key, v.Type()))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Names())))
	}
	for _, name := range n.Names() {
		member := n.Get(name)
		if !member.Exists() {
			continue
		}
		slot := reflect.New(v.Type().Elem()).Elem()
		d.decode(join(key, name), member, slot)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), slot)
	}
}

func (d *decoder) decodeStruct(key string, n *conftree.Node, v reflect.Value) {
	if n.Kind != conftree.Object {
		d.add(wrongKind(key, n, "an object"))
		return
	}
	fields := fieldsOf(v.Type())
	for _, name := range n.Names() {
		member := n.Get(name)
		if !member.Exists() {
			continue
		}
		index, ok := fields[name]
		if !ok {
			d.add(unknownMember(key, name, member, fields))
			continue
		}
		field, err := v.FieldByIndexErr(index)
		for i := 1; err != nil && i < len(index); i++ { // an embedded pointer is nil
			if p := v.FieldByIndex(index[:i]); p.Kind() == reflect.Pointer && p.IsNil() {
				p.Set(reflect.New(p.Type().Elem()))
			}
			field, err = v.FieldByIndexErr(index)
		}
		if err == nil {
			d.decode(join(key, name), member, field)
		}
	}
}

func unknownMember(key, name string, n *conftree.Node, fields map[string][]int) *core.ConfigError {
	e := &core.ConfigError{Key: join(key, name), Position: n.Pos, Problem: "is unknown"}
	known := make([]string, 0, len(fields))
	for f := range fields {
		known = append(known, f)
	}
	slices.Sort(known)
	if near := spelling.Nearest(name, known); near != "" {
		e.Remedy = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		e.Remedy = "known here: " + strings.Join(known, ", ")
	}
	return e
}

// fieldsOf returns the fields of a struct by their json names, those of
// embedded structs included.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	depth := map[string]int{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "" && structLike(f.Type):
			continue // its fields are visible themselves
		case !f.IsExported():
			continue
		}
		if !tagged || name == "" {
			name = f.Name
		}
		if d, ok := depth[name]; ok && d <= len(f.Index) {
			continue
		}
		fields[name], depth[name] = f.Index, len(f.Index)
	}
	return fields
}

func structLike(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// join appends a member to a full key.
func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
