package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/catalogbench"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// BenchmarkIngestion hands in a catalog ("first"), and then again without a
// change and with one of a hundred entities changed ("again"), each time until
// everything is processed, related, in its final form, and in the index. It
// tells the seconds of each, those of the mutation alone, and the peak of the
// resident memory of the process, which counts for one benchmark at a time
// only:
//
//	go test -run - -bench Ingestion/postgres/10000/first -benchtime 1x ./plugins/catalog-backend/internal/engine
func BenchmarkIngestion(b *testing.B) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *testdb.Database
	}{{"postgres", testdb.NewPostgres}, {"sqlite", testdb.NewSQLite}} {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprint(d.name, "/", n, "/first"), func(b *testing.B) {
				for b.Loop() {
					w := newBenchWorld(b, d.open(b))
					w.ingest(b, "first", n, 0)
					w.stop()
				}
				b.ReportMetric(peakMemory(b), "MiB-peak")
				b.ReportMetric(0, "ns/op")
			})
			b.Run(fmt.Sprint(d.name, "/", n, "/again"), func(b *testing.B) {
				w := newBenchWorld(b, d.open(b))
				defer w.stop()
				w.ingest(b, "first", n, 0)
				revision := 0
				for b.Loop() {
					w.ingest(b, "same", n, revision)
					revision++
					w.ingest(b, "changed", n, revision)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

type benchWorld struct {
	db       *testdb.Database
	provider *provider
	user     *provider // hands in what somebody waits for
	index    *index.Index
	stop     func()
}

func newBenchWorld(b *testing.B, db *testdb.Database, more ...catalognode.Processor) *benchWorld {
	b.Helper()
	if err := db.Service.Migrate(b.Context(), schema.Migrations()); err != nil {
		b.Fatal(err)
	}
	w := &benchWorld{db: db, provider: &provider{name: "bench"}, user: &provider{name: "user"}, index: index.New(db.Service, index.Options{})}
	woken := make(chan struct{}, 1)
	state := store.New(db.Service, store.Options{Wake: func() {
		w.index.Wake()
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	e := engine.New(engine.Config{
		Store: state, Logger: slog.New(slog.DiscardHandler), Woken: woken, Interval: time.Hour, Fingerprint: "1",
		Orchestrator: &engine.Orchestrator{
			Processors: append([]catalognode.Processor{processors.NewBuiltin()}, more...),
			Policy:     catalogcommon.DefaultPolicy(catalogcommon.Validators{}), Rules: allowAll{}, LocationTypes: []string{"url", "mem"},
			Guard: func(ctx context.Context, _ string, fn func(context.Context) error) error { return fn(ctx) },
		},
	})
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.index.Run(ctx) })
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	if err := e.Connect(ctx, []catalognode.EntityProvider{w.provider, w.user}, true); err != nil {
		b.Fatal(err)
	}
	return w
}

func (w *benchWorld) ingest(b *testing.B, what string, n, revision int) {
	began := time.Now()
	report, err := w.provider.ApplyFull(b.Context(), func(yield func(catalognode.DeferredEntity, error) bool) {
		for e := range catalogbench.Sources(n, revision) {
			if !yield(catalognode.DeferredEntity{Entity: e, LocationKey: "bench"}, nil) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	applied := time.Since(began)
	for !w.rests(b) {
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(began)
	b.ReportMetric(applied.Seconds(), "s-"+what+"-mutation")
	b.ReportMetric(took.Seconds(), "s-"+what)
	if report.Seen != max(n, catalogbench.MinSources) {
		b.Fatalf("%s: %+v", what, report)
	}
}

// rests reports whether nothing is left to do, here and in the index.
func (w *benchWorld) rests(b *testing.B) bool {
	var left bool
	var version int64
	if err := w.db.DB.QueryRowContext(b.Context(), "SELECT EXISTS (SELECT 1 FROM entity_dirty) OR EXISTS (SELECT 1 FROM entity_due WHERE lane < 2),"+
		" (SELECT COALESCE(max(version), 0) FROM entity_change)").Scan(&left, &version); err != nil {
		b.Fatal(err)
	}
	return !left && w.index.Status().InSync && w.index.Status().Version >= version
}

// peakMemory returns the peak of the resident memory in MiB, where the system
// tells.
func peakMemory(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	return 0
}
