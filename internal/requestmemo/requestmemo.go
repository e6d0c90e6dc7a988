// Package requestmemo gives a request a place where the credentials found for
// it are kept, so that the barrier of a router and its handlers verify a token
// once.
//
//	r = r.WithContext(requestmemo.Context(r.Context())) // in the router
//	memo := requestmemo.From(r.Context())
package requestmemo

import (
	"context"
	"sync"

	"github.com/flytower/flytower/core"
)

type contextKey struct{}

// Key says which credentials are meant: those that a service finds for a
// token. The token is part of it: a context may outlive its request, when one
// plugin calls another in memory.
type Key struct {
	Service any // a pointer
	Token   string
	Limited bool
}

// Memo holds a few credentials. It is the context of the request, too. It is
// safe for concurrent use.
type Memo struct {
	context.Context

	mu      sync.Mutex
	entries [2]*entry
	n       int
}

type entry struct {
	key Key
	who core.Credentials
}

// Context returns a context with a memo.
func Context(ctx context.Context) context.Context { return &Memo{Context: ctx} }

// Value implements [context.Context].
func (m *Memo) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return m
	}
	return m.Context.Value(key)
}

// From returns the memo of a context, nil if there is none.
func From(ctx context.Context) *Memo {
	m, _ := ctx.Value(contextKey{}).(*Memo)
	return m
}

// Get returns the credentials of a key. m may be nil.
func (m *Memo) Get(key Key) (who core.Credentials, ok bool) {
	if m == nil {
		return core.Credentials{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e != nil && e.key == key {
			return e.who, true
		}
	}
	return core.Credentials{}, false
}

// Put keeps credentials; of many, the oldest are forgotten. m may be nil.
func (m *Memo) Put(key Key, who core.Credentials) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[m.n%len(m.entries)] = &entry{key, who}
	m.n++
}
