package databasepgx_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/databasepgx"
	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestPool(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		pool, err := databasepgx.Pool(t.Context(), db.Service)
		if db.Dialect == core.SQLite {
			if err == nil || !strings.Contains(err.Error(), "PostgreSQL only") {
				t.Errorf("error %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), "CREATE TABLE things (id int)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.DB.ExecContext(t.Context(), "INSERT INTO things VALUES (1)"); err != nil {
			t.Errorf("the handle and the pool are of different databases: %v", err)
		}
	})
}

// wrapped hides what is below, as a decorator of the service may.
type wrapped struct{ core.DatabaseService }

func TestImplementationWithoutAPool(t *testing.T) {
	t.Parallel()
	if _, err := databasepgx.Pool(t.Context(), wrapped{}); err == nil || !strings.Contains(err.Error(), "PgxPool") {
		t.Errorf("error %v", err)
	}
}
