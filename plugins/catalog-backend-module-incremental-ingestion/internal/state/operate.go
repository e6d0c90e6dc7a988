package state

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// What operators do with ingestions, whoever has claimed them.

// pause is how long a provider rests after an operator stopped it.
const pause = 24 * time.Hour

// Deleted counts what was deleted. Refs are never deleted while they may be
// in the catalog; those that were unbound from ingestions count.
type Deleted struct{ Ingestions, Marks, Refs int64 }

// Providers returns the names of all providers that have a state, sorted.
func (s *Store) Providers(ctx context.Context) ([]string, error) {
	return s.names(ctx, "SELECT DISTINCT provider FROM incremental_ingestion ORDER BY provider")
}

// Duplicates returns the providers with more than one ingestion that is not
// complete, sorted.
func (s *Store) Duplicates(ctx context.Context) ([]string, error) {
	return s.names(ctx, "SELECT provider FROM incremental_ingestion WHERE rest_completed_at IS NULL GROUP BY provider HAVING COUNT(*) > 1 ORDER BY provider")
}

func (s *Store) names(ctx context.Context, query string) (names []string, err error) {
	db, err := s.database.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("reading the names of incremental providers: %w", err)
	}
	defer rows.Close() //nolint:errcheck // read only
	names = []string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("reading the names of incremental providers: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// operate changes the open ingestion of a provider.
func (s *Store) operate(ctx context.Context, provider, set string, args ...any) error {
	return failed("changing the state", provider, s.database.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE incremental_ingestion SET "+set+" WHERE provider = $1 AND completion_ticket = 'open'", append([]any{provider}, args...)...)
		return err
	}))
}

// Hurry ends any wait for the next action.
func (s *Store) Hurry(ctx context.Context, provider string) error {
	return s.operate(ctx, provider, "next_action_at = $2", s.now().UnixMilli())
}

// Restart begins with the first page again: after the pages are read, by
// ending the rest, and before that, by giving up what was read.
func (s *Store) Restart(ctx context.Context, i Ingestion) error {
	if i.Status == StatusResting {
		return s.operate(ctx, i.Provider, "next_action = $2, status = $3, rest_completed_at = $4, completion_ticket = id",
			ActionDone, StatusComplete, s.now().UnixMilli())
	}
	return s.operate(ctx, i.Provider, "next_action = $2, status = $3, next_action_at = $4", ActionCancel, StatusCanceling, s.now().UnixMilli())
}

// Stop gives up what was read and rests for a day.
func (s *Store) Stop(ctx context.Context, provider string) error {
	now := s.now()
	return s.operate(ctx, provider, "next_action = $2, status = $3, ingestion_completed_at = $4, next_action_at = $5",
		ActionDone, StatusResting, now.UnixMilli(), now.Add(pause).UnixMilli())
}

// ClearFinished deletes the complete ingestions of a provider.
func (s *Store) ClearFinished(ctx context.Context, provider string) (d Deleted, err error) {
	err = s.database.WriteTx(ctx, func(tx *sql.Tx) (err error) {
		d = Deleted{}
		d.Marks, err = exec(ctx, tx, "DELETE FROM incremental_mark WHERE ingestion_id IN (SELECT id FROM incremental_ingestion WHERE provider = $1 AND completion_ticket <> 'open')", provider)
		if err != nil {
			return err
		}
		d.Ingestions, err = exec(ctx, tx, "DELETE FROM incremental_ingestion WHERE provider = $1 AND completion_ticket <> 'open'", provider)
		return err
	})
	return d, failed("deleting complete ingestions", provider, err)
}

// Reset forgets all ingestions of a provider, and lets it rest for a day. What
// it has in the catalog stays known, so that the next ingestion removes what
// it does not find.
func (s *Store) Reset(ctx context.Context, provider string) (d Deleted, err error) {
	err = s.database.WriteTx(ctx, func(tx *sql.Tx) (err error) {
		d = Deleted{}
		if d.Refs, err = exec(ctx, tx, "UPDATE incremental_entity SET ingestion_id = '' WHERE provider = $1 AND ingestion_id <> ''", provider); err != nil {
			return err
		}
		if d.Marks, err = exec(ctx, tx, "DELETE FROM incremental_mark WHERE ingestion_id IN (SELECT id FROM incremental_ingestion WHERE provider = $1)", provider); err != nil {
			return err
		}
		if d.Ingestions, err = exec(ctx, tx, "DELETE FROM incremental_ingestion WHERE provider = $1", provider); err != nil {
			return err
		}
		now := s.now()
		_, err = exec(ctx, tx, "INSERT INTO incremental_ingestion (id, provider, status, next_action, next_action_at, created_at, ingestion_completed_at, completion_ticket)"+
			" VALUES ($1, $2, $3, $4, $5, $6, $6, 'open')", uuid.NewString(), provider, StatusResting, ActionRest, now.Add(pause).UnixMilli(), now.UnixMilli())
		return err
	})
	return d, failed("resetting the state", provider, err)
}

func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
