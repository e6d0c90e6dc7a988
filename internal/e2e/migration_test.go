package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/testdb"
)

// A backend that is killed while it migrates leaves nothing half done: the
// next one begins the migration anew.
func TestKilledMigration(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	s := setup{added: "migrator", config: settings(postgres(db.DSN)), args: []string{"--plugins", "migrator"}}
	p := launch(t, s)
	eventually(t, "the begin of the migration", func() error {
		var n int
		if err := db.DB.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid() AND state = 'active'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return p.alive("not yet")
		}
		return nil
	})
	p.kill()
	again := launch(t, s).ready()
	var rows int
	if err := db.DB.QueryRowContext(t.Context(), `SELECT count(*) FROM migrator.things`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if rows != 1 {
		t.Errorf("the migration left %d rows instead of one", rows)
	}
	again.logged("applied a migration", "0001_slow.sql")
	again.stop()
}

// During a rolling update, an instance of the old version starts although the
// new version has migrated already; it says so.
func TestNewerMigration(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	s := setup{config: settings(postgres(db.DSN))}
	launch(t, s).ready().stop()
	var table string
	if err := db.DB.QueryRowContext(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'catalog' AND table_name LIKE '%migrations' AND table_name LIKE 'flytower%'`).Scan(&table); err != nil {
		t.Fatal(err)
	}
	var columns string
	if err := db.DB.QueryRowContext(t.Context(), `SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns WHERE table_schema = 'catalog' AND table_name = $1 AND column_name <> 'name' AND is_identity = 'NO'`, table).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	result, err := db.DB.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO catalog.%s (name, %s) SELECT '9999_future', %s FROM catalog.%s LIMIT 1`, table, columns, columns, table))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, errors.Join(err))
	}
	old := launch(t, s).ready()
	if e := old.logged("9999_future"); e.text("level") != "warn" || !strings.Contains(e.text("message"), "newer version") {
		t.Errorf("the log says %v", e)
	}
	old.stop()
}
