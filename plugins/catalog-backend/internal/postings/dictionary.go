package postings

import (
	"fmt"
	"strings"
)

// term is a value of a key.
type term struct {
	text    uint32 // where its record is
	members set
}

// record is what a term says.
type record struct {
	field uint32
	value string
	exact string // how the value is written, "" if it is lower case
	upper string // instead of exact: a bit for each byte that is upper case
	item  bool   // a string of an array
	null  bool   // the key is there without a value to compare
}

// original returns how the value is written, "" if it is lower case.
func (r record) original() string {
	if r.upper == "" {
		return r.exact
	}
	out := []byte(r.value)
	for i := range out {
		if i>>3 < len(r.upper) && r.upper[i>>3]>>(i&7)&1 != 0 {
			out[i] -= 'a' - 'A'
		}
	}
	return string(out)
}

// text returns how the value is written.
func (r record) text() string {
	if s := r.original(); s != "" {
		return s
	}
	return r.value
}

// upperBits returns which bytes of the value have to be made upper case to get
// the original; "" if that does not make it.
func upperBits(value, original string) string {
	if len(value) != len(original) {
		return ""
	}
	bits := make([]byte, (len(value)+7)/8)
	used := 0
	for i := range len(value) {
		v, o := value[i], original[i]
		if v == o {
			continue
		}
		if v < 'a' || v > 'z' || o != v-('a'-'A') {
			return ""
		}
		bits[i>>3] |= 1 << (i & 7)
		used = i>>3 + 1
	}
	return string(bits[:used])
}

// Flags of a record.
const (
	flagItem = 1 << iota
	flagExact
	flagUpper
	flagNull
	flagBits = iota
)

const (
	pageTerms  = 4096
	chunkBytes = 1 << 16
	maxChunks  = 1 << 16
	// maxText bounds a text; search rows are far shorter.
	maxText = 1 << 14
)

// dictionary keeps terms under numbers, and their texts in chunks without an
// allocation for each.
type dictionary struct {
	pages  []*[pageTerms]term
	used   uint32
	free   []uint32
	chunks []*chunk
	text   int // bytes of the texts of all terms
	waste  int // bytes of records of terms that are gone
}

// chunk holds records. What was written to it never changes, so that its
// texts may be read as strings.
type chunk struct {
	builder strings.Builder
	all     string
}

func (d *dictionary) term(id uint32) *term { return &d.pages[id/pageTerms][id%pageTerms] }

func (d *dictionary) record(id uint32) record {
	at := d.term(id).text
	s := d.chunks[at/chunkBytes].all[at%chunkBytes:]
	var r record
	field, s := uvarint(s)
	head, s := uvarint(s)
	n := head >> flagBits
	r.field, r.value = uint32(field), s[:n]
	r.item, r.null = head&flagItem != 0, head&flagNull != 0
	if head&(flagExact|flagUpper) != 0 {
		n, s := uvarint(s[n:])
		if head&flagUpper != 0 {
			r.upper = s[:n]
		} else {
			r.exact = s[:n]
		}
	}
	return r
}

// value returns the value of a term, without what else the record says.
func (d *dictionary) value(id uint32) string {
	at := d.term(id).text
	_, s := uvarint(d.chunks[at/chunkBytes].all[at%chunkBytes:])
	head, s := uvarint(s)
	return s[:head>>flagBits]
}

// recordLen returns how many bytes the record of a term takes.
func (d *dictionary) recordLen(id uint32) int {
	at := d.term(id).text
	begin := d.chunks[at/chunkBytes].all[at%chunkBytes:]
	_, s := uvarint(begin)
	head, s := uvarint(s)
	s = s[head>>flagBits:]
	if head&(flagExact|flagUpper) != 0 {
		var n uint64
		n, s = uvarint(s)
		s = s[n:]
	}
	return len(begin) - len(s)
}

// field returns the key that a term belongs to.
func (d *dictionary) field(id uint32) uint32 {
	at := d.term(id).text
	field, _ := uvarint(d.chunks[at/chunkBytes].all[at%chunkBytes:])
	return uint32(field)
}

func (d *dictionary) add(r record) (uint32, error) {
	at, err := d.write(r)
	if err != nil {
		return 0, err
	}
	d.text += len(r.value) + len(r.original())
	id := d.newID()
	*d.term(id) = term{text: at, members: emptySet}
	return id, nil
}

func (d *dictionary) newID() uint32 {
	if n := len(d.free); n > 0 {
		id := d.free[n-1]
		d.free = d.free[:n-1]
		return id
	}
	id := d.used
	d.used++
	if int(id/pageTerms) == len(d.pages) {
		d.pages = append(d.pages, new([pageTerms]term))
	}
	return id
}

func (d *dictionary) write(r record) (uint32, error) {
	if len(r.value) > maxText || len(r.exact) > maxText {
		return 0, fmt.Errorf("a value of %d bytes is too long for the index", max(len(r.value), len(r.exact)))
	}
	head := uint64(len(r.value)) << flagBits
	if r.item {
		head |= flagItem
	}
	if r.null {
		head |= flagNull
	}
	if r.exact != "" && r.upper == "" {
		r.upper = upperBits(r.value, r.exact)
	}
	behind := ""
	switch {
	case r.upper != "":
		behind = r.upper
		head |= flagUpper
	case r.exact != "":
		behind = r.exact
		head |= flagExact
	}
	size := uvarintLen(uint64(r.field)) + uvarintLen(head) + len(r.value)
	if behind != "" {
		size += uvarintLen(uint64(len(behind))) + len(behind)
	}
	last := len(d.chunks) - 1
	if last < 0 || len(d.chunks[last].all)+size > chunkBytes {
		if len(d.chunks) == maxChunks {
			return 0, fmt.Errorf("the texts of the catalog exceed the %d GiB that an index can hold", maxChunks>>14)
		}
		c := &chunk{}
		c.builder.Grow(chunkBytes)
		d.chunks = append(d.chunks, c)
		last++
	}
	c := d.chunks[last]
	at := uint32(last)*chunkBytes + uint32(len(c.all))
	putUvarint(&c.builder, uint64(r.field))
	putUvarint(&c.builder, head)
	c.builder.WriteString(r.value)
	if behind != "" {
		putUvarint(&c.builder, uint64(len(behind)))
		c.builder.WriteString(behind)
	}
	c.all = c.builder.String()
	return at, nil
}

func (d *dictionary) remove(id uint32) {
	r := d.record(id)
	d.text -= len(r.value) + len(r.original())
	d.waste += len(r.value) + len(r.exact) + len(r.upper) + 4
	d.free = append(d.free, id)
}

func (d *dictionary) memory() int {
	return len(d.pages)*(pageTerms*8+8) + cap(d.free)*4 + len(d.chunks)*(chunkBytes+56)
}

func uvarint(s string) (uint64, string) {
	if s[0] < 0x80 {
		return uint64(s[0]), s[1:]
	}
	return longUvarint(s)
}

func longUvarint(s string) (uint64, string) {
	var v uint64
	for i := 0; ; i++ {
		b := s[i]
		if b < 0x80 {
			return v | uint64(b)<<(7*i), s[i+1:]
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
}

func putUvarint(b *strings.Builder, v uint64) {
	for v >= 0x80 {
		b.WriteByte(byte(v) | 0x80)
		v >>= 7
	}
	b.WriteByte(byte(v))
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
