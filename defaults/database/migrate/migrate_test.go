package migrate_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/database/migrate"
	"github.com/flytower/flytower/internal/testdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// files makes steps that are the same for both dialects.
func files(steps ...string) fs.FS {
	out := fstest.MapFS{}
	for i := 0; i < len(steps); i += 2 {
		for _, dialect := range []core.Dialect{core.PostgreSQL, core.SQLite} {
			out[string(dialect)+"/"+steps[i]+".sql"] = &fstest.MapFile{Data: []byte(steps[i+1])}
		}
	}
	return out
}

func up(t *testing.T, db *testdb.Database, f fs.FS) error {
	t.Helper()
	return migrate.Up(t.Context(), db.DB, db.Dialect, core.Migrations{FS: f}, migrate.Options{})
}

const first, second = "CREATE TABLE a (id int PRIMARY KEY);\nINSERT INTO a VALUES (1);", "CREATE TABLE b (id int);\nINSERT INTO a VALUES (2);"

func TestUpAppliesEachStepOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		for _, f := range []fs.FS{files("0001_a", first), files("0001_a", first), files("0001_a", strings.ReplaceAll(first, "\n", "\r\n"), "0002_b", second)} {
			if err := up(t, db, f); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(t, db.DB, "a"); got != 2 {
			t.Errorf("%d rows, want one per step", got)
		}
		got, err := migrate.Status(t.Context(), db.DB, db.Dialect, core.Migrations{FS: files("0001_a", second, "0003_c", second)})
		if err != nil {
			t.Fatal(err)
		}
		want := []migrate.Step{{Name: "0001_a", State: migrate.Changed}, {Name: "0002_b", State: migrate.Unknown}, {Name: "0003_c", State: migrate.Pending}}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(migrate.Step{}, "AppliedAt")); diff != "" {
			t.Error(diff)
		}
		if time.Since(got[0].AppliedAt) > time.Hour || !got[2].AppliedAt.IsZero() {
			t.Errorf("applied at %v and %v", got[0].AppliedAt, got[2].AppliedAt)
		}
	})
}

func TestNamesKeepSchemasApart(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		for name, f := range map[string]fs.FS{"": files("0001_a", first), "other": files("0001_b", "CREATE TABLE c (id int)")} {
			m := core.Migrations{Name: name, FS: f}
			if err := migrate.Up(t.Context(), db.DB, db.Dialect, m, migrate.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := count(t, db.DB, "flytower_migrations"), count(t, db.DB, "other_migrations"); a != 1 || b != 1 {
			t.Errorf("%d and %d rows", a, b)
		}
	})
}

func TestUpRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, now fs.FS
		want        string
	}{
		"a changed step":          {files("0001_a", first), files("0001_a", first+" "), "/0001_a.sql was changed"},
		"a removed step":          {files("0001_a", first, "0002_b", second), files("0002_b", second), "0001_a was applied, which is not among the files"},
		"a step in between":       {files("0001_a", first, "0003_b", second), files("0001_a", first, "0002_x", "SELECT 1", "0003_b", second), "/0002_x.sql is not applied although the later 0003_b is"},
		"a step beside another's": {files("0001_a", first, "0002_b", second), files("0001_a", first, "0003_x", "SELECT 1"), "0002_b was applied"},
		"equal numbers":           {nil, files("0001_a", first, "0001_b", second), "have the same number"},
		"a bad name":              {nil, files("one", first), "the name must be like 0001_what.sql"},
		"an own transaction":      {nil, files("0001_a", "SELECT 1;\ncommit;"), "/0001_a.sql, line 2: COMMIT is not allowed"},
		"an empty step":           {nil, files("0001_a", "-- nothing"), "/0001_a.sql has no statement"},
		"no folder":               {nil, fstest.MapFS{}, "have no folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *testdb.Database) {
				if test.before != nil {
					if err := up(t, db, test.before); err != nil {
						t.Fatal(err)
					}
				}
				if err := up(t, db, test.now); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestUpToleratesNewerSteps(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := up(t, db, files("0001_a", first, "0002_b", second)); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		err := migrate.Up(t.Context(), db.DB, db.Dialect, core.Migrations{FS: files("0001_a", first)},
			migrate.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "0002_b") {
			t.Errorf("error %v, log %q", err, &log)
		}
	})
}

func TestErrorNamesFileAndLine(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		err := up(t, db, files("0001_a", "CREATE TABLE a (id int);\n\n-- now\nINSERT INTO a\n  VALUE (1);"))
		var bad *migrate.StatementError
		if !errors.As(err, &bad) {
			t.Fatalf("error %v", err)
		}
		want := map[core.Dialect]int{core.SQLite: 4, core.PostgreSQL: 5}[db.Dialect]
		if bad.File != string(db.Dialect)+"/0001_a.sql" || bad.Line != want {
			t.Errorf("%v; want line %d", bad, want)
		}
		// Nothing of the step stays, and the mended one is applied.
		if err := up(t, db, files("0001_a", first)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReplicasStartTogether(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		var g errgroup.Group
		for range 6 {
			g.Go(func() error { return up(t, db, files("0001_a", first, "0002_b", second)) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := count(t, db.DB, "a"); got != 2 {
			t.Errorf("%d rows, want 2", got)
		}
	})
}

// A process is killed before each statement of a step in turn; whoever starts
// next proceeds at once. The statement at which it waits is a lock that the
// test holds.
func TestKilledReplicaLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	if dsn := os.Getenv("FLYTOWER_MIGRATE_VICTIM"); dsn != "" {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(migrate.Up(t.Context(), db, core.PostgreSQL, core.Migrations{FS: files("0001_a", os.Getenv("FLYTOWER_MIGRATE_STEP"))}, migrate.Options{}))
	}
	statements := append(strings.Split(strings.TrimSuffix(first, ";"), ";\n"), strings.Split(strings.TrimSuffix(second, ";"), ";\n")...)
	whole := strings.Join(statements, ";\n")
	for n := range len(statements) + 1 {
		t.Run(fmt.Sprint("before statement ", n+1), func(t *testing.T) {
			t.Parallel()
			dsn := testdb.Postgres(t)
			db, err := sql.Open("pgx", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			held, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if _, err := held.ExecContext(t.Context(), "SELECT pg_advisory_lock(1)"); err != nil {
				t.Fatal(err)
			}
			stopping := append(append(append([]string{}, statements[:n]...), "SELECT pg_advisory_lock(1)"), statements[n:]...)
			victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledReplicaLeavesNothingBehind$")
			victim.Env = append(os.Environ(), "FLYTOWER_MIGRATE_VICTIM="+dsn, "FLYTOWER_MIGRATE_STEP="+strings.Join(stopping, ";\n"))
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = victim.Wait() // it was killed
			if err := migrate.Up(t.Context(), db, core.PostgreSQL, core.Migrations{FS: files("0001_a", whole)}, migrate.Options{}); err != nil {
				t.Fatal(err)
			}
			if got := count(t, db, "a"); got != 2 {
				t.Errorf("%d rows, want 2", got)
			}
		})
	}
}

// The same with a SQLite file. The victim never gets past the statement that
// counts for ever; that it holds the lock of the file says that it has begun.
func TestKilledProcessLeavesNothingBehindInAFile(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("FLYTOWER_MIGRATE_FILE"); path != "" {
		db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(migrate.Up(t.Context(), db, core.SQLite, core.Migrations{FS: files("0001_a", os.Getenv("FLYTOWER_MIGRATE_STEP"))}, migrate.Options{}))
	}
	const forever = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
	for name, step := range map[string]string{"first": forever + ";" + first, "last": first + second + ";" + forever} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.NewSQLite(t)
			victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcessLeavesNothingBehindInAFile$")
			victim.Env = append(os.Environ(), "FLYTOWER_MIGRATE_FILE="+db.DSN, "FLYTOWER_MIGRATE_STEP="+step)
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			impatient, err := sql.Open("sqlite", "file:"+db.DSN+"?_txlock=immediate&_pragma=busy_timeout(0)")
			if err != nil {
				t.Fatal(err)
			}
			defer impatient.Close()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				tx, err := impatient.BeginTx(t.Context(), nil)
				if core.IsRetryable(err) {
					break
				}
				if err == nil {
					err = tx.Rollback()
				}
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("the victim takes no lock: %v", err)
				}
			}
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = victim.Wait() // it was killed
			if err := up(t, db, files("0001_a", first, "0002_b", second)); err != nil {
				t.Fatal(err)
			}
			if got := count(t, db.DB, "a"); got != 2 {
				t.Errorf("%d rows, want 2", got)
			}
		})
	}
}

func TestLostConnectionLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dsn := testdb.Postgres(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := core.Migrations{FS: files("0001_a", first+"\nSELECT pg_terminate_backend(pg_backend_pid());\nSELECT 1")}
	if err := migrate.Up(t.Context(), db, core.PostgreSQL, m, migrate.Options{}); err == nil {
		t.Fatal("no error")
	}
	if err := migrate.Up(t.Context(), db, core.PostgreSQL, core.Migrations{FS: files("0001_a", first)}, migrate.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestUpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dsn := testdb.Postgres(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- migrate.Up(ctx, db, core.PostgreSQL, core.Migrations{FS: files("0001_a", "SELECT pg_sleep(600)")}, migrate.Options{})
	}()
	await(t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT pg_sleep(600)'")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// await polls until the query counts something.
func await(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var n int
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing came of %s", query)
		}
	}
}

func count(t *testing.T, db *sql.DB, table string) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
