package store_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) (out []T) {
	t.Helper()
	for item, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, item)
	}
	return out
}

func TestWhatIsUnprocessed(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		var items []item
		for i := range 501 { // more than two pages
			items = append(items, item{ref: refOf(fmt.Sprintf("e%03d", i)), key: "p"})
		}
		w.full(t, ctx, "p", items)
		if n := len(collect(t, w.store.Unprocessed(ctx, false))); n != len(items) {
			t.Errorf("%d entities are pending, want %d", n, len(items))
		}
		if got := collect(t, w.store.Unprocessed(ctx, true)); len(got) > 0 {
			t.Errorf("nothing was processed, and %d failed", len(got))
		}
		work := claim(t, w.store)
		bad := w.process(t, work[0])
		bad.OK, bad.Errors, bad.Hash, bad.Next = false, `[{"name":"InputError","message":"bad"}]`, "bad", time.UnixMilli(5_000_000)
		good := w.process(t, work[1])
		if _, err := w.store.Save(ctx, []store.Result{bad, good}); err != nil {
			t.Fatal(err)
		}
		want := []store.Unprocessed{{
			UID: work[0].UID, Ref: work[0].Ref, Body: work[0].Unprocessed, Hash: work[0].Hash, ResultHash: "bad", Errors: bad.Errors, LocationKey: "p",
			Due: time.UnixMilli(5_000_000).UTC(), Discovered: time.UnixMilli(1_000_000).UTC(),
		}}
		if diff := cmp.Diff(want, collect(t, w.store.Unprocessed(ctx, true)), cmpopts.IgnoreUnexported(store.Unprocessed{})); diff != "" {
			t.Errorf("failed (-want +have):\n%s", diff)
		}
		if n := len(collect(t, w.store.Unprocessed(ctx, false))); n != len(items)-1 {
			t.Errorf("%d entities are pending, want all but one", n)
		}
		if found, err := w.store.Delete(ctx, work[0].UID); err != nil || !found {
			t.Errorf("deleting what failed: %v, %v", found, err)
		}
		if found, err := w.store.Delete(ctx, work[0].UID); err != nil || found {
			t.Errorf("deleting it again: %v, %v", found, err)
		}
		if got := collect(t, w.store.Unprocessed(ctx, true)); len(got) > 0 {
			t.Errorf("failed after the deletion: %v", got)
		}
	})
}

func TestWhatWasRefused(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0"}}
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p"}})
		w.full(t, ctx, "q", []item{{ref: refOf("a"), key: "q"}, {ref: refOf("parent"), key: "q", program: 1}})
		w.settle(t, ctx)
		held := []store.Source{{Provider: "p"}}
		want := []store.Refused{
			{Ref: refOf("a"), By: store.Source{Parent: refOf("parent")}, Wanted: "file:f0", Holder: "p", HeldBy: held, Body: w.files["f0"][0].deferred().Body},
			{Ref: refOf("a"), By: store.Source{Provider: "q"}, Wanted: "q", Holder: "p", HeldBy: held, Body: item{ref: refOf("a"), key: "q"}.deferred().Body},
		}
		ignore := cmp.Options{cmpopts.IgnoreUnexported(store.Refused{}), cmpopts.IgnoreFields(store.Refused{}, "Since")}
		if diff := cmp.Diff(want, collect(t, w.store.Refused(ctx)), ignore); diff != "" {
			t.Errorf("refused (-want +have):\n%s", diff)
		}
		w.full(t, ctx, "p", nil)
		w.settle(t, ctx)
		if got := collect(t, w.store.Refused(ctx)); len(got) != 1 {
			t.Errorf("refused after the holder went: %+v, want the later of the two", got)
		}

		var many []item
		for i := range 450 {
			many = append(many, item{ref: refOf(fmt.Sprintf("m%03d", i)), key: "p"})
		}
		w.full(t, ctx, "p", many)
		for i := range many {
			many[i].key = "q"
		}
		w.full(t, ctx, "q", many)
		if n := len(collect(t, w.store.Refused(ctx))); n != len(many) {
			t.Errorf("%d were refused, want %d", n, len(many))
		}
	})
}

func TestListingsEndAtAnError(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := leafWorld(t, db)
		w.full(t, t.Context(), "p", []item{{ref: refOf("a"), key: "p"}})
		if _, err := db.DB.ExecContext(t.Context(), "ALTER TABLE entity_due RENAME TO gone"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range w.store.Unprocessed(t.Context(), false) {
			if n++; err == nil {
				t.Errorf("a broken table gave %v", err)
			}
		}
		if n != 1 {
			t.Errorf("the sequence went on for %d items", n)
		}
	})
}
