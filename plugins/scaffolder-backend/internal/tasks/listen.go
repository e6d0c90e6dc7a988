package tasks

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/databasepgx"
)

// channel is an expression for the name of the channel on which the instances
// of a scaffolder tell each other of tasks and events.
const channel = "'flytower_scaffolder_' || md5(COALESCE(current_schema(), ''))"

// notify tells the other instances, once the transaction is committed, of
// events of a task, or of an open task if the id is empty.
func (s *Store) notify(ctx context.Context, tx *sql.Tx, id string) error {
	if s.db.Dialect() != core.PostgreSQL {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_notify("+channel+", $1)", id)
	return err
}

const (
	firstReconnect = time.Second
	lastReconnect  = 30 * time.Second
	// listenFrom is how large a pool has to be for one connection of it to be
	// used for listening all the time.
	listenFrom = 4
)

// Listen hears what other instances do, until the context ends, and wakes
// those who wait for it. It is a hint only: they look for themselves from time
// to time. lost is told of lost connections. It returns at once on SQLite, and
// where there are too few connections to keep one.
func (s *Store) Listen(ctx context.Context, lost func(err error, again time.Duration)) error {
	if s.db.Dialect() != core.PostgreSQL {
		return nil
	}
	pause := firstReconnect
	for {
		err := s.listen(ctx, func() { pause = firstReconnect })
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

func (s *Store) listen(ctx context.Context, connected func()) error {
	pool, err := databasepgx.Pool(ctx, s.db)
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
	var name string
	if err := conn.QueryRow(ctx, "SELECT "+channel).Scan(&name); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	connected()
	s.wake()
	s.follow.tellAll()
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
		if n.Payload != "" {
			s.follow.tell(n.Payload)
		} else {
			s.wake()
		}
	}
}
