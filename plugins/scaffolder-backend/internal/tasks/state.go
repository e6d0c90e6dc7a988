package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// Kept is something that is kept for later runs.
type Kept struct {
	Kind, Key string
	Value     json.RawMessage
}

// Kinds of state.
const (
	StepState       = "step"
	CleanupState    = "cleanup" // of steps that ran because an earlier one had failed
	CheckpointState = "checkpoint"
	WorkspaceState  = "workspace"
)

// Keep keeps a value for later runs.
func (s *Store) Keep(ctx context.Context, c *Claim, kind, key string, value json.RawMessage) error {
	return s.KeepAll(ctx, c, Kept{kind, key, value})
}

// KeepAll keeps several values, or none of them.
func (s *Store) KeepAll(ctx context.Context, c *Claim, all ...Kept) error {
	return s.Append(ctx, c, []Entry{{Kept: all}})
}

// State returns what earlier runs kept of a kind, by key.
func (s *Store) State(ctx context.Context, c *Claim, kind string) (map[string]json.RawMessage, error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, s.text(`SELECT key, value FROM scaffolder_task_state WHERE task_id = ? AND kind = ?`), c.ID, kind)
	if err != nil {
		return nil, fmt.Errorf("read the state of the task %s: %w", c.ID, err)
	}
	defer rows.Close()
	state := map[string]json.RawMessage{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, fmt.Errorf("read the state of the task %s: %w", c.ID, err)
		}
		state[key] = json.RawMessage(value)
	}
	return state, rows.Err()
}

// SealingKey returns the key that is kept in the database; it is newKey if
// there was none.
func (s *Store) SealingKey(ctx context.Context, newKey string) (key string, err error) {
	err = s.write(ctx, "read the key for secrets", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_key (id, secret) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`), newKey); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT secret FROM scaffolder_key WHERE id = 1`).Scan(&key)
	})
	return key, err
}
