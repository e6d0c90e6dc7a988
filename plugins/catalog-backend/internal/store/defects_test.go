package store_test

import (
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
)

// Scenarios in which the catalog of Backstage loses something, on the store
// itself. The table in docs/compatibility-catalog.md names each; those that
// can be seen by HTTP are in the tests of the plugin.

// The mark of a neighbour is written with the relation that changes it: a
// process that ends right after that loses nothing.
func TestDefectCrashBeforeNeighboursAreBuilt(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		neighbour, origin := item{ref: refOf("e1"), key: "p"}, item{ref: refOf("origin"), key: "p", program: 1}
		w.full(t, ctx, "p", []item{neighbour})
		w.settle(t, ctx)
		w.full(t, ctx, "p", []item{neighbour, origin})
		w.step(t, ctx, 10)
		if n := w.count(t, ctx, "entity_dirty"); n == 0 {
			t.Error("nothing is marked")
		}
		w.restart()
		w.settle(t, ctx)
		w.check(t, ctx)
		if final := w.entities(t, ctx)[refOf("e1")].final; !strings.Contains(final, `{"targetRef":"component:default/origin","type":"dependencyOf"}`) && !strings.Contains(final, `{"type":"dependencyOf","targetRef":"component:default/origin"}`) {
			t.Errorf("the neighbour is %s", final)
		}
	})
}

// Whoever was refused an entity takes it over when its holder goes, without a
// change of its own, and also after a restart: a provider, or a file.
func TestDefectTheLoserIsPromoted(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		w.files["f0"] = []item{{ref: refOf("a"), key: "file:f0", version: 1}}
		w.full(t, ctx, "p", []item{{ref: refOf("a"), key: "p", version: 2}, {ref: refOf("b"), key: "p", version: 2}})
		w.full(t, ctx, "q", []item{{ref: refOf("root"), key: "q", program: 1}, {ref: refOf("b"), key: "q", version: 3}})
		w.settle(t, ctx)
		if key := w.entities(t, ctx)[refOf("a")].key; key != "p" {
			t.Fatalf("the holder is %s, want the first one", key)
		}
		w.restart()
		w.full(t, ctx, "p", nil)
		w.settle(t, ctx)
		w.check(t, ctx)
		for ref, key := range map[string]string{refOf("a"): "file:f0", refOf("b"): "q"} {
			if e := w.entities(t, ctx)[ref]; e.key != key {
				t.Errorf("%s is held by %q, want %q", ref, e.key, key)
			}
		}
	})
}

// Two parents, or a parent and a provider, that hand in one entity keep it
// each by itself, whoever came last.
func TestDefectSeveralWhoHandAnEntityIn(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		for _, gone := range []string{"one", "two", "p"} {
			w, ctx := leafWorld(t, db), t.Context()
			a := item{ref: refOf("a"), key: "file:f0"}
			w.files["f0"] = []item{a}
			w.full(t, ctx, "p", []item{a})
			w.full(t, ctx, "one", []item{{ref: refOf("one"), key: "one", program: 1}})
			w.settle(t, ctx)
			w.full(t, ctx, "two", []item{{ref: refOf("two"), key: "two", program: 1}})
			w.settle(t, ctx)
			uid := w.entities(t, ctx)[a.ref].uid
			w.full(t, ctx, gone, nil)
			w.settle(t, ctx)
			w.check(t, ctx)
			if e := w.entities(t, ctx)[a.ref]; e.uid != uid || strings.Contains(e.final, "backstage.io/orphan") {
				t.Errorf("without %s: uid %s, want %s; %s", gone, e.uid, uid, e.final)
			}
			for _, provider := range []string{"p", "one", "two"} {
				w.full(t, ctx, provider, nil)
			}
			w.settle(t, ctx)
			if n := w.count(t, ctx, "entity"); n != 0 {
				t.Errorf("without anybody %d entities are left", n)
			}
		}
	})
}

// A delta with what somebody else handed in already, without any difference,
// makes the provider one who hands it in.
func TestDefectADeltaOfWhatIsThere(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		a := item{ref: refOf("a"), key: "shared"}
		w.full(t, ctx, "p", []item{a})
		w.settle(t, ctx)
		w.delta(t, ctx, "q", []item{a}, nil)
		w.full(t, ctx, "p", nil)
		w.settle(t, ctx)
		w.check(t, ctx)
		if _, there := w.entities(t, ctx)[a.ref]; !there {
			t.Error("it is gone, although one hands it in")
		}
	})
}

// What a user deleted and a provider still has comes back with its next
// mutation, though that is the same as before.
func TestDefectADeletedEntityComesBack(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		a := item{ref: refOf("a"), key: "p"}
		w.full(t, ctx, "p", []item{a})
		w.settle(t, ctx)
		w.remove(t, ctx, a.ref)
		if n := w.count(t, ctx, "entity"); n != 0 {
			t.Fatalf("%d entities are left", n)
		}
		w.full(t, ctx, "p", []item{a})
		w.settle(t, ctx)
		w.check(t, ctx)
		if n := w.count(t, ctx, "entity"); n != 1 {
			t.Errorf("%d entities are there again", n)
		}
	})
}
