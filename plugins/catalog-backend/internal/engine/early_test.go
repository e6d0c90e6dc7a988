package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// counted is a processor that counts its runs, and may hold them up or fail.
type counted struct {
	runs atomic.Int64
	work func(ctx context.Context, run int64, entity catalogcommon.Entity) error
}

func (*counted) ProcessorName() string { return "counted" }

func (c *counted) PostProcess(ctx context.Context, entity catalogcommon.Entity, _ catalognode.Step) (catalogcommon.Entity, error) {
	run := c.runs.Add(1)
	if c.work == nil {
		return entity, nil
	}
	return entity, c.work(ctx, run, entity)
}

func with(p catalognode.Processor) func(*engine.Config) {
	return func(c *engine.Config) { c.Orchestrator.Processors = append(c.Orchestrator.Processors, p) }
}

func handedIn(entities ...catalogcommon.Entity) []catalognode.DeferredEntity {
	out := make([]catalognode.DeferredEntity, len(entities))
	for i, e := range entities {
		out[i] = catalognode.DeferredEntity{Entity: located(e, "url:https://example.com/catalog"), LocationKey: "p"}
	}
	return out
}

func count(t *testing.T, db *testdb.Database, query string) (n int) {
	t.Helper()
	if err := db.DB.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// TestAFirstMutationIsCompleteAtOnce hands entities in for the first time: they
// are there with their relations when the mutation returns, as processing them
// once more would make them.
func TestAFirstMutationIsCompleteAtOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		processor := &counted{}
		i := start(t, db.Service, &memory{}, nil, with(processor))
		p := &provider{name: "p"}
		connect(t, i, p)
		group := catalogcommon.Entity{
			"apiVersion": "backstage.io/v1alpha1", "kind": "Group", "metadata": map[string]any{"name": "team-a"},
			"spec": map[string]any{"type": "team", "children": []any{}},
		}
		odd := component("Odd", "team-a")
		odd.SetMetadata("title", "(the relations of the final form stand here)")
		odd.SetMetadata("Title", "in two cases")
		in := handedIn(component("web", "team-a"), group, component("api", "team-a"), odd)
		report, err := p.ApplyFull(t.Context(), all(in...))
		if diff := cmp.Diff(catalognode.MutationReport{Seen: 4, Added: 4}, report); diff != "" || err != nil {
			t.Fatalf("report (-want +have): %v\n%s", err, diff)
		}
		first := finals(t, db)
		for _, ref := range []string{"component:default/web", "component:default/api", "group:default/team-a"} {
			if _, ok := first[ref]; !ok {
				t.Errorf("%s is not there when the mutation returns", ref)
			}
		}
		eventually(t, "the odd entity is there, and related", func() bool {
			return len(finals(t, db)) == 4 && len(finals(t, db)["group:default/team-a"].Relations()) == 3
		})
		want := []catalogcommon.EntityRelation{{Type: "ownerOf", TargetRef: "component:default/api"}, {Type: "ownerOf", TargetRef: "component:default/odd"}, {Type: "ownerOf", TargetRef: "component:default/web"}}
		if diff := cmp.Diff(want, finals(t, db)["group:default/team-a"].Relations()); diff != "" {
			t.Errorf("relations of the group (-want +have):\n%s", diff)
		}

		first = finals(t, db)
		changes := count(t, db, "SELECT count(*) FROM entity_change")
		runs := processor.runs.Load()
		for ref := range first {
			if err := i.store.Invalidate(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
		}
		i.wake()
		eventually(t, "all are processed once more", func() bool {
			return processor.runs.Load() >= runs+4 && count(t, db, "SELECT count(*) FROM entity WHERE result_hash = ''")+count(t, db, "SELECT count(*) FROM entity_dirty") == 0
		})
		if diff := cmp.Diff(first, finals(t, db)); diff != "" {
			t.Errorf("final forms, first and processed once more (-first +again):\n%s", diff)
		}
		if again := count(t, db, "SELECT count(*) FROM entity_change"); again != changes {
			t.Errorf("processing once more made %d changes", again-changes)
		}

		runs = processor.runs.Load()
		if report, err := p.ApplyFull(t.Context(), all(in...)); err != nil || report.Added+report.Changed+report.Removed > 0 {
			t.Errorf("the same again: %+v, %v", report, err)
		}
		if n := processor.runs.Load() - runs; n > 0 {
			t.Errorf("the same again was processed %d times", n)
		}
	})
}

// TestAFirstMutationDoesNotWaitForSources has processors that fail, and others
// that are stuck: the mutation returns, and what they are at is processed later.
func TestAFirstMutationDoesNotWaitForSources(t *testing.T) {
	t.Parallel()
	for name, work := range map[string]func(context.Context, int64, catalogcommon.Entity) error{
		"fails once": func(_ context.Context, run int64, _ catalogcommon.Entity) error {
			if run == 1 {
				return errors.New("not yet")
			}
			return nil
		},
		"is stuck once": func(ctx context.Context, run int64, _ catalogcommon.Entity) error {
			if run == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.NewSQLite(t)
			migrate(t, db)
			i := start(t, db.Service, &memory{}, nil, with(&counted{work: work}))
			p := &provider{name: "p"}
			connect(t, i, p)
			if _, err := p.ApplyFull(t.Context(), all(handedIn(component("web", "team-a"))...)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the entity is there", func() bool { return len(finals(t, db)) == 1 })
			select {
			case e := <-i.errors:
				t.Errorf("an error was announced that nobody has to mend: %v", e.Errors)
			default:
			}
		})
	}
}

// TestLocationsAreNotReadAhead hands in a location, whose file is read once.
func TestLocationsAreNotReadAhead(t *testing.T) {
	t.Parallel()
	db := testdb.NewSQLite(t)
	migrate(t, db)
	m := &memory{}
	m.set("a", component("web", "team-a"))
	var reads atomic.Int64
	i := start(t, db.Service, m, nil, with(&counted{work: func(_ context.Context, _ int64, e catalogcommon.Entity) error {
		if strings.EqualFold(e.Kind(), "Location") {
			reads.Add(1)
		}
		return nil
	}}))
	p := &provider{name: "p"}
	connect(t, i, p)
	if _, err := p.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the component is there", func() bool { return len(finals(t, db)) == 2 })
	if n := reads.Load(); n != 1 {
		t.Errorf("the location was processed %d times", n)
	}
}
