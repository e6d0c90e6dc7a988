package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/catalogbench"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// BenchmarkRegistration registers locations, one after the other, while a
// catalog of 50,000 entities is being processed for the first time, and tells
// how long it takes until what is there has its final form.
//
//	go test -run - -bench Registration -benchtime 100x ./plugins/catalog-backend/internal/engine
func BenchmarkRegistration(b *testing.B) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *testdb.Database
	}{{"postgres", testdb.NewPostgres}, {"sqlite", testdb.NewSQLite}} {
		b.Run(d.name, func(b *testing.B) {
			m := &memory{}
			w := newBenchWorld(b, d.open(b), m)
			defer w.stop()
			if _, err := w.provider.ApplyFull(b.Context(), func(yield func(catalognode.DeferredEntity, error) bool) {
				for e := range catalogbench.Sources(50_000, 0) {
					if !yield(catalognode.DeferredEntity{Entity: e, LocationKey: "bench"}, nil) {
						return
					}
				}
			}); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for b.Loop() {
				name := fmt.Sprint("registered-", len(took))
				m.set(name, component(name, "team"))
				began := time.Now()
				if _, err := w.user.ApplyDelta(b.Context(), catalognode.Delta{Added: []catalognode.DeferredEntity{memLocation(name)}}); err != nil {
					b.Fatal(err)
				}
				ref := catalogcommon.Ref{Kind: "component", Namespace: "default", Name: name}.String()
				for there := false; !there; {
					time.Sleep(2 * time.Millisecond)
					if err := w.db.DB.QueryRowContext(b.Context(), "SELECT EXISTS (SELECT 1 FROM entity WHERE ref = '"+ref+"' AND final IS NOT NULL)").Scan(&there); err != nil {
						b.Fatal(err)
					}
				}
				took = append(took, time.Since(began))
			}
			var waiting bool
			if err := w.db.DB.QueryRowContext(b.Context(), "SELECT EXISTS (SELECT 1 FROM entity_due WHERE lane = 1)").Scan(&waiting); err != nil {
				b.Fatal(err)
			}
			if !waiting {
				b.Log("the queue was empty before the end: measure fewer")
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "ms-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}
