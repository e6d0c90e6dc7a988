package databasepgx

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/core"
)

// Channel is where the instances of a plugin tell each other that something
// changed. Its name begins the name on the server: the same plugin in other
// schemas of the database has other channels.
//
//	const channel = databasepgx.Channel("flytower_catalog_")
//
// It is a hint, which may get lost: what matters has to be found by polling,
// too. Only PostgreSQL has several instances; on SQLite nothing happens.
type Channel string

// expression is the name on the server, in SQL.
func (c Channel) expression() string {
	return "'" + string(c) + "' || md5(COALESCE(current_schema(), ''))"
}

// Notify tells the other instances, and this one, once the transaction is
// committed.
func (c Channel) Notify(ctx context.Context, db core.DatabaseService, tx *sql.Tx, payload string) error {
	if db.Dialect() != core.PostgreSQL {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_notify("+c.expression()+", $1)", payload)
	return err
}

const (
	firstReconnect = time.Second
	lastReconnect  = 30 * time.Second
	// listenFrom is how large a pool has to be for one connection of it to be
	// used for listening all the time.
	listenFrom = 4
)

// Listener is who listens on a channel. Its functions must not block.
type Listener struct {
	// Connected is called whenever something could have been missed so far.
	Connected func()
	// Heard is called with what an instance said, this one included.
	Heard func(payload string)
	// Lost is told why the connection was lost, and when there will be another.
	Lost func(err error, again time.Duration)
}

// Listen listens until the context ends. If the connection is lost, it connects
// anew. It returns at once on SQLite, and where there are too few connections
// to keep one.
func (c Channel) Listen(ctx context.Context, db core.DatabaseService, l Listener) error {
	if db.Dialect() != core.PostgreSQL {
		return nil
	}
	pause := firstReconnect
	for {
		err := c.listen(ctx, db, func() { pause = firstReconnect; l.Connected() }, l.Heard)
		if ctx.Err() != nil || err == nil {
			return nil
		}
		l.Lost(err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastReconnect)
	}
}

// listen listens on one connection. It returns nil if there is none to spare.
func (c Channel) listen(ctx context.Context, db core.DatabaseService, connected func(), heard func(payload string)) error {
	pool, err := Pool(ctx, db)
	if err != nil {
		return err
	}
	if pool.Config().MaxConns < listenFrom {
		return nil
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	// Nobody else gets a connection that listens.
	defer func() { _ = conn.Conn().Close(context.WithoutCancel(ctx)) }()
	if err := c.open(ctx, conn); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	connected()
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
		heard(n.Payload)
	}
}

func (c Channel) open(ctx context.Context, conn *pgxpool.Conn) error {
	var name string
	if err := conn.QueryRow(ctx, "SELECT "+c.expression()).Scan(&name); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize())
	return err
}
