package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database/migrate"
)

// writeAttempts bounds how often a transaction is run that the database ends
// in favour of another.
const writeAttempts = 10

// beginAttempts bounds how often a transaction is begun that could not begin.
const beginAttempts = 4

// service is the database of one plugin.
type service struct {
	dialect core.Dialect
	skip    bool // migrations
	log     *slog.Logger

	// turn is held while the database is opened.
	turn chan struct{}
	open func(context.Context) (*handle, error)
	got  *handle // guarded by turn
	// writer is held by the write transaction of a SQLite database, so that
	// writers wait in order, and not by trying again.
	writer chan struct{}
	// pgx makes a pool where the handle has none of the plugin alone.
	pgx func(context.Context) (*pgxpool.Pool, error)
}

// handle is an open database.
type handle struct {
	db    *sql.DB
	close func()
	pool  *pgxpool.Pool // below db, if no other plugin uses it
}

func newService(dialect core.Dialect, log *slog.Logger, open func(context.Context) (*handle, error)) *service {
	s := &service{dialect: dialect, log: log, turn: make(chan struct{}, 1), open: open}
	if dialect == core.SQLite {
		s.writer = make(chan struct{}, 1)
	}
	return s
}

// Wrap makes a service of a database that is open already, for tests and for
// backends that manage connections themselves. The caller closes it.
func Wrap(db *sql.DB, dialect core.Dialect) core.DatabaseService {
	return newService(dialect, slog.New(slog.DiscardHandler), func(context.Context) (*handle, error) {
		return &handle{db: db, close: func() {}}, nil
	})
}

// WrapPool is [Wrap] for a pool of pgx.
func WrapPool(pool *pgxpool.Pool) core.DatabaseService {
	db := stdlib.OpenDBFromPool(pool)
	return newService(core.PostgreSQL, slog.New(slog.DiscardHandler), func(context.Context) (*handle, error) {
		return &handle{db: db, close: func() {}, pool: pool}, nil
	})
}

// Dialect tells which SQL to send.
func (s *service) Dialect() core.Dialect { return s.dialect }

// DB opens the database at the first call; a failure is not remembered.
func (s *service) DB(ctx context.Context) (*sql.DB, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the database to open: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if s.got == nil {
		h, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		s.got = h
	}
	return s.got.db, nil
}

// PgxPool returns a pool of pgx; package databasepgx is the way to it.
func (s *service) PgxPool(ctx context.Context) (*pgxpool.Pool, error) {
	if s.dialect != core.PostgreSQL {
		return nil, fmt.Errorf("the database of the plugin speaks %s: a pool of pgx exists for PostgreSQL only", s.dialect)
	}
	if _, err := s.DB(ctx); err != nil { // creates the database
		return nil, err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the database to open: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	switch {
	case s.got == nil:
		return nil, ErrClosed
	case s.got.pool == nil && s.pgx == nil:
		return nil, errors.New("the database of the plugin was opened without a pool of pgx: use database.WrapPool")
	case s.got.pool == nil:
		made, err := s.pgx(ctx)
		if err != nil {
			return nil, err
		}
		s.got.pool = made
	}
	return s.got.pool, nil
}

// Migrate applies the pending steps, unless backend.database.skipMigrations
// leaves that to somebody else.
func (s *service) Migrate(ctx context.Context, m core.Migrations) error {
	if s.skip {
		s.log.DebugContext(ctx, "migrations are skipped, as backend.database.skipMigrations says", "name", m.Name)
		return nil
	}
	db, err := s.DB(ctx)
	if err != nil {
		return err
	}
	return migrate.Up(ctx, db, s.dialect, m, migrate.Options{Logger: s.log})
}

// WriteTx runs fn in a transaction. On SQLite fn must not call WriteTx of the
// same database: one runs at a time.
func (s *service) WriteTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	db, err := s.DB(ctx)
	if err != nil {
		return err
	}
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return fmt.Errorf("wait for another write transaction: %w", ctx.Err())
		}
	}
	pause := 5 * time.Millisecond
	for attempt := 1; ; attempt++ {
		began, err := runTx(ctx, db, fn)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case !began && attempt < beginAttempts && !errors.As(err, new(*core.ConfigError)):
			// A connection that was idle turned out to be dead, and nothing was
			// done yet.
		case !core.IsRetryable(err):
			return err
		case attempt == writeAttempts:
			return fmt.Errorf("the transaction was ended in favour of others %d times: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

func runTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) (began bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("begin a transaction: %w", err)
	}
	done := false
	defer func() {
		if !done {
			_ = tx.Rollback() // after an error of fn, or its panic
		}
	}()
	if err := fn(tx); err != nil {
		return true, err
	}
	done = true
	if err := tx.Commit(); err != nil {
		return true, fmt.Errorf("commit the transaction: %w", err)
	}
	return true, nil
}

// close closes what was opened, and keeps it from being opened again.
func (s *service) close() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.got != nil {
		s.got.close()
		s.got = nil
	}
	s.open = func(context.Context) (*handle, error) { return nil, ErrClosed }
}

// ErrClosed is returned by a database after the backend has stopped.
var ErrClosed = errors.New("the database was closed because the backend has stopped")
