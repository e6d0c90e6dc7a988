package postings

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
)

// by is a field to order by.
type by struct {
	field uint32
	desc  bool
}

// spec is an order of entities: by their smallest values of each field (their
// largest, where descending), those without one last, and then by ref.
type spec struct {
	by      []by
	refDesc bool
}

func (s spec) key() string {
	var b strings.Builder
	for _, f := range s.by {
		b.WriteString(strconv.FormatUint(uint64(f.field), 36))
		if f.desc {
			b.WriteByte('-')
		}
		b.WriteByte(',')
	}
	if s.refDesc {
		b.WriteByte('-')
	}
	return b.String()
}

// ranking is all entities in an order. It never changes.
type ranking struct {
	order  []uint32 // ordinals
	rank   []uint32 // by ordinal, the place in order
	valued int      // how many have a value of the first field; they come first
}

// orders keeps rankings. A change only notes which entities it concerns; the
// next reader puts those into their places, or sorts anew if they are many.
type orders struct {
	mu    sync.Mutex
	kept  map[string]*kept
	clock int
}

type kept struct {
	spec spec
	// mu excludes readers from each other while one brings the ranking up to
	// date; changes to the index are excluded by its own lock.
	mu     sync.Mutex
	now    *ranking
	stale  map[uint32]bool
	placed placesKept
	used   int // guarded by orders.mu
}

// maxOrders bounds how many rankings are kept, each of 8 bytes per entity.
const maxOrders = 12

// changed notes that an entity has other values of some fields.
func (o *orders) changed(ordinal uint32, fields []uint32) {
	for _, k := range o.kept {
		if k.now == nil {
			continue
		}
		concerned := slices.Contains(fields, refField)
		for _, b := range k.spec.by {
			concerned = concerned || slices.Contains(fields, b.field)
		}
		if !concerned {
			continue
		}
		if k.stale[ordinal] = true; len(k.stale) > maxStale {
			k.now, k.stale = nil, map[uint32]bool{}
		}
	}
}

// maxStale is up to how many entities are moved one by one.
const maxStale = 512

func (o *orders) memory() int {
	n := 0
	o.mu.Lock()
	all := slices.Collect(maps.Values(o.kept))
	o.mu.Unlock()
	for _, k := range all {
		k.mu.Lock()
		if k.now != nil {
			n += cap(k.now.order)*4 + cap(k.now.rank)*4
		}
		for _, p := range k.placed.sets {
			n += cap(p) * 8
		}
		k.mu.Unlock()
	}
	return n
}

// get returns the place of a ranking, and drops the one that was not used for
// the longest time.
func (o *orders) get(s spec) *kept {
	key := s.key()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clock++
	k, ok := o.kept[key]
	if !ok {
		if o.kept == nil {
			o.kept = map[string]*kept{}
		}
		if len(o.kept) >= maxOrders {
			oldest := ""
			for name, k := range o.kept {
				if name != (spec{}).key() && (oldest == "" || k.used < o.kept[oldest].used) {
					oldest = name
				}
			}
			delete(o.kept, oldest)
		}
		k = &kept{spec: s, stale: map[uint32]bool{}}
		o.kept[key] = k
	}
	k.used = o.clock
	return k
}

// ranking returns the entities in an order. The caller holds the read lock.
func (x *Index) ranking(s spec) *ranking { return x.orders.get(s).ranking(x) }

func (k *kept) ranking(x *Index) *ranking {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.spec
	switch {
	case k.now == nil:
		k.now = x.rank(s)
	case len(k.stale) > 0:
		k.now = x.rerank(s, k.now, k.stale)
	}
	clear(k.stale)
	return k.now
}

// rank sorts all entities.
func (x *Index) rank(s spec) *ranking {
	n := len(x.ids) - len(x.vacant)
	r := &ranking{order: make([]uint32, 0, n), rank: make([]uint32, len(x.ids)), valued: n}
	if len(s.by) == 0 && !s.refDesc {
		for id := range x.field[refField].terms.all() {
			r.order = append(r.order, uint32(x.dict.term(id).members))
		}
		r.number()
		return r
	}
	r.order = append(r.order, x.ranking(spec{}).order...)
	if s.refDesc {
		slices.Reverse(r.order)
	}
	// From the least significant field to the first, the entities are sorted by
	// (value, place so far), as numbers.
	sortable := make([]uint64, n)
	places := make([]uint32, len(x.ids))
	for _, b := range slices.Backward(s.by) {
		valued := x.valuePlaces(b, places)
		for i, ordinal := range r.order {
			sortable[i] = uint64(places[ordinal])<<32 | uint64(i)
		}
		slices.Sort(sortable)
		before := slices.Clone(r.order)
		for i, v := range sortable {
			r.order[i] = before[uint32(v)]
		}
		r.valued = valued
	}
	r.number()
	return r
}

func (r *ranking) number() {
	for i, ordinal := range r.order {
		r.rank[ordinal] = uint32(i)
	}
}

// valuePlaces sets the place of each entity's value among the values of a
// field, and returns how many entities have one.
func (x *Index) valuePlaces(b by, places []uint32) (valued int) {
	const none = 1<<32 - 1
	for i := range places {
		places[i] = none
	}
	last, place := "", uint32(0)
	members := []uint32{}
	terms := x.field[b.field].terms.all()
	if b.desc {
		terms = x.field[b.field].terms.backward()
	}
	for id := range terms {
		if v := x.dict.value(id); v != last {
			last = v
			place++
		}
		members = x.members(members[:0], x.dict.term(id).members)
		for _, ordinal := range members {
			if places[ordinal] == none {
				places[ordinal] = place
				valued++
			}
		}
	}
	return valued
}

// members appends all members of a set.
func (x *Index) members(dst []uint32, p set) []uint32 {
	if p&tagMask != tagBitmap {
		return x.sets.appendTo(dst, p)
	}
	it := x.sets.bitmap(p).ManyIterator()
	n := len(dst)
	dst = slices.Grow(dst, x.sets.size(p))
	dst = dst[:n+it.NextMany(dst[n:cap(dst)])]
	return dst
}

// rerank moves entities to their places.
func (x *Index) rerank(s spec, r *ranking, stale map[uint32]bool) *ranking {
	moved := make([]*sortValues, 0, len(stale))
	out := &ranking{order: make([]uint32, 0, len(x.ids)-len(x.vacant)), rank: make([]uint32, len(x.ids))}
	for ordinal := range stale {
		if x.live.Contains(ordinal) {
			moved = append(moved, x.sortValues(s, ordinal))
		}
	}
	slices.SortFunc(moved, func(a, b *sortValues) int { return s.compare(a, b) })
	still := make([]uint32, 0, len(r.order))
	for _, ordinal := range r.order {
		if !stale[ordinal] {
			still = append(still, ordinal)
		}
	}
	from := 0
	for _, m := range moved {
		at := from + searchFunc(still[from:], func(ordinal uint32) bool { return s.compare(x.sortValues(s, ordinal), m) < 0 })
		out.order = append(append(out.order, still[from:at]...), m.ordinal)
		from = at
	}
	out.order = append(out.order, still[from:]...)
	out.valued = len(out.order)
	if len(s.by) > 0 {
		out.valued = searchFunc(out.order, func(ordinal uint32) bool { return x.sortValues(s, ordinal).has[0] })
	}
	out.number()
	return out
}

// searchFunc returns the index of the first element that is not before.
func searchFunc(ordinals []uint32, before func(uint32) bool) int {
	lo, hi := 0, len(ordinals)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if before(ordinals[mid]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// sortValues is what an entity is ordered by.
type sortValues struct {
	ordinal uint32
	ref     string
	values  []string
	has     []bool
}

func (x *Index) sortValues(s spec, ordinal uint32) *sortValues {
	v := &sortValues{ordinal: ordinal, values: make([]string, len(s.by)), has: make([]bool, len(s.by))}
	var room [64]uint32
	for _, id := range decodeForward(room[:0], x.forward[ordinal]) {
		r := x.dict.record(id)
		if r.field == refField {
			v.ref = r.value
		}
		for i, b := range s.by {
			if r.field == b.field && !r.null && (!v.has[i] || (r.value > v.values[i]) == b.desc) {
				v.values[i], v.has[i] = r.value, true
			}
		}
	}
	return v
}

// describe returns the ref of an entity, and what it is ordered by first.
func (x *Index) describe(ordinal uint32, first *by) (ref, value string, has bool) {
	var room [64]uint32
	for _, id := range decodeForward(room[:0], x.forward[ordinal]) {
		switch f := x.dict.field(id); {
		case f == refField:
			if ref = x.dict.record(id).value; first == nil {
				return ref, "", false
			}
		case first != nil && f == first.field:
			if r := x.dict.record(id); !r.null && (!has || (r.value > value) == first.desc) {
				value, has = r.value, true
			}
		}
	}
	return ref, value, has
}

func (s spec) compare(a, b *sortValues) int {
	for i, by := range s.by {
		if a.has[i] != b.has[i] {
			if a.has[i] {
				return -1
			}
			return 1
		}
		if c := cmp.Compare(a.values[i], b.values[i]); c != 0 {
			if by.desc {
				return -c
			}
			return c
		}
	}
	c := cmp.Compare(a.ref, b.ref)
	if s.refDesc {
		return -c
	}
	return c
}

// specOf translates the order of a request; false if a field is a key that
// nobody ever had.
func (x *Index) specOf(order []query.Order, keepUnordered bool) (spec, bool) {
	var s spec
	if !keepUnordered && len(order) > 1 {
		order = order[:1]
	}
	known := true
	for _, o := range order {
		f, ok := x.names[o.Field]
		if !ok {
			known = false
			continue
		}
		s.by = append(s.by, by{f, o.Descending})
		s.refDesc = o.Descending && !keepUnordered
	}
	return s, known
}
