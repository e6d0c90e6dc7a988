package tasks

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/flytower/flytower/databasepgx"
)

// channel is where the instances of a scaffolder tell each other of tasks and
// events.
const channel = databasepgx.Channel("flytower_scaffolder_")

// cancelPrefix is before the id of a task that was cancelled.
const cancelPrefix = "cancel:"

// notify tells the other instances, once the transaction is committed, of
// events of a task, or that there may be a task to run if the id is empty.
func (s *Store) notify(ctx context.Context, tx *sql.Tx, id string) error {
	return channel.Notify(ctx, s.db, tx, id)
}

// Listen hears what other instances do, until the context ends, and wakes
// those who wait for it. It is a hint only: they look for themselves from time
// to time. lost is told of lost connections. It returns at once on SQLite, and
// where there are too few connections to keep one.
func (s *Store) Listen(ctx context.Context, lost func(err error, again time.Duration)) error {
	return channel.Listen(ctx, s.db, databasepgx.Listener{
		Connected: func() {
			s.wake()
			s.follow.tellAll()
			s.cancels.tellAll()
		},
		Heard: func(id string) {
			if cancelled, ok := strings.CutPrefix(id, cancelPrefix); ok {
				s.cancels.tell(cancelled)
			} else if id != "" {
				s.follow.tell(id)
			} else {
				s.wake()
			}
		},
		Lost: lost,
	})
}
