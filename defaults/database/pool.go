package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// session is what a connection must be set to before a plugin uses it.
type session struct {
	schema, role, application string
}

// statements set a connection that may have served another plugin.
func (s session) statements() string {
	list := []string{"RESET ALL", "UNLISTEN *", "DISCARD TEMP", "SELECT pg_advisory_unlock_all()",
		"SELECT set_config('application_name', " + literal(s.application) + ", false)"}
	if s.schema != "" {
		list = append(list, "SELECT set_config('search_path', "+literal(pgx.Identifier{s.schema}.Sanitize())+", false)")
	}
	if s.role != "" {
		list = append(list, "SET ROLE "+pgx.Identifier{s.role}.Sanitize())
	} else {
		list = append(list, "RESET ROLE")
	}
	return strings.Join(list, "; ")
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

type sessionKey struct{}

// asIs marks an acquisition that leaves the session of the connection alone.
func asIs(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, (*session)(nil))
}

const currentSession = "flytower.session"

// prepare sets the connection to the session that ctx asks for, else to own.
// The common case, that it last served the same plugin, costs nothing.
func prepare(ctx context.Context, conn *pgx.Conn, own session) error {
	want := own
	switch asked := ctx.Value(sessionKey{}).(type) {
	case *session:
		if asked == nil {
			return nil
		}
		want = *asked
	}
	data := conn.PgConn().CustomData()
	current, known := data[currentSession].(session)
	if known && current == want {
		return nil
	}
	if known {
		// Prepared statements are bound to the tables of the other schema.
		if err := conn.DeallocateAll(ctx); err != nil {
			return err
		}
	}
	if known || want.schema != "" || want.role != "" {
		if _, err := conn.PgConn().Exec(ctx, want.statements()).ReadAll(); err != nil {
			return fmt.Errorf("set schema and role of the connection: %w", err)
		}
	}
	data[currentSession] = want
	return nil
}

// newPool makes a pool that holds no connection yet.
func newPool(ctx context.Context, s *settings, l *limiter, own session, password PasswordSource, most int) (*pgxpool.Pool, error) {
	config, err := s.poolConfig()
	if err != nil {
		return nil, err
	}
	config.MinConns = 0
	config.MaxConns = int32(most)
	config.MaxConnIdleTime = s.idleTimeout
	config.HealthCheckPeriod = max(s.idleTimeout/2, minHealthCheck)
	config.ConnConfig.DialFunc = l.dial
	config.ConnConfig.Tracer = &tracer{limiter: l, timeout: s.acquireTimeout, own: &share{max: most}}
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		if password == nil {
			return nil
		}
		var err error
		if c.Password, err = password(ctx); err != nil {
			return fmt.Errorf("get the password for a new connection: %w", err)
		}
		return nil
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		if socket, ok := socketOf(conn); ok {
			socket.belongsTo(conn)
		}
		return nil
	}
	config.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		err := prepare(ctx, conn, own)
		return err == nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	l.add(pool)
	return pool, nil
}

// connector opens connections of a pool for database/sql on behalf of one
// plugin, and explains what went wrong.
type connector struct {
	driver.Connector
	session  session
	share    *share // nil is that of the pool, which serves only this plugin
	settings *settings
}

// Connect takes a connection out of the pool.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx = context.WithValue(ctx, sessionKey{}, &c.session)
	if c.share != nil {
		ctx = context.WithValue(ctx, shareKey{}, c.share)
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, c.settings.explain(ctx, err)
	}
	return conn, nil
}

// openDB makes the handle of a plugin. It keeps no connection of its own, and
// does not bound them: the pool and the limiter do, who serve other plugins,
// too. A handle with a bound would pass its connections on among its own users
// for as long as some wait.
func openDB(pool *pgxpool.Pool, s *settings, own session) *sql.DB {
	c := connector{Connector: stdlib.GetPoolConnector(pool), session: own, settings: s}
	if s.schema != "" {
		c.share = &share{max: s.maxConns}
	}
	db := sql.OpenDB(c)
	db.SetMaxIdleConns(0)
	return db
}
