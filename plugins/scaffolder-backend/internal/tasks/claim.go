package tasks

import (
	"context"
	"database/sql"
	"errors"
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
