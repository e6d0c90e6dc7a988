package index

import (
	"sync"
	"sync/atomic"
)

// bodies keeps the JSON texts of entities that were asked for, under the
// ordinals of the entities. Readers take no lock: most questions of clients
// are for a few dozen texts.
type bodies struct {
	max   int // bytes
	pages atomic.Pointer[[]*bodyPage]

	mu    sync.Mutex // of writers
	bytes int
	hand  uint32 // where the next search for something to forget begins
}

const bodyPageSize = 1024

type bodyPage [bodyPageSize]atomic.Pointer[body]

// body is the text of an entity. It is right as long as the index has the same
// id and mark for it.
type body struct {
	id   int64
	mark uint32
	used atomic.Bool // since the hand was there last
	text []byte
}

// bodyOverhead is what a text takes beyond its bytes.
const bodyOverhead = 96

func newBodies(max int) *bodies {
	b := &bodies{max: max}
	b.pages.Store(&[]*bodyPage{})
	return b
}

// slot returns the place of an ordinal, nil if nothing was kept near it yet.
func (b *bodies) slot(ordinal uint32) *atomic.Pointer[body] {
	pages := *b.pages.Load()
	if int(ordinal/bodyPageSize) >= len(pages) {
		return nil
	}
	return &pages[ordinal/bodyPageSize][ordinal%bodyPageSize]
}

func (b *bodies) get(ordinal uint32, id int64, mark uint32) []byte {
	slot := b.slot(ordinal)
	if slot == nil {
		return nil
	}
	have := slot.Load()
	if have == nil || have.id != id || have.mark != mark {
		return nil
	}
	if !have.used.Load() {
		have.used.Store(true)
	}
	return have.text
}

func (b *bodies) put(ordinal uint32, id int64, mark uint32, text []byte) {
	size := len(text) + bodyOverhead
	if size > b.max {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := b.slot(ordinal)
	if slot == nil {
		b.grow(ordinal)
		slot = b.slot(ordinal)
	}
	b.bytes += size
	if old := slot.Swap(&body{id: id, mark: mark, text: text}); old != nil {
		b.bytes -= len(old.text) + bodyOverhead
	}
	b.forget(ordinal)
}

// grow makes room for an ordinal.
func (b *bodies) grow(ordinal uint32) {
	old := *b.pages.Load()
	pages := make([]*bodyPage, ordinal/bodyPageSize+1)
	copy(pages, old)
	for i := len(old); i < len(pages); i++ {
		pages[i] = new(bodyPage)
	}
	b.pages.Store(&pages)
}

// forget drops texts, but not the one just added, until they fit: those that
// nobody asked for since the hand was there last.
func (b *bodies) forget(added uint32) {
	pages := *b.pages.Load()
	all := uint32(len(pages) * bodyPageSize)
	for b.bytes > b.max {
		slot := &pages[b.hand/bodyPageSize][b.hand%bodyPageSize]
		if old := slot.Load(); old != nil && b.hand != added && !old.used.Swap(false) {
			slot.Store(nil)
			b.bytes -= len(old.text) + bodyOverhead
		}
		b.hand = (b.hand + 1) % all
	}
}
