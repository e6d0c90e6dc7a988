package backendtest

import (
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/internal/testdb"
)

// EachDatabase runs fn as two parallel subtests, "sqlite" and "postgres", with
// the feature that gives the backend such a database, new and empty.
//
//	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
//		srv := backendtest.Start(t, greeterbackend.Plugin, database)
//		…
//	})
//
// A backend that is stopped and started with the same feature finds what the
// first one left. The package documentation says where PostgreSQL comes from.
func EachDatabase(t *testing.T, fn func(t *testing.T, database backend.Feature)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, PostgreSQL(t))
	})
}

// SQLite gives plugins databases in the files of a folder of the test. Without
// it, they are in memory.
func SQLite(t testing.TB) backend.Feature {
	t.Helper()
	return database(map[string]any{"client": "better-sqlite3", "connection": map[string]any{"directory": t.TempDir()}})
}

// PostgreSQL gives plugins schemas of a new PostgreSQL database, which is gone
// after the test.
func PostgreSQL(t testing.TB) backend.Feature {
	t.Helper()
	return database(map[string]any{"client": "pg", "connection": testdb.Postgres(t), "pluginDivisionMode": "schema"})
}

func database(settings map[string]any) backend.Feature {
	return Config(map[string]any{"backend": map[string]any{"database": settings}})
}
