package template

import (
	"math"
	"strconv"

	"github.com/flytower/flytower/internal/utf16text"
)

func (s *textStmt) exec(ev *evaluator, _ *scope) { ev.write(s.text) }

func (s *outputStmt) exec(ev *evaluator, sc *scope) {
	v := ev.eval(s.value, sc)
	if ev.err == nil {
		ev.pos = s.pos()
		ev.write(ev.display(v))
	}
}

func (s *ifStmt) exec(ev *evaluator, sc *scope) {
	for _, b := range s.branches {
		if truthy(ev.eval(b.condition, sc)) {
			ev.run(b.body, sc)
			return
		}
		if ev.err != nil {
			return
		}
	}
	ev.run(s.otherwise, sc)
}

func (s *setStmt) exec(ev *evaluator, sc *scope) {
	var v Value
	if s.value != nil {
		v = ev.eval(s.value, sc)
	} else {
		v = String(ev.captured(s.body, sc))
	}
	if ev.err != nil {
		return
	}
	for _, target := range s.targets {
		if sc.isolated {
			sc.define(target, v)
		} else {
			sc.set(target, v)
		}
		if sc.exportsSets {
			sc.macros.define(target, v)
		}
	}
}

func (s *macroStmt) exec(_ *evaluator, sc *scope) {
	m := &macro{name: s.name, callable: &s.callable, scope: sc.macros, macros: sc.macros, exports: true}
	sc.define(s.name, m)
	if sc.exportsMacros {
		sc.macros.define(s.name, m)
	}
}

func (s *callStmt) exec(ev *evaluator, sc *scope) {
	target := ev.eval(s.call.target, sc)
	m, ok := target.(*macro)
	if !ok || m.isCaller {
		ev.pos = s.pos()
		ev.fail("Call blocks can target only template macros")
		return
	}
	args := ev.arguments(s.call.args, sc)
	caller := &macro{name: "caller", callable: &s.caller, scope: sc, macros: sc.macros, isCaller: true}
	args.keywords = append(args.keywords, keywordValue{"caller", caller})
	v := m.invoke(ev, args)
	ev.write(ev.display(v))
}

func (s *blockStmt) exec(ev *evaluator, sc *scope) { ev.run(s.body, sc.block()) }

func (s *switchStmt) exec(ev *evaluator, sc *scope) {
	value := ev.eval(s.value, sc)
	matched := false
	for _, c := range s.cases {
		if !matched && !strictEqual(value, ev.eval(c.condition, sc)) {
			continue
		}
		if ev.err != nil {
			return
		}
		matched = true
		if len(c.body) > 0 {
			ev.run(c.body, sc)
			return
		}
	}
	ev.run(s.fallback, sc)
}

// sequence is what a loop goes over.
type sequence struct {
	length Value // undefined if there is nothing to iterate over
	// count is the number of items, which the body may change
	count func() int
	at    func(i int) Value
	// pairs says that items are [key, value] of records and texts
	pairs bool
}

func (s *forStmt) exec(ev *evaluator, sc *scope) {
	list := ev.eval(s.list, sc)
	if ev.err != nil {
		return
	}
	ev.pos = s.pos()
	seq := ev.sequence(list, len(s.targets))
	inner := sc.loop()
	if n := ev.toNumber(seq.length); truthy(list) && ev.err == nil {
		for i := 0; i < seq.count(); i++ {
			if !ev.step(1) {
				return
			}
			ev.bind(s, seq, i, inner)
			if s.usesLoop {
				inner.define("loop", loopRecord(i, n, seq.length))
			}
			ev.run(s.body, inner)
		}
	}
	if s.hasElse && (!truthy(seq.length) || !truthy(list)) {
		ev.run(s.otherwise, inner)
	}
}

func loopRecord(i int, length float64, lengthValue Value) *Record {
	return &Record{
		keys: loopKeys,
		values: []Value{
			Number(i + 1), Number(i), Number(length - float64(i)), Number(length - float64(i) - 1),
			Bool(i == 0), Bool(float64(i) == length-1), lengthValue,
		},
	}
}

var loopKeys = []string{"index", "index0", "revindex", "revindex0", "first", "last", "length"}

// bind sets the targets of a loop for one iteration.
func (ev *evaluator) bind(s *forStmt, seq sequence, i int, sc *scope) {
	item := seq.at(i)
	if len(s.targets) == 1 {
		sc.define(s.targets[0], item)
		return
	}
	for t, target := range s.targets {
		if seq.pairs && t >= 2 {
			return
		}
		if isNothing(item) {
			ev.pos = s.pos()
			ev.fail("Cannot destructure a nullish loop value")
			return
		}
		v, _ := ev.own(item, strconv.Itoa(t))
		sc.define(target, v)
	}
}

func (ev *evaluator) sequence(list Value, targets int) sequence {
	switch v := list.(type) {
	case *Array:
		return sequence{
			length: Number(len(ev.items(v))),
			count:  func() int { return len(ev.items(v)) },
			at:     func(i int) Value { return ev.items(v)[i] },
		}
	case *Record:
		return ev.recordSequence(v, targets)
	case String, SafeString:
		units, _ := ev.units(v)
		seq := sequence{
			length: Number(len(units)), count: fixed(len(units)),
			at: func(i int) Value { return String(utf16text.String(units[i : i+1])) },
		}
		if _, plain := v.(String); plain && targets > 1 {
			unit := seq.at
			seq.at = func(i int) Value { return NewArray(String(strconv.Itoa(i)), unit(i)) }
			seq.pairs = true
		}
		return seq
	}
	if targets > 1 {
		return sequence{length: Number(0), count: fixed(0)}
	}
	return sequence{length: Undefined{}, count: fixed(0)}
}

func fixed(n int) func() int { return func() int { return n } }

// recordSequence iterates over entries if there are two targets; with one it
// takes the record for something like an array, by its key length.
func (ev *evaluator) recordSequence(r *Record, targets int) sequence {
	if targets > 1 {
		return sequence{length: Number(r.Len()), count: fixed(r.Len()), pairs: true, at: func(i int) Value {
			key, value := r.At(i)
			return NewArray(String(key), value)
		}}
	}
	length, _ := r.Get("length")
	return sequence{length: length, count: fixed(ev.likeArray(ev.toNumber(length))), at: func(i int) Value {
		v, _ := r.Get(strconv.Itoa(i))
		return v
	}}
}

// likeArray is the number of items that a length stands for. Lengths beyond
// the limit of steps fail at once.
func (ev *evaluator) likeArray(length float64) int {
	if !(length > 0) {
		return 0
	}
	if left := ev.limits.Steps - ev.steps; length > float64(left) {
		ev.exceeded("Steps", ev.limits.Steps, ev.limits.Steps+1)
		return 0
	}
	return int(math.Ceil(length))
}
