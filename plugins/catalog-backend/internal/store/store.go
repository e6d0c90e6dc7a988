// Package store keeps the state of the catalog: what was handed in, by whom,
// what became of it, and what is due. It decides nothing about the content of
// entities.
//
// Everything is set-based: a mutation, however large, is staged in a
// temporary table and merged with a few statements, and the results of many
// entities are written in one transaction. Statements touch rows in the order
// of their refs, and transactions that lost a deadlock run anew.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Store is the state of the catalog.
type Store struct {
	database core.DatabaseService
	clock    func() time.Time
	uid      func() string
	wake     func()
	holder   int64 // names this store in claims

	written  atomic.Int64 // final forms
	analyzed atomic.Int64 // how many they were when the planner was told
}

// Options make a store.
type Options struct {
	// Clock and NewUID default to the time and to random UUIDs.
	Clock  func() time.Time
	NewUID func() string
	// Wake is called after a transaction that made work; it must not block.
	Wake func()
}

// New returns a store over a database that has the tables of package schema.
func New(database core.DatabaseService, o Options) *Store {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewUID == nil {
		o.NewUID = newUID
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	return &Store{database: database, clock: o.Clock, uid: o.NewUID, wake: o.Wake, holder: rand.Int64N(1<<62) + 1}
}

// Lanes of work, most urgent first.
const (
	LaneInteractive = 0
	LaneNew         = 1
	LanePeriodic    = 2
)

func (s *Store) now() int64 { return s.clock().UnixMilli() }

// tx is a transaction with the helpers that all statements use.
type tx struct {
	*sql.Tx
	ctx   context.Context
	store *Store
	now   int64

	staging bool     // the stage was made
	freed   []string // refs whose holder went, and that others claim
}

// write runs fn in a transaction, and wakes the workers behind it.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	err := s.database.WriteTx(ctx, func(t *sql.Tx) error {
		w := &tx{Tx: t, ctx: ctx, store: s, now: s.now()}
		if err := fn(w); err != nil {
			return err
		}
		return w.promote()
	})
	if err == nil {
		s.wake()
	}
	return err
}

func (t *tx) build() *sqltext.Builder { return sqltext.New(t.store.database.Dialect()) }

func (t *tx) postgres() bool { return t.store.database.Dialect() == core.PostgreSQL }

// exec runs a statement and returns the number of rows that it touched.
func (t *tx) exec(b *sqltext.Builder) (int64, error) {
	result, err := t.ExecContext(t.ctx, b.String(), b.Args()...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// run runs statements without arguments.
func (t *tx) run(statements ...string) error {
	for _, text := range statements {
		if _, err := t.ExecContext(t.ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// tellPlanner tells the planner of PostgreSQL what is in the tables while they
// grow from nothing: until it learns by itself, which takes a minute, it would
// take them for empty.
func (s *Store) tellPlanner(ctx context.Context, more int) error {
	total, last := s.written.Add(int64(more)), s.analyzed.Load()
	if s.database.Dialect() != core.PostgreSQL || total < manyRows || total < 4*last || !s.analyzed.CompareAndSwap(last, total) {
		return nil
	}
	db, err := s.database.DB(ctx)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "ANALYZE entity, entity_search, entity_due, entity_edge, provider_edge, relation, refresh_key")
	return err
}

// manyRows is how many rows a temporary table has to have for the planner to
// be told about them.
const manyRows = 1000

// analyze tells the planner of PostgreSQL what is in a temporary table.
func (t *tx) analyze(table string, rows int) error {
	if !t.postgres() || rows < manyRows {
		return nil
	}
	return t.run("ANALYZE " + table)
}

// Rows are locked in one order by all transactions, so that they seldom wait
// for each other in a circle: those of entity by ref, before those of any
// other table; the latter by id.

// lockEntities locks the entities that a condition on e holds for.
func (t *tx) lockEntities(condition string) error {
	if !t.postgres() {
		return nil // there is one writer at a time
	}
	return t.run("SELECT e.id FROM entity e WHERE " + condition + " ORDER BY e.ref FOR UPDATE")
}

// querier is a transaction or a database.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls fn for each row of a query.
func each(ctx context.Context, q querier, b *sqltext.Builder, fn func(*sql.Rows) error) (err error) {
	rows, err := q.QueryContext(ctx, b.String(), b.Args()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t *tx) each(b *sqltext.Builder, fn func(*sql.Rows) error) error {
	return each(t.ctx, t.Tx, b, fn)
}

// ids returns the first column of a query.
func (t *tx) ids(b *sqltext.Builder) ([]int64, error) {
	var out []int64
	err := t.each(b, func(rows *sql.Rows) error {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		out = append(out, id)
		return nil
	})
	return out, err
}

// chunk is how many rows or ids one statement takes. SQLite allows 32,766
// arguments, PostgreSQL 65,535.
const chunk = 500

// insertRows inserts rows in chunks: head is "INSERT INTO t (…) VALUES ",
// tail what follows the rows.
func insertRows[T any](t *tx, head, tail string, items []T, row func(T) []any) error {
	for part := range slices.Chunk(items, chunk) {
		b := t.build()
		b.Write(head)
		for i, item := range part {
			if i > 0 {
				b.Write(",")
			}
			b.Write(b.Row(row(item)...))
		}
		b.Write(tail)
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// updateRows updates an entity for each item: set may name n.column2 and so
// on, the values that row returns, which are texts.
func updateRows[T any](t *tx, set string, items []T, row func(T) (id int64, values []any)) error {
	for part := range slices.Chunk(items, chunk) {
		b := t.build()
		b.Write("UPDATE entity SET ", set, " FROM (VALUES ")
		for i, item := range part {
			if i > 0 {
				b.Write(",")
			}
			id, values := row(item)
			b.Write("(", sqltext.ID(id))
			for _, v := range values {
				b.Write(",", b.Arg(v))
				if i == 0 && t.postgres() {
					b.Write("::text")
				}
			}
			b.Write(")")
		}
		b.Write(") AS n WHERE entity.id = n.column1")
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// forIDs runs a statement for ids in chunks: head … (ids) tail.
func (t *tx) forIDs(head string, ids []int64, tail string) error {
	for part := range slices.Chunk(ids, chunk) {
		b := t.build()
		b.Write(head, "(", b.IDs(part), ")", tail)
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// due puts entities into the queue, at the earlier of the times and in the
// more urgent of the lanes. One that is being processed gets a later time than
// the one it was claimed for, by which its worker sees that it is due again.
func (t *tx) due(ids []int64, lane int, at int64) error {
	slices.Sort(ids)
	return insertRows(t, "INSERT INTO entity_due (entity_id, lane, next_at) VALUES ",
		" ON CONFLICT (entity_id) DO UPDATE SET lane = CASE WHEN excluded.lane < entity_due.lane THEN excluded.lane ELSE entity_due.lane END,"+
			" next_at = CASE WHEN entity_due.holder <> 0"+
			" THEN CASE WHEN excluded.next_at > entity_due.next_at THEN excluded.next_at ELSE entity_due.next_at + 1 END"+
			" WHEN excluded.next_at < entity_due.next_at THEN excluded.next_at ELSE entity_due.next_at END",
		ids, func(id int64) []any { return []any{id, lane, at} })
}

// dirty marks entities whose final form has to be built anew.
func (t *tx) dirty(ids []int64) error {
	slices.Sort(ids)
	return insertRows(t, "INSERT INTO entity_dirty (entity_id, since) VALUES ", " ON CONFLICT (entity_id) DO NOTHING",
		ids, func(id int64) []any { return []any{id, t.now} })
}

// dirtyRefs marks the entities with the refs, those that exist.
func (t *tx) dirtyRefs(refs []string) error {
	for part := range slices.Chunk(refs, chunk) {
		b := t.build()
		b.Write("INSERT INTO entity_dirty (entity_id, since) SELECT id, ", sqltext.ID(t.now), " FROM entity WHERE ref IN (", b.List(part),
			") ORDER BY id ON CONFLICT (entity_id) DO NOTHING")
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint records the fingerprint of what results are made with. If it
// differs from the recorded one, all entities become due, spread over a while.
func (s *Store) Fingerprint(ctx context.Context, value string, spread time.Duration) (changed bool, err error) {
	err = s.write(ctx, func(t *tx) error {
		changed = false
		var old string
		b := t.build()
		b.Write("SELECT value FROM fingerprint WHERE name = 'processing'")
		err := t.QueryRowContext(ctx, b.String()).Scan(&old)
		if err == nil && old == value {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		changed = old != ""
		b = t.build()
		b.Write("INSERT INTO fingerprint (name, value) VALUES ('processing', ", b.Arg(value), ") ON CONFLICT (name) DO UPDATE SET value = excluded.value")
		if _, err := t.exec(b); err != nil || !changed {
			return err
		}
		step := max(spread.Milliseconds(), 1)
		return t.run(fmt.Sprintf("UPDATE entity_due SET next_at = %d + entity_id %% %d WHERE next_at > %d", t.now, step, t.now+step))
	})
	return changed, err
}
