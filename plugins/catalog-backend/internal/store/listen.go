package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/databasepgx"
)

// channel is an expression for the name of the channel on which the instances
// of a catalog tell each other that something changed. Catalogs in other
// schemas of the database have other ones.
const channel = "'flytower_catalog_' || md5(COALESCE(current_schema(), ''))"

// notify tells the other instances, once the transaction is committed.
func (t *tx) notify() error {
	if !t.postgres() {
		return nil
	}
	_, err := t.ExecContext(t.ctx, "SELECT pg_notify("+channel+", $1)", strconv.FormatInt(t.store.holder, 10))
	return err
}

const (
	firstReconnect = time.Second
	lastReconnect  = 30 * time.Second
	// listenFrom is how large a pool has to be for one connection of it to be
	// used for listening all the time.
	listenFrom = 4
)

// Listen calls heard when another instance made work or changed entities, and
// whenever it could have missed that, until the context ends. heard must not
// block. If the connection is lost, lost is told the reason, and Listen
// connects anew. It is no more than a hint: what matters is found by polling,
// too. Only PostgreSQL has other instances; Listen returns at once on SQLite,
// and where there are too few connections to keep one.
func (s *Store) Listen(ctx context.Context, heard func(), lost func(err error, again time.Duration)) error {
	if s.database.Dialect() != core.PostgreSQL {
		return nil
	}
	pause := firstReconnect
	for {
		err := s.listen(ctx, func() { pause = firstReconnect; heard() })
		if ctx.Err() != nil || err == nil {
			return nil
		}
		lost(err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastReconnect)
	}
}

// listen listens on one connection. It returns nil if there is none to spare.
func (s *Store) listen(ctx context.Context, heard func()) error {
	pool, err := databasepgx.Pool(ctx, s.database)
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
	if err := listenOn(ctx, conn); err != nil {
		return err
	}
	heard() // what was missed so far
	own := strconv.FormatInt(s.holder, 10)
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
		if n.Payload != own {
			heard()
		}
	}
}

func listenOn(ctx context.Context, conn *pgxpool.Conn) error {
	var name string
	err := conn.QueryRow(ctx, "SELECT "+channel).Scan(&name)
	if err == nil {
		_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize())
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}
