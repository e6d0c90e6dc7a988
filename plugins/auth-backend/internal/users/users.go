// Package users remembers what users own by, as of their last sign-in, for
// those who hold a token that does not say it.
package users

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
)

// kept is how long a user is remembered after the last sign-in.
const kept = 30 * 24 * time.Hour

// unchanged is how long a row that would not change is left as it is, so that
// the sign-ins of a page that is loaded often cost no write.
const unchanged = time.Hour

// maxRef is how long a reference can be, in characters.
const maxRef = 255

// Store is the table user_info.
type Store struct {
	db  core.DatabaseService
	now func() time.Time
}

// NewStore returns the store in the database.
func NewStore(db core.DatabaseService, now func() time.Time) *Store { return &Store{db, now} }

// Put remembers the claims of a user.
func (s *Store) Put(ctx context.Context, ref string, claims map[string]any) error {
	if n := len([]rune(ref)); n > maxRef {
		return fmt.Errorf("the entity reference of the user has %d characters, at most %d can be kept", n, maxRef)
	}
	plain, err := jsonvalue.Normalize(map[string]any{"claims": claims})
	if err != nil {
		return fmt.Errorf("the claims of %s are not JSON: %w", ref, err)
	}
	dialect, now := s.db.Dialect(), s.now()
	err = s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(dialect, `
			INSERT INTO user_info (user_entity_ref, user_info, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (user_entity_ref) DO UPDATE SET user_info = excluded.user_info, updated_at = excluded.updated_at
			WHERE user_info.user_info <> excluded.user_info OR user_info.updated_at < $4`),
			ref, string(jsonvalue.Append(nil, plain)), schema.Time(dialect, now), schema.Time(dialect, now.Add(-unchanged)))
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering the info of %s: %w", ref, err)
	}
	return nil
}

// Get returns the claims of a user; ok is false if there are none.
func (s *Store) Get(ctx context.Context, ref string) (claims json.RawMessage, ok bool, err error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, false, err
	}
	var text string
	err = db.QueryRowContext(ctx, schema.Query(s.db.Dialect(), "SELECT user_info FROM user_info WHERE user_entity_ref = $1"), ref).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	var info struct {
		Claims json.RawMessage `json:"claims"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &info)
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the info of %s: %w", ref, err)
	}
	return info.Claims, info.Claims != nil, nil
}

// Prune forgets the users who have not signed in for 30 days.
func (s *Store) Prune(ctx context.Context) error {
	dialect := s.db.Dialect()
	err := s.db.WriteTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema.Query(dialect, "DELETE FROM user_info WHERE updated_at < $1"), schema.Time(dialect, s.now().Add(-kept)))
		return err
	})
	if err != nil {
		return fmt.Errorf("removing old user infos: %w", err)
	}
	return nil
}
