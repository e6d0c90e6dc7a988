package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func manager(t *testing.T, yaml string, opts ...database.Option) *database.Manager {
	t.Helper()
	m, err := database.NewManager(configtest.FromYAML(t, yaml), slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func open(t *testing.T, m *database.Manager, plugin string) (core.DatabaseService, *sql.DB) {
	t.Helper()
	s, err := m.For(plugin, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	db, err := s.DB(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func one[T any](t *testing.T, db *sql.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestMissingSectionIsAPrivateDatabaseInMemory(t *testing.T) {
	t.Parallel()
	for _, yaml := range []string{"backend: {}", "backend: {database: {client: better-sqlite3, connection: ':memory:'}}"} {
		m := manager(t, yaml)
		s, a := open(t, m, "a")
		_, b := open(t, m, "b")
		if s.Dialect() != core.SQLite {
			t.Errorf("dialect %s", s.Dialect())
		}
		exec(t, a, "CREATE TABLE things (id INTEGER)")
		if n := one[int](t, b, "SELECT count(*) FROM sqlite_master"); n != 0 {
			t.Error("the plugins share a database")
		}
		if one[int](t, a, "PRAGMA foreign_keys") != 1 {
			t.Error("foreign keys are not enforced")
		}
		// A query within the rows of another needs a second connection.
		exec(t, a, "INSERT INTO things VALUES (1), (2)")
		rows, err := a.QueryContext(t.Context(), "SELECT id FROM things")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if n := one[int](t, a, "SELECT count(*) FROM things"); n != 2 {
				t.Errorf("%d rows, want 2", n)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSQLiteFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by need")
	yaml := fmt.Sprintf("backend: {database: {client: better-sqlite3, connection: {directory: '%s'}, plugin: {b: {connection: {filename: other.db}}, c: {connection: ':memory:'}}}}", dir)
	m, err := database.NewManager(configtest.FromYAML(t, yaml), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, plugin := range []string{"a", "b", "c"} {
		_, db := open(t, m, plugin)
		exec(t, db, "CREATE TABLE things (id INTEGER)")
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(entries); got != "[- a.sqlite - other.db]" {
		t.Errorf("files %s: closing folds the logs back in", got)
	}
	s, err := m.For("a", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB(t.Context()); !errors.Is(err, database.ErrClosed) {
		t.Errorf("error %v", err)
	}
	_, db := open(t, manager(t, yaml), "a")
	if one[int](t, db, "SELECT count(*) FROM things") != 0 || one[string](t, db, "PRAGMA journal_mode") != "wal" {
		t.Error("the file was not kept as it was")
	}
}

func TestConcurrentWritersAreNeverBusy(t *testing.T) {
	t.Parallel()
	for name, connection := range map[string]string{"memory": "':memory:'", "file": "{directory: '" + t.TempDir() + "'}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := open(t, manager(t, "backend: {database: {client: better-sqlite3, connection: "+connection+"}}"), "a")
			exec(t, db, "CREATE TABLE things (id INTEGER PRIMARY KEY, writer INTEGER)")
			var g errgroup.Group
			for writer := range 8 {
				g.Go(func() error {
					for i := range 50 {
						insert := func(x interface {
							ExecContext(context.Context, string, ...any) (sql.Result, error)
						}) error {
							_, err := x.ExecContext(t.Context(), "INSERT INTO things (writer) SELECT ? FROM (SELECT count(*) FROM things)", writer)
							return err
						}
						if i%2 == 0 {
							if err := insert(db); err != nil {
								return err
							}
						} else if err := s.WriteTx(t.Context(), func(tx *sql.Tx) error { return insert(tx) }); err != nil {
							return err
						}
						var n int
						if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM things").Scan(&n); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if n := one[int](t, db, "SELECT count(*) FROM things"); n != 400 {
				t.Errorf("%d rows, want 400", n)
			}
		})
	}
}

func TestUniqueViolations(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		exec(t, db.DB, "CREATE TABLE things (id INTEGER PRIMARY KEY, name varchar(9) UNIQUE NOT NULL)")
		exec(t, db.DB, "INSERT INTO things VALUES (1, 'a')")
		for query, want := range map[string]bool{
			"INSERT INTO things VALUES (1, 'b')":  true,
			"INSERT INTO things VALUES (2, 'a')":  true,
			"INSERT INTO things VALUES (3, NULL)": false,
			"INSERT INTO nothing VALUES (1)":      false,
		} {
			_, err := db.DB.ExecContext(t.Context(), query)
			if got := core.IsUniqueViolation(fmt.Errorf("wrapped: %w", err)); err == nil || got != want {
				t.Errorf("%s: %v is a unique violation: %t, want %t", query, err, got, want)
			}
		}
	})
}

func TestWriteTxRunsVictimsAnew(t *testing.T) {
	t.Parallel()
	db := testdb.NewPostgres(t)
	exec(t, db.DB, "CREATE TABLE counters (id int PRIMARY KEY, n int)")
	exec(t, db.DB, "INSERT INTO counters VALUES (1, 0), (2, 0)")
	var g errgroup.Group
	for i := range 8 {
		first, second := 1+i%2, 2-i%2 // in opposite orders: deadlocks
		g.Go(func() error {
			for range 5 {
				err := db.Service.WriteTx(t.Context(), func(tx *sql.Tx) error {
					if _, err := tx.ExecContext(t.Context(), "SET LOCAL deadlock_timeout = '10ms'"); err != nil {
						return err
					}
					for _, id := range []int{first, second} {
						if _, err := tx.ExecContext(t.Context(), "UPDATE counters SET n = n + 1 FROM pg_sleep(0.002) WHERE id = $1", id); err != nil {
							return fmt.Errorf("wrapped: %w", err)
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := one[int](t, db.DB, "SELECT sum(n) FROM counters"); n != 80 {
		t.Errorf("sum %d, want 80", n)
	}
}

func TestWriteTxRollsBack(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		exec(t, db.DB, "CREATE TABLE things (id int)")
		insert := func(tx *sql.Tx) {
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO things VALUES (1)"); err != nil {
				t.Error(err)
			}
		}
		bad := errors.New("bad")
		if err := db.Service.WriteTx(t.Context(), func(tx *sql.Tx) error { insert(tx); return bad }); !errors.Is(err, bad) {
			t.Errorf("error %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = db.Service.WriteTx(t.Context(), func(tx *sql.Tx) error { insert(tx); panic("bad") })
		}()
		if n := one[int](t, db.DB, "SELECT count(*) FROM things"); n != 0 {
			t.Errorf("%d rows, want 0", n)
		}
	})
}

func TestSkipMigrations(t *testing.T) {
	t.Parallel()
	m := manager(t, "backend: {database: {client: sqlite3, connection: ':memory:', skipMigrations: true, plugin: {b: {skipMigrations: false}}}}")
	for plugin, want := range map[string]int{"a": 0, "b": 1} {
		s, db := open(t, m, plugin)
		if err := s.Migrate(t.Context(), core.Migrations{FS: fstest.MapFS{"sqlite/0001_a.sql": {Data: []byte("CREATE TABLE things (id int)")}}}); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, db, "SELECT count(*) FROM sqlite_master WHERE name = 'things'"); got != want {
			t.Errorf("plugin %s has %d tables, want %d", plugin, got, want)
		}
	}
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"{connection: ':memory:'}":                                                                                "client",
		"{client: mysql, connection: {}}":                                                                         `names an unknown database "mysql"`,
		"{client: better-sqlite3}":                                                                                "connection",
		"{client: better-sqlite3, connection: ./all.db}":                                                          "must not name a file",
		"{client: better-sqlite3, connection: ':memory:', pluginDivisionMode: schema}":                            "which SQLite does not have",
		"{client: pg, connection: 'host'}":                                                                        "is not a connection string",
		"{client: pg, connection: {port: x}}":                                                                     "no whole number",
		"{client: pg, connection: {ssl: {ca: none}}}":                                                             "no certificate",
		"{client: pg, connection: {type: azure}}":                                                                 `has the type "azure"`,
		"{client: pg, connection: {}, pluginDivisionMode: table}":                                                 "must be database or schema",
		"{client: pg, connection: {}, pluginDivisionMode: schema, schemaPrefix: 1x}":                              "schemaPrefix",
		"{client: pg, connection: {}, knexConfig: {pool: {max: 0}}}":                                              "must be at least 1",
		"{client: pg, connection: {}, pluginDivisionMode: schema, schemaPrefix: " + strings.Repeat("x", 63) + "}": "longer than the 63 bytes",
	} {
		m, err := database.NewManager(configtest.FromYAML(t, "backend: {database: "+yaml+"}"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.For("a", slog.New(slog.DiscardHandler))
		var bad *core.ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "app-config.yaml:1: ") {
			t.Errorf("%s: error %v, want %q", yaml, err, want)
		}
	}
}
