package fakegithub

import (
	"fmt"
	"strconv"
	"strings"
	"text/scanner"
)

// document is a parsed query.
type document struct {
	name      string
	required  map[string]bool // variables; true if not null
	selection []selected
	fragments map[string]fragment
}

type fragment struct {
	on        string
	selection []selected
}

// selected is a field, or a fragment.
type selected struct {
	alias, name string
	args        map[string]value
	include     *value
	selection   []selected
	spread      string    // name of a fragment
	inline      *fragment // in place
}

// value is a variable, an object or a literal.
type value struct {
	variable string
	object   map[string]value
	literal  any
}

type parser struct {
	s    scanner.Scanner
	tok  rune
	text string
	err  error
}

func parse(query string) (*document, error) {
	p := &parser{}
	p.s.Init(strings.NewReader(query))
	p.s.Error = func(_ *scanner.Scanner, msg string) { p.fail("%s", msg) }
	p.next()
	d := &document{required: map[string]bool{}, fragments: map[string]fragment{}}
	for p.err == nil && p.tok != scanner.EOF {
		switch p.ident() {
		case "query":
			d.name = p.ident()
			p.variables(d)
			d.selection = p.selectionSet()
		case "fragment":
			name := p.ident()
			p.expect("on")
			d.fragments[name] = fragment{p.ident(), p.selectionSet()}
		default:
			p.fail("expected a query or a fragment")
		}
	}
	return d, p.err
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("parse error at %s: %s", p.s.Position, fmt.Sprintf(format, args...))
	}
	p.tok, p.text = scanner.EOF, ""
}

func (p *parser) next() {
	if p.err == nil {
		p.tok, p.text = p.s.Scan(), p.s.TokenText()
	}
}

func (p *parser) is(text string) bool { return p.err == nil && p.text == text }

func (p *parser) accept(text string) bool {
	ok := p.is(text)
	if ok {
		p.next()
	}
	return ok
}

func (p *parser) expect(text string) {
	if !p.accept(text) {
		p.fail("expected %q, found %q", text, p.text)
	}
}

func (p *parser) ident() string {
	if p.tok != scanner.Ident {
		p.fail("expected a name, found %q", p.text)
		return ""
	}
	s := p.text
	p.next()
	return s
}

func (p *parser) variables(d *document) {
	if !p.accept("(") {
		return
	}
	for p.err == nil && !p.accept(")") {
		p.expect("$")
		name := p.ident()
		p.expect(":")
		list := p.accept("[")
		p.ident()
		if list {
			p.accept("!")
			p.expect("]")
		}
		d.required[name] = p.accept("!")
		p.accept(",")
	}
}

func (p *parser) selectionSet() []selected {
	var out []selected
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		if p.accept(".") {
			p.expect(".")
			p.expect(".")
			if p.accept("on") {
				f := fragment{on: p.ident()}
				f.selection = p.selectionSet()
				out = append(out, selected{inline: &f})
			} else {
				out = append(out, selected{spread: p.ident()})
			}
			continue
		}
		f := selected{name: p.ident()}
		if f.alias = f.name; p.accept(":") {
			f.name = p.ident()
		}
		f.args = p.args()
		if p.accept("@") {
			p.expect("include")
			v := p.args()["if"]
			f.include = &v
		}
		if p.is("{") {
			f.selection = p.selectionSet()
		}
		out = append(out, f)
	}
	return out
}

func (p *parser) args() map[string]value {
	out := map[string]value{}
	if !p.accept("(") {
		return out
	}
	for p.err == nil && !p.accept(")") {
		name := p.ident()
		p.expect(":")
		out[name] = p.value()
		p.accept(",")
	}
	return out
}

func (p *parser) value() value {
	switch {
	case p.accept("$"):
		return value{variable: p.ident()}
	case p.accept("{"):
		v := value{object: map[string]value{}}
		for p.err == nil && !p.accept("}") {
			name := p.ident()
			p.expect(":")
			v.object[name] = p.value()
			p.accept(",")
		}
		return v
	}
	text, tok := p.text, p.tok
	p.next()
	switch tok {
	case scanner.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			p.fail("%v", err)
		}
		return value{literal: float64(n)}
	case scanner.String:
		s, err := strconv.Unquote(text)
		if err != nil {
			p.fail("%v", err)
		}
		return value{literal: s}
	case scanner.Ident:
		switch text {
		case "true", "false":
			return value{literal: text == "true"}
		case "null":
			return value{}
		}
		return value{literal: text}
	}
	p.fail("expected a value, found %q", text)
	return value{}
}

// object is a thing of the schema: its fields are values, or functions of the
// arguments. The field __typename is its type.
type object map[string]any

type resolver func(args map[string]any) (any, error)

// queryError is an error in an answer.
type queryError struct {
	Type    string `json:"type,omitempty"`
	Message string `json:"message"`
	Path    []any  `json:"path,omitempty"`
}

func (e *queryError) Error() string { return e.Message }

type execution struct {
	doc       *document
	variables map[string]any
}

func (x *execution) check() error {
	for name, required := range x.doc.required {
		if v, ok := x.variables[name]; required && (!ok || v == nil) {
			return &queryError{Message: "Variable $" + name + " was provided invalid value"}
		}
	}
	return nil
}

func (x *execution) eval(v value) (any, error) {
	switch {
	case v.variable != "":
		if _, declared := x.doc.required[v.variable]; !declared {
			return nil, &queryError{Message: "Variable $" + v.variable + " is used but not declared"}
		}
		return x.variables[v.variable], nil
	case v.object != nil:
		out := map[string]any{}
		for k, m := range v.object {
			e, err := x.eval(m)
			if err != nil {
				return nil, err
			}
			out[k] = e
		}
		return out, nil
	default:
		return v.literal, nil
	}
}

func (x *execution) fields(o object, sel []selected, out map[string]any, path []any) error {
	for _, s := range sel {
		switch {
		case s.inline != nil:
			if s.inline.on == o["__typename"] {
				if err := x.fields(o, s.inline.selection, out, path); err != nil {
					return err
				}
			}
			continue
		case s.spread != "":
			f, ok := x.doc.fragments[s.spread]
			if !ok {
				return &queryError{Message: "Fragment " + s.spread + " was used, but not defined"}
			}
			if f.on == o["__typename"] {
				if err := x.fields(o, f.selection, out, path); err != nil {
					return err
				}
			}
			continue
		case s.include != nil:
			if v, err := x.eval(*s.include); err != nil {
				return err
			} else if v != true {
				continue
			}
		}
		at := append(path[:len(path):len(path)], s.alias)
		v, err := x.field(o, s, at)
		if err != nil {
			return err
		}
		out[s.alias] = v
	}
	return nil
}

func (x *execution) field(o object, s selected, path []any) (any, error) {
	v, ok := o[s.name]
	if !ok {
		return nil, &queryError{Type: "undefinedField", Message: fmt.Sprintf("Field '%s' doesn't exist on type '%v'", s.name, o["__typename"]), Path: path}
	}
	args := map[string]any{}
	for name, a := range s.args {
		e, err := x.eval(a)
		if err != nil {
			return nil, err
		}
		args[name] = e
	}
	if fn, ok := v.(resolver); ok {
		var err error
		if v, err = fn(args); err != nil {
			if q, ok := err.(*queryError); ok && q.Path == nil {
				q.Path = path
			}
			return nil, err
		}
	} else if len(args) > 0 {
		return nil, &queryError{Message: fmt.Sprintf("Field '%s' doesn't accept arguments", s.name), Path: path}
	}
	return x.complete(v, s, path)
}

func (x *execution) complete(v any, s selected, path []any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case object:
		if v == nil {
			return nil, nil
		}
		if len(s.selection) == 0 {
			return nil, &queryError{Message: "Field must have selections (field '" + s.name + "' returns an object)", Path: path}
		}
		out := map[string]any{}
		return out, x.fields(v, s.selection, out, path)
	case []object:
		out := make([]any, len(v))
		for i, e := range v {
			if e == nil {
				continue
			}
			c, err := x.complete(e, s, append(path[:len(path):len(path)], i))
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return out, nil
	default:
		if len(s.selection) > 0 {
			return nil, &queryError{Message: "Selections can't be made on scalars (field '" + s.name + "')", Path: path}
		}
		return v, nil
	}
}
