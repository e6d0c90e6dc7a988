package index

import (
	"container/list"
	"sync"
)

// bodies keeps the JSON texts of entities that were asked for last.
type bodies struct {
	max int // bytes

	mu    sync.Mutex
	bytes int
	byID  map[int64]*list.Element
	order *list.List // of body, the last used first
}

// body is the text of an entity. It is right as long as the index has the same
// mark for it.
type body struct {
	id   int64
	mark uint32
	text []byte
}

// bodyOverhead is what a text takes beyond its bytes.
const bodyOverhead = 160

func newBodies(max int) *bodies {
	return &bodies{max: max, byID: map[int64]*list.Element{}, order: list.New()}
}

func (b *bodies) get(id int64, mark uint32) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byID[id]
	if !ok {
		return nil
	}
	if have := e.Value.(*body); have.mark == mark {
		b.order.MoveToFront(e)
		return have.text
	}
	return nil
}

func (b *bodies) put(id int64, mark uint32, text []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.byID[id]; ok {
		b.drop(e)
	}
	if len(text)+bodyOverhead > b.max {
		return
	}
	b.byID[id] = b.order.PushFront(&body{id, mark, text})
	b.bytes += len(text) + bodyOverhead
	for b.bytes > b.max {
		b.drop(b.order.Back())
	}
}

func (b *bodies) drop(e *list.Element) {
	old := b.order.Remove(e).(*body)
	delete(b.byID, old.id)
	b.bytes -= len(old.text) + bodyOverhead
}
