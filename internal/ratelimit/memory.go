package ratelimit

import (
	"context"
	"sync"
	"time"
)

// DefaultCapacity is how many keys a [Memory] holds if not told otherwise;
// about 10 MB.
const DefaultCapacity = 100_000

// Memory is a store in this process. When it is full of windows that have not
// ended, it forgets the older half, so that it never grows and
// a flood of addresses cannot lock others out.
type Memory struct {
	mu       sync.Mutex
	capacity int
	// Two generations: keys are moved to young when they are hit. When young
	// is full, old is dropped.
	young, old map[string]hits
}

type hits struct {
	count int
	reset time.Time
}

// NewMemory returns a store for that many keys; 0 means [DefaultCapacity].
func NewMemory(capacity int) *Memory {
	if capacity <= 0 {
		capacity = DefaultCapacity
	}
	return &Memory{capacity: max(2, capacity), young: map[string]hits{}}
}

// Hit implements [Store].
func (m *Memory) Hit(_ context.Context, key string, window time.Duration) (int, time.Time, error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.young[key]
	if !ok {
		h = m.old[key]
		delete(m.old, key)
		if len(m.young) >= m.capacity/2 {
			m.old, m.young = m.young, make(map[string]hits, len(m.young)/2)
		}
	}
	if !now.Before(h.reset) {
		h = hits{reset: now.Add(window)}
	}
	h.count++
	m.young[key] = h
	return h.count, h.reset, nil
}

// Undo implements [Store].
func (m *Memory) Undo(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, generation := range []map[string]hits{m.young, m.old} {
		if h, ok := generation[key]; ok && h.count > 0 {
			h.count--
			generation[key] = h
		}
	}
	return nil
}

// Len returns how many keys are held.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.young) + len(m.old)
}
