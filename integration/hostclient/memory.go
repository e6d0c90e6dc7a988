package hostclient

import (
	"container/list"
	"net/http"
	"sync"
)

// memory keeps answers with their validators, so that a repeated read costs
// the host, and its rate limit, no more than "not modified". It is bounded in
// bytes, and forgets what was not used for longest.
type memory struct {
	max int64

	mu    sync.Mutex
	bytes int64
	order list.List // of *remembered, most recent first
	byKey map[string]*list.Element
}

type remembered struct {
	key    string
	etag   string
	answer *Answer
}

func (r *remembered) size() int64 {
	return int64(len(r.answer.Body)+len(r.key)) + 1024 // headers and bookkeeping, roughly
}

func newMemory(maxBytes int64) *memory {
	return &memory{max: maxBytes, byKey: map[string]*list.Element{}}
}

func (m *memory) get(key string) *remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[key]
	if !ok {
		return nil
	}
	m.order.MoveToFront(e)
	r, _ := e.Value.(*remembered)
	return r
}

func (m *memory) put(key string, a *Answer) {
	r := &remembered{key: key, etag: a.Header.Get("Etag"), answer: a}
	if r.etag == "" || a.Status != http.StatusOK || r.size() > m.max/16 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLocked(key)
	m.byKey[key] = m.order.PushFront(r)
	m.bytes += r.size()
	for m.bytes > m.max {
		last, _ := m.order.Back().Value.(*remembered)
		m.dropLocked(last.key)
	}
}

func (m *memory) dropLocked(key string) {
	e, ok := m.byKey[key]
	if !ok {
		return
	}
	delete(m.byKey, key)
	r, _ := m.order.Remove(e).(*remembered)
	m.bytes -= r.size()
}
