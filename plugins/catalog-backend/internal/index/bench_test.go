package index_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/catalogbench"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// BenchmarkReader reads pages with their entities, from a catalog of 10,000
// entities in SQLite, and tells how long the index took to load.
func BenchmarkReader(b *testing.B) {
	db := testdb.NewSQLite(b)
	ctx := b.Context()
	if err := db.Service.Migrate(ctx, schema.Migrations()); err != nil {
		b.Fatal(err)
	}
	w := &world{db: db, now: map[string]catalogcommon.Entity{}, keys: map[string]int64{}}
	for batch := range slices.Chunk(slices.Collect(catalogbench.Entities(10_000)), 1000) {
		w.write(b, ctx, func(tx *sql.Tx) error { return w.putIn(ctx, tx, batch...) })
	}
	began := time.Now()
	stop := w.follow(b, ctx, index.Options{Wait: patient, MaxLag: time.Hour})
	defer stop()
	w.reader = index.NewReader(w.index, w.tables, 64<<20)
	w.awaitSync(b)
	b.Logf("loaded in %s", time.Since(began).Round(time.Millisecond))
	component := query.In{Key: "kind", Values: []string{"component"}}
	list := func(limit int) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			items, err := w.reader.List(ctx, read.Request{Filter: component, Order: []query.Order{{Field: "metadata.name"}}, Limit: limit})
			return len(items), err
		}
	}
	for _, c := range []struct {
		name string
		ask  func(context.Context) (int, error)
	}{
		{"list 20 by name", list(21)},
		{"list 2000 by name", list(2000)},
		{"list 5000 by name", list(5000)},
		{"by ref", func(ctx context.Context) (int, error) {
			found, err := w.reader.ByRefs(ctx, []string{"component:default/" + catalogbench.Name(0)}, nil)
			return len(found[0]), err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n, err := c.ask(ctx); n == 0 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
