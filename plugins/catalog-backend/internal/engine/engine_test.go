package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/processors"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// memory is a processor that reads locations of type "mem".
type memory struct {
	mu    sync.Mutex
	files map[string][]catalogcommon.Entity
	// gate, if not nil, holds up readers until it is closed; entered gets a
	// value for each.
	gate    chan struct{}
	entered chan string
	open    sync.Map // targets that the gate does not hold up
}

func (*memory) ProcessorName() string { return "memory" }

func (m *memory) set(target string, entities ...catalogcommon.Entity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string][]catalogcommon.Entity{}
	}
	m.files[target] = entities
}

func (m *memory) ReadLocation(ctx context.Context, l catalogcommon.LocationRef, optional bool, step catalognode.Step) (bool, error) {
	if l.Type != "mem" {
		return false, nil
	}
	if _, open := m.open.Load(l.Target); m.gate != nil && !open {
		m.entered <- l.Target
		select {
		case <-m.gate:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	step.Emit.Refresh(l.String())
	m.mu.Lock()
	defer m.mu.Unlock()
	entities, ok := m.files[l.Target]
	if !ok && !optional {
		step.Emit.Error(l, errors.New("nothing there"))
	}
	for _, e := range entities {
		step.Emit.Entity(l, e.Clone())
	}
	return true, nil
}

func component(name, owner string) catalogcommon.Entity {
	return catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": "Component", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"type": "service", "lifecycle": "production", "owner": owner},
	}
}

func located(e catalogcommon.Entity, location string) catalogcommon.Entity {
	e.SetAnnotation(catalogcommon.AnnotationLocation, location)
	e.SetAnnotation(catalogcommon.AnnotationOriginLocation, location)
	return e
}

type allowAll struct{}

func (allowAll) Allowed(catalogcommon.Entity, catalogcommon.LocationRef) bool { return true }

// provider keeps its connection.
type provider struct {
	name string
	catalognode.ProviderConnection
}

func (p *provider) ProviderName() string { return p.name }

func (p *provider) Connect(_ context.Context, c catalognode.ProviderConnection) error {
	p.ProviderConnection = c
	return nil
}

// instance is a running engine.
type instance struct {
	engine *engine.Engine
	store  *store.Store
	woken  chan struct{}
	errors chan catalognode.ProcessingError
	stop   func() error
}

func (i *instance) wake() {
	select {
	case i.woken <- struct{}{}:
	default:
	}
}

func migrate(t *testing.T, db *testdb.Database) {
	t.Helper()
	if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
		t.Fatalf("migrating: %v", err)
	}
}

func start(t *testing.T, database core.DatabaseService, m *memory, clock func() time.Time, change ...func(*engine.Config)) *instance {
	t.Helper()
	i := &instance{woken: make(chan struct{}, 1), errors: make(chan catalognode.ProcessingError, 1000)}
	i.store = store.New(database, store.Options{Clock: clock, Wake: i.wake})
	config := engine.Config{
		Store: i.store, Logger: slog.New(slog.DiscardHandler), Woken: i.woken, Interval: time.Hour, Fingerprint: "1",
		Orchestrator: &engine.Orchestrator{
			Processors: []catalognode.Processor{processors.NewBuiltin(), m},
			Policy:     catalogcommon.DefaultPolicy(catalogcommon.Validators{}), Rules: allowAll{}, LocationTypes: []string{"mem", "url"},
			Guard: func(ctx context.Context, _ string, fn func(context.Context) error) error { return fn(ctx) },
		},
		OnErrors: func(_ context.Context, e catalognode.ProcessingError, _ string, _ bool) { i.errors <- e },
	}
	for _, c := range change {
		c(&config)
	}
	i.engine = engine.New(config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.engine.Run(ctx) }()
	i.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = i.stop() })
	return i
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it did not happen that %s", what)
		}
	}
}

func finals(t *testing.T, db *testdb.Database) map[string]catalogcommon.Entity {
	t.Helper()
	out := map[string]catalogcommon.Entity{}
	rows, err := db.DB.QueryContext(t.Context(), "SELECT ref, final FROM entity WHERE final IS NOT NULL")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var ref, text string
		if err := rows.Scan(&ref, &text); err != nil {
			t.Fatal(err)
		}
		if out[ref], err = catalogcommon.ParseEntity([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func memLocation(target string) catalognode.DeferredEntity {
	l := catalogcommon.LocationRef{Type: "mem", Target: target}
	return catalognode.DeferredEntity{Entity: engine.LocationEntity(l, false), LocationKey: l.String()}
}

func all(entities ...catalognode.DeferredEntity) func(func(catalognode.DeferredEntity, error) bool) {
	return func(yield func(catalognode.DeferredEntity, error) bool) {
		for _, e := range entities {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func connect(t *testing.T, i *instance, providers ...catalognode.EntityProvider) {
	t.Helper()
	if err := i.engine.Connect(t.Context(), providers, false); err != nil {
		t.Fatalf("connecting: %v", err)
	}
}

func TestLocationsBecomeEntities(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		m := &memory{}
		m.set("a", component("web", "team-a"), component("api", "team-a"))
		i := start(t, db.Service, m, nil)
		p := &provider{name: "p"}
		connect(t, i, p)
		report, err := p.ApplyFull(t.Context(), all(memLocation("a")))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(catalognode.MutationReport{Seen: 1, Added: 1}, report); diff != "" {
			t.Errorf("report (-want +have):\n%s", diff)
		}
		eventually(t, "both components are there", func() bool { return len(finals(t, db)) == 3 })
		web := finals(t, db)["component:default/web"]
		if got := web.Annotation(catalogcommon.AnnotationOriginLocation); got != "mem:a" {
			t.Errorf("origin = %q", got)
		}
		want := []catalogcommon.EntityRelation{{Type: "ownedBy", TargetRef: "group:default/team-a"}}
		if diff := cmp.Diff(want, web.Relations()); diff != "" {
			t.Errorf("relations (-want +have):\n%s", diff)
		}

		m.set("a", component("web", "team-b"))
		if err := p.Refresh(t.Context(), "mem:a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the owner changes and the other component is an orphan", func() bool {
			now := finals(t, db)
			return now["component:default/web"].SpecString("owner") == "team-b" && now["component:default/api"].Annotation(catalogcommon.AnnotationOrphan) == "true"
		})
		if removed, err := i.store.RemoveOrphans(t.Context(), 0); err != nil || removed != 1 {
			t.Errorf("RemoveOrphans = %d, %v; want 1", removed, err)
		}
		if _, err := p.ApplyFull(t.Context(), all()); err != nil {
			t.Fatal(err)
		}
		if left := finals(t, db); len(left) != 0 {
			t.Errorf("entities are left: %v", left)
		}
	})
}

func TestErrorsKeepTheLastGoodState(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		m := &memory{}
		m.set("a", component("web", "team-a"))
		i := start(t, db.Service, m, nil)
		p := &provider{name: "p"}
		connect(t, i, p)
		if _, err := p.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the component is there", func() bool { return len(finals(t, db)) == 2 })
		broken := component("web", "team-a")
		delete(broken.Spec(), "owner")
		m.set("a", broken)
		if err := p.Refresh(t.Context(), "mem:a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the status tells what is wrong", func() bool { return len(finals(t, db)["component:default/web"].Status()) == 1 })
		web := finals(t, db)["component:default/web"]
		if web.SpecString("owner") != "team-a" {
			t.Errorf("the last good state is gone: %v", web)
		}
		if message := web.Status()[0].Message; !strings.Contains(message, "owner") {
			t.Errorf("status = %q", message)
		}
		if e := <-i.errors; e.EntityRef != "component:default/web" {
			t.Errorf("told of errors of %s", e.EntityRef)
		}
		m.set("a", component("web", "team-b"))
		if err := p.Refresh(t.Context(), "mem:a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the status is clean again", func() bool { return len(finals(t, db)["component:default/web"].Status()) == 0 })
	})
}

func TestConflictsAreTakenUpWhenTheHolderGoes(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		m := &memory{}
		m.set("a", component("web", "team-a"))
		m.set("b", component("web", "team-b"))
		conflicts := make(chan store.Conflict, 100)
		i := start(t, db.Service, m, nil, func(c *engine.Config) {
			c.OnConflict = func(_ context.Context, c store.Conflict) { conflicts <- c }
		})
		p := &provider{name: "p"}
		connect(t, i, p)
		if _, err := p.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
			t.Fatal(err)
		}
		owner := func() string { return finals(t, db)["component:default/web"].SpecString("owner") }
		eventually(t, "the first location holds the component", func() bool { return owner() == "team-a" })
		if _, err := p.ApplyDelta(t.Context(), catalognode.Delta{Added: []catalognode.DeferredEntity{memLocation("b")}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(store.Conflict{Ref: "component:default/web", Wanted: "mem:b", Holder: "mem:a"}, <-conflicts); diff != "" {
			t.Errorf("conflict (-want +have):\n%s", diff)
		}
		if got := owner(); got != "team-a" {
			t.Errorf("owner = %s after the conflict", got)
		}
		if _, err := p.ApplyFull(t.Context(), all(memLocation("b"))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the second location holds the component", func() bool { return owner() == "team-b" })
	})
}

func TestAnotherFingerprintProcessesEverythingAgain(t *testing.T) {
	t.Parallel()
	db := testdb.NewSQLite(t)
	migrate(t, db)
	m := &memory{}
	m.set("a", component("web", "team-a"))
	first := start(t, db.Service, m, nil)
	p := &provider{name: "p"}
	connect(t, first, p)
	if _, err := p.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the component is there", func() bool { return len(finals(t, db)) == 2 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	var processed atomic.Int32
	start(t, db.Service, m, nil, func(c *engine.Config) {
		c.Fingerprint, c.Interval = "2", time.Millisecond
		c.Observe = func(context.Context, string, time.Duration, time.Duration) { processed.Add(1) }
	})
	eventually(t, "both entities are processed again", func() bool { return processed.Load() >= 2 })
}

// TestTwoInstances lets two engines work on one queue.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	migrate(t, db)
	m := &memory{}
	const locations, each = 20, 25
	var ds []catalognode.DeferredEntity
	for l := range locations {
		var es []catalogcommon.Entity
		for e := range each {
			es = append(es, component(fmt.Sprintf("c-%d-%d", l, e), "team-a"))
		}
		m.set(fmt.Sprint(l), es...)
		ds = append(ds, memLocation(fmt.Sprint(l)))
	}
	a, b := start(t, db.Service, m, nil), start(t, db.Service, m, nil)
	p := &provider{name: "p"}
	connect(t, a, p)
	connect(t, b, &provider{name: "p"})
	if _, err := p.ApplyFull(t.Context(), all(ds...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is there", func() bool {
		var n int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM entity WHERE final IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == locations*(each+1)
	})
	if err := errors.Join(a.stop(), b.stop()); err != nil {
		t.Fatal(err)
	}
	var held int
	if err := db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM entity_due WHERE holder <> 0").Scan(&held); err != nil || held != 0 {
		t.Errorf("%d claims are left (%v)", held, err)
	}
}

// cuttable is a database that can be cut off.
type cuttable struct {
	core.DatabaseService
	cut atomic.Bool
}

var errCut = errors.New("the connection is cut")

func (c *cuttable) DB(ctx context.Context) (*sql.DB, error) {
	if c.cut.Load() {
		return nil, errCut
	}
	return c.DatabaseService.DB(ctx)
}

func (c *cuttable) WriteTx(ctx context.Context, fn func(*sql.Tx) error) error {
	if c.cut.Load() {
		return errCut
	}
	return c.DatabaseService.WriteTx(ctx, fn)
}

// TestAKilledInstanceIsReplaced cuts an engine off in the middle of its work.
func TestAKilledInstanceIsReplaced(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		now := new(atomic.Int64)
		now.Store(1_000_000)
		clock := func() time.Time { return time.UnixMilli(now.Load()) }
		stuck := &memory{gate: make(chan struct{}), entered: make(chan string, 10)}
		database := &cuttable{DatabaseService: db.Service}
		victim := start(t, database, stuck, clock)
		p := &provider{name: "p"}
		connect(t, victim, p)
		if _, err := p.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
			t.Fatal(err)
		}
		<-stuck.entered
		database.cut.Store(true)
		if err := victim.stop(); err == nil {
			t.Error("an engine that cannot give its claims back reports no error")
		}
		m := &memory{}
		m.set("a", component("web", "team-a"))
		other := start(t, db.Service, m, clock)
		work, err := other.store.Claim(t.Context(), 10, time.Second)
		if err != nil || len(work) != 0 {
			t.Fatalf("claims of a lease that lasts: %v, %v", work, err)
		}
		now.Add((21 * time.Second).Milliseconds())
		other.wake()
		eventually(t, "another instance finishes", func() bool { return len(finals(t, db)) == 2 })
	})
}

func TestDryRunFollowsLocations(t *testing.T) {
	t.Parallel()
	db := testdb.NewSQLite(t)
	migrate(t, db)
	m := &memory{}
	m.set("a", component("web", "team-a"), located(engine.LocationEntity(catalogcommon.LocationRef{Type: "mem", Target: "b"}, false), "mem:a"))
	m.set("b", component("api", "team-a"))
	i := start(t, db.Service, m, nil)
	entities, err := i.engine.DryRun(t.Context(), memLocation("a").Entity)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, text := range entities {
		e, err := catalogcommon.ParseEntity(text)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Kind()+" "+e.SpecString("target")+e.SpecString("owner"))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"Component team-a", "Component team-a", "Location a", "Location b"}, names); diff != "" {
		t.Errorf("entities (-want +have):\n%s", diff)
	}
	if len(finals(t, db)) != 0 {
		t.Error("a dry run stored something")
	}
	m.set("b", component("web", "team-a"))
	if _, err := i.engine.DryRun(t.Context(), memLocation("a").Entity); err == nil || !strings.Contains(err.Error(), "Duplicate nested entity: component:default/web") {
		t.Errorf("DryRun = %v, want a duplicate", err)
	}
}
