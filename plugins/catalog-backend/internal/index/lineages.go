package index

import (
	"sync"
	"time"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// lineages keeps for a short time who descends from whom.
type lineages struct {
	now func() time.Time

	mu   sync.RWMutex
	kept map[string]lineage
}

type lineage struct {
	version uint64 // calls of Wake before it was read
	until   time.Time
	nodes   []read.Node
}

// maxLineages bounds how many are kept.
const maxLineages = 4096

func newLineages() *lineages { return &lineages{now: time.Now, kept: map[string]lineage{}} }

// get returns the nodes of an ancestry if this process changed nothing since
// they were read, and if that is not long ago.
func (l *lineages) get(ref string, version uint64) ([]read.Node, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	have, ok := l.kept[ref]
	return have.nodes, ok && have.version == version && l.now().Before(have.until)
}

func (l *lineages) put(ref string, version uint64, lasts time.Duration, nodes []read.Node) {
	if len(nodes) == 0 {
		return // there may be any number of refs that do not exist
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.kept[ref]; !there && len(l.kept) >= maxLineages {
		clear(l.kept) // most of them are out of date anyway
	}
	l.kept[ref] = lineage{version, l.now().Add(lasts), nodes}
}
