package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/sqltext"
)

// Relations returns how many relations there are: on PostgreSQL as its
// statistics have it, since counting millions of rows takes long.
func (s *Store) Relations(ctx context.Context) (n int64, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, err
	}
	if s.database.Dialect() == core.PostgreSQL {
		err = db.QueryRowContext(ctx, "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('relation')").Scan(&n)
		if err != nil || n > 0 {
			return n, err // zero, or negative, is that of a table that was not looked at yet
		}
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM relation").Scan(&n)
	return n, err
}

// Claimed returns the text of an entity that was refused since another location
// key holds its ref; "" if there is none such any more.
func (s *Store) Claimed(ctx context.Context, ref, locationKey string) (body string, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return "", err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT body FROM entity_claim WHERE ref = ", b.Arg(ref), " AND location_key = ", b.Arg(locationKey), " ORDER BY claimed_at DESC LIMIT 1")
	err = db.QueryRowContext(ctx, b.String(), b.Args()...).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return body, err
}
