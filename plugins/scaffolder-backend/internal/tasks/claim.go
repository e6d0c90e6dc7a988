package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// ErrLost reports that a run does not hold its task any more: its lease ended
// and somebody else has the task, or it is over.
var ErrLost = errors.New("the task is not held by this run any more")

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

// Entry is what a run writes: a line of the log or, if Kept is set, state.
type Entry struct {
	Body scaffoldercommon.EventBody
	Kept []Kept
}

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

// Append writes entries in order, all of them or none. It may be called again
// after an error: what was written in spite of it is not written twice. One
// goroutine at a time calls it for a claim.
func (s *Store) Append(ctx context.Context, c *Claim, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	n := int64(len(entries))
	err := s.write(ctx, "write the log of the task "+c.ID, func(tx *sql.Tx) error {
		var written int64
		err := tx.QueryRowContext(ctx, s.text(`SELECT written FROM scaffolder_task WHERE id = ? AND claim = ? AND status = 'processing'`+s.lock("")), c.ID, c.number).Scan(&written)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLost
		}
		if err != nil || written == c.written+n {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET written = ? WHERE id = ?`), c.written+n, c.ID); err != nil {
			return err
		}
		var bodies []scaffoldercommon.EventBody
		for _, e := range entries {
			if len(e.Kept) == 0 {
				bodies = append(bodies, e.Body)
			}
			for _, k := range e.Kept {
				if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task_state (task_id, kind, key, value) VALUES (?, ?, ?, ?)
					ON CONFLICT (task_id, kind, key) DO UPDATE SET value = excluded.value`), c.ID, k.Kind, k.Key, string(k.Value)); err != nil {
					return err
				}
			}
		}
		return s.insertAll(ctx, tx, c.ID, scaffoldercommon.EventLog, bodies)
	})
	if err != nil {
		return err
	}
	c.written += n
	s.follow.tell(c.ID)
	return nil
}

// Log writes events of the type log, in order.
func (s *Store) Log(ctx context.Context, c *Claim, bodies []scaffoldercommon.EventBody) error {
	entries := make([]Entry, len(bodies))
	for i, body := range bodies {
		entries[i].Body = body
	}
	return s.Append(ctx, c, entries)
}

// Keep keeps a value for later runs.
func (s *Store) Keep(ctx context.Context, c *Claim, kind, key string, value json.RawMessage) error {
	return s.KeepAll(ctx, c, Kept{kind, key, value})
}

// KeepAll keeps several values, or none of them.
func (s *Store) KeepAll(ctx context.Context, c *Claim, all ...Kept) error {
	return s.Append(ctx, c, []Entry{{Kept: all}})
}

// Complete ends the task, erases its secrets and says how it ended.
func (s *Store) Complete(ctx context.Context, c *Claim, status scaffoldercommon.TaskStatus, body scaffoldercommon.EventBody) error {
	return s.complete(ctx, c, status, body, func(tx *sql.Tx) error { return s.hold(ctx, tx, c) })
}

// complete ends the task after check, which locks it.
func (s *Store) complete(ctx context.Context, c *Claim, status scaffoldercommon.TaskStatus, body scaffoldercommon.EventBody, check func(tx *sql.Tx) error) error {
	change := Change{ID: c.ID, Status: string(status)}
	err := s.write(ctx, "end the task "+c.ID, func(tx *sql.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		if err := s.end(ctx, tx, &change); err != nil {
			return err
		}
		if _, err := s.insert(ctx, tx, c.ID, scaffoldercommon.EventCompletion, body); err != nil {
			return err
		}
		if s.Limits.any() {
			return s.notify(ctx, tx, "") // another task of the template may begin
		}
		return nil
	})
	if err == nil {
		s.follow.tell(c.ID)
		s.wake()
		s.change(change)
	}
	return err
}

// end marks a locked task as ended with the status of change, which it fills.
func (s *Store) end(ctx context.Context, tx *sql.Tx, change *Change) error {
	var by sql.NullString
	var created int64
	var beat sql.NullInt64
	err := tx.QueryRowContext(ctx, s.text(`UPDATE scaffolder_task SET status = ?, secrets = NULL, lease_until = NULL, ended_at = `+s.now()+`
		WHERE id = ? RETURNING created_by, created_at, heartbeat_at`), change.Status, change.ID).Scan(&by, &created, &beat)
	if err != nil {
		return err
	}
	change.CreatedBy, change.CreatedAt = by.String, time.UnixMilli(created)
	if beat.Valid {
		change.LastHeartbeat = time.UnixMilli(beat.Int64)
	}
	return nil
}

// Release opens a task again that could not be run to its end here.
func (s *Store) Release(ctx context.Context, c *Claim) error {
	change := Change{TaskID: c.ID, Status: string(scaffoldercommon.EventRecovered), Body: &scaffoldercommon.EventBody{RecoverStrategy: strategy(c.Spec)}}
	err := s.write(ctx, "give back the task "+c.ID, func(tx *sql.Tx) (err error) {
		if err := s.hold(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'open', lease_until = NULL WHERE id = ?`), c.ID); err != nil {
			return err
		}
		if change.EventID, err = s.insert(ctx, tx, c.ID, scaffoldercommon.EventRecovered, *change.Body); err != nil {
			return err
		}
		return s.notify(ctx, tx, "")
	})
	if err == nil {
		s.follow.tell(c.ID)
		s.wake()
		s.change(change)
	}
	return err
}

// Abandoned returns tasks whose last heartbeat is older than an age, at most a
// hundred.
func (s *Store) Abandoned(ctx context.Context, age time.Duration) ([]*Claim, error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, s.text(`SELECT id, spec, template, claim FROM scaffolder_task
		WHERE status = 'processing' AND heartbeat_at <= `+s.now()+` - ? ORDER BY created_at, id LIMIT 100`), age.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("look for tasks that nobody runs: %w", err)
	}
	defer rows.Close()
	var found []*Claim
	for rows.Next() {
		c := &Claim{}
		var spec string
		if err := rows.Scan(&c.ID, &spec, &c.Template, &c.number); err != nil {
			return nil, fmt.Errorf("look for tasks that nobody runs: %w", err)
		}
		c.Spec = json.RawMessage(spec)
		found = append(found, c)
	}
	return found, rows.Err()
}

// CloseAbandoned fails a task whose last heartbeat is still older than an age:
// each step that was under way gets the message, and so does the end.
func (s *Store) CloseAbandoned(ctx context.Context, c *Claim, age time.Duration, message string) error {
	return s.complete(ctx, c, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{Message: message}, func(tx *sql.Tx) error {
		var one int
		err := tx.QueryRowContext(ctx, s.text(`SELECT 1 FROM scaffolder_task WHERE id = ? AND claim = ? AND status = 'processing' AND heartbeat_at <= `+s.now()+` - ?`+s.lock("")),
			c.ID, c.number, age.Milliseconds()).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLost
		}
		if err != nil {
			return err
		}
		steps, err := s.underWay(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		bodies := make([]scaffoldercommon.EventBody, len(steps))
		for i, step := range steps {
			bodies[i] = scaffoldercommon.EventBody{Message: message, StepID: step, Status: scaffoldercommon.StepFailed}
		}
		return s.insertAll(ctx, tx, c.ID, scaffoldercommon.EventLog, bodies)
	})
}

// underWay returns the steps that began, and neither completed nor failed, in
// the order in which they began.
func (s *Store) underWay(ctx context.Context, tx *sql.Tx, id string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, s.text(`SELECT body FROM scaffolder_task_event WHERE task_id = ? AND type = 'log' AND body LIKE '%"status":"%' ORDER BY id`), id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var steps []string
	over := map[string]bool{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var body scaffoldercommon.EventBody
		if json.Unmarshal([]byte(text), &body) != nil || body.StepID == "" {
			continue
		}
		switch body.Status {
		case scaffoldercommon.StepProcessing:
			if _, known := over[body.StepID]; !known {
				steps = append(steps, body.StepID)
			}
			over[body.StepID] = false
		case scaffoldercommon.StepCompleted, scaffoldercommon.StepFailed:
			over[body.StepID] = true
		}
	}
	left := steps[:0]
	for _, step := range steps {
		if !over[step] {
			left = append(left, step)
		}
	}
	return left, rows.Err()
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

// DeleteEnded deletes tasks that ended longer than an age ago, with all that
// belongs to them, and returns how many.
func (s *Store) DeleteEnded(ctx context.Context, age time.Duration) (n int64, err error) {
	for {
		some, err := s.deleteEnded(ctx, age)
		if n += some; err != nil || some < maxDeleted {
			return n, err
		}
	}
}

// maxDeleted is how many tasks are deleted in one transaction.
const maxDeleted = 50

func (s *Store) deleteEnded(ctx context.Context, age time.Duration) (n int64, err error) {
	err = s.write(ctx, "delete old tasks", func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, s.text(`SELECT id FROM scaffolder_task WHERE ended_at <= `+s.now()+` - ? ORDER BY ended_at LIMIT ?`+s.lock(" SKIP LOCKED")), age.Milliseconds(), maxDeleted)
		if err != nil {
			return err
		}
		defer rows.Close()
		var ids []any
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if n = int64(len(ids)); n == 0 {
			return nil
		}
		// Their events and their state go with them.
		_, err = tx.ExecContext(ctx, s.text(`DELETE FROM scaffolder_task WHERE id IN (?`+strings.Repeat(", ?", len(ids)-1)+`)`), ids...)
		return err
	})
	return n, err
}
