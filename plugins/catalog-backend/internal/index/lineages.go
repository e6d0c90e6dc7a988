package index

import (
	"sync"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// lineages keeps who descends from whom. The changes that the index follows are
// those of final entities; an edge may go without any. So what was read holds
// until this process changes anything, until the index learns of any change of
// another process, and for a short time at most.
type lineages struct {
	now func() time.Time

	mu   sync.RWMutex
	kept map[string]lineage
}

type lineage struct {
	asOf  state
	until time.Time
	nodes []read.Node
}

// state is what the index knew of when something was read.
type state struct {
	wakes   uint64
	version int64
}

const (
	// maxLineages bounds how many are kept.
	maxLineages = 32_768
	// lineageLasts bounds for how long.
	lineageLasts = 5 * time.Second
)

func newLineages() *lineages { return &lineages{now: time.Now, kept: map[string]lineage{}} }

// get returns the nodes of an ancestry if they are as they were read.
func (l *lineages) get(ref string, now state) ([]read.Node, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	have, ok := l.kept[ref]
	return have.nodes, ok && have.asOf == now && l.now().Before(have.until)
}

func (l *lineages) put(ref string, asOf state, nodes []read.Node) {
	if len(nodes) == 0 {
		return // there may be any number of refs that do not exist
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.kept[ref]; !there && len(l.kept) >= maxLineages {
		clear(l.kept) // most of them are out of date anyway
	}
	l.kept[ref] = lineage{asOf, l.now().Add(lineageLasts), nodes}
}
