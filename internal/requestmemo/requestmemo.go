// Package requestmemo gives a request a place where the credentials found for
// it are kept, so that the barrier of a router and its handlers verify a token
// once.
//
//	r = requestmemo.With(r) // in the router
//	memo := requestmemo.From(r.Context())
package requestmemo

import (
	"context"
	"net/http"
	"sync"
)

type contextKey struct{}

// Memo holds a few values. It is safe for concurrent use.
type Memo struct {
	mu      sync.Mutex
	entries [4]entry
	n       int
}

type entry struct{ key, value any }

// With returns r with a memo in its context.
func With(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), contextKey{}, &Memo{}))
}

// From returns the memo of a context, nil if there is none.
func From(ctx context.Context) *Memo {
	m, _ := ctx.Value(contextKey{}).(*Memo)
	return m
}

// Get returns the value of a comparable key. m may be nil.
func (m *Memo) Get(key any) (value any, ok bool) {
	if m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries[:min(m.n, len(m.entries))] {
		if e.key == key {
			return e.value, true
		}
	}
	return nil, false
}

// Put keeps a value; of many, the oldest are forgotten. m may be nil.
func (m *Memo) Put(key, value any) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[m.n%len(m.entries)] = entry{key, value}
	m.n++
}
