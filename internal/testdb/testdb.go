// Package testdb gives tests real databases: SQLite files, and databases on a
// private PostgreSQL server.
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		testdb.Each(t, func(t *testing.T, db *testdb.Database) {
//			store := newStore(db.Service)
//			…
//		})
//	}
//
// Every database is new and empty, belongs to one test, and is gone after it.
//
// The first test of a test binary that needs PostgreSQL starts a server which
// listens on a Unix socket in a temporary folder only, and which ends with the
// test binary, even if that is killed. The programs of PostgreSQL are looked
// for in PATH and where Linux distributions and Homebrew put them. With
// FLYTOWER_TEST_POSTGRES set to the URL of a running server, whose user may
// create databases, that one is used.
package testdb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
)

// Database is an empty database of a test.
type Database struct {
	// DB is open until the test ends.
	DB *sql.DB
	// Dialect is the SQL that it speaks.
	Dialect core.Dialect
	// Service is the same database as plugins get it.
	Service core.DatabaseService
	// DSN opens the database once more: the URL of the PostgreSQL database, or
	// the path of the SQLite file.
	DSN string
}

// Each runs fn as two parallel subtests, "sqlite" and "postgres".
func Each(t *testing.T, fn func(t *testing.T, db *Database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, NewSQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, NewPostgres(t))
	})
}

// NewSQLite returns an empty SQLite database.
func NewSQLite(t testing.TB) *Database {
	t.Helper()
	path := SQLite(t)
	db, err := sql.Open("sqlite", sqliteURL(path))
	if err != nil {
		t.Fatalf("testdb: open %s: %v", path, err)
	}
	db.SetMaxOpenConns(4)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("testdb: close %s: %v", path, err)
		}
	})
	return &Database{DB: db, Dialect: core.SQLite, Service: database.Wrap(db, core.SQLite), DSN: path}
}

// NewPostgres returns an empty PostgreSQL database.
func NewPostgres(t testing.TB) *Database {
	t.Helper()
	dsn := Postgres(t)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatalf("testdb: open %s: %v", dsn, err)
	}
	service := database.WrapPool(pool)
	db, err := service.DB(t.Context())
	if err != nil {
		t.Fatalf("testdb: open %s: %v", dsn, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("testdb: close %s: %v", dsn, err)
		}
		pool.Close()
	})
	return &Database{DB: db, Dialect: core.PostgreSQL, Service: service, DSN: dsn}
}

// SQLite returns the path of a SQLite file that does not exist yet, in a
// folder of its own.
func SQLite(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "test.sqlite")
}

// Postgres creates a database and returns its URL. It is dropped when the
// test ends, whoever is still connected.
func Postgres(t testing.TB) string {
	t.Helper()
	server := PostgresServer(t)
	name := "test_" + strings.ToLower(rand.Text())
	if err := administer(t.Context(), server, `CREATE DATABASE "`+name+`" TEMPLATE template0`); err != nil {
		t.Fatalf("testdb: create a database on %s: %v", server, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := administer(ctx, server, `DROP DATABASE IF EXISTS "`+name+`" WITH (FORCE)`); err != nil {
			t.Errorf("testdb: drop the database of the test: %v", err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("testdb: %q is not a URL: %v", server, err)
	}
	u.Path = "/" + name
	return u.String()
}

// PostgresServer returns the URL of the database "postgres" on the server of
// this test binary, where the user may do everything.
func PostgresServer(t testing.TB) string {
	t.Helper()
	dsn, err := startOnce()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return dsn
}

// startOnce lasts as long as the test binary, as the server does.
var startOnce = sync.OnceValues(func() (string, error) { return start() })

// Server starts a private PostgreSQL server for a program that is no test, and
// returns the URL of its database "postgres". It ends with the process.
// Settings, such as "shared_buffers=512MB", go before those of tests.
func Server(settings ...string) (string, error) { return start(settings...) }

// administer runs one statement on a connection of its own: nothing stays
// behind that a check for leaked goroutines would find.
func administer(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func sqliteURL(path string) string {
	return fmt.Sprintf("file:%s?_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&_txlock=immediate&_time_format=sqlite", (&url.URL{Path: path}).EscapedPath())
}
