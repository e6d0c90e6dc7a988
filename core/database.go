package core

import (
	"context"
	"database/sql"
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
