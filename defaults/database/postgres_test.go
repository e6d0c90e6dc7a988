package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/databasepgx"
	"github.com/flytower/flytower/defaults/database"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
)

// server is the private server of the tests, and a begin of names that no
// other test uses; databases that begin so are dropped at the end.
type server struct {
	prefix string
	config *pgx.ConnConfig
	admin  *pgx.Conn
}

// connection writes the connection of a user as YAML.
func (s server) connection(user, password, more string) string {
	return fmt.Sprintf("{host: '%s', port: %d, user: '%s', password: '%s'%s}", s.config.Host, s.config.Port, user, password, more)
}

func newServer(t *testing.T) server {
	t.Helper()
	config, err := pgx.ParseConfig(testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), testdb.PostgresServer(t))
	if err != nil {
		t.Fatal(err)
	}
	s := server{config: config, prefix: config.Database + "_", admin: admin}
	// It exists on a private server, where its members need their passwords.
	var pg *pgconn.PgError
	if _, err := admin.Exec(t.Context(), "CREATE ROLE secured"); err != nil && (!errors.As(err, &pg) || pg.Code != "42710" && pg.Code != "23505") {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		rows, err := admin.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", s.prefix)
		if err != nil {
			t.Error(err)
			return
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if _, err := admin.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		}
		if err := admin.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s server) yaml(more string) string {
	return fmt.Sprintf("backend:\n  database:\n    client: pg\n    prefix: %s\n    connection: %s\n%s",
		s.prefix, s.connection(s.config.User, s.config.Password, ", database: "+strings.TrimSuffix(s.prefix, "_")), more)
}

func TestDatabasePerPlugin(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	m := manager(t, srv.yaml("    plugin: {b: {connection: {database: "+srv.prefix+"other}}}"))
	for plugin, want := range map[string]string{"a": srv.prefix + "a", "b": srv.prefix + "other"} {
		s, db := open(t, m, plugin)
		if got := one[string](t, db, "SELECT current_database()"); got != want || s.Dialect() != core.PostgreSQL {
			t.Errorf("plugin %s has %s database %q, want %q", plugin, s.Dialect(), got, want)
		}
		if got := one[string](t, db, "SELECT current_setting('application_name')"); got != "backstage_plugin_"+plugin {
			t.Errorf("application name %q", got)
		}
		pool, err := databasepgx.Pool(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&got); err != nil || got != want {
			t.Errorf("pgx is connected to %q, %v", got, err)
		}
	}
}

// All plugins share the pool; each sees its own tables, also where others have
// tables of the same name but other columns.
func TestSchemaPerPlugin(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	m := manager(t, srv.yaml("    pluginDivisionMode: schema\n    schemaPrefix: p_\n    maxConnections: 3"))
	var g errgroup.Group
	for i := range 12 {
		g.Go(func() error {
			plugin := fmt.Sprint("plugin-", i)
			s, err := m.For(plugin, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			db, err := s.DB(t.Context())
			if err != nil {
				return err
			}
			kind := []string{"int", "text", "boolean"}[i%3]
			if err := s.Migrate(t.Context(), core.Migrations{FS: fstest.MapFS{"postgres/0001_a.sql": {Data: []byte("CREATE TABLE things (x " + kind + ", plugin text)")}}}); err != nil {
				return err
			}
			if _, err := db.ExecContext(t.Context(), "INSERT INTO things (plugin) VALUES ($1)", plugin); err != nil {
				return err
			}
			for range 20 {
				var x any
				var got, schema, app string
				if err := db.QueryRowContext(t.Context(), "SELECT x, plugin, current_schema(), current_setting('application_name') FROM things").Scan(&x, &got, &schema, &app); err != nil {
					return err
				}
				if got != plugin || schema != "p_"+plugin || app != "backstage_plugin_"+plugin {
					return fmt.Errorf("plugin %s reads the row of %s in schema %s as %s", plugin, got, schema, app)
				}
			}
			pool, err := databasepgx.Pool(t.Context(), s)
			if err != nil {
				return err
			}
			var got string
			if err := pool.QueryRow(t.Context(), "SELECT plugin FROM things").Scan(&got); err != nil || got != plugin {
				return fmt.Errorf("plugin %s reads %s with pgx, %w", plugin, got, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsAreCappedAndShared(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	var waits atomic.Int64
	m := manager(t, srv.yaml("    maxConnections: 4\n    knexConfig: {pool: {max: 3}}"), database.WithWaitObserver(func(time.Duration) { waits.Add(1) }))
	var g errgroup.Group
	for i := range 8 {
		_, db := open(t, m, fmt.Sprint("p", i))
		for range 4 {
			g.Go(func() error {
				for range 15 {
					tx, err := db.BeginTx(t.Context(), nil)
					if err != nil {
						return err
					}
					var n int
					if err := tx.QueryRowContext(t.Context(), "SELECT 1 FROM pg_sleep(0.001)").Scan(&n); err != nil {
						return err
					}
					if err := tx.Commit(); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	watch, stop := context.WithCancel(t.Context())
	most := 0
	var watcher errgroup.Group
	watcher.Go(func() error {
		for watch.Err() == nil {
			var n int
			if err := srv.admin.QueryRow(context.WithoutCancel(watch), "SELECT count(*) FROM pg_stat_activity WHERE starts_with(datname, $1) AND application_name <> ''", srv.prefix).Scan(&n); err != nil {
				return err
			}
			most = max(most, n)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := watcher.Wait(); err != nil {
		t.Fatal(err)
	}
	// The server may still count a connection for a moment that is closed here.
	if most > 4+2 || most == 0 || waits.Load() < 8*4*15 {
		t.Errorf("%d connections at once, %d waits counted", most, waits.Load())
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	m := manager(t, srv.yaml("    knexConfig: {pool: {idleTimeoutMillis: 50}}"))
	for i := range 5 {
		_, db := open(t, m, fmt.Sprint("p", i))
		exec(t, db, "SELECT 1")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var n int
		if err := srv.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE starts_with(datname, $1)", srv.prefix).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still there", n)
		}
	}
}

func TestSurvivesLostConnections(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	s, db := open(t, manager(t, srv.yaml("")), "a")
	exec(t, db, "CREATE TABLE things (id int)")
	for range 3 {
		if _, err := srv.admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE starts_with(datname, $1)", srv.prefix); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteTx(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), "INSERT INTO things VALUES (1)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := one[int](t, db, "SELECT count(*) FROM things"); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func TestErrorsSayWhereWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	secret, poor := srv.prefix+"secured", srv.prefix+"poor"
	for _, statement := range []string{
		"CREATE ROLE " + secret + " LOGIN PASSWORD 'right' IN ROLE secured", "CREATE ROLE " + poor + " LOGIN PASSWORD 'poor'",
	} {
		if _, err := srv.admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := srv.admin.Exec(context.Background(), "DROP ROLE "+secret+", "+poor); err != nil {
			t.Error(err)
		}
	})
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"unreachable": {
			"connection: 'postgres://jo:hush@127.0.0.1:1/x'",
			[]string{`app-config.yaml:5: config key "backend.database.connection" leads to database "` + srv.prefix + `a" on the PostgreSQL server at 127.0.0.1:1, which cannot be reached`, "refused", "start the server"},
		},
		"wrong password": {
			"connection: " + srv.connection(secret, "hush", ""),
			[]string{"which refuses the credentials", "correct user and password"},
		},
		"may not create": {
			"connection: " + srv.connection(poor, "poor", ""),
			[]string{"which is not there and could not be created", "permission denied", "set backend.database.ensureExists to false"},
		},
		"not created": {
			"ensureExists: false\n    connection: " + srv.connection(srv.config.User, srv.config.Password, ""),
			[]string{"which has no such database", "set backend.database.ensureExists to true"},
		},
		"may not create the schema": {
			"pluginDivisionMode: schema\n    connection: " + srv.connection(poor, "poor", ", database: postgres"),
			[]string{`where schema "a" could not be created`, "let the user create schemas"},
		},
		"unknown role": {
			"role: nobody-knows\n    connection: " + srv.connection(srv.config.User, srv.config.Password, ""),
			[]string{`role "nobody-knows" does not exist`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := manager(t, "backend:\n  database:\n    client: pg\n    prefix: "+srv.prefix+"\n    "+test.yaml+"\n")
			s, err := m.For("a", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.DB(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q shows the password, or has several lines", err)
			}
		})
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	role := srv.prefix + "role"
	if _, err := srv.admin.Exec(t.Context(), "CREATE ROLE "+role+" CREATEDB"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"schema", "database"} {
		m, err := database.NewManager(configtest.FromYAML(t, srv.yaml("    role: "+role+"\n    pluginDivisionMode: "+mode)), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, db := open(t, m, "a")
		exec(t, db, "CREATE TABLE things (id int)")
		if got := one[string](t, db, "SELECT tableowner FROM pg_tables WHERE tablename = 'things'"); got != role {
			t.Errorf("mode %s: owner %s", mode, got)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{"DROP DATABASE " + srv.prefix + "a WITH (FORCE)", "DROP DATABASE " + strings.TrimSuffix(srv.prefix, "_") + " WITH (FORCE)", "DROP ROLE " + role} {
		if _, err := srv.admin.Exec(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
}

func TestPasswordSource(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	user := srv.prefix + "user"
	if _, err := srv.admin.Exec(t.Context(), "CREATE ROLE "+user+" LOGIN CREATEDB PASSWORD 'token' IN ROLE secured"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, statement := range []string{"DROP DATABASE " + srv.prefix + "a WITH (FORCE)", "DROP ROLE " + user} {
			if _, err := srv.admin.Exec(ctx, statement); err != nil {
				t.Error(err)
			}
		}
	})
	yaml := "backend: {database: {client: pg, prefix: " + srv.prefix + ", connection: " + srv.connection(user, "none", ", type: cloud") + "}}"
	_, db := open(t, manager(t, yaml, database.WithPasswordSource("cloud", func(c core.Config) (database.PasswordSource, error) {
		host, err := c.String("host")
		return func(context.Context) (string, error) {
			if host != srv.config.Host {
				return "", errors.New("another host")
			}
			return "token", nil
		}, err
	})), "a")
	if got := one[string](t, db, "SELECT current_user"); got != user {
		t.Errorf("user %s", got)
	}
	m := manager(t, yaml)
	if _, err := m.For("a", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), `has the type "cloud"`) {
		t.Errorf("error %v", err)
	}
}

func TestBusyPluginStarvesNobody(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	m := manager(t, srv.yaml("    maxConnections: 2"))
	_, busy := open(t, m, "busy")
	_, other := open(t, m, "other")
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for ctx.Err() == nil {
				if _, err := busy.ExecContext(t.Context(), "SELECT pg_sleep(0.001)"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 20 {
		exec(t, other, "SELECT 1")
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestSharedPoolHoldsFewConnections(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	m := manager(t, srv.yaml("    pluginDivisionMode: schema"))
	for i := range 25 {
		_, db := open(t, m, fmt.Sprint("p", i))
		exec(t, db, "CREATE TABLE things (id int)")
	}
	var n int
	if err := srv.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", strings.TrimSuffix(srv.prefix, "_")).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n < 1 || n > 3 {
		t.Errorf("%d connections, want at most 3", n)
	}
}

func TestNoConnectionBecomesFree(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	s, err := manager(t, srv.yaml("    knexConfig: {pool: {max: 1, acquireTimeoutMillis: 1500}}")).For("a", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// Making the database may take longer on a machine that is busy.
	db, err := s.DB(t.Context())
	for range 20 {
		if err == nil {
			break
		}
		db, err = s.DB(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	held, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, err = db.ExecContext(t.Context(), "SELECT 1")
	if err == nil || !strings.Contains(err.Error(), "no connection became free within 1.5s") || !strings.Contains(err.Error(), "maxConnections") {
		t.Errorf("error %v", err)
	}
}
