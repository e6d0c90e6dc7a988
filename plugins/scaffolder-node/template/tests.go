package template

import (
	"maps"
	"math"
	"slices"
)

// testSpec is what follows "is".
type testSpec struct {
	arity int
	// functions says that the test may look at functions
	functions bool
	run       func(ev *evaluator, v Value, args []Value) bool
}

func (ev *evaluator) apply(t testSpec, v Value, args []Value) bool {
	if !t.functions {
		ev.data(v)
		for _, a := range args {
			ev.data(a)
		}
	}
	return ev.err == nil && t.run(ev, v, args)
}

func testNames() []string { return slices.Sorted(maps.Keys(tests)) }

func equalTo(_ *evaluator, v Value, args []Value) bool { return strictEqual(v, args[0]) }

func ordered(accept func(order float64) bool) func(*evaluator, Value, []Value) bool {
	return func(ev *evaluator, v Value, args []Value) bool { return accept(ev.order(v, args[0])) }
}

func simple(accept func(v Value) bool) testSpec {
	return testSpec{run: func(_ *evaluator, v Value, _ []Value) bool { return accept(v) }}
}

func remainder(divisor, want float64) testSpec {
	return testSpec{run: func(ev *evaluator, v Value, _ []Value) bool {
		return math.Mod(ev.toNumber(v), divisor) == want
	}}
}

func casing(change func(string) string) testSpec {
	return testSpec{run: func(ev *evaluator, v Value, _ []Value) bool {
		switch v := v.(type) {
		case String:
			ev.text(len(v))
			return change(string(v)) == string(v)
		case SafeString:
			return false // an object, which no text is identical to
		}
		ev.fail("Filter input must be a string")
		return false
	}}
}

var (
	greater = testSpec{arity: 1, run: ordered(func(o float64) bool { return o > 0 })}
	less    = testSpec{arity: 1, run: ordered(func(o float64) bool { return o < 0 })}
	same    = testSpec{arity: 1, functions: true, run: equalTo}
)

var tests = map[string]testSpec{
	"callable": {functions: true, run: func(_ *evaluator, v Value, _ []Value) bool {
		_, ok := v.(function)
		return ok
	}},
	"defined": simple(func(v Value) bool { return !isUndefined(v) }),
	"divisibleby": {arity: 1, run: func(ev *evaluator, v Value, args []Value) bool {
		return math.Mod(ev.toNumber(v), ev.toNumber(args[0])) == 0
	}},
	"escaped":     simple(isSafe),
	"eq":          same,
	"equalto":     same,
	"sameas":      same,
	"even":        remainder(2, 0),
	"odd":         remainder(2, 1),
	"falsy":       simple(func(v Value) bool { return !truthy(v) }),
	"truthy":      simple(truthy),
	"ge":          {arity: 1, run: ordered(func(o float64) bool { return o >= 0 })},
	"gt":          greater,
	"greaterthan": greater,
	"le":          {arity: 1, run: ordered(func(o float64) bool { return o <= 0 })},
	"lt":          less,
	"lessthan":    less,
	"iterable": {run: func(ev *evaluator, v Value, _ []Value) bool {
		if isNothing(v) {
			ev.fail("iterable test requires a value")
		}
		_, isArray := v.(*Array)
		_, isText := asText(v)
		return isArray || isText
	}},
	"lower": casing(toLower),
	"upper": casing(toUpper),
	"mapping": simple(func(v Value) bool {
		switch v.(type) {
		case *Record, SafeString, *Regexp:
			return true
		}
		return false
	}),
	"ne": {arity: 1, functions: true, run: func(ev *evaluator, v Value, args []Value) bool {
		return !equalTo(ev, v, args)
	}},
	"null":      simple(func(v Value) bool { _, ok := v.(Null); return ok }),
	"number":    simple(func(v Value) bool { _, ok := v.(Number); return ok }),
	"string":    simple(func(v Value) bool { _, ok := v.(String); return ok }),
	"undefined": simple(isUndefined),
}
