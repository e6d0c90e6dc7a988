package core

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"

	"github.com/flytower/flytower/backend"
)

// Dialect is the SQL that a database speaks.
type Dialect string

const (
	// PostgreSQL is reached with pgx.
	PostgreSQL Dialect = "postgres"
	// SQLite is embedded.
	SQLite Dialect = "sqlite"
)

// DatabaseService gives a plugin a database of its own.
type DatabaseService interface {
	// DB returns the handle. The first call creates the database or schema
	// where the configuration says so; no connection is held while none is
	// needed.
	DB(ctx context.Context) (*sql.DB, error)
	// Dialect tells which SQL to send.
	Dialect() Dialect
	// Migrate brings the database to the newest of the migrations. It holds a
	// lock that dies with its holder, so replicas may start together.
	Migrate(ctx context.Context, m Migrations) error
	// WriteTx runs fn in a transaction that may write, commits it, and runs it
	// anew (up to a bound) when the database chose it as the victim of a
	// deadlock or of a serialization failure, so fn must not have effects
	// outside of the transaction.
	WriteTx(ctx context.Context, fn func(tx *sql.Tx) error) error
}

// Migrations are the steps of a schema, forward only.
type Migrations struct {
	// Name names the schema and its table of applied steps; empty is the
	// plugin's own. Services that keep tables in the plugin's database have a
	// name of their own.
	Name string
	// FS has a folder per dialect ("postgres", "sqlite") with files
	// "0001_what.sql", applied in the order of their names, each in a
	// transaction.
	FS fs.FS
}

// Database is the database of a plugin.
var Database = backend.NewServiceRef[DatabaseService]("core.database")

// IsUniqueViolation reports whether err says that a row with such a key is
// there already. It knows the errors of both databases, whether they come
// through database/sql or from pgx.
func IsUniqueViolation(err error) bool {
	if state, ok := sqlState(err); ok {
		return state == "23505"
	}
	code, ok := sqliteCode(err)
	return ok && (code == 2067 || code == 1555) // SQLITE_CONSTRAINT_UNIQUE, _PRIMARYKEY
}

// IsRetryable reports whether err ended a transaction that may succeed when it
// is run anew as a whole: a serialization failure, a deadlock, or a SQLite
// file that was busy.
func IsRetryable(err error) bool {
	if state, ok := sqlState(err); ok {
		return state == "40001" || state == "40P01"
	}
	code, ok := sqliteCode(err)
	return ok && (code&0xff == 5 || code&0xff == 6) // SQLITE_BUSY, SQLITE_LOCKED
}

// sqlState returns the code that PostgreSQL gives its errors. Package core
// does not import the driver: the methods of its errors tell enough.
func sqlState(err error) (string, bool) {
	var e interface {
		error
		SQLState() string
	}
	if errors.As(err, &e) {
		return e.SQLState(), true
	}
	return "", false
}

// sqliteCode returns SQLite's extended result code.
func sqliteCode(err error) (int, bool) {
	var e interface {
		error
		Code() int
	}
	if errors.As(err, &e) {
		return e.Code(), true
	}
	return 0, false
}
