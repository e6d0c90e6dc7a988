package template

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/utf16text"
)

// list returns the items of an array or the units of a text. Records give what
// they hold as something like an array, if they count here.
func (c *filterCall) list(records bool) ([]Value, bool) {
	switch v := c.input.(type) {
	case *Array:
		items := c.items(v)
		return items, c.step(int64(len(items)))
	case String, SafeString:
		text, _ := asText(v)
		if !c.step(int64(utf16text.Len(text))) {
			return nil, false
		}
		units := utf16text.Split(text)
		items := make([]Value, len(units))
		for i, unit := range units {
			items[i] = String(unit)
		}
		return items, true
	case *Record:
		if records {
			seq := c.recordSequence(v, 1)
			if !c.step(int64(seq.count())) {
				return nil, false
			}
			items := make([]Value, seq.count())
			for i := range items {
				items[i] = seq.at(i)
			}
			return items, true
		}
	}
	return nil, false
}

func (c *filterCall) array(items []Value) Value { return &Array{items: items, local: true} }

// count reads an argument that is a number of things.
func (c *filterCall) count(v Value, problem string) (int, bool) {
	n := math.Trunc(c.toNumber(v))
	if !(n > 0) || n > 1<<53 {
		c.fail(problem)
		return 0, false
	}
	return int(n), true
}

func batchFilter(c *filterCall) Value {
	if isNothing(c.input) {
		return c.fail("batch requires a sequence")
	}
	width, ok := c.count(c.arg(0), "Batch size must be a positive integer")
	if !ok {
		return Undefined{}
	}
	items, _ := c.list(true)
	fill := c.arg(1)
	rows := []Value{}
	for row := range slices.Chunk(items, min(width, max(len(items), 1))) {
		row = slices.Clone(row)
		if truthy(fill) && len(row) < width {
			if !c.step(int64(width - len(row))) {
				return Undefined{}
			}
			row = append(row, slices.Repeat([]Value{fill}, width-len(row))...)
		}
		rows = append(rows, c.array(row))
	}
	return c.array(rows)
}

func sliceFilter(c *filterCall) Value {
	items, ok := c.list(false)
	if !ok {
		return c.fail("slice requires a sequence")
	}
	count, ok := c.count(c.arg(0), "Slice count must be a positive integer")
	if !ok || !c.step(int64(count)) {
		return Undefined{}
	}
	_, isArray := c.input.(*Array)
	fill := c.arg(1)
	parts := make([]Value, 0, count)
	at := 0
	for i := range count {
		size := len(items) / count
		if i < len(items)%count {
			size++
		}
		part := slices.Clone(items[at : at+size])
		at += size
		short := truthy(fill) && i >= len(items)%count
		switch {
		case isArray && short:
			parts = append(parts, c.array(append(part, fill)))
		case isArray:
			parts = append(parts, c.array(part))
		case short:
			return c.fail("slice cannot append a fill value to a string")
		default:
			parts = append(parts, String(c.joined(&Array{items: part}, "", 0)))
		}
	}
	return c.array(parts)
}

func (c *filterCall) edge(which string) Value {
	if isNothing(c.input) {
		return c.fail(which + " requires a sequence")
	}
	i := 0.0
	if which == "last" {
		i = c.toNumber(c.ownLength(c.input)) - 1
	}
	v, _ := c.own(c.input, formatNumber(i))
	return v
}

func randomFilter(c *filterCall) Value {
	if isNothing(c.input) {
		return c.fail("random requires a sequence")
	}
	items, _ := c.list(true)
	if len(items) == 0 {
		return Undefined{}
	}
	return items[c.env.random(len(items))]
}

func listFilter(c *filterCall) Value {
	switch v := c.input.(type) {
	case *Array:
		return v
	case *Record:
		if !c.step(2 * int64(v.Len())) {
			return Undefined{}
		}
		entries := make([]Value, 0, v.Len())
		for key, value := range v.All() {
			entries = append(entries, NewRecord(Entry{"key", String(key)}, Entry{"value", value}))
		}
		return c.array(entries)
	case String, SafeString:
		items, _ := c.list(false)
		return c.array(items)
	}
	return c.fail("list requires an iterable value")
}

func reverseFilter(c *filterCall) Value {
	items, _ := c.list(true)
	items = slices.Clone(items)
	slices.Reverse(items)
	if _, ok := asText(c.input); ok {
		return c.like(c.joined(&Array{items: items}, "", 0))
	}
	return c.array(items)
}

// attributeKey reads the argument that names an attribute.
func (c *filterCall) attributeKey(v Value) string {
	key := c.toText(v)
	if isReserved(key) {
		c.fail("Template attribute " + key + " is reserved")
	}
	return key
}

// attributePath reads an argument that is a path with dots.
func (c *filterCall) attributePath(v Value) []string {
	if !truthy(v) {
		return nil
	}
	path := []string{c.toText(v)}
	if s, ok := v.(String); ok {
		path = strings.Split(string(s), ".")
	}
	if slices.ContainsFunc(path, isReserved) {
		c.fail("Template attribute " + strings.Join(path, ".") + " is reserved")
	}
	return path
}

// attribute reads an attribute of an item, which has to be there.
func (c *filterCall) attribute(item Value, key string) Value {
	if isNothing(item) {
		return c.fail("Cannot read a template attribute from a nullish value")
	}
	v, _ := c.own(item, key)
	return v
}

func (c *filterCall) attributeAt(item Value, path []string) Value {
	for _, key := range path {
		item = c.attribute(item, key)
	}
	return item
}

// attributes returns an attribute of each item.
func (c *filterCall) attributes(key string) []Value {
	if s, ok := c.input.(SafeString); ok && s != "" {
		c.fail("Cannot read a template attribute from a nullish value")
	}
	items, _ := c.list(true)
	out := make([]Value, len(items))
	for i, item := range items {
		out[i] = c.attribute(item, key)
	}
	return out
}

// operands are the items that join and sum work on.
func (c *filterCall) operands(attribute Value, filter string) ([]Value, bool) {
	if truthy(attribute) {
		return c.attributes(c.attributeKey(attribute)), true
	}
	a, ok := c.input.(*Array)
	if !ok {
		c.fail(filter + " requires an array")
		return nil, false
	}
	items := c.items(a)
	return items, c.step(int64(len(items)))
}

func joinFilter(c *filterCall) Value {
	separator := ""
	if v := c.arg(0); truthy(v) {
		separator = c.toText(v)
	}
	items, ok := c.operands(c.arg(1), "join")
	if !ok {
		return Undefined{}
	}
	return String(c.joined(&Array{items: items}, separator, 0))
}

func sumFilter(c *filterCall) Value {
	items, ok := c.operands(c.arg(0), "sum")
	if !ok {
		return Undefined{}
	}
	var total Value = Number(0)
	for _, item := range items {
		total = c.add(total, item)
	}
	var start Value = Number(0)
	if v := c.arg(1); !isUndefined(v) {
		start = v
	}
	return c.add(start, total)
}

// chargeSort charges for the comparisons of a sort.
func (c *filterCall) chargeSort(n int) bool {
	return c.step(int64(float64(n) * math.Log2(float64(n)+1) / 4))
}

// sorted sorts items; those that are undefined come last.
func (c *filterCall) sorted(items []Value, compare func(a, b Value) int) []Value {
	items = slices.Clone(items)
	if !c.chargeSort(len(items)) {
		return nil
	}
	slices.SortStableFunc(items, func(a, b Value) int {
		switch x, y := isUndefined(a), isUndefined(b); {
		case x && y:
			return 0
		case x:
			return 1
		case y:
			return -1
		}
		if c.err != nil {
			return 0
		}
		return compare(a, b)
	})
	return items
}

func sortFilter(c *filterCall) Value {
	items, _ := c.list(true)
	reverse, caseSensitive := truthy(c.arg(0)), truthy(c.arg(1))
	path := c.attributePath(c.arg(2))
	return c.array(c.sorted(items, func(a, b Value) int {
		a, b = c.attributeAt(a, path), c.attributeAt(b, path)
		s, textLeft := asText(a)
		t, textRight := asText(b)
		if !caseSensitive && textLeft && textRight {
			a, b = String(toLower(s)), String(toLower(t))
		}
		order := 0
		if o := c.order(a, b); o < 0 {
			order = -1
		} else if o > 0 {
			order = 1
		}
		if reverse {
			return -order
		}
		return order
	}))
}

func dictsortFilter(c *filterCall) Value {
	r, ok := c.input.(*Record)
	if !ok {
		return c.fail("dictsort requires a record")
	}
	by := 0
	switch c.arg(1) {
	case Undefined{}, String("key"):
	case String("value"):
		by = 1
	default:
		return c.fail("dictsort can only sort by key or value")
	}
	if !c.step(2 * int64(r.Len())) {
		return Undefined{}
	}
	entries := make([]Value, 0, r.Len())
	for key, value := range r.All() {
		entries = append(entries, c.array([]Value{String(key), value}))
	}
	fold := func(v Value) Value {
		if s, ok := asText(v); ok && !truthy(c.arg(0)) {
			return String(toUpper(s))
		}
		return v
	}
	return c.array(c.sorted(entries, func(a, b Value) int {
		x, y := fold(a.(*Array).items[by]), fold(b.(*Array).items[by])
		switch {
		case c.order(x, y) > 0:
			return 1
		case strictEqual(x, y):
			return 0
		}
		return -1
	}))
}

func groupbyFilter(c *filterCall) Value {
	if isNothing(c.input) {
		return c.fail("groupby requires a sequence")
	}
	items, _ := c.list(true)
	path := c.attributePath(c.arg(0))
	groups := &Record{}
	for _, item := range items {
		key := c.toText(c.attributeAt(item, path))
		if c.err != nil {
			break
		}
		if g, ok := groups.Get(key); ok {
			g := g.(*Array)
			g.items = append(g.items, item)
		} else {
			groups.Set(key, c.array([]Value{item}))
		}
	}
	return groups
}

func (c *filterCall) selected(which string) Value {
	name := "truthy"
	if v := c.arg(0); !isUndefined(v) {
		name = c.toText(v)
	}
	t, ok := tests[name]
	if !ok {
		return c.fail("Unknown template test " + name)
	}
	if isNothing(c.input) {
		return c.fail(which + " requires a sequence")
	}
	items, _ := c.list(true)
	args := c.args[min(1, len(c.args)):]
	if len(args) != t.arity {
		return c.fail("Template test " + name + " requires " + strconv.Itoa(t.arity) + " positional " + plural("argument", t.arity))
	}
	kept := []Value{}
	for _, item := range items {
		if c.apply(t, item, args) == (which == "select") {
			kept = append(kept, item)
		}
	}
	return c.array(kept)
}

func (c *filterCall) selectedByAttribute(which string) Value {
	a, ok := c.input.(*Array)
	if !ok {
		return c.fail(which + " requires an array")
	}
	key := c.attributeKey(c.arg(0))
	items := c.items(a)
	c.step(int64(len(items)))
	kept := []Value{}
	for _, item := range items {
		if c.err != nil {
			break
		}
		if truthy(c.attribute(item, key)) == (which == "selectattr") {
			kept = append(kept, item)
		}
	}
	return c.array(kept)
}
