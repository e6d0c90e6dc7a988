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

// Place returns in which document of its file, from 1, and from which line the
// entity with the id was read; 0 if that is not known.
func (s *Store) Place(ctx context.Context, id int64) (document, line int, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT document, line FROM entity_edge WHERE target_id = "+sqltext.ID(id)+" ORDER BY document DESC, line LIMIT 1").Scan(&document, &line)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil // a provider handed it in
	}
	return document, line, err
}

// Claimed returns the text of an entity that was refused since another location
// key holds its ref; "" if there is none such any more.
func (s *Store) Claimed(ctx context.Context, ref, locationKey string) (body string, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return "", err
	}
	b := sqltext.New(s.database.Dialect())
	b.Write("SELECT body FROM (SELECT body, claimed_at FROM entity_claim WHERE ref = ", b.Arg(ref), " AND location_key = ", b.Arg(locationKey),
		" UNION ALL SELECT body, since FROM entity_twice WHERE ref = ", b.Arg(ref), " AND location_key = ", b.Arg(locationKey), ") c ORDER BY claimed_at DESC LIMIT 1")
	err = db.QueryRowContext(ctx, b.String(), b.Args()...).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return body, err
}
