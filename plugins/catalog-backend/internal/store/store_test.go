package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

// leafWorld has programs that read no file (0) and the files f0 and f1 (1).
func leafWorld(t *testing.T, db *testdb.Database) *world {
	t.Helper()
	w := newWorld(t, db)
	w.programs = [][]string{{}, {"f0", "f1"}}
	return w
}

func claim(t *testing.T, s *store.Store) []store.Work {
	t.Helper()
	work, err := s.Claim(t.Context(), 10, leaseTime)
	if err != nil {
		t.Fatalf("claiming: %v", err)
	}
	return work
}

func TestLateResultsDoNoHarm(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p", version: 1}})
		slow := claim(t, w.store)
		if again := claim(t, w.another()); len(again) != 0 {
			t.Fatalf("claimed twice: %v", again)
		}
		w.advance(2 * leaseTime)
		other := w.another()
		taken := claim(t, other)
		if len(slow) != 1 || len(taken) != 1 {
			t.Fatalf("claims: %d, %d", len(slow), len(taken))
		}
		late := w.process(t, slow[0])
		late.Hash, late.Processed = "late", `{"late":true}`
		saved, err := w.store.Save(ctx, []store.Result{late})
		if err != nil || saved.Stale != 1 {
			t.Fatalf("saving late: %+v, %v", saved, err)
		}
		w.store = other
		if saved := w.save(t, ctx, taken); saved.Stale != 0 || saved.Stitched.Changed != 1 {
			t.Errorf("saving in time: %+v", saved)
		}
		w.settle(t, ctx)
		w.check(t, ctx)
	})
}

func TestChangesDuringProcessing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p", version: 1}, {ref: refOf("b"), key: "p"}})
		work := claim(t, w.store)
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p", version: 2}, {ref: refOf("b"), key: "p"}})
		if err := w.store.Invalidate(ctx, refOf("b")); err != nil {
			t.Fatal(err)
		}
		if saved := w.save(t, ctx, work); saved.Stale != 1 {
			t.Errorf("saved: %+v, want one that is stale", saved)
		}
		w.advance(time.Second)
		again := claim(t, w.store)
		if len(again) != 2 {
			t.Errorf("due again: %v, want what changed and what was invalidated", again)
		}
		w.save(t, ctx, again)
		w.check(t, ctx)
	})
}

func TestReportOfMutations(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		a, b, c := item{ref: refOf("a"), key: "p"}, item{ref: refOf("b"), key: "p"}, item{ref: refOf("c"), key: "p"}
		want := func(what string, want, have store.Report) {
			t.Helper()
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("%s (-want +have):\n%s", what, diff)
			}
		}
		want("first", store.Report{Seen: 2, Added: 2}, w.full(t, ctx, "p", []item{a, b}))
		want("same", store.Report{Seen: 2}, w.full(t, ctx, "p", []item{a, b}))
		b.version = 1
		want("changed", store.Report{Seen: 2, Added: 1, Changed: 1, Removed: 1}, w.full(t, ctx, "p", []item{b, c}))
		last := c
		last.version = 2
		want("doubled", store.Report{Seen: 4, Changed: 1, Twice: []string{c.ref, c.ref}}, w.full(t, ctx, "p", []item{c, b, c, last}))
		want("delta", store.Report{Seen: 1, Added: 1, Removed: 1}, w.delta(t, ctx, "p", []item{a}, []string{"c"}))
		want("twice", store.Report{Seen: 2, Changed: 1}, w.delta(t, ctx, "p", []item{{ref: refOf("a"), key: "p", version: 3}, {ref: refOf("a"), key: "p", version: 4}}, nil))
		other := item{ref: refOf("a"), key: "q"}
		want("conflict", store.Report{Seen: 1, Conflicts: []store.Conflict{{Ref: refOf("a"), Wanted: "q", Holder: "p"}}}, w.full(t, ctx, "q", []item{other}))
		w.settle(t, ctx)
		w.check(t, ctx)
	})
}

func TestAFailedSequenceChangesNothing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		a := item{ref: refOf("a"), key: "p"}
		w.full(t, ctx, "p", []item{a})
		failed := errors.New("the source is gone")
		_, err := w.store.ApplyFull(ctx, "p", func(yield func(store.Deferred, error) bool) {
			if yield(item{ref: refOf("b"), key: "p"}.deferred(), nil) {
				yield(store.Deferred{}, failed)
			}
		})
		if !errors.Is(err, failed) {
			t.Errorf("ApplyFull = %v, want %v", err, failed)
		}
		w.settle(t, ctx)
		w.check(t, ctx)
	})
}

func TestAMovedDocumentKeepsItsUID(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0", version: 1}}
		w.full(t, ctx, "p", []item{{ref: refOf("root"), key: "p", program: 1}})
		w.settle(t, ctx)
		before := w.entities(t, ctx)[refOf("a")]
		w.edit(t, ctx, "f0", nil)
		w.edit(t, ctx, "f1", []item{{ref: refOf("a"), key: "file:f1", version: 2}})
		w.settle(t, ctx)
		w.check(t, ctx)
		after := w.entities(t, ctx)[refOf("a")]
		if after.uid != before.uid || after.key != "file:f1" {
			t.Errorf("after the move: uid %s key %s, want uid %s", after.uid, after.key, before.uid)
		}
	})
}

func TestOrphansStayForAWhile(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0"}}
		w.full(t, ctx, "p", []item{{ref: refOf("root"), key: "p", program: 1}})
		w.settle(t, ctx)
		w.edit(t, ctx, "f0", nil)
		w.step(t, ctx, 10)
		if removed, err := w.store.RemoveOrphans(ctx, orphanAge); err != nil || removed != 0 {
			t.Errorf("removed at once: %d, %v", removed, err)
		}
		if _, _, err := w.store.Stitch(ctx, 10, 0); err != nil {
			t.Fatal(err)
		}
		const orphan = `"backstage.io/orphan":"true"`
		if e := w.lines(t, ctx, "SELECT ref FROM entity WHERE final LIKE '%"+orphan+"%'"); len(e) != 1 {
			t.Errorf("orphans: %v", e)
		}
		w.advance(2 * orphanAge)
		if removed, err := w.store.RemoveOrphans(ctx, orphanAge); err != nil || removed != 1 {
			t.Errorf("removed later: %d, %v", removed, err)
		}
		w.check(t, ctx)
	})
}

func TestRefreshReachesTheLocationsAbove(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0"}}
		root := item{ref: "location:default/root", key: "p", program: 1}
		w.full(t, ctx, "p", []item{root, {ref: refOf("b"), key: "p"}})
		w.settle(t, ctx)
		if found, err := w.store.Refresh(ctx, refOf("a")); err != nil || !found {
			t.Fatalf("Refresh = %v, %v", found, err)
		}
		var refs []string
		for _, it := range claim(t, w.store) {
			refs = append(refs, it.Ref)
			if it.Lane != store.LaneInteractive {
				t.Errorf("%s is in lane %d", it.Ref, it.Lane)
			}
		}
		if diff := cmp.Diff([]string{refOf("a"), root.ref}, refs, cmp.Transformer("sort", sorted)); diff != "" {
			t.Errorf("due (-want +have):\n%s", diff)
		}
		if found, err := w.store.Refresh(ctx, refOf("none")); err != nil || found {
			t.Errorf("Refresh of nothing = %v, %v", found, err)
		}
	})
}

func sorted(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
}

func TestInteractiveWorkGoesFirst(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		var many []item
		for i := range 50 {
			many = append(many, item{ref: refOf(fmt.Sprintf("many-%02d", i)), key: "p"})
		}
		w.full(t, ctx, "p", many)
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0"}}
		w.delta(t, ctx, "q", []item{{ref: refOf("root"), key: "q", program: 1}}, nil)
		for _, want := range []string{refOf("root"), refOf("a")} {
			work, err := w.store.Claim(ctx, 1, leaseTime)
			if err != nil || len(work) != 1 || work[0].Ref != want {
				t.Fatalf("claimed %v, %v; want %s", work, err, want)
			}
			w.save(t, ctx, work)
		}
	})
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p"}, {ref: refOf("b"), key: "p"}})
		w.settle(t, ctx)
		for _, step := range []struct {
			value   string
			changed bool
			due     int
		}{{"1", false, 0}, {"1", false, 0}, {"2", true, 2}} {
			changed, err := w.store.Fingerprint(ctx, step.value, time.Minute)
			if err != nil || changed != step.changed {
				t.Fatalf("Fingerprint(%s) = %v, %v", step.value, changed, err)
			}
			w.advance(time.Minute)
			if due := w.dueNow(t, ctx); due != step.due {
				t.Errorf("%d are due after fingerprint %s, want %d", due, step.value, step.due)
			}
		}
	})
}

func TestChangesAreKeptForFollowers(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p"}, {ref: refOf("b"), key: "p"}})
		w.settle(t, ctx)
		w.full(t, ctx, "p", nil)
		if n := w.count(t, ctx, "entity_change WHERE deleted"); n != 2 {
			t.Errorf("%d removals, want 2", n)
		}
		if err := w.store.TrimChanges(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if n := w.count(t, ctx, "entity_change"); n != 1 {
			t.Errorf("%d changes are left, want 1", n)
		}
	})
}
