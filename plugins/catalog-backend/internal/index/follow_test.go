package index_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

func component(name, owner string) catalogcommon.Entity {
	return catalogcommon.Entity{
		"apiVersion": "v1", "kind": "Component",
		"metadata": map[string]any{"name": name, "namespace": "default"}, "spec": map[string]any{"owner": owner},
	}
}

// names returns what the index says, which fails the test if it is not the
// index that says it.
func (w *world) names(t tb, ctx context.Context, filter query.Predicate) string {
	t.Helper()
	asked := w.tables.asked.Load()
	items, err := w.reader.List(ctx, read.Request{Filter: filter, Order: []query.Order{{Field: "metadata.name"}}, Limit: 1000})
	if err != nil {
		t.Fatalf("listing: %v", err)
	}
	if w.tables.asked.Load() != asked {
		t.Fatalf("the index left the list to the tables")
	}
	var names []string
	for _, it := range items {
		names = append(names, it.Value)
	}
	return strings.Join(names, " ")
}

func (w *world) wantNames(t tb, ctx context.Context, want string) {
	t.Helper()
	if got := w.names(t, ctx, nil); got != want {
		t.Fatalf("the index has %q, want %q", got, want)
	}
}

// TestLateCommits has transactions commit in another order than their changes
// are numbered.
func TestLateCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testdb.NewPostgres(t))
	ctx := t.Context()
	others, err := sql.Open("pgx", w.db.DSN) // other processes have their own connections
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := others.Close(); err != nil {
			t.Error(err)
		}
	})
	begin := func(name string) *sql.Tx {
		t.Helper()
		tx, err := others.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.putIn(ctx, tx, component(name, "x")); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	commit := func(tx *sql.Tx) {
		t.Helper()
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		w.woke()
	}
	w.put(t, ctx, component("a", "x"), component("z", "x"))
	first := begin("b") // before the index is loaded
	w.put(t, ctx, component("a", "y"))
	defer w.follow(t, ctx, index.Options{Poll: time.Hour})()
	w.awaitSync(t)
	w.wantNames(t, ctx, "a z")
	second, third, failed := begin("c"), begin("d"), begin("e")
	w.put(t, ctx, component("z", "y"))
	w.wantNames(t, ctx, "a z")
	if n := w.index.Status().Gaps; n == 0 {
		t.Errorf("no gap is known, and three transactions are under way")
	}
	commit(third)
	w.wantNames(t, ctx, "a d z")
	if err := failed.Rollback(); err != nil {
		t.Fatal(err)
	}
	commit(first)
	w.wantNames(t, ctx, "a b d z")
	commit(second)
	w.wantNames(t, ctx, "a b c d z")
	// Transactions of other databases on the server keep gaps open, too.
	for end := time.Now().Add(patient); w.index.Status().Gaps != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d gaps are left after all transactions have ended", w.index.Status().Gaps)
		}
		w.woke()
		w.wantNames(t, ctx, "a b c d z")
	}
}

// TestForgottenChanges has the log trimmed before the index has read it.
func TestForgottenChanges(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.put(t, ctx, component("a", "x"))
		defer w.follow(t, ctx, index.Options{Poll: time.Hour})()
		w.awaitSync(t)
		w.wantNames(t, ctx, "a")
		loaded := w.index.Status().Version
		w.write(t, ctx, func(tx *sql.Tx) error {
			if err := w.putIn(ctx, tx, component("b", "x"), component("c", "x")); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, fmt.Sprint("DELETE FROM entity_change WHERE version <= ", loaded+1))
			return err
		})
		w.woke()
		for w.index.Status().Version == loaded {
			time.Sleep(time.Millisecond)
		}
		w.awaitSync(t)
		w.wantNames(t, ctx, "a b c")
	})
}

func TestOutgrown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testdb.NewSQLite(t))
	ctx := t.Context()
	w.put(t, ctx, component("a", "x"))
	x := index.New(w.db.Service, index.Options{MaxMemory: 1000})
	if err := x.Run(ctx); err != nil { // which returns, since there is nothing left to do
		t.Fatal(err)
	}
	if s := x.Status(); s.InSync || !strings.Contains(s.Problem, "maxMemory") {
		t.Errorf("the index that outgrew its memory says %+v", s)
	}
	x.Wake()
	n, err := index.NewReader(x, read.New(w.db.Service), 0).Count(ctx, read.Request{})
	if err != nil || n != 1 {
		t.Errorf("%d entities, error %v; want what the tables say", n, err)
	}
}

// faulty is a database that hangs or fails on demand.
type faulty struct {
	core.DatabaseService
	mu   sync.Mutex
	hold chan struct{} // closed when it may go on
	err  error
}

func (f *faulty) set(hold chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.err = hold, err
}

func (f *faulty) DB(ctx context.Context) (*sql.DB, error) {
	f.mu.Lock()
	hold, err := f.hold, f.err
	f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return f.DatabaseService.DB(ctx)
}

// TestBoundedWait has the index hang behind a write, and the reader see the
// write all the same.
func TestBoundedWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testdb.NewSQLite(t))
	ctx := t.Context()
	w.put(t, ctx, component("a", "x"))
	healthy := w.db.Service
	slow := &faulty{DatabaseService: healthy}
	w.db.Service = slow
	defer w.follow(t, ctx, index.Options{Wait: 5 * time.Millisecond, MaxLag: patient, Poll: time.Hour})()
	w.db.Service = healthy
	w.tables.Tables = read.New(healthy)
	w.awaitSync(t)
	hold := make(chan struct{})
	slow.set(hold, nil)
	w.put(t, ctx, component("b", "x"))
	n, err := w.reader.Count(ctx, read.Request{})
	if err != nil || n != 2 {
		t.Errorf("%d entities, error %v; want both", n, err)
	}
	if w.tables.asked.Load() == 0 {
		t.Errorf("the index answered, which cannot know the second entity")
	}
	slow.set(nil, errors.New("the connection was lost"))
	close(hold)
	w.woke()
	slow.set(nil, nil)
	w.woke()
	for w.index.Status().Version == 1 {
		time.Sleep(time.Millisecond)
	}
	w.wantNames(t, ctx, "a b")
}

// TestContentIsThatOfTheAnswer changes an entity behind the back of the index,
// which must not show it to somebody who may see it as it was.
func TestContentIsThatOfTheAnswer(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.put(t, ctx, component("a", "mine"), component("b", "mine"))
		defer w.follow(t, ctx, index.Options{Poll: time.Hour})()
		w.awaitSync(t)
		mine := query.In{Key: "spec.owner", Values: []string{"mine"}}
		w.write(t, ctx, func(tx *sql.Tx) error { return w.putIn(ctx, tx, component("a", "theirs")) })
		found, err := w.reader.ByRefs(ctx, []string{"component:default/a"}, mine)
		if err != nil || found[0] != nil {
			t.Errorf("found %s, error %v; want nothing", found[0], err)
		}
		items, err := w.reader.List(ctx, read.Request{Filter: mine, Limit: 10})
		if err != nil || len(items) != 1 || items[0].Ref != "component:default/b" {
			t.Errorf("listed %v, error %v; want b only", items, err)
		}
		w.woke()
		if got := w.names(t, ctx, mine); got != "b" {
			t.Errorf("the index has %q of mine, want b", got)
		}
	})
}

// TestReadersAndWriter reads while it writes: every reader sees whole entities,
// and what its own writer wrote before.
func TestReadersAndWriter(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.put(t, ctx, component("a", "nobody"))
		defer w.follow(t, ctx, index.Options{Poll: time.Millisecond})()
		w.awaitSync(t)
		var readers sync.WaitGroup
		done := make(chan struct{})
		for i := range 4 {
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					q := read.Request{Order: []query.Order{{Field: "metadata.name", Descending: i%2 == 0}}, Limit: 50, KeepUnordered: i > 1}
					items, err := w.reader.List(ctx, q)
					if err != nil {
						t.Errorf("listing: %v", err)
						return
					}
					for j, it := range items {
						if e, err := catalogcommon.ParseEntity(it.Entity); err != nil || e.Name() != it.Value {
							t.Errorf("at %s is %s (%v)", it.Value, it.Entity, err)
						}
						if j > 0 && (items[j-1].Value < it.Value) == q.Order[0].Descending {
							t.Errorf("%s stands behind %s", it.Value, items[j-1].Value)
						}
					}
					if _, err := w.reader.Facets(ctx, []string{"spec.owner"}, query.Exists{Key: "kind"}); err != nil {
						t.Errorf("facets: %v", err)
					}
				}
			})
		}
		for i := range 60 {
			name := fmt.Sprint("n", i%20)
			w.put(t, ctx, component(name, fmt.Sprint("o-", i)))
			n, err := w.reader.Count(ctx, read.Request{Filter: query.In{Key: "spec.owner", Values: []string{fmt.Sprint("o-", i)}}})
			if err != nil || n != 1 {
				t.Errorf("write %d is seen %d times (%v)", i, n, err)
			}
			if i%7 == 6 {
				w.remove(t, ctx, "component:default/"+name)
				found, err := w.reader.ByRefs(ctx, []string{"component:default/" + name}, nil)
				if err != nil || found[0] != nil {
					t.Errorf("%s is there after its removal (%v)", name, err)
				}
			}
		}
		close(done)
		readers.Wait()
	})
}
