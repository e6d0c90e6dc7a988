package template

import (
	"math"
	"slices"

	"github.com/flytower/flytower/internal/utf16text"
)

// readMethod is a method that leaves the array as it is.
func readMethod(low, high int, run func(ev *evaluator, items, args []Value) Value) *method {
	return &method{low, high, func(ev *evaluator, receiver Value, args []Value) Value {
		items := ev.items(receiver.(*Array))
		if !ev.step(int64(len(items)) / 8) {
			return Undefined{}
		}
		return run(ev, items, args)
	}}
}

// changeItems is a method that changes the array: it gets a copy of the items
// and returns them changed, with its result. A nil result is the array itself.
func changeItems(low, high int, run func(ev *evaluator, items, args []Value) (changed []Value, result Value)) *method {
	return &method{low, high, func(ev *evaluator, receiver Value, args []Value) Value {
		a := receiver.(*Array)
		items := ev.items(a)
		if !ev.step(int64(len(items)+len(args)) / 8) {
			return Undefined{}
		}
		items, result := run(ev, slices.Clone(items), args)
		if !ev.acyclic(a, args) {
			return Undefined{}
		}
		ev.setItems(a, items)
		if result == nil {
			return a
		}
		return result
	}}
}

// acyclic refuses to put an array into itself.
func (ev *evaluator) acyclic(a *Array, values []Value) bool {
	for _, v := range values {
		if ev.holds(v, a, 0) {
			ev.fail("Cyclic template values are not supported")
		}
	}
	return ev.err == nil
}

// holds reports whether a value is, or contains, an array.
func (ev *evaluator) holds(v Value, a *Array, depth int) bool {
	if depth > maxValueDepth {
		ev.fail(ErrTooDeep.Error())
	}
	switch v := v.(type) {
	case *Array:
		if v == a {
			return true
		}
		items := ev.items(v)
		return ev.step(int64(len(items))) && slices.ContainsFunc(items, func(item Value) bool { return ev.holds(item, a, depth+1) })
	case *Record:
		return ev.step(int64(v.Len())) && slices.ContainsFunc(v.values, func(item Value) bool { return ev.holds(item, a, depth+1) })
	}
	return false
}

// pushMethod appends in place where it can: templates build lists with it.
var pushMethod = &method{0, -1, func(ev *evaluator, receiver Value, args []Value) Value {
	a := receiver.(*Array)
	if !ev.step(int64(len(args))) || !ev.acyclic(a, args) {
		return Undefined{}
	}
	items := ev.items(a)
	if !a.local && ev.changed[a] == nil {
		items = slices.Clip(items)
	}
	items = append(items, args...)
	ev.setItems(a, items)
	return Number(len(items))
}}

var arrayMethods = map[string]*method{
	"at": readMethod(1, 1, func(ev *evaluator, items, args []Value) Value {
		i := ev.integer(args, 0, 0)
		if i < 0 {
			i += float64(len(items))
		}
		if i >= 0 && i < float64(len(items)) {
			return items[int(i)]
		}
		return Undefined{}
	}),
	"concat": readMethod(0, -1, func(ev *evaluator, items, args []Value) Value {
		out := slices.Clone(items)
		for _, a := range args {
			if list, ok := a.(*Array); ok {
				more := ev.items(list)
				if !ev.step(int64(len(more))) {
					return Undefined{}
				}
				out = append(out, more...)
			} else {
				out = append(out, a)
			}
		}
		return ev.newArray(out)
	}),
	"copyWithin": changeItems(1, 3, func(ev *evaluator, items, args []Value) ([]Value, Value) {
		n := len(items)
		to, from := relative(ev.integer(args, 0, 0), n), relative(ev.integer(args, 1, 0), n)
		end := max(relative(ev.integer(args, 2, float64(n)), n), from)
		copy(items[to:], slices.Clone(items[from:end]))
		return items, nil
	}),
	"fill": changeItems(1, 3, func(ev *evaluator, items, args []Value) ([]Value, Value) {
		n := len(items)
		from, to := relative(ev.integer(args, 1, 0), n), relative(ev.integer(args, 2, float64(n)), n)
		for i := from; i < to; i++ {
			items[i] = args[0]
		}
		return items, nil
	}),
	"flat": readMethod(0, 1, func(ev *evaluator, items, args []Value) Value {
		depth := max(ev.integer(args, 0, 1), 0)
		return &Array{items: ev.flat(nil, items, min(depth, maxValueDepth)), local: true}
	}),
	"includes": readMethod(1, 2, func(ev *evaluator, items, args []Value) Value {
		for _, item := range items[relative(ev.integer(args, 1, 0), len(items)):] {
			if strictEqual(item, args[0]) || isNaN(item) && isNaN(args[0]) {
				return Bool(true)
			}
		}
		return Bool(false)
	}),
	"indexOf": readMethod(1, 2, func(ev *evaluator, items, args []Value) Value {
		return Number(ev.indexOf(items, args[0], relative(ev.integer(args, 1, 0), len(items))))
	}),
	"join": readMethod(0, 1, func(ev *evaluator, items, args []Value) Value {
		separator := ","
		if v := arg(args, 0); !isUndefined(v) {
			separator = ev.toText(v)
		}
		return String(ev.joined(&Array{items: items}, separator, 0))
	}),
	"lastIndexOf": readMethod(1, 2, func(ev *evaluator, items, args []Value) Value {
		last := ev.integer(args, 1, math.Inf(1))
		if last < 0 {
			last += float64(len(items))
		}
		for i := min(last, float64(len(items)-1)); i >= 0; i-- {
			if strictEqual(items[int(i)], args[0]) {
				return Number(i)
			}
		}
		return Number(-1)
	}),
	"pop": {0, 0, func(ev *evaluator, receiver Value, args []Value) Value {
		a := receiver.(*Array)
		items := ev.items(a)
		i := float64(len(items) - 1)
		if v := arg(args, 0); !isUndefined(v) {
			if i = toInteger(ev.toNumber(v)); i < 0 {
				i += float64(len(items))
			}
		}
		if i < 0 || i >= float64(len(items)) {
			return Undefined{}
		}
		v := items[int(i)]
		if int(i) == len(items)-1 {
			ev.setItems(a, items[:len(items)-1:len(items)-1])
		} else if ev.step(int64(len(items)) / 8) {
			ev.setItems(a, slices.Delete(slices.Clone(items), int(i), int(i)+1))
		}
		return v
	}},
	"push": pushMethod,
	"reverse": changeItems(0, 0, func(_ *evaluator, items, _ []Value) ([]Value, Value) {
		slices.Reverse(items)
		return items, nil
	}),
	"shift": changeItems(0, 0, func(_ *evaluator, items, _ []Value) ([]Value, Value) {
		if len(items) == 0 {
			return items, Undefined{}
		}
		return items[1:], items[0]
	}),
	"slice": readMethod(0, 2, func(ev *evaluator, items, args []Value) Value {
		from := relative(ev.integer(args, 0, 0), len(items))
		to := max(relative(ev.integer(args, 1, math.Inf(1)), len(items)), from)
		return ev.newArray(slices.Clone(items[from:to]))
	}),
	"sort": changeItems(0, 0, sortItems),
	"splice": changeItems(0, -1, func(ev *evaluator, items, args []Value) ([]Value, Value) {
		if isUndefined(arg(args, 0)) {
			return items, &Array{local: true}
		}
		from := relative(ev.integer(args, 0, 0), len(items))
		count := clamp(ev.integer(args, 1, math.Inf(1)), len(items)-from)
		removed := slices.Clone(items[from : from+count])
		return slices.Replace(items, from, from+count, args[min(2, len(args)):]...), ev.newArray(removed)
	}),
	"unshift": changeItems(0, -1, func(_ *evaluator, items, args []Value) ([]Value, Value) {
		items = append(slices.Clone(args), items...)
		return items, Number(len(items))
	}),
}

func isNaN(v Value) bool {
	n, ok := v.(Number)
	return ok && math.IsNaN(float64(n))
}

// flat appends items, and those of arrays among them down to a depth.
func (ev *evaluator) flat(out, items []Value, depth float64) []Value {
	for _, item := range items {
		if !ev.step(1) {
			break
		}
		if a, ok := item.(*Array); ok && depth > 0 {
			out = ev.flat(out, ev.items(a), depth-1)
		} else {
			out = append(out, item)
		}
	}
	return out
}

// sortItems sorts by the text of items, as arrays do without a comparison.
func sortItems(ev *evaluator, items, _ []Value) ([]Value, Value) {
	c := filterCall{evaluator: ev}
	type keyed struct {
		text  string
		value Value
	}
	list := make([]keyed, 0, len(items))
	absent := 0
	for _, item := range items {
		if isUndefined(item) {
			absent++
			continue
		}
		list = append(list, keyed{ev.toText(item), item})
	}
	if !c.chargeSort(len(items)) {
		return items, nil
	}
	slices.SortStableFunc(list, func(a, b keyed) int { return utf16text.Compare(a.text, b.text) })
	for i, k := range list {
		items[i] = k.value
	}
	for i := range absent {
		items[len(list)+i] = Undefined{}
	}
	return items, nil
}

var pythonListMethods = map[string]*method{
	"append": {1, 1, pushMethod.run},
	"count": readMethod(1, 1, func(_ *evaluator, items, args []Value) Value {
		n := 0
		for _, item := range items {
			if strictEqual(item, args[0]) {
				n++
			}
		}
		return Number(n)
	}),
	"find":  indexMethod,
	"index": indexMethod,
	"insert": changeItems(2, 2, func(ev *evaluator, items, args []Value) ([]Value, Value) {
		at := relative(ev.integer(args, 0, 0), len(items))
		return slices.Insert(items, at, args[1]), &Array{local: true}
	}),
	"remove": changeItems(1, 1, func(ev *evaluator, items, args []Value) ([]Value, Value) {
		i := ev.indexOf(items, args[0], 0)
		if i < 0 {
			return items, &Array{local: true}
		}
		removed := []Value{items[i]}
		return slices.Delete(items, i, i+1), ev.newArray(removed)
	}),
}

var indexMethod = readMethod(1, 1, func(ev *evaluator, items, args []Value) Value {
	return Number(ev.indexOf(items, args[0], 0))
})
