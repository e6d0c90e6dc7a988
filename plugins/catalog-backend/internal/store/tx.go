package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// tx is a transaction with the helpers that all statements use.
type tx struct {
	*sql.Tx
	ctx   context.Context
	store *Store
	now   int64

	conn       *sql.Conn            // that it runs on, in PostgreSQL
	statements map[string]*sql.Stmt // by their texts, in SQLite
	staging    bool                 // the stage was made
	freed      []string             // refs whose holder went, and that others claim
	found      map[string]int64     // ids of search keys that were made or looked up
	smallCache int64                // to go back to, in SQLite
	quiet      bool                 // nothing happened that concerns others
}

// write runs fn in a transaction, and wakes who waits for work and for changes,
// here and in other instances.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	quiet := false
	err := s.transaction(ctx, func(t *tx) error {
		if err := fn(t); err != nil {
			return err
		}
		if err := t.promote(); err != nil {
			return err
		}
		if quiet = t.quiet && len(t.freed) == 0; quiet {
			return nil
		}
		return t.notify()
	})
	if err == nil && !quiet {
		s.wake()
	}
	return err
}

// transaction runs fn in a transaction, and anew if that lost a deadlock.
func (s *Store) transaction(ctx context.Context, fn func(*tx) error) error {
	var t *tx
	run := func(raw *sql.Tx, conn *sql.Conn) error {
		t = &tx{Tx: raw, ctx: ctx, store: s, now: s.now(), conn: conn}
		return fn(t)
	}
	var err error
	if s.database.Dialect() == core.PostgreSQL {
		err = s.onConnection(ctx, run)
	} else {
		err = s.database.WriteTx(ctx, func(raw *sql.Tx) error {
			err := run(raw, nil)
			if t.smallCache != 0 {
				err = errors.Join(err, t.run("PRAGMA cache_size = "+sqltext.ID(t.smallCache)))
			}
			return err
		})
	}
	if err == nil {
		s.remember(t.found)
	}
	return err
}

const (
	// attempts bounds how often a transaction is run that PostgreSQL ends in
	// favour of another, or that cannot begin.
	attempts   = 10
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// onConnection does what WriteTx of the database does, with the connection at
// hand, which is what COPY takes.
func (s *Store) onConnection(ctx context.Context, fn func(*sql.Tx, *sql.Conn) error) error {
	db, err := s.database.DB(ctx)
	if err != nil {
		return err
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		began, err := once(ctx, db, fn)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case !began && attempt < attempts && !errors.As(err, new(*core.ConfigError)):
			// A connection that was idle turned out to be dead, most likely.
		case !core.IsRetryable(err):
			return err
		case attempt == attempts:
			return fmt.Errorf("the transaction was ended in favour of others %d times: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, lastPause)
	}
}

func once(ctx context.Context, db *sql.DB, fn func(*sql.Tx, *sql.Conn) error) (began bool, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() { _ = conn.Close() }() // it only goes back
	raw, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("begin a transaction: %w", err)
	}
	done := false
	defer func() {
		if !done {
			_ = raw.Rollback() // after an error of fn, or its panic
		}
	}()
	if err := fn(raw, conn); err != nil {
		return true, err
	}
	done = true
	if err := raw.Commit(); err != nil {
		return true, fmt.Errorf("commit the transaction: %w", err)
	}
	return true, nil
}

// largeCache is how much of a SQLite database a transaction with many changes
// keeps in memory, in KiB; with less it writes the same pages again and again.
const largeCache = 24 << 10

// expectMany prepares for many changes.
func (t *tx) expectMany() error {
	if t.postgres() || t.smallCache != 0 {
		return nil
	}
	if err := t.QueryRowContext(t.ctx, "PRAGMA cache_size").Scan(&t.smallCache); err != nil {
		return err
	}
	return t.run("PRAGMA cache_size = -" + sqltext.ID(largeCache))
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

// lockEntities locks the entities that a condition on e holds for, and returns
// how many those are; none on SQLite, which has one writer at a time.
func (t *tx) lockEntities(condition string, args ...any) (int64, error) {
	if !t.postgres() {
		return 0, nil
	}
	result, err := t.ExecContext(t.ctx, "SELECT e.id FROM entity e WHERE "+condition+" ORDER BY e.ref FOR UPDATE", args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
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
	err := t.each(b, scanID(&out))
	return out, err
}

// scanID appends the first column of a row.
func scanID(to *[]int64) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		*to = append(*to, id)
		return err
	}
}

// chunk is how many rows or refs are worked on at a time.
const chunk = 500

// forIDs runs a statement for ids: head, a condition on what it ends with, tail.
func (t *tx) forIDs(head string, ids []int64, tail string) error {
	for part := range slices.Chunk(ids, arrayRows) {
		b := t.build()
		b.Write(head, " ", b.AnyID(part), tail)
		if _, err := t.exec(b); err != nil {
			return err
		}
	}
	return nil
}
