package postings

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// Hit is an entity of a list.
type Hit struct {
	ID   int64
	Mark uint32
	// Ordinal is the number of the entity in the index. It belongs to another
	// entity when this one is gone.
	Ordinal uint32
	query.Position
	// HasValue is false if the entity lacks the first field of the order.
	HasValue bool
}

// List returns what read.Reader.List does; false if it cannot.
func (x *Index) List(q read.Request) ([]Hit, bool) { return x.AppendList(nil, q) }

// AppendList is List that appends to dst.
func (x *Index) AppendList(dst []Hit, q read.Request) ([]Hit, bool) {
	if q.Limit <= 0 {
		return dst, true
	}
	if q.KeepUnordered && q.After != nil {
		return nil, false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if slices.ContainsFunc(q.Order, func(o query.Order) bool { return x.hasItems(o.Field) }) {
		return nil, false
	}
	if hits, ok := x.listHaving(dst, q); ok {
		return hits, true
	}
	return x.list(dst, q, x.matches(q)), true
}

// Page returns a list and how many entities there are, whatever the place and
// the limit, both as of the same time; false if it cannot.
func (x *Index) Page(q read.Request) (hits []Hit, total int, ok bool) {
	if q.KeepUnordered && q.After != nil {
		return nil, 0, false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if slices.ContainsFunc(q.Order, func(o query.Order) bool { return x.hasItems(o.Field) }) {
		return nil, 0, false
	}
	found := x.matches(q)
	if q.Limit > 0 {
		hits = x.list(nil, q, found)
	}
	total, ok = x.count(q, found)
	return hits, total, ok
}

// list cuts a page out of what a request found.
func (x *Index) list(dst []Hit, q read.Request, found result) []Hit {
	s, known := x.specOf(q.Order, q.KeepUnordered)
	if !known && !q.KeepUnordered || found.bitmap.IsEmpty() {
		return dst
	}
	k := x.orders.get(s)
	r := k.ranking(x)
	from, to := 0, len(r.order)
	if !q.KeepUnordered {
		to = r.valued
	}
	if q.After != nil {
		from, to = x.behind(s, r, to, q)
	}
	ordinals := x.pick(k, r, found, from, to, q)
	return x.hits(dst, ordinals, x.firstOf(s, q.Order), q.Bare)
}

// behind returns the part of the ranking that lies behind the place that a
// request names, or before it.
func (x *Index) behind(s spec, r *ranking, to int, q read.Request) (int, int) {
	place := &sortValues{ref: q.After.Ref, values: []string{q.After.Value}, has: []bool{true}}
	if q.Before {
		return 0, searchFunc(r.order[:to], func(n uint32) bool { return s.compare(x.sortValues(s, n), place) < 0 })
	}
	return searchFunc(r.order[:to], func(n uint32) bool { return s.compare(x.sortValues(s, n), place) <= 0 }), to
}

// pick cuts the page out of the ranking: by the places of a set that the index
// has anyway; of another set with a walk over the ranking, or, where that would
// take longer, by sorting the places of those that were found.
func (x *Index) pick(k *kept, r *ranking, found result, from, to int, q read.Request) []uint32 {
	if from >= to || q.Offset >= to-from {
		return nil
	}
	q.Limit = min(q.Limit, to-from)
	size := int(found.bitmap.GetCardinality())
	wanted := min(q.Offset+q.Limit, to-from)
	if size == len(r.order) {
		if q.Before {
			return slices.Clone(r.order[max(from, to-wanted) : to-q.Offset])
		}
		return slices.Clone(r.order[from+q.Offset : from+wanted])
	}
	if found.ours && size > maxList {
		return pickPlaces(r, k.places(r, found.bitmap, x.changes), from, to, q.Offset, q.Limit, q.Before)
	}
	walk := min(wanted*(len(r.order)/size+1), to-from)
	if size*bits.Len(uint(size)) < 2*walk {
		return pickSorted(r, found.bitmap, from, to, q)
	}
	return pickWalking(r, found.bitmap, from, to, q, walk)
}

func pickSorted(r *ranking, found *roaring.Bitmap, from, to int, q read.Request) []uint32 {
	places := make([]uint32, 0, found.GetCardinality())
	for ordinal := range roaring.Values(found) {
		if p := r.rank[ordinal]; int(p) >= from && int(p) < to {
			places = append(places, p)
		}
	}
	slices.Sort(places)
	if q.Offset >= len(places) {
		return nil
	}
	wanted := min(q.Offset+q.Limit, len(places))
	if q.Before {
		places = places[len(places)-wanted : len(places)-q.Offset]
	} else {
		places = places[q.Offset:wanted]
	}
	for i, p := range places {
		places[i] = r.order[p]
	}
	return places
}

// fewLooks is from how many on looks into a set cost more than laying it out for
// them.
const fewLooks = 64

func pickWalking(r *ranking, found *roaring.Bitmap, from, to int, q read.Request, walk int) []uint32 {
	has := found.Contains
	if walk > fewLooks {
		has = newDense(found).has
	}
	out := make([]uint32, 0, min(q.Limit, to-from))
	skip := q.Offset
	for i := range to - from {
		ordinal := r.order[from+i]
		if q.Before {
			ordinal = r.order[to-1-i]
		}
		if i == fewLooks && walk <= fewLooks {
			has = newDense(found).has // they lie close together, somewhere behind
		}
		switch {
		case !has(ordinal):
		case skip > 0:
			skip--
		default:
			if out = append(out, ordinal); len(out) == q.Limit {
				if q.Before {
					slices.Reverse(out)
				}
				return out
			}
		}
	}
	if q.Before {
		slices.Reverse(out)
	}
	return out
}

// Count returns what read.Reader.Count does; false if it cannot.
func (x *Index) Count(q read.Request) (int, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count(q, x.matches(q))
}

func (x *Index) count(q read.Request, matching result) (int, bool) {
	found := matching.bitmap
	if len(q.Order) == 0 || q.KeepUnordered {
		return int(found.GetCardinality()), true
	}
	if x.hasItems(q.Order[0].Field) {
		return 0, false
	}
	number, ok := x.names[q.Order[0].Field]
	if !ok {
		return 0, true
	}
	f := x.field[number]
	n := int(found.AndCardinality(f.has))
	if f.null == noTerm {
		return n, true
	}
	// Of those that have the key, some have no value that compares.
	for _, ordinal := range x.members(nil, x.dict.term(f.null).members) {
		if found.Contains(ordinal) {
			if _, _, has := x.describe(ordinal, &by{field: number}); !has {
				n--
			}
		}
	}
	return n, true
}

// ByRefs returns the entities with the refs, in their order; one without ID
// is not there, or the filter excludes it.
func (x *Index) ByRefs(refs []string, filter query.Predicate) []Hit {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var may *roaring.Bitmap
	if filter != nil {
		may = x.eval(filter).bitmap
	}
	out := make([]Hit, len(refs))
	for i, ref := range refs {
		id, ok := x.refs.find(&x.dict, ref)
		if !ok {
			continue
		}
		if ordinal := uint32(x.dict.term(id).members); may == nil || may.Contains(ordinal) {
			out[i] = Hit{ID: x.ids[ordinal], Mark: x.marks[ordinal], Ordinal: ordinal, Position: query.Position{Ref: ref}}
		}
	}
	return out
}

// ByUID returns the entity with the uid.
func (x *Index) ByUID(uid string, filter query.Predicate) (Hit, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	number, ok := x.names[uidKey]
	if !ok {
		return Hit{}, false
	}
	var hit Hit
	x.eachValue(x.field[number], number, strings.ToLower(uid), func(id uint32, r record) {
		members := x.members(nil, x.dict.term(id).members)
		if r.text() != uid || len(members) != 1 || filter != nil && !x.eval(filter).bitmap.Contains(members[0]) {
			return
		}
		hit = Hit{ID: x.ids[members[0]], Mark: x.marks[members[0]], Ordinal: members[0]}
	})
	return hit, hit.ID != 0
}

// Facets returns the values of a key and how many of the entities have each,
// as read.Reader.Facets does for a key in lower case; false if only the
// database can tell.
func (x *Index) Facets(keys []string, filter query.Predicate) (map[string][]read.Facet, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := counter{Index: x}
	if filter != nil {
		r := x.eval(filter)
		c.bitmap = r.bitmap
	}
	out := make(map[string][]read.Facet, len(keys))
	for _, key := range keys {
		lower := strings.ToLower(key)
		if x.hasItems(lower) {
			return nil, false
		}
		out[key] = []read.Facet{}
		if number, ok := x.names[lower]; ok {
			out[key] = c.facets(x.field[number])
		}
	}
	return out, true
}

// counter counts the members of terms among some entities.
type counter struct {
	*Index
	bitmap *roaring.Bitmap // nil for all
	dense  dense
}

func (c *counter) facets(f *field) []read.Facet {
	out := make([]read.Facet, 0, min(f.terms.len, 64))
	if c.bitmap != nil && c.dense == nil && f.terms.len > 64 {
		c.dense = newDense(c.bitmap)
	}
	sorted := true
	for id := range f.terms.all() {
		n := c.count(c.dict.term(id).members)
		if n == 0 {
			continue
		}
		text := c.dict.record(id).text()
		if last := len(out) - 1; last >= 0 {
			if out[last].Value == text { // as an item and otherwise
				out[last].Count += n
				continue
			}
			sorted = sorted && out[last].Value < text
		}
		out = append(out, read.Facet{Value: text, Count: n})
	}
	if sorted {
		return out
	}
	slices.SortStableFunc(out, func(a, b read.Facet) int { return cmp.Compare(a.Value, b.Value) })
	merged := out[:0]
	for _, f := range out {
		if last := len(merged) - 1; last >= 0 && merged[last].Value == f.Value {
			merged[last].Count += f.Count
		} else {
			merged = append(merged, f)
		}
	}
	return merged
}

func (c *counter) count(p set) int {
	switch {
	case c.bitmap == nil:
		return c.sets.size(p)
	case p&tagMask == tagBitmap:
		return int(c.sets.bitmap(p).AndCardinality(c.bitmap))
	}
	has := c.bitmap.Contains
	if c.dense != nil {
		has = c.dense.has
	}
	n := 0
	var room [maxList]uint32
	for _, ordinal := range c.sets.appendTo(room[:0], p) {
		if has(ordinal) {
			n++
		}
	}
	return n
}
