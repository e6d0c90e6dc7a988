package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// A source that is slow, or needs the catalog itself, holds up nobody, and is
// asked once.
func TestTheSequenceIsReadOnceBeforeTheTransaction(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		ranged := 0
		_, err := w.store.ApplyFull(ctx, "p", func(yield func(store.Deferred, error) bool) {
			ranged++
			if yield(item{ref: refOf("a"), key: "p"}.deferred(), nil) {
				w.full(t, ctx, "q", []item{{ref: refOf("b"), key: "q"}}) // a write of somebody else
				yield(item{ref: refOf("c"), key: "p"}.deferred(), nil)
			}
		})
		if err != nil || ranged != 1 {
			t.Errorf("ApplyFull = %v, after %d readings", err, ranged)
		}
		want := []string{refOf("a"), refOf("b"), refOf("c")}
		if diff := cmp.Diff(want, w.lines(t, ctx, "SELECT ref FROM entity")); diff != "" {
			t.Errorf("entities (-want +have):\n%s", diff)
		}
	})
}

// large yields n entities of a kilobyte and more.
func large(n, version int) iter.Seq2[store.Deferred, error] {
	return func(yield func(store.Deferred, error) bool) {
		for i := range n {
			e := item{ref: refOf(fmt.Sprintf("large-%05d", i)), version: version}.entity()
			e.SetMetadata("description", strings.Repeat("x", 1000))
			body := e.AppendJSON(nil)
			if !yield(store.Deferred{Ref: e.Ref().String(), Body: string(body), Hash: catalogcommon.HashJSON(body), LocationKey: "p"}, nil) {
				return
			}
		}
	}
}

func join(seqs ...iter.Seq2[store.Deferred, error]) iter.Seq2[store.Deferred, error] {
	return func(yield func(store.Deferred, error) bool) {
		for _, seq := range seqs {
			for d, err := range seq {
				if !yield(d, err) {
					return
				}
			}
		}
	}
}

func TestLargeFullMutations(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		const n = 1500 // more than is kept in memory
		apply := func(want store.Report, entities iter.Seq2[store.Deferred, error]) {
			t.Helper()
			r, err := w.store.ApplyFull(ctx, "p", entities)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, r); diff != "" {
				t.Errorf("report (-want +have):\n%s", diff)
			}
		}
		apply(store.Report{Seen: n + 10, Added: n, Twice: refsOf(large(10, 2))}, join(large(n, 1), large(10, 2)))
		if have := w.lines(t, ctx, `SELECT ref FROM entity WHERE unprocessed LIKE '%"version":2%'`); len(have) != 10 {
			t.Errorf("of two with a ref, the last counts for %d entities, want 10", len(have))
		}
		apply(store.Report{Seen: n, Changed: 10}, large(n, 1))
		apply(store.Report{Seen: n}, large(n, 1))
		failed := errors.New("the source is gone")
		if _, err := w.store.ApplyFull(ctx, "p", join(large(n, 3), func(yield func(store.Deferred, error) bool) { yield(store.Deferred{}, failed) })); !errors.Is(err, failed) {
			t.Errorf("ApplyFull = %v, want %v", err, failed)
		}
		apply(store.Report{Seen: n}, large(n, 1))
		apply(store.Report{Seen: 3, Removed: n - 3}, large(3, 1))
	})
}

// fingerprintOf changes whenever a row is written.
func fingerprintOf(t *testing.T, ctx context.Context, db *testdb.Database) func() string {
	t.Helper()
	if db.Dialect == core.SQLite {
		conn, err := db.DB.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return func() (version string) { // counts the commits of other connections that wrote
			if err := conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
				t.Fatal(err)
			}
			return version
		}
	}
	return func() string {
		var out strings.Builder
		for _, table := range []string{"entity", "entity_due", "entity_dirty", "provider_edge", "entity_edge", "entity_claim", "relation", "refresh_key", "entity_search", "search_behind", "entity_change", "orphan_candidate"} {
			var rows sql.NullString
			if err := db.DB.QueryRowContext(ctx, "SELECT md5(string_agg(ctid::text || ' ' || xmin::text || ' ' || xmax::text, ',' ORDER BY ctid)) FROM "+table).Scan(&rows); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, table, rows.String)
		}
		return out.String()
	}
}

func TestTheSameAgainWritesNoRow(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		var items []item
		for i := range 1200 {
			items = append(items, item{ref: refOf(fmt.Sprintf("e%04d", i)), key: []string{"p", ""}[i%2]})
		}
		w.full(t, ctx, "p", items)
		w.full(t, ctx, "q", []item{{ref: refOf("e0000"), key: "q"}, {ref: refOf("e0001"), version: 1}}) // both are refused
		for w.step(t, ctx, 500) > 0 {
		}
		w.settle(t, ctx)
		written := fingerprintOf(t, ctx, db)
		before := written()
		w.full(t, ctx, "p", items)
		w.full(t, ctx, "q", []item{{ref: refOf("e0000"), key: "q"}, {ref: refOf("e0001"), version: 1}})
		w.full(t, ctx, "p", items)
		if diff := cmp.Diff(before, written()); diff != "" {
			t.Errorf("rows were written (-before +after):\n%s", diff)
		}
		w.full(t, ctx, "p", items[1:])
		if before == written() {
			t.Error("a removal was not noticed: the test proves nothing")
		}
	})
}

// Search rows are written for as many entities as are asked for, and what is
// written is gone from the rows that wait.
func TestSearchRowsAreWrittenInParts(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		if _, err := w.store.ApplyFull(ctx, "p", large(10, 1)); err != nil {
			t.Fatal(err)
		}
		w.settle(t, ctx)
		before := w.count(t, ctx, "search_behind_row")
		for _, want := range []int{4, 4, 2, 0} {
			if n, err := w.store.WriteRows(ctx, 4); err != nil || n != want {
				t.Errorf("WriteRows = %d, %v; want %d", n, err, want)
			}
		}
		if err := w.store.TidyRows(ctx); err != nil {
			t.Error(err)
		}
		if n := w.count(t, ctx, "entity_search"); n != before || n == 0 {
			t.Errorf("%d rows were written of %d", n, before)
		}
		if n := w.count(t, ctx, "search_behind"); n != 0 {
			t.Errorf("%d entities are still behind", n)
		}
	})
}

func TestLimitsOfRemovals(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		items := []item{{ref: refOf("a"), key: "p"}, {ref: refOf("b"), key: "p"}, {ref: refOf("c"), key: "p"}, {ref: refOf("d"), key: "p"}}
		half, none := 50.0, 0.0
		for _, step := range []struct {
			hands  int
			limits store.Limits
			want   *store.RefusedError
		}{
			{0, store.Limits{Removals: &none, NotEmpty: true}, nil}, // it had nothing
			{4, store.Limits{Removals: &none, NotEmpty: true}, nil},
			{1, store.Limits{Removals: &half}, &store.RefusedError{Provider: "p", Seen: 1, Had: 4, Removed: 3, Limit: &half}},
			{0, store.Limits{NotEmpty: true}, &store.RefusedError{Provider: "p", Had: 4, Removed: 4}},
			{3, store.Limits{Removals: &none}, &store.RefusedError{Provider: "p", Seen: 3, Had: 4, Removed: 1, Limit: &none}},
			{4, store.Limits{Removals: &none}, nil},
			{2, store.Limits{Removals: &half, NotEmpty: true}, nil},
			{0, store.Limits{Removals: &half}, &store.RefusedError{Provider: "p", Had: 2, Removed: 2, Limit: &half}},
			{0, store.Limits{}, nil},
		} {
			before := w.lines(t, ctx, "SELECT ref FROM entity")
			_, err := w.store.ApplyFullWithin(ctx, "p", sequence(items[:step.hands]), step.limits)
			var refused *store.RefusedError
			if errors.As(err, &refused); err != nil && refused == nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, refused); diff != "" {
				t.Errorf("handing in %d within %+v (-want +have):\n%s", step.hands, step.limits, diff)
			}
			after := w.lines(t, ctx, "SELECT ref FROM entity")
			if refused != nil && !cmp.Equal(before, after) || refused == nil && len(after) != step.hands {
				t.Errorf("after handing in %d: %v", step.hands, after)
			}
		}
	})
}

func TestTwoSourcesWithoutKeysSettle(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		ps, qs := []item{{ref: refOf("a"), version: 1}}, []item{{ref: refOf("a"), version: 2}}
		w.full(t, ctx, "p", ps)
		if r := w.full(t, ctx, "q", qs); len(r.Conflicts) != 1 {
			t.Errorf("report = %+v, want a conflict", r)
		}
		w.settle(t, ctx)
		w.check(t, ctx)
		changes := w.count(t, ctx, "entity_change")
		for range 3 {
			w.full(t, ctx, "p", ps)
			w.full(t, ctx, "q", qs)
			w.settle(t, ctx)
		}
		if again := w.count(t, ctx, "entity_change"); again != changes {
			t.Errorf("two sources made %d changes, handing in the same", again-changes)
		}
		uid := w.entities(t, ctx)[refOf("a")].uid
		w.full(t, ctx, "p", nil)
		w.settle(t, ctx)
		w.check(t, ctx) // the other has it now
		if uid == "" || len(w.entities(t, ctx)) != 1 {
			t.Errorf("entities: %v", w.entities(t, ctx))
		}
		w.full(t, ctx, "r", []item{{ref: refOf("a"), key: "r", version: 3}})
		w.settle(t, ctx)
		w.check(t, ctx) // a key goes before none
		if e := w.entities(t, ctx)[refOf("a")]; e.key != "r" {
			t.Errorf("held by %q, want the source with a key", e.key)
		}
	})
}

// Instances that change, process, build and clean up the same few entities at
// the same time never fail, and leave what the sources say.
func TestInstancesGetInEachOthersWay(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	w, ctx := newWorld(t, db), t.Context()
	// Connections that are opened from now on notice a deadlock at once.
	var name string
	if err := db.DB.QueryRowContext(ctx, "SELECT quote_ident(current_database())").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := db.DB.ExecContext(ctx, "ALTER DATABASE "+name+" SET deadlock_timeout = '10ms'"); err != nil {
		t.Fatal(err)
	}
	w.programs = [][]string{{}, {"f0"}, {"f1"}, {"f0", "f1"}}
	for i := range 12 {
		file := fmt.Sprint("f", i%2)
		w.files[file] = append(w.files[file], item{ref: refOf(fmt.Sprint("x", i/2)), key: "file:" + file, program: i % 3})
	}
	const rounds = 10
	last := make([][]item, 3)
	var running sync.WaitGroup
	fail := func(doing string, err error) {
		if err != nil {
			t.Errorf("%s: %v", doing, err)
		}
	}
	for p := range last {
		s, random := w.another(), rand.New(rand.NewPCG(uint64(p), 1))
		running.Go(func() {
			for range rounds {
				var items []item
				for _, i := range random.Perm(12) {
					if random.IntN(3) > 0 {
						items = append(items, item{ref: refOf(fmt.Sprint("x", i)), key: []string{"", fmt.Sprint("p", p), "shared"}[random.IntN(3)], program: random.IntN(4), version: random.IntN(3)})
					}
				}
				in := sequence(items)
				if random.IntN(2) == 0 {
					in = w.readySequence(t, ctx, s, items)
				}
				_, err := s.ApplyFull(ctx, fmt.Sprint("p", p), in)
				fail("full mutation", err)
				last[p] = items
			}
		})
	}
	for range 2 {
		s := w.another()
		running.Go(func() {
			for range 3 * rounds {
				work, err := s.Claim(ctx, 5, time.Hour)
				fail("claiming", err)
				results := make([]store.Result, len(work))
				for i, it := range work {
					results[i] = w.process(t, it)
				}
				_, err = s.Save(ctx, results)
				fail("saving", err)
				_, _, err = s.Stitch(ctx, 5, 0)
				fail("stitching", err)
				_, err = s.CheckLoads(ctx)
				fail("looking for relations", err)
				_, err = s.WriteRows(ctx, 3)
				fail("writing search rows", err)
			}
		})
		running.Go(func() {
			for i := range rounds {
				_, err := s.RemoveOrphans(ctx, 0)
				fail("removing orphans", err)
				_, err = s.RefreshKeys(ctx, []string{fmt.Sprint("file:f", i%2)})
				fail("refreshing", err)
			}
		})
	}
	running.Wait()
	for p, items := range last {
		w.providers[fmt.Sprint("p", p)] = map[string]item{}
		for _, it := range items {
			w.providers[fmt.Sprint("p", p)][it.ref] = it
		}
		// Under one key the last of two texts counts, in no certain order: here
		// they say it once more, one after the other.
	}
	w.advance(2 * time.Hour)
	w.settle(t, ctx)
	for range 2 {
		for p, items := range last {
			for i := range items {
				if items[i].key == "shared" {
					items[i].key = fmt.Sprint("p", p)
				}
			}
			w.full(t, ctx, fmt.Sprint("p", p), items)
		}
		w.settle(t, ctx)
	}
	w.check(t, ctx)
}

func refsOf(entities iter.Seq2[store.Deferred, error]) (refs []string) {
	for d := range entities {
		refs = append(refs, d.Ref)
	}
	return refs
}
