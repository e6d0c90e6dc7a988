package template

import (
	"math"
	"strings"

	"github.com/flytower/flytower/internal/utf16text"
)

var nan = math.NaN()

func (x *literal) eval(*evaluator, *scope) Value { return x.value }

func (x *regexpLiteral) eval(*evaluator, *scope) Value { return &Regexp{re: x.re} }

func (x *name) eval(ev *evaluator, sc *scope) Value {
	if v, ok := sc.get(x.name); ok {
		return v
	}
	if v, ok := ev.variables.Get(x.name); ok {
		return v
	}
	if ev.cookie {
		switch x.name {
		case "True":
			return Bool(true)
		case "False":
			return Bool(false)
		case "None":
			return Null{}
		}
	}
	if v, ok := ev.env.values[x.name]; ok {
		return v
	}
	if f, ok := ev.env.functions[x.name]; ok {
		return &hostFunction{x.name, f}
	}
	if f, ok := globals[x.name]; ok {
		return f
	}
	return Undefined{}
}

func (x *arrayLiteral) eval(ev *evaluator, sc *scope) Value {
	items := make([]Value, len(x.items))
	for i, item := range x.items {
		items[i] = ev.data(ev.eval(item, sc))
	}
	return &Array{items: items, local: true}
}

// data refuses values that can be called: they cannot be stored or passed on.
func (ev *evaluator) data(v Value) Value {
	if _, ok := v.(function); ok {
		return ev.fail("Callable values cannot be stored in data or passed on; call the function")
	}
	return v
}

func (x *dictLiteral) eval(ev *evaluator, sc *scope) Value {
	r := &Record{keys: make([]string, 0, len(x.keys)), values: make([]Value, 0, len(x.keys))}
	for i, key := range x.keys {
		r.Set(key, ev.data(ev.eval(x.values[i], sc)))
	}
	return r
}

func (x *group) eval(ev *evaluator, sc *scope) Value {
	var v Value = Undefined{}
	for _, item := range x.items {
		v = ev.eval(item, sc)
	}
	return v
}

func (x *lookup) eval(ev *evaluator, sc *scope) Value {
	target := ev.eval(x.target, sc)
	key := x.name
	if x.key != nil {
		k := ev.eval(x.key, sc)
		if n, ok := k.(Number); ok {
			if a, ok := target.(*Array); ok { // without the way over text
				if items := ev.items(a); n >= 0 && float64(n) < float64(len(items)) && n == Number(int(n)) {
					return items[int(n)]
				}
			}
		}
		ev.pos = x.pos()
		key = ev.toText(k)
	}
	return ev.member(target, key)
}

// member reads an entry of a value, or one of its methods.
func (ev *evaluator) member(target Value, key string) Value {
	if f, ok := target.(function); ok {
		return f.member(key)
	}
	if v, ok := ev.own(target, key); ok {
		return v
	}
	if m := findMethod(target, key, ev.cookie); m != nil {
		return &boundMethod{receiver: target, name: key, method: m}
	}
	return Undefined{}
}

// own reads an entry that a value has itself.
func (ev *evaluator) own(target Value, key string) (Value, bool) {
	switch target := target.(type) {
	case *Record:
		return target.Get(key)
	case *Array:
		items := ev.items(target)
		if key == "length" {
			return Number(len(items)), true
		}
		if i, ok := arrayIndex(key, len(items)); ok {
			return items[i], true
		}
	case SafeString:
		if key == "val" {
			return String(target), true
		}
		return ev.ofText(string(target), key)
	case String:
		return ev.ofText(string(target), key)
	}
	return Undefined{}, false
}

func (ev *evaluator) ofText(text, key string) (Value, bool) {
	if key != "length" && (key == "" || !isDigit(key[0])) {
		return Undefined{}, false
	}
	ev.text(len(text) / 8)
	length := utf16text.Len(text)
	if key == "length" {
		return Number(length), true
	}
	if i, ok := arrayIndex(key, length); ok {
		return String(utf16text.At(text, i)), true
	}
	return Undefined{}, false
}

// eval follows the language that this one follows in what happens at bounds:
// indexes from the length on give undefined once.
func (x *slicing) eval(ev *evaluator, sc *scope) Value {
	target := ev.eval(x.target, sc)
	bound := func(e expr) Value {
		if e == nil {
			return Null{}
		}
		return ev.eval(e, sc)
	}
	start, stop := bound(x.start), bound(x.stop)
	var step Value = Number(1)
	if x.step != nil {
		step = ev.eval(x.step, sc)
	}
	ev.pos = x.pos()
	if _, ok := target.(function); ok {
		return ev.fail("Callable values cannot be sliced")
	}
	if !truthy(target) {
		target = &Array{}
	}
	by := ev.toNumber(step)
	if by == 0 || math.IsNaN(by) || math.IsInf(by, 0) {
		return ev.fail("Slice step must have finite non-zero numeric coercion")
	}
	lengthValue, _ := ev.own(target, "length")
	length := ev.toNumber(lengthValue)
	from, to := ev.toNumber(start), ev.toNumber(stop)
	if _, absent := start.(Null); absent {
		from = 0
		if by < 0 {
			from = length - 1
		}
	} else if from < 0 {
		from += length
	}
	if _, absent := stop.(Null); absent {
		to = length
		if by < 0 {
			to = -1
		}
	} else if to < 0 {
		to += length
	}
	var items []Value
	units, isText := ev.units(target)
	for i := from; !(i < 0) && !(i > length) && !math.IsNaN(length); i += by {
		if by > 0 && i >= to || by < 0 && i <= to || !ev.step(1) {
			break
		}
		var item Value = Undefined{}
		if isText {
			if j := int(i); float64(j) == i && j < len(units) {
				item = String(utf16text.String(units[j : j+1]))
			}
		} else {
			item, _ = ev.own(target, formatNumber(i))
		}
		items = append(items, item)
	}
	return &Array{items: items, local: true}
}

// units returns the code units of a text.
func (ev *evaluator) units(v Value) ([]uint16, bool) {
	text, ok := asText(v)
	if !ok || !ev.text(2*len(text)) {
		return nil, ok
	}
	return utf16text.Units(text), true
}

func (x *conditional) eval(ev *evaluator, sc *scope) Value {
	switch {
	case truthy(ev.eval(x.condition, sc)):
		return ev.eval(x.then, sc)
	case x.otherwise != nil:
		return ev.eval(x.otherwise, sc)
	}
	return String("")
}

func (x *logical) eval(ev *evaluator, sc *scope) Value {
	left := ev.eval(x.left, sc)
	if ev.err != nil || truthy(left) == x.isOr {
		return left
	}
	return ev.eval(x.right, sc)
}

func (x *unary) eval(ev *evaluator, sc *scope) Value {
	v := ev.eval(x.operand, sc)
	ev.pos = x.pos()
	switch x.op {
	case '!':
		return Bool(!truthy(v))
	case '-':
		return Number(-ev.toNumber(v))
	case '+':
		return Number(ev.toNumber(v))
	default:
		return Number(math.Floor(ev.toNumber(v)))
	}
}

func (x *binary) eval(ev *evaluator, sc *scope) Value {
	left, right := ev.eval(x.left, sc), ev.eval(x.right, sc)
	ev.pos = x.pos()
	switch x.op {
	case '~':
		return ev.concat(ev.toText(left), ev.toText(right))
	case '+':
		return ev.add(left, right)
	}
	a, b := ev.toNumber(left), ev.toNumber(right)
	switch x.op {
	case '-':
		return Number(a - b)
	case '*':
		return Number(a * b)
	case '/':
		return Number(a / b)
	case '%':
		return Number(math.Mod(a, b))
	default:
		return Number(power(a, b))
	}
}

func (ev *evaluator) concat(a, b string) Value {
	if !ev.text(len(a) + len(b)) {
		return Undefined{}
	}
	return String(utf16text.Join(a + b))
}

// add is +: texts are joined if one side is a text, else numbers are added.
func (ev *evaluator) add(left, right Value) Value {
	a, b := ev.primitive(left), ev.primitive(right)
	_, textLeft := a.(String)
	_, textRight := b.(String)
	if textLeft || textRight {
		return ev.concat(ev.toText(a), ev.toText(b))
	}
	return Number(ev.toNumber(a) + ev.toNumber(b))
}

func (x *comparison) eval(ev *evaluator, sc *scope) Value {
	left := ev.eval(x.first, sc)
	for _, o := range x.operands {
		right := ev.eval(o.value, sc)
		ev.pos = x.pos()
		left = Bool(ev.compare(left, o.op, right))
	}
	return left
}

func (ev *evaluator) compare(a Value, op string, b Value) bool {
	switch op {
	case "==":
		return ev.looseEqual(a, b)
	case "!=":
		return !ev.looseEqual(a, b)
	case "===":
		return strictEqual(a, b)
	case "!==":
		return !strictEqual(a, b)
	}
	order := ev.order(a, b)
	switch op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

// looseEqual is ==.
func (ev *evaluator) looseEqual(a, b Value) bool {
	if strictEqual(a, b) {
		return true
	}
	if !isPrimitive(a) && !isPrimitive(b) {
		return false
	}
	a, b = ev.primitive(a), ev.primitive(b)
	if isNothing(a) || isNothing(b) {
		return isNothing(a) && isNothing(b)
	}
	x, textLeft := a.(String)
	y, textRight := b.(String)
	if textLeft && textRight {
		return x == y
	}
	return ev.toNumber(a) == ev.toNumber(b)
}

func isPrimitive(v Value) bool {
	switch v.(type) {
	case Undefined, Null, Bool, Number, String:
		return true
	}
	return false
}

func isNothing(v Value) bool {
	switch v.(type) {
	case Undefined, Null:
		return true
	}
	return false
}

// order compares texts by their units and everything else as numbers. It is
// NaN where there is no order.
func (ev *evaluator) order(a, b Value) float64 {
	a, b = ev.primitive(a), ev.primitive(b)
	x, textLeft := a.(String)
	y, textRight := b.(String)
	if textLeft && textRight {
		ev.text(min(len(x), len(y)))
		return float64(utf16text.Compare(string(x), string(y)))
	}
	m, n := ev.toNumber(a), ev.toNumber(b)
	switch {
	case m < n:
		return -1
	case m > n:
		return 1
	case m == n:
		return 0
	}
	return nan
}

func (x *membership) eval(ev *evaluator, sc *scope) Value {
	needle, container := ev.eval(x.needle, sc), ev.eval(x.container, sc)
	ev.pos = x.pos()
	switch c := container.(type) {
	case String:
		ev.text(len(c))
		return Bool(strings.Contains(string(c), ev.toText(needle)))
	case SafeString:
		key := ev.toText(needle)
		return Bool(key == "length" || key == "val")
	case *Array:
		return Bool(ev.indexOf(ev.items(c), needle, 0) >= 0)
	case *Record:
		_, ok := c.Get(ev.toText(needle))
		return Bool(ok)
	}
	return ev.fail("Membership requires an array, record, or string")
}

// indexOf finds an item that is strictly equal.
func (ev *evaluator) indexOf(items []Value, v Value, from int) int {
	if !ev.step(int64(len(items)-from) / 8) {
		return -1
	}
	for i := from; i < len(items); i++ {
		if strictEqual(items[i], v) {
			return i
		}
	}
	return -1
}

func (x *capture) eval(ev *evaluator, sc *scope) Value {
	return String(ev.captured(x.body, sc.loop()))
}
