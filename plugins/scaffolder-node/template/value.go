package template

import (
	"context"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/flytower/flytower/internal/ecmaregexp"
)

// Value is what expressions work with: one of [Undefined], [Null], [Bool],
// [Number], [String], [SafeString], [*Array], [*Record], [*Regexp], or
// something that can be called, which exists only within a render.
//
// Undefined is not Null: it is what a missing key gives, and what the filter
// default replaces.
type Value interface {
	// kind names the type of the value in errors.
	kind() string
}

type (
	// Undefined is the absence of a value.
	Undefined struct{}
	// Null is null, or none.
	Null struct{}
	// Bool is true or false.
	Bool bool
	// Number is a double, as all numbers of the language are.
	Number float64
	// String is a text. Its length and indexes count UTF-16 code units.
	String string
	// SafeString is a text that the filter escape leaves alone: the result of
	// macros and of the filters safe and escape.
	SafeString string
)

func (Undefined) kind() string  { return "undefined" }
func (Null) kind() string       { return "null" }
func (Bool) kind() string       { return "boolean" }
func (Number) kind() string     { return "number" }
func (String) kind() string     { return "string" }
func (SafeString) kind() string { return "safe string" }
func (*Array) kind() string     { return "array" }
func (*Record) kind() string    { return "record" }
func (*Regexp) kind() string    { return "regular expression" }

// Array is a list of values. Arrays that go into a render are never changed by
// it: methods such as push work on a copy that the render keeps.
type Array struct {
	items []Value
	// local arrays were made by the render that uses them
	local bool
}

// NewArray returns an array of items.
func NewArray(items ...Value) *Array { return &Array{items: items} }

// Len returns the number of items.
func (a *Array) Len() int { return len(a.items) }

// At returns an item.
func (a *Array) At(i int) Value { return a.items[i] }

// All iterates over the items.
func (a *Array) All() iter.Seq2[int, Value] { return slices.All(a.items) }

// Record is an ordered map from texts to values. Its order is that of
// JavaScript: keys that are indexes first, ascending, then the others as they
// were set.
//
// A record must not be changed while, or after, a render uses it; With makes a
// changed copy.
type Record struct {
	keys    []string
	values  []Value
	indexes int            // the number of keys that are indexes
	places  map[string]int // of keys, in records that are not small
}

// smallRecord is the size up to which searching is faster than a map.
const smallRecord = 8

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value Value
}

// NewRecord returns a record of entries. Of entries with the same key the last
// one counts.
func NewRecord(entries ...Entry) *Record {
	r := &Record{keys: make([]string, 0, len(entries)), values: make([]Value, 0, len(entries))}
	for _, e := range entries {
		r.Set(e.Key, e.Value)
	}
	return r
}

// Len returns the number of entries.
func (r *Record) Len() int { return len(r.keys) }

// At returns an entry by its place.
func (r *Record) At(i int) (key string, value Value) { return r.keys[i], r.values[i] }

// All iterates over the entries in order.
func (r *Record) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i, key := range r.keys {
			if !yield(key, r.values[i]) {
				return
			}
		}
	}
}

func (r *Record) place(key string) int {
	if r.places != nil {
		if i, ok := r.places[key]; ok {
			return i
		}
		return -1
	}
	return slices.Index(r.keys, key)
}

// Get returns the value of a key; ok tells whether there is one.
func (r *Record) Get(key string) (value Value, ok bool) {
	if r == nil {
		return Undefined{}, false
	}
	if i := r.place(key); i >= 0 {
		return r.values[i], true
	}
	return Undefined{}, false
}

// Set sets the value of a key.
func (r *Record) Set(key string, value Value) {
	if value == nil {
		value = Undefined{}
	}
	if i := r.place(key); i >= 0 {
		r.values[i] = value
		return
	}
	if index, ok := arrayIndex(key, math.MaxUint32); ok {
		at, _ := slices.BinarySearchFunc(r.keys[:r.indexes], index, func(key string, index int) int {
			other, _ := arrayIndex(key, math.MaxUint32)
			return other - index
		})
		r.indexes++
		if at < len(r.keys) {
			r.keys = slices.Insert(r.keys, at, key)
			r.values = slices.Insert(r.values, at, value)
			r.places = nil
			r.index()
			return
		}
	}
	r.keys = append(r.keys, key)
	r.values = append(r.values, value)
	if r.places != nil {
		r.places[key] = len(r.keys) - 1
		return
	}
	r.index()
}

func (r *Record) index() {
	if len(r.keys) <= smallRecord {
		return
	}
	r.places = make(map[string]int, 2*len(r.keys))
	for i, key := range r.keys {
		r.places[key] = i
	}
}

// With returns a copy of the record in which the value at a path of keys is
// another. Records on the way are copied, or made where there is none; all
// else is shared with the original.
//
//	context = context.With(output, "steps", "publish", "output")
func (r *Record) With(value Value, path ...string) *Record {
	changed := &Record{}
	if r != nil {
		changed = &Record{keys: slices.Clone(r.keys), values: slices.Clone(r.values), indexes: r.indexes}
		changed.index()
	}
	if len(path) == 0 {
		return changed
	}
	if len(path) > 1 {
		below, _ := changed.Get(path[0])
		record, _ := below.(*Record)
		value = record.With(value, path[1:]...)
	}
	changed.Set(path[0], value)
	return changed
}

// Regexp is a regular expression: r/pattern/flags.
type Regexp struct {
	re *ecmaregexp.Regexp
	// last is where an expression with the flag g goes on
	last int
}

// String returns the expression as JavaScript writes it: /pattern/flags.
func (r *Regexp) String() string { return r.re.String() }

// arrayIndex reads a key that is an index: decimal, without leading zeros,
// less than limit.
func arrayIndex(key string, limit int) (int, bool) {
	if key == "" || len(key) > 10 || key[0] < '0' || key[0] > '9' || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	n, err := strconv.Atoi(key)
	return n, err == nil && n < limit
}

// isSafe reports whether a text must not be escaped any more.
func isSafe(v Value) bool {
	_, ok := v.(SafeString)
	return ok
}

// asText returns the text of a string; ok is false for other values.
func asText(v Value) (text string, ok bool) {
	switch v := v.(type) {
	case String:
		return string(v), true
	case SafeString:
		return string(v), true
	}
	return "", false
}

// truthy is the boolean that a value counts as.
func truthy(v Value) bool {
	switch v := v.(type) {
	case Undefined, Null:
		return false
	case Bool:
		return bool(v)
	case Number:
		return v != 0 && v == v
	case String:
		return v != ""
	}
	return true
}

// strictEqual is ===: containers are equal to themselves only.
func strictEqual(a, b Value) bool {
	if x, ok := a.(Number); ok {
		y, ok := b.(Number)
		return ok && x == y
	}
	if _, ok := a.(SafeString); ok {
		return false // an object of its own in JavaScript
	}
	return a == b
}

// Member returns the entry of a record, the item of an array, or the unit of a
// text that has a key, or the length of the latter two; it is [Undefined] for
// everything else.
func Member(v Value, key string) Value {
	ev := evaluator{limits: &Limits{TextBytes: math.MaxInt64}}
	member, _ := ev.own(v, key)
	return member
}

// Text is the text of a value as JavaScript's String gives it: the items of an
// array are joined with commas, and Undefined is "undefined".
func Text(v Value) string {
	ev := evaluator{limits: &Limits{TextBytes: math.MaxInt64, Steps: math.MaxInt64}, ctx: context.Background()}
	return ev.toText(v)
}
