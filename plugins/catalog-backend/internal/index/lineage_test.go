package index_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
)

// TestAncestry adds and removes parents, with and without anybody telling.
func TestAncestry(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.put(t, ctx, component("a", "x"), component("b", "x"), component("c", "x"))
		defer w.follow(t, ctx, index.Options{Poll: time.Hour})()
		w.awaitSync(t)
		edge := func(statement string) {
			t.Helper()
			if _, err := db.DB.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		add := func(parent, child string) {
			t.Helper()
			edge(fmt.Sprintf("INSERT INTO entity_edge (parent_id, target_id) SELECT p.id, t.id FROM entity p, entity t WHERE p.ref = 'component:default/%s' AND t.ref = 'component:default/%s'", parent, child))
		}
		want := func(want string) {
			t.Helper()
			nodes, err := w.reader.Ancestry(ctx, "component:default/a")
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, n := range nodes {
				have = append(have, strings.TrimPrefix(n.Ref, "component:default/"))
				if !strings.Contains(string(n.Entity), n.Ref[len(n.Ref)-1:]) {
					t.Errorf("%s comes with the entity %s", n.Ref, n.Entity)
				}
			}
			if got := strings.Join(have, " "); got != want {
				t.Errorf("the ancestry of a is %q, want %q", got, want)
			}
		}
		want("a")
		want("a")
		add("b", "a")
		w.index.Wake() // as the store does
		want("a b")
		add("c", "b")
		w.put(t, ctx, component("other", "x")) // and this time because of another change
		want("a b c")
		edge("DELETE FROM entity_edge")
		w.index.Wake()
		want("a")
		w.remove(t, ctx, "component:default/a")
		want("")
	})
}

// TestAncestriesAreThoseOfTheTables changes edges and entities at random.
func TestAncestriesAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		random := rand.New(rand.NewPCG(7, uint64(len(db.Dialect))))
		names := strings.Split("abcdefgh", "")
		ref := func(name string) string { return "component:default/" + name }
		for _, name := range names {
			w.put(t, ctx, component(name, "x"))
		}
		defer w.follow(t, ctx, index.Options{Poll: time.Hour})()
		w.awaitSync(t)
		for round := range 60 {
			one, other := names[random.IntN(len(names))], names[random.IntN(len(names))]
			for range 1 + random.IntN(3) {
				var statement string
				switch random.IntN(6) {
				case 0:
					w.put(t, ctx, component(one, fmt.Sprint(round)))
				case 1:
					w.remove(t, ctx, ref(one))
				case 2:
					statement = fmt.Sprintf("DELETE FROM entity_edge WHERE target_id IN (SELECT id FROM entity WHERE ref = '%s')", ref(one))
				default: // circles are no problem here
					statement = fmt.Sprintf("INSERT INTO entity_edge (parent_id, target_id) SELECT p.id, t.id FROM entity p, entity t WHERE p.ref = '%s' AND t.ref = '%s' ON CONFLICT DO NOTHING", ref(one), ref(other))
				}
				if statement != "" {
					if _, err := db.DB.ExecContext(ctx, statement); err != nil {
						t.Fatal(err)
					}
				}
				one, other = other, names[random.IntN(len(names))]
			}
			w.index.Wake()
			for _, name := range names {
				have, err := w.reader.Ancestry(ctx, ref(name))
				if err != nil {
					t.Fatal(err)
				}
				want, err := w.tables.Tables.Ancestry(ctx, ref(name))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, have, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("round %d: the ancestry of %s (-tables +index):\n%s", round, name, diff)
				}
			}
		}
		if n := w.tables.asked.Load(); n > 0 {
			t.Errorf("%d questions were left to the tables", n)
		}
	})
}
