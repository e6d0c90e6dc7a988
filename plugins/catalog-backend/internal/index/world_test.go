package index_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/behind"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is a catalog that is written as the store does.
type world struct {
	db     *testdb.Database
	index  *index.Index
	reader *index.Reader
	tables *countedTables
	now    map[string]catalogcommon.Entity // by ref
	made   int
	keys   map[string]int64 // ids of those that search_key has
	// behind, if not nil, says whether the next entity has its search rows in
	// search_behind.
	behind func() bool
}

// countedTables counts the questions that the index left to the tables.
type countedTables struct {
	index.Tables
	asked atomic.Int64
}

func (c *countedTables) List(ctx context.Context, q read.Request) ([]read.Item, error) {
	c.asked.Add(1)
	return c.Tables.List(ctx, q)
}

func (c *countedTables) Count(ctx context.Context, q read.Request) (int, error) {
	c.asked.Add(1)
	return c.Tables.Count(ctx, q)
}

func (c *countedTables) Ancestry(ctx context.Context, ref string) ([]read.Node, error) {
	c.asked.Add(1)
	return c.Tables.Ancestry(ctx, ref)
}

func (c *countedTables) Page(ctx context.Context, q read.Request) ([]read.Item, int, error) {
	c.asked.Add(1)
	return c.Tables.Page(ctx, q)
}

func (c *countedTables) ByRefs(ctx context.Context, refs []string, p query.Predicate) ([][]byte, error) {
	c.asked.Add(1)
	return c.Tables.ByRefs(ctx, refs, p)
}

func (c *countedTables) ByUID(ctx context.Context, uid string, p query.Predicate) ([]byte, error) {
	c.asked.Add(1)
	return c.Tables.ByUID(ctx, uid, p)
}

func (c *countedTables) Facets(ctx context.Context, keys []string, p query.Predicate) (map[string][]read.Facet, error) {
	c.asked.Add(1)
	return c.Tables.Facets(ctx, keys, p)
}

func newWorld(t *testing.T, db *testdb.Database) *world {
	t.Helper()
	if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
		t.Fatalf("migrating: %v", err)
	}
	return &world{db: db, now: map[string]catalogcommon.Entity{}, keys: map[string]int64{}}
}

// patient is longer than any test: the index is in step or the test fails.
const patient = time.Minute

// follow starts an index, and returns what stops it.
func (w *world) follow(t tb, ctx context.Context, o index.Options) (stop func()) {
	t.Helper()
	if o.Wait == 0 {
		o.Wait, o.MaxLag = patient, patient
	}
	w.index = index.New(w.db.Service, o)
	w.tables = &countedTables{Tables: read.New(w.db.Service)}
	w.reader = index.NewReader(w.index, w.tables, 2000)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.index.Run(ctx); err != nil {
			t.Errorf("following: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

// awaitSync waits until the index can be asked.
func (w *world) awaitSync(t tb) {
	t.Helper()
	for end := time.Now().Add(patient); !w.index.Status().InSync; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the index does not get in step: %s", w.index.Status().Problem)
		}
	}
}

func refOf(e catalogcommon.Entity) string {
	return strings.ToLower(e.Kind() + ":" + e.Namespace() + "/" + e.Name())
}

// uidOf is the uid of an entity that has the ref.
func uidOf(ref string, made int) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", len(ref)*7919+made, made)
}

// put writes entities in a transaction, in the way of the store.
func (w *world) put(t tb, ctx context.Context, entities ...catalogcommon.Entity) {
	t.Helper()
	w.write(t, ctx, func(tx *sql.Tx) error { return w.putIn(ctx, tx, entities...) })
	w.woke()
}

func (w *world) woke() {
	if w.index != nil {
		w.index.Wake()
	}
}

func (w *world) putIn(ctx context.Context, tx *sql.Tx, entities ...catalogcommon.Entity) error {
	for _, e := range entities {
		ref := refOf(e)
		var id int64
		if old, ok := w.now[ref]; ok {
			e.SetMetadata("uid", old.Metadata()["uid"])
			if err := tx.QueryRowContext(ctx, "SELECT id FROM entity WHERE ref = "+quote(ref)).Scan(&id); err != nil {
				return err
			}
		} else {
			w.made++
			e.SetMetadata("uid", uidOf(ref, w.made))
			err := tx.QueryRowContext(ctx, "INSERT INTO entity (uid, ref, unprocessed, unprocessed_hash, discovered_at) VALUES ("+
				quote(e.Metadata()["uid"].(string))+", "+quote(ref)+", '', '', 0) RETURNING id").Scan(&id)
			if err != nil {
				return err
			}
		}
		w.now[ref] = e
		statements := []string{
			fmt.Sprintf("UPDATE entity SET final = %s, final_hash = %s WHERE id = %d", quote(string(e.AppendJSON(nil))), quote(e.Hash()), id),
			fmt.Sprintf("DELETE FROM entity_search WHERE entity_id = %d", id),
			fmt.Sprintf("DELETE FROM search_behind WHERE entity_id = %d", id),
		}
		rows, _ := entitysearch.Rows(e)
		rows = slices.DeleteFunc(rows, func(r entitysearch.Row) bool { return r.Derived })
		for _, r := range rows {
			if w.keys[r.Key] == 0 {
				var n int64
				if err := tx.QueryRowContext(ctx, "INSERT INTO search_key (key) VALUES ("+quote(r.Key)+") ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id").Scan(&n); err != nil {
					return err
				}
				w.keys[r.Key] = n
			}
		}
		if w.behind != nil && w.behind() {
			var late []behind.Row
			for _, r := range rows {
				late = append(late, behind.Row{Key: w.keys[r.Key], Value: r.Value, Original: r.Original, Null: r.Null, Item: r.Item})
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO search_behind (entity_id, rows) VALUES (%d, %s)", id, quote(string(behind.Append(nil, late)))))
			rows = nil
		}
		for _, r := range rows {
			value, original := quote(r.Value), "NULL"
			if r.Original != r.Value {
				original = quote(r.Original)
			}
			if r.Null {
				value, original = "NULL", "NULL"
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO entity_search (entity_id, key_id, value, original, item) VALUES (%d, %d, %s, %s, %v)", id, w.keys[r.Key], value, original, r.Item))
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO entity_change (entity_id, deleted) VALUES (%d, false)", id))
		if _, err := tx.ExecContext(ctx, strings.Join(statements, ";\n")); err != nil {
			return fmt.Errorf("writing %s: %w", ref, err)
		}
	}
	return nil
}

func (w *world) remove(t tb, ctx context.Context, ref string) {
	t.Helper()
	w.write(t, ctx, func(tx *sql.Tx) error {
		const of = " = (SELECT id FROM entity WHERE ref = "
		for _, s := range []string{
			"INSERT INTO entity_change (entity_id, deleted) SELECT id, true FROM entity WHERE ref = " + quote(ref),
			"DELETE FROM entity_search WHERE entity_id" + of + quote(ref) + ")",
			"DELETE FROM search_behind WHERE entity_id" + of + quote(ref) + ")",
			"DELETE FROM entity WHERE ref = " + quote(ref),
		} {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	delete(w.now, ref)
	w.woke()
}

func (w *world) write(t tb, ctx context.Context, fn func(*sql.Tx) error) {
	t.Helper()
	if err := w.db.Service.WriteTx(ctx, fn); err != nil {
		t.Fatalf("writing: %v", err)
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// model answers questions in the plainest way.
type model struct {
	entities []modelled // in the order of their refs
}

type modelled struct {
	ref, text, uid string
	rows           []entitysearch.Row
}

func (w *world) model() model {
	var m model
	for ref, e := range w.now {
		rows, _ := entitysearch.Rows(e)
		m.entities = append(m.entities, modelled{ref, string(e.AppendJSON(nil)), e.Metadata()["uid"].(string), rows})
	}
	slices.SortFunc(m.entities, func(a, b modelled) int { return strings.Compare(a.ref, b.ref) })
	return m
}

func (e modelled) has(key string, value func(string) bool) bool {
	return slices.ContainsFunc(e.rows, func(r entitysearch.Row) bool {
		return r.Key == key && (value == nil || !r.Null && value(r.Value))
	})
}

func (e modelled) meets(p query.Predicate) bool {
	switch p := p.(type) {
	case nil:
		return true
	case query.All:
		return !slices.ContainsFunc(p, func(m query.Predicate) bool { return !e.meets(m) })
	case query.Any:
		return slices.ContainsFunc(p, e.meets)
	case query.Not:
		return !e.meets(p.Predicate)
	case query.Exists:
		return e.has(p.Key, nil)
	case query.In:
		return e.has(p.Key, func(v string) bool { return slices.Contains(p.Values, v) })
	case query.HasPrefix:
		return e.has(p.Key, func(v string) bool { return strings.HasPrefix(v, p.Prefix) })
	default:
		panic("unknown predicate")
	}
}

// value returns the smallest value of a key, or the largest.
func (e modelled) value(o query.Order) (out string, ok bool) {
	for _, r := range e.rows {
		if r.Key == o.Field && !r.Null && (!ok || (r.Value > out) == o.Descending) {
			out, ok = r.Value, true
		}
	}
	return out, ok
}

func (e modelled) found(q read.Request) bool {
	if !e.meets(q.Filter) {
		return false
	}
	term, fields := q.FullText.Term, q.FullText.Fields
	if term == "" {
		return true
	}
	if len(fields) == 0 {
		if len(q.Order) == 0 {
			return strings.Contains(e.uid, term)
		}
		fields = []string{q.Order[0].Field}
	}
	return slices.ContainsFunc(fields, func(f string) bool {
		return slices.ContainsFunc(e.rows, func(r entitysearch.Row) bool {
			return r.Key == f && !r.Null && !r.Derived && strings.Contains(r.Value, term)
		})
	})
}

// list returns the whole list, without a cut.
func (m model) list(q read.Request) []read.Item {
	order := q.Order
	if !q.KeepUnordered && len(order) > 1 {
		order = order[:1]
	}
	var found []modelled
	for _, e := range m.entities {
		if !e.found(q) {
			continue
		}
		if len(order) > 0 && !q.KeepUnordered {
			if _, ok := e.value(order[0]); !ok {
				continue
			}
		}
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b modelled) int {
		for _, o := range order {
			x, hasX := a.value(o)
			y, hasY := b.value(o)
			switch {
			case hasX != hasY && hasX:
				return -1
			case hasX != hasY:
				return 1
			case x != y && o.Descending:
				return strings.Compare(y, x)
			case x != y:
				return strings.Compare(x, y)
			}
		}
		if len(order) > 0 && order[0].Descending && !q.KeepUnordered {
			return strings.Compare(b.ref, a.ref)
		}
		return strings.Compare(a.ref, b.ref)
	})
	items := make([]read.Item, len(found))
	for i, e := range found {
		items[i] = read.Item{Position: query.Position{Ref: e.ref}, Entity: []byte(e.text)}
		if len(order) > 0 {
			items[i].Value, items[i].HasValue = e.value(order[0])
		}
	}
	return items
}

// page cuts the whole list as the request says.
func page(all []read.Item, q read.Request, behind int) []read.Item {
	if q.After != nil && q.Before {
		all = all[:behind]
		all = all[:max(0, len(all)-q.Offset)]
		return all[max(0, len(all)-q.Limit):]
	}
	if q.After != nil {
		all = all[behind+1:]
	}
	all = all[min(q.Offset, len(all)):]
	return all[:min(q.Limit, len(all))]
}

func (m model) facets(key string, p query.Predicate) []read.Facet {
	counts := map[string]int{}
	for _, e := range m.entities {
		if !e.meets(p) {
			continue
		}
		for _, r := range e.rows {
			if r.Key == key && !r.Null {
				counts[r.Original]++
			}
		}
	}
	out := []read.Facet{}
	for v, n := range counts {
		out = append(out, read.Facet{Value: v, Count: n})
	}
	slices.SortFunc(out, func(a, b read.Facet) int { return strings.Compare(a.Value, b.Value) })
	return out
}
