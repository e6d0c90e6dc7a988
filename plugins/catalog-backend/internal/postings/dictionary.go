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
	field    uint32
	value    string
	original string // "" if it is the value
	item     bool   // a string of an array
	null     bool   // the key is there without a value to compare
}

func (r record) text() string {
	if r.original != "" {
		return r.original
	}
	return r.value
}

// Flags of a record.
const (
	flagItem = 1 << iota
	flagOriginal
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
	if head&flagOriginal != 0 {
		n, s := uvarint(s[n:])
		r.original = s[:n]
	}
	return r
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
	d.text += len(r.value) + len(r.original)
	var id uint32
	if n := len(d.free); n > 0 {
		id = d.free[n-1]
		d.free = d.free[:n-1]
	} else {
		id = d.used
		d.used++
		if int(id/pageTerms) == len(d.pages) {
			d.pages = append(d.pages, new([pageTerms]term))
		}
	}
	*d.term(id) = term{text: at, members: emptySet}
	return id, nil
}

func (d *dictionary) write(r record) (uint32, error) {
	if len(r.value) > maxText || len(r.original) > maxText {
		return 0, fmt.Errorf("a value of %d bytes is too long for the index", max(len(r.value), len(r.original)))
	}
	head := uint64(len(r.value)) << flagBits
	if r.item {
		head |= flagItem
	}
	if r.null {
		head |= flagNull
	}
	if r.original != "" {
		head |= flagOriginal
	}
	size := uvarintLen(uint64(r.field)) + uvarintLen(head) + len(r.value)
	if r.original != "" {
		size += uvarintLen(uint64(len(r.original))) + len(r.original)
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
	if r.original != "" {
		putUvarint(&c.builder, uint64(len(r.original)))
		c.builder.WriteString(r.original)
	}
	c.all = c.builder.String()
	return at, nil
}

func (d *dictionary) remove(id uint32) {
	r := d.record(id)
	d.text -= len(r.value) + len(r.original)
	d.waste += len(r.value) + len(r.original) + 4
	d.free = append(d.free, id)
}

func (d *dictionary) memory() int {
	return len(d.pages)*(pageTerms*8+8) + cap(d.free)*4 + len(d.chunks)*(chunkBytes+56)
}

func uvarint(s string) (uint64, string) {
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
