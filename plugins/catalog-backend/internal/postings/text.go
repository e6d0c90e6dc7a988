package postings

import (
	"sort"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// uidKey is the key whose values are the uids.
const uidKey = "metadata.uid"

// search is the text that a request looks for.
type search struct {
	term   string
	fields []uint32
	// original compares with how values are written, not with their lower case.
	original bool
}

// searchOf returns what a request looks for in texts.
func (x *Index) searchOf(q read.Request) search {
	s := search{term: q.FullText.Term}
	names := q.FullText.Fields
	if len(names) == 0 {
		if len(q.Order) > 0 {
			names = []string{q.Order[0].Field}
		} else {
			// Nothing is searched but the identity of an entity.
			names, s.original = []string{uidKey}, true
		}
	}
	for _, name := range names {
		if f, ok := x.names[name]; ok {
			s.fields = append(s.fields, f)
		}
	}
	return s
}

// matches returns the entities that meet the filter and have the text.
func (x *Index) matches(q read.Request) result {
	r := x.eval(q.Filter)
	if q.FullText.Term == "" || r.bitmap.IsEmpty() {
		return r
	}
	return result{bitmap: roaring.And(r.bitmap, x.having(x.searchOf(q)).bitmap)}
}

// having returns the entities that have a text.
func (x *Index) having(s search) result {
	u := union{index: x}
	for _, number := range s.fields {
		f := x.field[number]
		for i := range f.terms.blocks {
			b := &f.terms.blocks[i]
			if b.numbers == nil && !s.original {
				x.scanRun(&u, s.term, b.first, b.first+uint32(b.run))
				continue
			}
			for j := range b.len() {
				if id := b.at(j); x.termHas(id, s) {
					u.addSet(x.dict.term(id).members)
				}
			}
		}
	}
	return u.result()
}

func (x *Index) termHas(id uint32, s search) bool {
	if s.original {
		return strings.Contains(x.dict.record(id).text(), s.term)
	}
	return strings.Contains(x.dict.value(id), s.term)
}

// scanRun adds the entities of the terms from..to, whose texts lie one behind
// the other, since nothing changed there since [Index.Compact]: the texts are
// searched as one.
func (x *Index) scanRun(u *union, term string, from, to uint32) {
	for from < to {
		at := x.dict.term(from).text
		chunk := at / chunkBytes
		// The first term whose text is in another chunk.
		end := from + uint32(sort.Search(int(to-from), func(i int) bool { return x.dict.term(from+uint32(i)).text/chunkBytes != chunk }))
		text := x.dict.chunks[chunk].all
		last := end - 1
		stop := int(x.dict.term(last).text%chunkBytes) + x.dict.recordLen(last)
		x.scanChunk(u, term, text[:stop], from, end)
		from = end
	}
}

// scanChunk searches the texts of the terms from..to, which lie in one chunk.
func (x *Index) scanChunk(u *union, term, text string, from, to uint32) {
	for at := int(x.dict.term(from).text % chunkBytes); ; {
		i := strings.Index(text[at:], term)
		if i < 0 {
			return
		}
		at += i
		// The last term that begins at or before the place that was found.
		n := sort.Search(int(to-from), func(i int) bool { return int(x.dict.term(from+uint32(i)).text%chunkBytes) > at })
		id := from + uint32(n) - 1
		// What lies between the values may look like the text, too.
		if strings.Contains(x.dict.value(id), term) {
			u.addSet(x.dict.term(id).members)
		}
		if from = id + 1; from == to {
			return
		}
		at = int(x.dict.term(from).text % chunkBytes)
	}
}

// maxTried bounds how many entities are looked at one by one for a text, before
// all texts are searched.
const maxTried = 2000

// listHaving lists entities that have a text without searching all texts: most
// texts that people type are frequent, and they want a few entities only. It
// gives up where the text is rare.
func (x *Index) listHaving(q read.Request) ([]Hit, bool) {
	if q.FullText.Term == "" || q.Before || q.Offset+q.Limit > maxTried/4 {
		return nil, false
	}
	may := x.eval(q.Filter)
	s := x.searchOf(q)
	if may.bitmap.IsEmpty() || s.original || len(s.fields) == 0 {
		return nil, false
	}
	order, known := x.specOf(q.Order, q.KeepUnordered)
	if !known && !q.KeepUnordered {
		return nil, false
	}
	r := x.ranking(order)
	from, to := 0, len(r.order)
	if !q.KeepUnordered {
		to = r.valued
	}
	if q.After != nil {
		from, to = x.behind(order, r, to, q)
	}
	has := may.bitmap.Contains
	if may.bitmap.GetCardinality() == uint64(len(r.order)) {
		has = func(uint32) bool { return true }
	} else if to-from > maxTried {
		has = newDense(may.bitmap).has
	}
	var found []uint32
	wanted, tried := q.Offset+q.Limit, 0
	for _, ordinal := range r.order[from:to] {
		if !has(ordinal) {
			continue
		}
		if tried++; tried > maxTried {
			return nil, false
		}
		if x.entityHas(ordinal, s) {
			if found = append(found, ordinal); len(found) == wanted {
				break
			}
		}
	}
	return x.hits(found[min(q.Offset, len(found)):], x.firstOf(order, q.Order), q.Bare), true
}

// entityHas reports whether an entity has a text.
func (x *Index) entityHas(ordinal uint32, s search) bool {
	var room [64]uint32
	for _, id := range decodeForward(room[:0], x.forward[ordinal]) {
		f := x.dict.field(id)
		for _, want := range s.fields {
			if f == want && strings.Contains(x.dict.value(id), s.term) {
				return true
			}
		}
	}
	return false
}

// firstOf returns the first field of an order, nil if nothing is ordered by
// it.
func (x *Index) firstOf(s spec, order []query.Order) *by {
	if len(order) > 0 && len(s.by) > 0 && x.names[order[0].Field] == s.by[0].field {
		return &s.by[0]
	}
	return nil
}

// hits describes entities. Of bare ones, the places of the first and of the
// last two are told only.
func (x *Index) hits(ordinals []uint32, first *by, bare bool) []Hit {
	hits := make([]Hit, len(ordinals))
	for i, ordinal := range ordinals {
		hits[i] = Hit{ID: x.ids[ordinal], Mark: x.marks[ordinal], Ordinal: ordinal}
		if !bare || i == 0 || i >= len(ordinals)-2 {
			hits[i].Ref, hits[i].Value, hits[i].HasValue = x.describe(ordinal, first)
		}
	}
	return hits
}
