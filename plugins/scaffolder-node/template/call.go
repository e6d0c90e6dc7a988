package template

import (
	"fmt"
	"slices"
	"strings"
)

// function is a value that can be called. It exists within a render only.
type function interface {
	Value
	// call evaluates the arguments and runs the function.
	call(ev *evaluator, x *call, sc *scope) Value
	// member reads what a function has with a dot after it.
	member(key string) Value
}

// argumentValues are evaluated arguments.
type argumentValues struct {
	positional []Value
	keywords   []keywordValue
}

type keywordValue struct {
	name  string
	value Value
}

func (ev *evaluator) arguments(args arguments, sc *scope) argumentValues {
	var values argumentValues
	if len(args.positional) > 0 {
		values.positional = make([]Value, len(args.positional))
	}
	for i, x := range args.positional {
		values.positional[i] = ev.eval(x, sc)
	}
	for _, k := range args.keywords {
		values.setKeyword(k.name, ev.eval(k.value, sc))
	}
	return values
}

func (a *argumentValues) setKeyword(name string, value Value) {
	for i := range a.keywords {
		if a.keywords[i].name == name {
			a.keywords[i].value = value
			return
		}
	}
	a.keywords = append(a.keywords, keywordValue{name, value})
}

// keyword takes the value of a keyword argument.
func (a *argumentValues) keyword(name string) (Value, bool) {
	for _, k := range a.keywords {
		if k.name == name {
			return k.value, true
		}
	}
	return Undefined{}, false
}

// data evaluates positional arguments that may not be functions.
func (ev *evaluator) dataArguments(args arguments, sc *scope) []Value {
	values := ev.arguments(args, sc).positional
	for _, v := range values {
		ev.data(v)
	}
	return values
}

// positionalOnly refuses keyword arguments, and other numbers of arguments than
// from low to high; high < 0 is no limit.
func (ev *evaluator) positionalOnly(what string, args arguments, low, high int) bool {
	n := len(args.positional)
	switch {
	case len(args.keywords) > 0:
		ev.fail(what + " does not accept keyword arguments")
	case n >= low && (high < 0 || n <= high):
	case high < 0:
		ev.fail(fmt.Sprintf("%s requires at least %d positional arguments", what, low))
	case low == high:
		ev.fail(fmt.Sprintf("%s requires %d positional %s", what, low, plural("argument", low)))
	case low == 0:
		ev.fail(fmt.Sprintf("%s accepts at most %d positional %s", what, high, plural("argument", high)))
	default:
		ev.fail(fmt.Sprintf("%s requires %d to %d positional arguments", what, low, high))
	}
	return ev.err == nil
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func (x *call) eval(ev *evaluator, sc *scope) Value {
	target := ev.eval(x.target, sc)
	if ev.err != nil {
		return Undefined{}
	}
	ev.pos = x.pos()
	if f, ok := target.(function); ok {
		return f.call(ev, x, sc)
	}
	if path := pathOf(x.target); path != "" {
		return ev.fail(fmt.Sprintf("Template value %s resolved to %s and cannot be called", quote(path), target.kind()))
	}
	return ev.fail("Template expression resolved to " + target.kind() + " and cannot be called")
}

// pathOf is how an expression that is called is named in errors.
func pathOf(x expr) string {
	switch x := x.(type) {
	case *name:
		return x.name
	case *lookup:
		if parent := pathOf(x.target); parent != "" && x.key == nil {
			return parent + "." + x.name
		}
	}
	return ""
}

// macro is a macro, or the body of a call block.
type macro struct {
	*callable
	name string
	// scope is what the body sees
	scope    *scope
	macros   *scope
	exports  bool
	isCaller bool
}

func (*macro) kind() string { return "callable" }

func (*macro) member(string) Value { return Undefined{} }

func (m *macro) call(ev *evaluator, x *call, sc *scope) Value {
	return m.invoke(ev, ev.arguments(x.args, sc))
}

// invoke binds the arguments and returns what the body writes. Positional
// arguments beyond the parameters without default fill those with one.
func (m *macro) invoke(ev *evaluator, args argumentValues) Value {
	if ev.err != nil {
		return Undefined{}
	}
	local := &scope{parent: m.scope, isolated: true, macros: m.macros, exportsMacros: m.exports}
	plain := 0
	for _, p := range m.params {
		if p.fallback == nil {
			plain++
		}
	}
	var surplus []Value
	if len(args.positional) > plain {
		surplus = args.positional[plain:]
	}
	position, hasCaller := 0, false
	for _, p := range m.params {
		hasCaller = hasCaller || p.name == "caller"
		value, named := args.keyword(p.name)
		switch {
		case p.fallback == nil && position < len(args.positional):
			value = args.positional[position]
			position++
		case p.fallback == nil:
			position++
		case len(surplus) > 0:
			value, surplus = surplus[0], surplus[1:]
		case !named:
			value = ev.eval(p.fallback, local)
		}
		local.define(p.name, value)
	}
	if caller, ok := args.keyword("caller"); ok && !hasCaller {
		local.define("caller", caller)
	}
	return SafeString(ev.captured(m.body, local))
}

// hostFunction is a global function of the host.
type hostFunction struct {
	name string
	run  Func
}

func (*hostFunction) kind() string { return "callable" }

func (*hostFunction) member(string) Value { return Undefined{} }

func (f *hostFunction) call(ev *evaluator, x *call, sc *scope) Value {
	if len(x.args.keywords) > 0 {
		return ev.fail("Registered global " + f.name + " does not accept keyword arguments")
	}
	args := ev.dataArguments(x.args, sc)
	ev.pos = x.pos()
	if !ev.hostCall(args) {
		return Undefined{}
	}
	v, err := f.run(ev.ctx, args...)
	return ev.fromHost("global", f.name, v, err)
}

// hostCall prepares a call of the host: it counts, and changed arrays are
// handed over as the template sees them.
func (ev *evaluator) hostCall(args []Value) bool {
	if ev.err != nil {
		return false
	}
	if ev.hostCalls++; ev.hostCalls > ev.limits.HostCalls {
		ev.exceeded("HostCalls", ev.limits.HostCalls, ev.hostCalls)
		return false
	}
	written := ev.written
	for i, arg := range args {
		args[i] = ev.detach(arg, 0)
	}
	ev.written = written // not output
	return ev.inTime()
}

// fromHost takes over what a function of the host returned.
func (ev *evaluator) fromHost(what, name string, v Value, err error) Value {
	if err != nil {
		ev.setError(&Error{
			Code: CodeCapability, Phase: PhaseEvaluate, err: err,
			Detail: harmless("Template " + what + " " + quote(name) + " failed: " + err.Error()),
		}, ev.pos)
		return Undefined{}
	}
	if v == nil {
		return Undefined{}
	}
	if !ev.text(size(v)) {
		return Undefined{}
	}
	return v
}

// size estimates the memory of a value, without going deep.
func size(v Value) int {
	switch v := v.(type) {
	case String:
		return len(v)
	case SafeString:
		return len(v)
	case *Array:
		return 16 * len(v.items)
	case *Record:
		return 48 * v.Len()
	}
	return 8
}

// boundMethod is a method of a value.
type boundMethod struct {
	receiver Value
	name     string
	method   *method
}

func (*boundMethod) kind() string { return "callable" }

func (*boundMethod) member(string) Value { return Undefined{} }

func (m *boundMethod) call(ev *evaluator, x *call, sc *scope) Value {
	low, high := m.method.low, m.method.high
	if m.name == "pop" && ev.cookie {
		high = 1
	}
	what := "Template intrinsic " + m.name
	if n := len(x.args.positional); len(x.args.keywords) == 0 && low == 0 && n > high && high >= 0 {
		if high == 0 {
			return ev.fail(what + " requires 0 positional arguments")
		}
		return ev.fail(fmt.Sprintf("%s requires 0 to %d positional arguments", what, high))
	}
	if !ev.positionalOnly(what, x.args, low, high) {
		return Undefined{}
	}
	args := ev.dataArguments(x.args, sc)
	ev.pos = x.pos()
	if text, ok := asText(m.receiver); ok {
		ev.text(len(text))
	}
	if ev.err != nil {
		return Undefined{}
	}
	v := m.method.run(ev, m.receiver, args)
	if s, ok := v.(String); ok {
		ev.text(len(s))
	}
	return v
}

// global is a built-in function: range, cycler or joiner.
type global struct {
	name string
	high int
	run  func(ev *evaluator, args []Value) Value
}

func (*global) kind() string { return "callable" }

func (*global) member(string) Value { return Undefined{} }

func (g *global) call(ev *evaluator, x *call, sc *scope) Value {
	if !ev.positionalOnly("Built-in global "+g.name, x.args, 0, g.high) {
		return Undefined{}
	}
	args := ev.dataArguments(x.args, sc)
	ev.pos = x.pos()
	if ev.err != nil {
		return Undefined{}
	}
	return g.run(ev, args)
}

var globals = map[string]*global{
	"range":  {"range", 3, rangeOf},
	"cycler": {"cycler", -1, func(_ *evaluator, args []Value) Value { return &cycler{items: args, at: -1} }},
	"joiner": {"joiner", 1, newJoiner},
}

// arg returns an argument, or undefined.
func arg(args []Value, i int) Value {
	if i < len(args) {
		return args[i]
	}
	return Undefined{}
}

func isUndefined(v Value) bool {
	_, ok := v.(Undefined)
	return ok
}

func rangeOf(ev *evaluator, args []Value) Value {
	start, stop, step := arg(args, 0), arg(args, 1), arg(args, 2)
	if isUndefined(stop) {
		start, stop, step = Number(0), start, Number(1)
	} else if !truthy(step) {
		step = Number(1)
	}
	up := ev.order(step, Number(0)) > 0
	var items []Value
	for v := start; ; v = ev.add(v, step) {
		order := ev.order(v, stop)
		if !(up && order < 0 || !up && order > 0) || !ev.step(1) {
			break
		}
		items = append(items, v)
	}
	return &Array{items: items, local: true}
}

// cycler gives its items in turn.
type cycler struct {
	items []Value
	at    int
}

func (*cycler) kind() string { return "callable" }

func (*cycler) call(ev *evaluator, _ *call, _ *scope) Value {
	return ev.fail("A cycler is not called; use its methods next and reset")
}

func (c *cycler) member(key string) Value {
	switch key {
	case "current":
		if c.at < 0 {
			return Null{}
		}
		return arg(c.items, c.at)
	case "next":
		return &closure{"Cycler next", func(*evaluator) Value {
			if c.at++; c.at >= len(c.items) {
				c.at = 0
			}
			return arg(c.items, c.at)
		}}
	case "reset":
		return &closure{"Cycler reset", func(*evaluator) Value {
			c.at = -1
			return Undefined{}
		}}
	}
	return Undefined{}
}

// closure is a function without arguments that another function made.
type closure struct {
	name string
	run  func(ev *evaluator) Value
}

func (*closure) kind() string { return "callable" }

func (*closure) member(string) Value { return Undefined{} }

func (c *closure) call(ev *evaluator, x *call, _ *scope) Value {
	if n := len(x.args.positional); n > 0 && len(x.args.keywords) == 0 {
		return ev.fail(c.name + " requires 0 positional arguments")
	}
	if !ev.positionalOnly(c.name, x.args, 0, 0) {
		return Undefined{}
	}
	return c.run(ev)
}

// newJoiner returns a function that gives nothing the first time, and a
// separator from then on.
func newJoiner(_ *evaluator, args []Value) Value {
	separator := arg(args, 0)
	if !truthy(separator) {
		separator = String(",")
	}
	used := false
	return &closure{"Joiner instance", func(*evaluator) Value {
		if used {
			return separator
		}
		used = true
		return String("")
	}}
}

func (x *test) eval(ev *evaluator, sc *scope) Value {
	t, ok := tests[x.name]
	if !ok {
		return ev.fail(unknown("template test", x.name, testNames()))
	}
	if !ev.positionalOnly("Template test "+x.name, x.args, t.arity, t.arity) {
		return Undefined{}
	}
	input := ev.eval(x.input, sc)
	args := ev.arguments(x.args, sc).positional
	ev.pos = x.pos()
	if ev.err != nil {
		return Undefined{}
	}
	v := Bool(ev.apply(t, input, args))
	ev.inContext(fmt.Sprintf("Test %s failed for %s input", quote(x.name), input.kind()))
	return v
}

// inContext says where an error arose that is about a value.
func (ev *evaluator) inContext(context string) {
	if e, ok := ev.err.(*Error); ok && e.Code == CodeEvaluation && !strings.HasPrefix(e.Detail, "Filter ") {
		e.Detail = context + ": " + e.Detail
	}
}

func (x *filter) eval(ev *evaluator, sc *scope) Value {
	name := x.name
	if ev.cookie && name == "jsonify" {
		name = "dump"
	}
	host := ev.env.filters[x.name]
	builtin, known := filters[name]
	if host == nil && !known {
		return ev.fail(unknown("template filter", x.name, slices.Concat(filterNames(), ev.env.filterNames)))
	}
	if host != nil && len(x.args.keywords) > 0 {
		return ev.fail("Registered filter " + x.name + " does not accept keyword arguments")
	}
	input := ev.data(ev.eval(x.input, sc))
	args := ev.arguments(x.args, sc)
	for _, v := range args.positional {
		ev.data(v)
	}
	ev.pos = x.pos()
	if ev.err != nil {
		return Undefined{}
	}
	if host != nil {
		all := append([]Value{input}, args.positional...)
		if !ev.hostCall(all) {
			return Undefined{}
		}
		v, err := host(ev.ctx, all[0], all[1:]...)
		return ev.fromHost("filter", x.name, v, err)
	}
	if text, ok := asText(input); ok {
		ev.text(len(text))
	}
	c := filterCall{evaluator: ev, input: input, args: builtin.lower(args)}
	v := builtin.run(&c)
	if s, ok := asText(v); ok {
		ev.text(len(s))
	}
	ev.inContext(fmt.Sprintf("Filter %s failed for %s input", quote(name), input.kind()))
	return v
}
