package template

import (
	"container/list"
	"sync"
)

// Cache keeps parsed templates, those used last, within a bound of memory. It
// is safe for concurrent use.
type Cache struct {
	limit int64

	mu      sync.Mutex
	used    int64
	entries map[cacheKey]*list.Element
	recent  *list.List // of *cacheEntry, the one used last in front
}

type cacheKey struct {
	source string
	syntax Syntax
}

type cacheEntry struct {
	key      cacheKey
	template *Template
	size     int64
}

// nodeBytes is about what a node of a parsed template needs.
const nodeBytes = 120

// NewCache returns a cache that keeps about as many bytes of templates;
// 64 MiB if bytes is 0 or less.
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		bytes = 64 << 20
	}
	return &Cache{limit: bytes, entries: map[cacheKey]*list.Element{}, recent: list.New()}
}

// Parse is [Parse] with a memory. Templates with errors are not kept.
func (c *Cache) Parse(name, source string, syntax Syntax) (*Template, error) {
	key := cacheKey{source, syntax}
	if t := c.get(key); t != nil {
		return t.WithName(name), nil
	}
	t, err := Parse(name, source, syntax)
	if err == nil {
		c.put(&cacheEntry{key, t, int64(len(source)) + t.nodes*nodeBytes})
	}
	return t, err
}

func (c *Cache) get(key cacheKey) *Template {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cacheEntry).template
}

func (c *Cache) put(entry *cacheEntry) {
	if entry.size > c.limit/4 {
		return // it would push out too much
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[entry.key]; ok {
		return
	}
	c.entries[entry.key] = c.recent.PushFront(entry)
	c.used += entry.size
	for c.used > c.limit {
		last := c.recent.Back()
		old := c.recent.Remove(last).(*cacheEntry)
		delete(c.entries, old.key)
		c.used -= old.size
	}
}
