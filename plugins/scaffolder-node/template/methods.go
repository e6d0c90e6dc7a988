package template

import (
	"math"
	"strings"

	"github.com/flytower/flytower/internal/ecmaregexp"
	"github.com/flytower/flytower/internal/utf16text"
)

// method is a method of JavaScript, or of Python, that templates may call.
type method struct {
	// low and high bound the number of arguments; high < 0 is no bound
	low, high int
	run       func(ev *evaluator, receiver Value, args []Value) Value
}

// findMethod returns a method of a value, or nil.
func findMethod(receiver Value, name string, cookiecutter bool) *method {
	var table, extra map[string]*method
	switch receiver.(type) {
	case String, SafeString:
		table = stringMethods
	case Number:
		table = numberMethods
	case *Array:
		table, extra = arrayMethods, pythonListMethods
	case *Record:
		extra = pythonDictMethods
	case *Regexp:
		table = regexpMethods
	}
	if m := table[name]; m != nil {
		return m
	}
	if cookiecutter {
		return extra[name]
	}
	return nil
}

// integer reads an argument as JavaScript does where it wants an integer;
// absent ones have a default.
func (ev *evaluator) integer(args []Value, i int, absent float64) float64 {
	if v := arg(args, i); !isUndefined(v) {
		return toInteger(ev.toNumber(v))
	}
	return absent
}

// clamp limits an index to what is there.
func clamp(i float64, length int) int { return int(min(max(i, 0), float64(length))) }

// relative reads an index that counts from the end if it is negative.
func relative(i float64, length int) int {
	if i < 0 {
		i += float64(length)
	}
	return clamp(i, length)
}

func textMethod(low, high int, run func(ev *evaluator, text string, args []Value) Value) *method {
	return &method{low, high, func(ev *evaluator, receiver Value, args []Value) Value {
		text, _ := asText(receiver)
		return run(ev, text, args)
	}}
}

func changeMethod(change func(string) string) *method {
	return textMethod(0, 0, func(_ *evaluator, text string, _ []Value) Value { return String(change(text)) })
}

var stringMethods = map[string]*method{
	"charAt": textMethod(0, 1, func(ev *evaluator, text string, args []Value) Value {
		if i := ev.integer(args, 0, 0); i >= 0 && i < float64(utf16text.Len(text)) {
			return String(utf16text.At(text, int(i)))
		}
		return String("")
	}),
	"charCodeAt": textMethod(0, 1, func(ev *evaluator, text string, args []Value) Value {
		if i := ev.integer(args, 0, 0); i >= 0 && i < float64(utf16text.Len(text)) {
			return Number(utf16text.Units(utf16text.At(text, int(i)))[0])
		}
		return Number(nan)
	}),
	"concat": textMethod(0, -1, func(ev *evaluator, text string, args []Value) Value {
		var b strings.Builder
		b.WriteString(text)
		for _, a := range args {
			s := ev.toText(a)
			if !ev.text(len(s)) {
				return Undefined{}
			}
			b.WriteString(s)
		}
		return String(utf16text.Join(b.String()))
	}),
	"endsWith": textMethod(1, 2, func(ev *evaluator, text string, args []Value) Value {
		end := clamp(ev.integer(args, 1, math.Inf(1)), utf16text.Len(text))
		return Bool(strings.HasSuffix(utf16text.Slice(text, 0, end), ev.toText(args[0])))
	}),
	"includes": textMethod(1, 2, func(ev *evaluator, text string, args []Value) Value {
		return Bool(ev.find(text, args) >= 0)
	}),
	"indexOf": textMethod(1, 2, func(ev *evaluator, text string, args []Value) Value {
		return Number(ev.find(text, args))
	}),
	"lastIndexOf": textMethod(1, 2, func(ev *evaluator, text string, args []Value) Value {
		last := math.Inf(1)
		if v := arg(args, 1); !isUndefined(v) {
			if n := ev.toNumber(v); !math.IsNaN(n) {
				last = math.Trunc(n)
			}
		}
		return Number(utf16text.LastIndex(text, ev.toText(args[0]), clamp(last, utf16text.Len(text))))
	}),
	"replace": textMethod(2, 2, replaceMethod),
	"slice": textMethod(0, 2, func(ev *evaluator, text string, args []Value) Value {
		length := utf16text.Len(text)
		from := relative(ev.integer(args, 0, 0), length)
		to := relative(ev.integer(args, 1, math.Inf(1)), length)
		return String(utf16text.Slice(text, from, to))
	}),
	"split": textMethod(0, 2, splitMethod),
	"startsWith": textMethod(1, 2, func(ev *evaluator, text string, args []Value) Value {
		length := utf16text.Len(text)
		from := clamp(ev.integer(args, 1, 0), length)
		return Bool(strings.HasPrefix(utf16text.Slice(text, from, length), ev.toText(args[0])))
	}),
	"substring": textMethod(0, 2, func(ev *evaluator, text string, args []Value) Value {
		length := utf16text.Len(text)
		from := clamp(ev.integer(args, 0, 0), length)
		to := clamp(ev.integer(args, 1, math.Inf(1)), length)
		return String(utf16text.Slice(text, min(from, to), max(from, to)))
	}),
	"toLowerCase": changeMethod(toLower),
	"toUpperCase": changeMethod(toUpper),
	"trim":        changeMethod(trimSpace),
	"trimEnd":     changeMethod(func(s string) string { return strings.TrimRight(s, spaces) }),
	"trimStart":   changeMethod(func(s string) string { return strings.TrimLeft(s, spaces) }),
}

func (ev *evaluator) find(text string, args []Value) int {
	from := clamp(ev.integer(args, 1, 0), utf16text.Len(text))
	return utf16text.Index(text, ev.toText(args[0]), from)
}

func replaceMethod(ev *evaluator, text string, args []Value) Value {
	replacement := ev.toText(args[1])
	r, ok := args[0].(*Regexp)
	if !ok {
		ev.text(len(text) + len(replacement))
		replaced := ecmaregexp.ReplaceText(text, ev.toText(args[0]), replacement)
		return String(utf16text.Join(replaced))
	}
	replaced, err := r.re.Replace(text, replacement, ev.budget())
	ev.regexpFailed(err)
	r.last = 0
	return String(replaced)
}

func splitMethod(ev *evaluator, text string, args []Value) Value {
	limit := uint32(math.MaxUint32)
	if v := arg(args, 1); !isUndefined(v) {
		limit = toUint32(ev.toNumber(v))
	}
	var items []Value
	switch separator := arg(args, 0).(type) {
	case *Regexp:
		pieces, err := separator.re.Split(text, int(limit), ev.budget())
		ev.regexpFailed(err)
		for _, p := range pieces {
			if p.Defined {
				items = append(items, String(p.Text))
			} else {
				items = append(items, Undefined{})
			}
		}
	case Undefined:
		items = []Value{String(text)}
	default:
		items = ev.splitText(text, ev.toText(separator))
	}
	if int64(len(items)) > int64(limit) {
		items = items[:limit]
	}
	return ev.newArray(items)
}

func (ev *evaluator) splitText(text, separator string) []Value {
	if separator == "" {
		c := filterCall{evaluator: ev, input: String(text)}
		items, _ := c.list(false)
		return items
	}
	if !ev.step(int64(strings.Count(text, separator))) {
		return nil
	}
	var items []Value
	for part := range strings.SplitSeq(text, separator) {
		items = append(items, String(part))
	}
	return items
}

func digitsMethod(what string, low, high float64, format func(f float64, digits int) string) *method {
	return &method{0, 1, func(ev *evaluator, receiver Value, args []Value) Value {
		f := float64(receiver.(Number))
		if what != "toFixed" && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return String(formatNumber(f))
		}
		absent := isUndefined(arg(args, 0))
		digits := ev.integer(args, 0, -1)
		switch {
		case absent && what == "toFixed":
			digits = 0
		case absent && what == "toPrecision":
			return String(formatNumber(f))
		case absent:
		case digits < low || digits > high:
			return ev.fail(what + "() argument must be between " + formatNumber(low) + " and " + formatNumber(high))
		}
		return String(format(f, int(digits)))
	}}
}

var numberMethods = map[string]*method{
	"toExponential": digitsMethod("toExponential", 0, 100, toExponential),
	"toFixed":       digitsMethod("toFixed", 0, 100, toFixed),
	"toPrecision":   digitsMethod("toPrecision", 1, 100, toPrecision),
	"toString": {0, 1, func(ev *evaluator, receiver Value, args []Value) Value {
		base := ev.integer(args, 0, 10)
		switch {
		case base < 2 || base > 36:
			return ev.fail("toString() radix argument must be between 2 and 36")
		case base == 10:
			return String(ev.toText(receiver))
		}
		return String(toRadix(float64(receiver.(Number)), int(base)))
	}},
}

var regexpMethods = map[string]*method{
	"test": {1, 1, func(ev *evaluator, receiver Value, args []Value) Value {
		r := receiver.(*Regexp)
		matched, next, err := r.re.Test(ev.toText(args[0]), r.last, ev.budget())
		ev.regexpFailed(err)
		r.last = next
		return Bool(matched)
	}},
}

var pythonDictMethods = map[string]*method{
	"get": {1, 2, func(ev *evaluator, receiver Value, args []Value) Value {
		if v, ok := receiver.(*Record).Get(ev.toText(args[0])); ok {
			return v
		}
		return arg(args, 1)
	}},
	"has_key": {1, 1, func(ev *evaluator, receiver Value, args []Value) Value {
		_, ok := receiver.(*Record).Get(ev.toText(args[0]))
		return Bool(ok)
	}},
	"items": dictMethod(func(key string, value Value) Value {
		return &Array{items: []Value{String(key), value}, local: true}
	}),
	"keys":   dictMethod(func(key string, _ Value) Value { return String(key) }),
	"values": dictMethod(func(_ string, value Value) Value { return value }),
}

func dictMethod(item func(key string, value Value) Value) *method {
	return &method{0, 0, func(ev *evaluator, receiver Value, _ []Value) Value {
		r := receiver.(*Record)
		items := make([]Value, 0, r.Len())
		for key, value := range r.All() {
			items = append(items, item(key, value))
		}
		return ev.newArray(items)
	}}
}
