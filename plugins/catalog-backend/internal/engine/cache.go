package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// cacheState is what processors keep between runs: by processor, by key (a
// part for a location is a key that holds a map).
type cacheState map[string]map[string]json.RawMessage

// cache is the state of one run: what the last run left, and what this run
// sets. A processor that sets anything replaces all that it had.
type cache struct {
	mu  sync.Mutex
	old cacheState
	now cacheState
}

func newCache(old cacheState) *cache { return &cache{old: old, now: cacheState{}} }

// state returns what the next run finds.
func (c *cache) state() cacheState {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := cacheState{}
	maps.Copy(out, c.old)
	maps.Copy(out, c.now)
	return out
}

func (c *cache) of(processor string) catalognode.ProcessorCache {
	return &cacheView{cache: c, processor: processor}
}

// cacheView is the part of a processor, or of a location within it.
type cacheView struct {
	cache             *cache
	processor, prefix string
}

func (v *cacheView) key(name string) string { return v.prefix + name }

func (v *cacheView) Get(name string) (json.RawMessage, bool) {
	v.cache.mu.Lock()
	defer v.cache.mu.Unlock()
	raw, ok := v.cache.old[v.processor][v.key(name)]
	return raw, ok
}

func (v *cacheView) Set(name string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cache of processor %s: %w", v.processor, err)
	}
	v.cache.mu.Lock()
	defer v.cache.mu.Unlock()
	if v.cache.now[v.processor] == nil {
		v.cache.now[v.processor] = map[string]json.RawMessage{}
	}
	v.cache.now[v.processor][v.key(name)] = raw
	return nil
}

func (v *cacheView) Sub(name string) catalognode.ProcessorCache {
	return &cacheView{cache: v.cache, processor: v.processor, prefix: v.prefix + name + "\x00"}
}
