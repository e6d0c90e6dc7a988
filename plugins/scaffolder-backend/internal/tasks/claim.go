package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// ErrLost reports that a run does not hold its task any more: its lease ended
// and somebody else has the task, or it is over.
var ErrLost = errors.New("the task is not held by this run any more")

// Claim is the right to run a task.
type Claim struct {
	Task
	// Secrets are sealed.
	Secrets string
	// Cancelled says that the task was cancelled before it was claimed.
	Cancelled bool
	number    int64
}

// Claim takes the oldest open task; nil if there is none.
func (s *Store) Claim(ctx context.Context, lease time.Duration) (*Claim, error) {
	var c *Claim
	err := s.write(ctx, "claim a task", func(tx *sql.Tx) error {
		c = &Claim{}
		var spec string
		var by, secrets sql.NullString
		var created int64
		err := tx.QueryRowContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'processing', claim = claim + 1, heartbeat_at = `+s.now()+`, lease_until = `+s.now()+` + ?
			WHERE id = (SELECT id FROM scaffolder_task WHERE status = 'open' ORDER BY created_at, id LIMIT 1`+s.lock(" SKIP LOCKED")+`)
			RETURNING id, spec, status, created_by, created_at, secrets, cancelled, claim`), lease.Milliseconds()).
			Scan(&c.ID, &spec, &c.Status, &by, &created, &secrets, &c.Cancelled, &c.number)
		if errors.Is(err, sql.ErrNoRows) {
			c = nil
			return nil
		}
		if err != nil {
			return err
		}
		c.Spec, c.CreatedBy, c.Secrets, c.CreatedAt = json.RawMessage(spec), by.String, secrets.String, time.UnixMilli(created)
		return nil
	})
	return c, err
}

// Renew extends the lease, and reports whether the task was cancelled.
func (s *Store) Renew(ctx context.Context, c *Claim, lease time.Duration) (cancelled bool, err error) {
	err = s.write(ctx, "extend the lease of the task "+c.ID, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, s.text(`UPDATE scaffolder_task SET heartbeat_at = `+s.now()+`, lease_until = `+s.now()+` + ?
			WHERE id = ? AND claim = ? AND status = 'processing' RETURNING cancelled`), lease.Milliseconds(), c.ID, c.number).Scan(&cancelled)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLost
		}
		return err
	})
	return cancelled, err
}

// hold locks the task of a claim, so that only one transaction at a time
// writes events.
func (s *Store) hold(ctx context.Context, tx *sql.Tx, c *Claim) error {
	var one int
	err := tx.QueryRowContext(ctx, s.text(`SELECT 1 FROM scaffolder_task WHERE id = ? AND claim = ? AND status = 'processing'`+s.lock("")), c.ID, c.number).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrLost
	}
	return err
}

// Log writes events of the type log, in order.
func (s *Store) Log(ctx context.Context, c *Claim, bodies []scaffoldercommon.EventBody) error {
	err := s.write(ctx, "write the log of the task "+c.ID, func(tx *sql.Tx) error {
		if err := s.hold(ctx, tx, c); err != nil {
			return err
		}
		for _, body := range bodies {
			if err := s.insert(ctx, tx, c.ID, scaffoldercommon.EventLog, body); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.follow.tell(c.ID)
	}
	return err
}

// Complete ends the task, erases its secrets and says how it ended.
func (s *Store) Complete(ctx context.Context, c *Claim, status scaffoldercommon.TaskStatus, body scaffoldercommon.EventBody) error {
	err := s.write(ctx, "end the task "+c.ID, func(tx *sql.Tx) error {
		if err := s.hold(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET status = ?, secrets = NULL, lease_until = NULL WHERE id = ?`), string(status), c.ID); err != nil {
			return err
		}
		return s.insert(ctx, tx, c.ID, scaffoldercommon.EventCompletion, body)
	})
	if err == nil {
		s.follow.tell(c.ID)
	}
	return err
}

// Release opens a task again that could not be run here.
func (s *Store) Release(ctx context.Context, c *Claim) error {
	return s.write(ctx, "give back the task "+c.ID, func(tx *sql.Tx) error {
		if err := s.hold(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'open', lease_until = NULL WHERE id = ?`), c.ID); err != nil {
			return err
		}
		return s.insert(ctx, tx, c.ID, scaffoldercommon.EventRecovered, scaffoldercommon.EventBody{RecoverStrategy: strategy(c.Spec)})
	})
}

func strategy(spec json.RawMessage) scaffoldercommon.RecoveryStrategy {
	var s scaffoldercommon.TaskSpec
	if json.Unmarshal(spec, &s) == nil && s.Recoverable() {
		return scaffoldercommon.RecoverStartOver
	}
	return scaffoldercommon.RecoverNone
}

// Recover opens tasks whose run did not extend its lease in time, and returns
// how many.
func (s *Store) Recover(ctx context.Context) (n int, err error) {
	stale, err := s.stale(ctx, "lease_until < "+s.now())
	if err != nil {
		return 0, err
	}
	for _, c := range stale {
		switch err := s.Release(ctx, c); {
		case errors.Is(err, ErrLost): // somebody else was faster
		case err != nil:
			return n, err
		default:
			n++
			s.follow.tell(c.ID)
		}
	}
	if n > 0 {
		s.wake()
	}
	return n, nil
}

// Abandoned returns the tasks whose last heartbeat is older than an age.
func (s *Store) Abandoned(ctx context.Context, age time.Duration) ([]*Claim, error) {
	return s.stale(ctx, fmt.Sprintf("heartbeat_at <= %s - %d", s.now(), age.Milliseconds()))
}

func (s *Store) stale(ctx context.Context, condition string) ([]*Claim, error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT id, spec, claim FROM scaffolder_task WHERE status = 'processing' AND `+condition+` ORDER BY created_at, id LIMIT 100`)
	if err != nil {
		return nil, fmt.Errorf("look for tasks that nobody runs: %w", err)
	}
	defer rows.Close()
	var found []*Claim
	for rows.Next() {
		c := &Claim{}
		var spec string
		if err := rows.Scan(&c.ID, &spec, &c.number); err != nil {
			return nil, fmt.Errorf("look for tasks that nobody runs: %w", err)
		}
		c.Spec = json.RawMessage(spec)
		found = append(found, c)
	}
	return found, rows.Err()
}

// Kinds of state.
const (
	StepState       = "step"
	CheckpointState = "checkpoint"
	WorkspaceState  = "workspace"
)

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

// Kept is something that is kept for later runs.
type Kept struct {
	Kind, Key string
	Value     json.RawMessage
}

// Keep keeps a value for later runs.
func (s *Store) Keep(ctx context.Context, c *Claim, kind, key string, value json.RawMessage) error {
	return s.KeepAll(ctx, c, Kept{kind, key, value})
}

// KeepAll keeps several values, or none of them.
func (s *Store) KeepAll(ctx context.Context, c *Claim, all ...Kept) error {
	return s.write(ctx, "keep the state of the task "+c.ID, func(tx *sql.Tx) error {
		if err := s.hold(ctx, tx, c); err != nil {
			return err
		}
		for _, k := range all {
			if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task_state (task_id, kind, key, value) VALUES (?, ?, ?, ?)
				ON CONFLICT (task_id, kind, key) DO UPDATE SET value = excluded.value`), c.ID, k.Kind, k.Key, string(k.Value)); err != nil {
				return err
			}
		}
		return nil
	})
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
