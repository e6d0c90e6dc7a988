package index_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
