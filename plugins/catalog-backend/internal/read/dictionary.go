package read

import (
	"context"
	"database/sql"
	"sync"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// dictionary knows the ids of search keys. Keys are never renamed or removed,
// so what it has learnt stays true; what it has not learnt it looks up.
type dictionary struct {
	mu    sync.RWMutex
	known map[string]int64
}

// maxKnown bounds the memory of a dictionary. Keys of labels and annotations
// are few; a catalog that has more keys than this pays a look-up.
const maxKnown = 100_000

// lookup returns the ids of those names that are keys.
func (d *dictionary) lookup(ctx context.Context, r *Reader, names map[string]bool) (map[string]int64, error) {
	out := make(map[string]int64, len(names))
	var missing []string
	d.mu.RLock()
	for name := range names {
		if n, ok := d.known[name]; ok {
			out[name] = n
		} else {
			missing = append(missing, name)
		}
	}
	d.mu.RUnlock()
	for len(missing) > 0 {
		chunk := missing[:min(len(missing), refChunk)]
		missing = missing[len(chunk):]
		s := &statement{Builder: sqltext.New(r.database.Dialect())}
		s.Write("SELECT key, id FROM search_key WHERE key IN (", s.List(chunk), ")")
		err := r.query(ctx, s, func(rows *sql.Rows) error {
			var key string
			var n int64
			if err := rows.Scan(&key, &n); err != nil {
				return err
			}
			out[key] = n
			d.learn(key, n)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *dictionary) learn(key string, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]int64{}
	}
	if len(d.known) < maxKnown {
		d.known[key] = n
	}
}
