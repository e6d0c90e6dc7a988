package index

import (
	"encoding/binary"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
)

// columns keeps what the projections that clients ask for keep of each entity:
// a frontend asks for the same few fields of thousands of entities all day.
type columns struct {
	max int // bytes

	mu    sync.Mutex
	clock int
	kept  map[string]*column
}

// column is one projection.
type column struct {
	mu     sync.RWMutex
	slots  []slot   // by ordinal
	chunks [][]byte // of texts; what was written to one stays
	bytes  int
	full   bool // there is no more room

	used int // guarded by columns.mu
}

// slot says where the text of an entity is; it is right as long as the index
// has the same id and mark for it.
type slot struct {
	id   int64
	mark uint32
	at   uint32 // chunk and offset
}

const (
	columnChunk = 1 << 16
	slotBytes   = 16
	// maxColumns bounds how many projections are kept.
	maxColumns = 16
)

func newColumns(max int) *columns { return &columns{max: max, kept: map[string]*column{}} }

// get returns the column of a projection. Where there is no room for another
// one, that which was not asked for the longest goes.
func (c *columns) get(key string) *column {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	found, ok := c.kept[key]
	if !ok {
		for len(c.kept) >= maxColumns || len(c.kept) > 0 && c.size() > c.max-c.max/maxColumns {
			c.dropOldest()
		}
		found = &column{}
		c.kept[key] = found
	}
	found.used = c.clock
	return found
}

func (c *columns) dropOldest() {
	oldest := ""
	for key, k := range c.kept {
		if oldest == "" || k.used < c.kept[oldest].used {
			oldest = key
		}
	}
	delete(c.kept, oldest)
}

func (c *columns) size() int {
	n := 0
	for _, k := range c.kept {
		k.mu.RLock()
		n += k.bytes
		k.mu.RUnlock()
	}
	return n
}

// lookup sets the texts of those hits that the column has, and returns how
// many it lacks.
func (k *column) lookup(hits []postings.Hit, texts [][]byte) (missing int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for i, h := range hits {
		if int(h.Ordinal) < len(k.slots) {
			if s := k.slots[h.Ordinal]; s.id == h.ID && s.mark == h.Mark {
				chunk := k.chunks[s.at/columnChunk][s.at%columnChunk:]
				n, width := binary.Uvarint(chunk)
				end := width + int(n)
				texts[i] = chunk[width:end:end]
				continue
			}
		}
		missing++
	}
	return missing
}

// put keeps texts while there is room for them.
func (c *columns) put(k *column, hits []postings.Hit, texts [][]byte) {
	c.mu.Lock()
	room := c.max - c.size()
	c.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, h := range hits {
		if texts[i] == nil || k.full {
			continue
		}
		if room -= k.add(h, texts[i]); room < 0 {
			k.full = true
		}
	}
	if k.full && k.bytes > 2*k.live() {
		// Most of it is of entities as they were before.
		k.slots, k.chunks, k.bytes, k.full = nil, nil, 0, false
	}
}

// live returns how many bytes the texts take that the slots lead to.
func (k *column) live() int {
	n := len(k.slots) * slotBytes
	for _, s := range k.slots {
		if s.id != 0 {
			length, width := binary.Uvarint(k.chunks[s.at/columnChunk][s.at%columnChunk:])
			n += int(length) + width
		}
	}
	return n
}

// add keeps a text, and returns how many bytes that took.
func (k *column) add(h postings.Hit, text []byte) int {
	before := k.bytes
	need := len(text) + binary.MaxVarintLen32
	if need > columnChunk/4 {
		return 0 // long values are copied from the entity each time
	}
	last := len(k.chunks) - 1
	if last < 0 || len(k.chunks[last])+need > columnChunk {
		k.chunks = append(k.chunks, make([]byte, 0, columnChunk))
		k.bytes += columnChunk
		last++
	}
	at := uint32(last*columnChunk + len(k.chunks[last]))
	chunk := binary.AppendUvarint(k.chunks[last], uint64(len(text)))
	k.chunks[last] = append(chunk, text...)
	if n := int(h.Ordinal) + 1 - len(k.slots); n > 0 {
		k.slots = append(k.slots, make([]slot, n)...)
		k.bytes += n * slotBytes
	}
	k.slots[h.Ordinal] = slot{h.ID, h.Mark, at}
	return k.bytes - before
}
