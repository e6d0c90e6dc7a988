package store

import (
	"context"
	"strconv"
	"time"

	"github.com/flytower/flytower/databasepgx"
)

// channel is where the instances of a catalog tell each other that something
// changed.
const channel = databasepgx.Channel("flytower_catalog_")

// notify tells the other instances, once the transaction is committed.
func (t *tx) notify() error {
	return channel.Notify(t.ctx, t.store.database, t.Tx, t.store.own())
}

// own is how this instance signs what it tells.
func (s *Store) own() string { return strconv.FormatInt(s.holder, 10) }

// Listen calls heard when another instance made work or changed entities, and
// whenever it could have missed that, until the context ends. heard must not
// block. If the connection is lost, lost is told the reason, and Listen
// connects anew. It is no more than a hint: what matters is found by polling,
// too. Only PostgreSQL has other instances; Listen returns at once on SQLite,
// and where there are too few connections to keep one.
func (s *Store) Listen(ctx context.Context, heard func(), lost func(err error, again time.Duration)) error {
	own := s.own()
	return channel.Listen(ctx, s.database, databasepgx.Listener{Connected: heard, Lost: lost, Heard: func(by string) {
		if by != own {
			heard()
		}
	}})
}
