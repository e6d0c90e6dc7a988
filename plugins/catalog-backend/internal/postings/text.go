package postings

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

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

// texts keeps the sets of entities that have texts, while the index does not
// change: whoever searches turns pages, and clients ask for the count and for
// the page of the same text one after the other.
type texts struct {
	mu    sync.Mutex
	asOf  uint64
	sets  map[string]result
	order []string // oldest first
}

const (
	// maxTexts bounds how many sets are kept, each of a bit per entity at most.
	maxTexts = 8
	// maxKeptTerm is the longest text that is kept, in bytes.
	maxKeptTerm = 200
)

func (t *texts) get(key string, changes uint64) (result, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asOf != changes {
		t.asOf, t.sets, t.order = changes, nil, nil
	}
	r, ok := t.sets[key]
	return r, ok
}

func (t *texts) put(key string, changes uint64, r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.sets[key]; there || t.asOf != changes {
		return
	}
	if t.sets == nil {
		t.sets = map[string]result{}
	}
	if len(t.order) == maxTexts {
		delete(t.sets, t.order[0])
		t.order = append(t.order[:0], t.order[1:]...)
	}
	t.sets[key] = r
	t.order = append(t.order, key)
}

func (t *texts) memory() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.sets {
		n += bitmapBytes(r.bitmap)
	}
	return n
}

// key tells searches apart.
func (s search) key() string {
	var b strings.Builder
	for _, f := range s.fields {
		b.WriteString(strconv.FormatUint(uint64(f), 36) + ",")
	}
	if s.original {
		b.WriteByte('=')
	}
	return b.String() + ":" + s.term
}

// having returns the entities that have a text, as a set that must not be
// changed.
func (x *Index) having(s search) result {
	if len(s.term) > maxKeptTerm {
		return x.search(s)
	}
	key := s.key()
	found, ok := x.texts.get(key, x.changes)
	if !ok {
		found = x.search(s)
		found.shared = true
		x.texts.put(key, x.changes, found)
	}
	return found
}

// search looks into all texts.
func (x *Index) search(s search) result {
	u := union{index: x}
	for _, number := range s.fields {
		blocks := x.field[number].terms.blocks
		for i := range blocks {
			x.scan(&blocks[i], s, func(id uint32) { u.addSet(x.dict.term(id).members) })
		}
	}
	return u.result()
}

// scan visits the terms of a block that have a text, in their order.
func (x *Index) scan(b *block, s search, visit func(id uint32)) {
	if b.numbers == nil && !s.original {
		if b.grams == nil || b.grams.mayHave(s.term) {
			x.scanRun(s.term, b.first, b.first+uint32(b.run), visit)
		}
		return
	}
	for i := range b.len() {
		if id := b.at(i); x.termHas(id, s) {
			visit(id)
		}
	}
}

func (x *Index) termHas(id uint32, s search) bool {
	if s.original {
		return strings.Contains(x.dict.record(id).text(), s.term)
	}
	return strings.Contains(x.dict.value(id), s.term)
}

// scanRun visits those of the terms from..to that have a text. Their texts lie
// one behind the other, since nothing changed there since [Index.Compact], and
// are searched as one.
func (x *Index) scanRun(term string, from, to uint32, visit func(id uint32)) {
	for from < to {
		chunk := x.dict.term(from).text / chunkBytes
		// The first term whose text is in another chunk.
		end := from + uint32(sort.Search(int(to-from), func(i int) bool { return x.dict.term(from+uint32(i)).text/chunkBytes != chunk }))
		last := end - 1
		stop := int(x.dict.term(last).text%chunkBytes) + x.dict.recordLen(last)
		x.scanChunk(term, x.dict.chunks[chunk].all[:stop], from, end, visit)
		from = end
	}
}

// scanChunk searches the texts of the terms from..to, which lie in one chunk.
func (x *Index) scanChunk(term, text string, from, to uint32, visit func(id uint32)) {
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
			visit(id)
		}
		if from = id + 1; from == to {
			return
		}
		at = int(x.dict.term(from).text % chunkBytes)
	}
}

// grams is which sequences of three bytes occur in the values of a block of
// terms, with some error: those that share a bit are not told apart.
type grams [gramBits / 64]uint64

const gramBits = 4096

func gramBit(a, b, c byte) (word, bit uint32) {
	h := (uint32(a)*0x9e3779b1 ^ uint32(b)*0x85ebca6b ^ uint32(c)*0xc2b2ae35) >> 16 % gramBits
	return h / 64, h % 64
}

func (g *grams) add(text string) {
	for i := 2; i < len(text); i++ {
		word, bit := gramBit(text[i-2], text[i-1], text[i])
		g[word] |= 1 << bit
	}
}

// mayHave reports whether a value may contain the text.
func (g *grams) mayHave(text string) bool {
	for i := 2; i < len(text); i++ {
		if word, bit := gramBit(text[i-2], text[i-1], text[i]); g[word]>>bit&1 == 0 {
			return false
		}
	}
	return true
}

// gramKeys are the keys in which people look for texts. Their values are short:
// the sequences in those of long texts would be all that there are.
var gramKeys = []string{"metadata.name", "metadata.title", "spec.profile.displayname"}

// addGrams notes what occurs in the values of keys that people search.
func (x *Index) addGrams() {
	for _, key := range gramKeys {
		number, ok := x.names[key]
		if !ok {
			continue
		}
		blocks := x.field[number].terms.blocks
		for i := range blocks {
			b := &blocks[i]
			if b.numbers != nil {
				continue
			}
			b.grams = new(grams)
			for j := range b.run {
				b.grams.add(x.dict.value(b.first + uint32(j)))
			}
		}
	}
}

// listInOrder lists entities that have a text in the field that the list is
// ordered by: the terms that have it are visited in that order, until there
// are enough. It gives up where entities have several values of the field: the
// one with the text need not be the one that they are ordered by.
func (x *Index) listInOrder(dst []Hit, q read.Request, s search, order spec, may result) ([]Hit, bool) {
	if len(s.fields) != 1 || len(order.by) == 0 || order.by[0].field != s.fields[0] || q.Before {
		return nil, false
	}
	if f := x.field[s.fields[0]]; f.uses != int(f.has.GetCardinality()) {
		return nil, false
	}
	first := x.firstOf(order, q.Order)
	if first == nil {
		return nil, false // another field comes before, which nobody has
	}
	r := x.ranking(order)
	from, to := 0, r.valued
	if q.After != nil {
		from, to = x.behind(order, r, to, q)
	}
	blocks := x.field[s.fields[0]].terms.blocks
	wanted := q.Offset + q.Limit
	var found, terms, members []uint32
	var same []uint32 // places of those with the same value
	value := ""
	flush := func() {
		slices.Sort(same) // a value may have several terms
		for _, place := range slices.Compact(same) {
			found = append(found, r.order[place])
		}
		same = same[:0]
	}
	for i := range blocks {
		b := &blocks[i]
		if first.desc {
			b = &blocks[len(blocks)-1-i]
		}
		if q.After != nil && x.isBefore(b, q.After.Value, first.desc) {
			continue
		}
		terms = terms[:0]
		x.scan(b, s, func(id uint32) { terms = append(terms, id) })
		if first.desc {
			slices.Reverse(terms)
		}
		for _, id := range terms {
			if v := x.dict.value(id); v != value {
				if flush(); len(found) >= wanted {
					break
				}
				value = v
			}
			members = x.members(members[:0], x.dict.term(id).members)
			for _, ordinal := range members {
				if !may.bitmap.Contains(ordinal) {
					continue
				}
				if place := r.rank[ordinal]; int(place) >= from && int(place) < to {
					same = append(same, place)
				}
			}
		}
		if len(found) >= wanted {
			break
		}
	}
	flush()
	found = found[min(q.Offset, len(found)):min(wanted, len(found))]
	return x.hits(dst, found, first, q.Bare), true
}

// isBefore reports whether all values of a block come before a value.
func (x *Index) isBefore(b *block, value string, desc bool) bool {
	if desc {
		return x.dict.value(b.at(0)) > value
	}
	return x.dict.value(b.at(b.len()-1)) < value
}

// maxTried bounds how many entities are looked at one by one for a text, before
// all texts are searched.
const maxTried = 2000

// listHaving lists entities that have a text without searching all texts: most
// texts that people type are frequent, and they want a few entities only. It
// gives up where the text is rare.
func (x *Index) listHaving(dst []Hit, q read.Request) ([]Hit, bool) {
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
	if hits, ok := x.listInOrder(dst, q, s, order, may); ok {
		return hits, true
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
	return x.hits(dst, found[min(q.Offset, len(found)):], x.firstOf(order, q.Order), q.Bare), true
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
func (x *Index) hits(dst []Hit, ordinals []uint32, first *by, bare bool) []Hit {
	dst = slices.Grow(dst, len(ordinals))
	for i, ordinal := range ordinals {
		h := Hit{ID: x.ids[ordinal], Mark: x.marks[ordinal], Ordinal: ordinal}
		if !bare || i == 0 || i >= len(ordinals)-2 {
			h.Ref, h.Value, h.HasValue = x.describe(ordinal, first)
		}
		dst = append(dst, h)
	}
	return dst
}
