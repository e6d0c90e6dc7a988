package index_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// TestPageAndTotalAgree asks for pages with their totals while entities come
// and go.
func TestPageAndTotalAgree(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		turn := 0
		w.behind = func() bool { turn++; return turn%3 == 0 }
		w.put(t, ctx, component("always", "x"))
		stop := w.follow(t, ctx, index.Options{})
		defer stop()
		w.awaitSync(t)

		reading, done := context.WithCancel(ctx)
		var readers sync.WaitGroup
		for name, ask := range map[string]func(context.Context, read.Request) ([]read.Item, int, error){"index": w.reader.Page, "tables": w.tables.Tables.Page} {
			readers.Go(func() {
				for reading.Err() == nil {
					items, total, err := ask(ctx, read.Request{Order: []query.Order{{Field: "metadata.name"}}, Limit: 1000})
					if err != nil || len(items) != total {
						t.Errorf("%s: a page of everything has %d entities, and the total is %d (%v)", name, len(items), total, err)
						return
					}
				}
			})
		}
		var some []catalogcommon.Entity
		for i := range 20 {
			some = append(some, component(fmt.Sprint("sometimes-", i), "x"))
		}
		for range 15 {
			w.put(t, ctx, some...)
			w.write(t, ctx, func(tx *sql.Tx) error {
				const gone = "SELECT id FROM entity WHERE ref LIKE 'component:default/sometimes-%'"
				for _, s := range []string{
					"INSERT INTO entity_change (entity_id, deleted) SELECT id, true FROM entity WHERE id IN (" + gone + ")",
					"DELETE FROM entity_search WHERE entity_id IN (" + gone + ")",
					"DELETE FROM search_behind WHERE entity_id IN (" + gone + ")",
					"DELETE FROM entity WHERE ref LIKE 'component:default/sometimes-%'",
				} {
					if _, err := tx.ExecContext(ctx, s); err != nil {
						return err
					}
				}
				return nil
			})
			w.woke()
			for _, e := range some {
				delete(w.now, refOf(e))
			}
		}
		done()
		readers.Wait()
	})
}
