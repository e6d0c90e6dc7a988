package postings

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// Index is the inverted index of a catalog.
type Index struct {
	mu sync.RWMutex

	dict  dictionary
	sets  sets
	refs  refTable
	names map[string]uint32
	field []*field // the first one is that of the refs

	ids     []int64  // of the entities, by ordinal
	marks   []uint32 // what Document.Mark says
	forward []string // the terms of the entities
	byID    sorted   // the ordinals in the order of the ids
	parents parents
	vacant  []uint32 // ordinals of no entity
	live    *roaring.Bitmap

	forwardBytes int
	orders       orders
	texts        texts
	changes      uint64 // how often anything changed
}

// field is a search key.
type field struct {
	terms sorted          // those that have a value, by value
	has   *roaring.Bitmap // entities that have the key
	uses  int             // terms of entities: more than has, if one has several
	null  uint32          // the term without a value, or noTerm
}

const (
	refField        = 0
	noTerm   uint32 = 1<<32 - 1
)

// New returns an empty index.
func New() *Index {
	x := &Index{refs: newRefTable(), names: map[string]uint32{}, live: roaring.New()}
	x.newField()
	return x
}

func (x *Index) newField() {
	x.field = append(x.field, &field{has: roaring.New(), null: noTerm})
}

// Field returns the number of a search key, which is the same for ever.
func (x *Index) Field(key string) uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.names[key]
	if !ok {
		n = uint32(len(x.field))
		x.names[key] = n
		x.newField()
	}
	return n
}

// Row is a search row of an entity; see package entitysearch.
type Row struct {
	Field uint32
	Value string
	// Original is empty if it is the value.
	Original   string
	Null, Item bool
}

// Document is the state of an entity.
type Document struct {
	ID  int64
	Ref string
	// Mark is given back with the entity; it stands for its content.
	Mark uint32
	Rows []Row
	// Parents are the ids of the entities that emitted it.
	Parents []int64
}

// Apply replaces entities and removes others, for readers at once. Entities
// that are to be removed and are not there are no error. After an error the
// index is not usable any more.
func (x *Index) Apply(documents []Document, removed []int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	w := writer{Index: x, interned: map[internKey]uint32{}}
	// Removals go first: an entity that was removed and made anew has another
	// id and the same ref.
	for _, id := range removed {
		if ordinal, ok := x.ordinal(id); ok {
			w.remove(ordinal)
		}
	}
	for _, d := range documents {
		if err := w.put(d); err != nil {
			return fmt.Errorf("indexing %s: %w", d.Ref, err)
		}
	}
	x.compactIfWasteful()
	return nil
}

// ordinal returns the number of the entity with the id.
func (x *Index) ordinal(id int64) (uint32, bool) {
	n, ok := x.byID.get(x.placeOf(id))
	return n, ok && x.ids[n] == id
}

func (x *Index) placeOf(id int64) place {
	return x.byID.search(func(n uint32) bool { return x.ids[n] < id })
}

// writer applies a batch; it holds the lock.
type writer struct {
	*Index
	interned map[internKey]uint32 // terms that the batch has met
	old, new []uint32             // terms of the entity at hand
	touched  []uint32             // its keys whose terms differ
}

type internKey struct {
	field           uint32
	value, original string
	item, null      bool
}

// maxInterned bounds what a batch remembers.
const maxInterned = 1 << 16

func (w *writer) intern(r record) (uint32, error) {
	key := internKey{r.field, r.value, r.exact, r.item, r.null}
	if id, ok := w.interned[key]; ok {
		return id, nil
	}
	id, err := w.findOrAdd(r)
	if err == nil && len(w.interned) < maxInterned {
		w.interned[key] = id
	}
	return id, err
}

func (w *writer) findOrAdd(r record) (uint32, error) {
	f := w.field[r.field]
	if r.null {
		if f.null == noTerm {
			id, err := w.dict.add(record{field: r.field, null: true})
			if err != nil {
				return 0, err
			}
			f.null = id
		}
		return f.null, nil
	}
	where := w.placeOfTerm(f, r)
	if id, ok := f.terms.get(where); ok && w.compareTerm(id, r) == 0 {
		return id, nil
	}
	id, err := w.dict.add(r)
	if err != nil {
		return 0, err
	}
	f.terms.insert(where, id)
	if r.field == refField {
		w.refs.add(&w.dict, id)
	}
	return id, nil
}

func (x *Index) placeOfTerm(f *field, r record) place {
	return f.terms.search(func(id uint32) bool { return x.compareTerm(id, r) < 0 })
}

// compareTerm orders the terms of a key by value, and those of one value by
// how it is written and where it comes from.
func (x *Index) compareTerm(id uint32, r record) int {
	have := x.dict.record(id)
	switch {
	case have.value < r.value:
		return -1
	case have.value > r.value:
		return 1
	}
	switch a, b := have.original(), r.original(); {
	case a < b:
		return -1
	case a > b:
		return 1
	case have.item == r.item:
		return 0
	case r.item:
		return -1
	default:
		return 1
	}
}

func (w *writer) put(d Document) error {
	ref, err := w.intern(record{field: refField, value: d.Ref})
	if err != nil {
		return err
	}
	ordinal, known := w.ordinal(d.ID)
	if holder := w.dict.term(ref).members; holder != emptySet && (!known || holder != tagOne|set(ordinal)) {
		w.remove(uint32(holder)) // no two entities have a ref: it was replaced
		if ref, err = w.intern(record{field: refField, value: d.Ref}); err != nil {
			return err
		}
	}
	w.old = w.old[:0]
	if known {
		w.old = decodeForward(w.old, w.forward[ordinal])
	} else if ordinal, err = w.newOrdinal(d.ID); err != nil {
		return err
	}
	w.new = append(w.new[:0], ref)
	for _, r := range d.Rows {
		original := r.Original
		if original == r.Value {
			original = ""
		}
		if r.Null {
			r.Value, original, r.Item = "", "", false
		}
		id, err := w.intern(record{field: r.Field, value: r.Value, exact: original, item: r.Item, null: r.Null})
		if err != nil {
			return err
		}
		w.new = append(w.new, id)
	}
	slices.Sort(w.new)
	w.new = slices.Compact(w.new)
	w.marks[ordinal] = d.Mark
	w.parents.set(ordinal, d.Parents)
	w.replace(ordinal)
	return nil
}

func (w *writer) newOrdinal(id int64) (uint32, error) {
	var ordinal uint32
	if n := len(w.vacant); n > 0 {
		ordinal = w.vacant[n-1]
		w.vacant = w.vacant[:n-1]
	} else {
		if len(w.ids) >= maxOrdinals {
			return 0, fmt.Errorf("an index holds at most %d entities", maxOrdinals)
		}
		ordinal = uint32(len(w.ids))
		w.ids = append(w.ids, 0)
		w.marks = append(w.marks, 0)
		w.forward = append(w.forward, "")
	}
	w.byID.insert(w.placeOf(id), ordinal)
	w.ids[ordinal] = id
	w.live.Add(ordinal)
	return ordinal, nil
}

func (w *writer) remove(ordinal uint32) {
	w.old = decodeForward(w.old[:0], w.forward[ordinal])
	w.new = w.new[:0]
	w.replace(ordinal)
	w.byID.remove(w.placeOf(w.ids[ordinal]))
	w.ids[ordinal] = 0
	w.parents.set(ordinal, nil)
	w.live.Remove(ordinal)
	w.vacant = append(w.vacant, ordinal)
}

// replace gives the entity its new terms instead of its old ones.
func (w *writer) replace(ordinal uint32) {
	w.touched = w.touched[:0]
	i, j := 0, 0
	for i < len(w.old) || j < len(w.new) {
		switch {
		case j == len(w.new) || i < len(w.old) && w.old[i] < w.new[j]:
			w.drop(ordinal, w.old[i])
			i++
		case i == len(w.old) || w.new[j] < w.old[i]:
			id := w.new[j]
			f := w.dict.field(id)
			w.touched = append(w.touched, f)
			w.field[f].has.Add(ordinal)
			w.field[f].uses++
			t := w.dict.term(id)
			t.members = w.sets.add(t.members, ordinal)
			j++
		default:
			i, j = i+1, j+1
		}
	}
	// Keys of which the entity lost terms, and has none any more.
	kept := map[uint32]bool{}
	if len(w.old) > 0 && len(w.touched) > 0 {
		for _, id := range w.new {
			kept[w.dict.field(id)] = true
		}
		for _, f := range w.touched {
			if !kept[f] {
				w.field[f].has.Remove(ordinal)
			}
		}
	}
	w.orders.changed(ordinal, w.touched)
	if slices.Equal(w.old, w.new) {
		return
	}
	w.forwardBytes -= len(w.forward[ordinal])
	w.forward[ordinal] = encodeForward(w.new)
	w.forwardBytes += len(w.forward[ordinal])
}

// drop takes a term from an entity, and forgets the term with its last one.
func (w *writer) drop(ordinal, id uint32) {
	r := w.dict.record(id)
	w.touched = append(w.touched, r.field)
	w.field[r.field].uses--
	t := w.dict.term(id)
	t.members = w.sets.remove(t.members, ordinal)
	if t.members != emptySet {
		return
	}
	f := w.field[r.field]
	if r.null {
		f.null = noTerm
	} else {
		if r.field == refField {
			w.refs.remove(&w.dict, id)
		}
		f.terms.remove(w.placeOfTerm(f, r))
	}
	delete(w.interned, internKey{r.field, r.value, r.original(), r.item, r.null})
	w.dict.remove(id)
}

// decodeForward appends the terms of an entity, which are sorted.
func decodeForward(dst []uint32, s string) []uint32 {
	var id uint32
	for s != "" {
		var delta uint64
		delta, s = uvarint(s)
		id += uint32(delta)
		dst = append(dst, id)
	}
	return dst
}

func encodeForward(ids []uint32) string {
	var room [256]byte
	out := room[:0]
	var last uint32
	for _, id := range ids {
		v := id - last
		last = id
		for v >= 0x80 {
			out = append(out, byte(v)|0x80)
			v >>= 7
		}
		out = append(out, byte(v))
	}
	return string(out)
}

// Len returns the number of entities.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ids) - len(x.vacant)
}

// compactIfWasteful rewrites the texts when half of them are of terms that are
// gone.
func (x *Index) compactIfWasteful() {
	if d := &x.dict; d.waste > d.text+16*chunkBytes {
		x.compact()
	}
}

// Compact makes the index as small as it can be, and lays the terms of each
// key out in order, so that walks over them read memory in order. It is for
// the time behind the first load.
func (x *Index) Compact() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	x.renumber()
	x.compact()
	x.addGrams()
	move := x.sets.compact()
	for _, f := range x.field {
		for id := range f.all() {
			t := x.dict.term(id)
			t.members = move(t.members)
		}
		f.has.RunOptimize()
	}
	for _, b := range x.sets.bitmaps {
		if b != nil {
			x.sets.bytes -= bitmapBytes(b)
			b.RunOptimize()
			x.sets.bytes += bitmapBytes(b)
		}
	}
}

// all yields the terms of a key.
func (f *field) all() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for id := range f.terms.all() {
			if !yield(id) {
				return
			}
		}
		if f.null != noTerm {
			yield(f.null)
		}
	}
}

// renumber gives the terms of each key numbers in order.
func (x *Index) renumber() {
	old := x.dict
	x.dict = dictionary{chunks: old.chunks, text: old.text, waste: old.waste}
	numbers := make([]uint32, old.used)
	next := func(id uint32) uint32 {
		n := x.dict.newID()
		*x.dict.term(n) = *old.term(id)
		numbers[id] = n
		return n
	}
	for _, f := range x.field {
		first := x.dict.used
		for id := range f.terms.all() {
			next(id)
		}
		f.terms.setRun(first, f.terms.len)
		if f.null != noTerm {
			f.null = next(f.null)
		}
	}
	x.refs.rebuild(&x.dict, x.field[refField].terms.all())
	var ids []uint32
	for ordinal, s := range x.forward {
		ids = decodeForward(ids[:0], s)
		for i, id := range ids {
			ids[i] = numbers[id]
		}
		slices.Sort(ids)
		x.forwardBytes -= len(s)
		x.forward[ordinal] = encodeForward(ids)
		x.forwardBytes += len(x.forward[ordinal])
	}
}

// compact rewrites the texts in the order of their keys and values.
func (x *Index) compact() {
	old := dictionary{pages: x.dict.pages, chunks: x.dict.chunks}
	x.dict.chunks, x.dict.waste = nil, 0
	for _, f := range x.field {
		for id := range f.all() {
			at, err := x.dict.write(old.record(id))
			if err != nil {
				panic("postings: less text than before does not fit: " + err.Error())
			}
			x.dict.term(id).text = at
		}
	}
}

// Memory is what an index takes.
type Memory struct {
	Entities, Keys, Terms int
	// Bytes is all of it, Text that of the values themselves.
	Bytes, Text int
}

// Memory returns what the index takes, within a few percent.
func (x *Index) Memory() Memory {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := Memory{
		Entities: len(x.ids) - len(x.vacant), Keys: len(x.field), Terms: int(x.dict.used) - len(x.dict.free), Text: x.dict.text,
		Bytes: x.dict.memory() + x.sets.memory() + cap(x.ids)*8 + cap(x.marks)*4 + cap(x.forward)*16 + x.forwardBytes*9/8 +
			x.byID.memory() + cap(x.vacant)*4 + bitmapBytes(x.live) + cap(x.refs.slots)*4 + x.orders.memory() + x.texts.memory() + x.parents.memory(),
	}
	for name := range x.names {
		m.Bytes += 48 + len(name)
	}
	for _, f := range x.field {
		m.Bytes += 64 + f.terms.memory() + bitmapBytes(f.has)
	}
	return m
}
