package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// unbegun is why a task failed that was cancelled before it was ever claimed.
const unbegun = "The task was cancelled before it began."

// Cancel asks for the end of a task. One that never ran ends at once; one that
// ended already stays as it is.
func (s *Store) Cancel(ctx context.Context, id string) error {
	if err := known(id); err != nil {
		return err
	}
	var changes []Change
	err := s.write(ctx, "cancel the task "+id, func(tx *sql.Tx) error {
		changes = nil
		var status scaffoldercommon.TaskStatus
		var cancelled bool
		var claims int64
		err := tx.QueryRowContext(ctx, s.text(`SELECT status, cancelled, claim FROM scaffolder_task WHERE id = ?`+s.lock("")), id).Scan(&status, &cancelled, &claims)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound(id)
		}
		if err != nil || cancelled || status.Ended() {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET cancelled = `+s.yes()+` WHERE id = ?`), id); err != nil {
			return err
		}
		step, err := s.lastStep(ctx, tx, id)
		if err != nil {
			return err
		}
		body := scaffoldercommon.EventBody{Message: "Step " + step + " has been cancelled.", StepID: step, Status: scaffoldercommon.StepCancelled}
		event, err := s.insert(ctx, tx, id, scaffoldercommon.EventCancelled, body)
		if err != nil {
			return err
		}
		changes = append(changes, Change{EventID: event, TaskID: id, Status: string(scaffoldercommon.EventCancelled), Body: &body})
		if claims > 0 || status != scaffoldercommon.TaskOpen {
			return s.notify(ctx, tx, cancelPrefix+id)
		}
		ended := Change{ID: id, Status: string(scaffoldercommon.TaskFailed)}
		if err := s.end(ctx, tx, &ended); err != nil {
			return err
		}
		changes = append(changes, ended)
		_, err = s.insert(ctx, tx, id, scaffoldercommon.EventCompletion, scaffoldercommon.EventBody{
			Message: "Run completed with status: failed", Error: &scaffoldercommon.TaskError{Name: string(apierr.KindOf(errors.New(unbegun))), Message: unbegun},
		})
		return err
	})
	if err == nil {
		s.wake()
		s.cancels.tell(id)
		s.follow.tell(id)
		for _, c := range changes {
			s.change(c)
		}
	}
	return err
}

// FollowCancel returns a channel that is sent to when the task is cancelled,
// or may be. Call stop at the end.
func (s *Store) FollowCancel(id string) (cancelled <-chan struct{}, stop func()) {
	return s.cancels.add(id)
}

func (s *Store) yes() string {
	if s.db.Dialect() == core.PostgreSQL {
		return "true"
	}
	return "1"
}

func (s *Store) no() string {
	if s.db.Dialect() == core.PostgreSQL {
		return "false"
	}
	return "0"
}

// lastStep returns the step that the newest event of a step is about; 0 if
// there is none.
func (s *Store) lastStep(ctx context.Context, tx *sql.Tx, id string) (string, error) {
	rows, err := tx.QueryContext(ctx, s.text(`SELECT body FROM scaffolder_task_event WHERE task_id = ? AND type = 'log' ORDER BY id DESC LIMIT 100`), id)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return "", err
		}
		var body scaffoldercommon.EventBody
		if json.Unmarshal([]byte(text), &body) == nil && body.StepID != "" {
			return body.StepID, nil
		}
	}
	return "0", rows.Err()
}

// Retry opens a task that ended, with its specification and its state, and
// with new secrets. Steps that ran because an earlier one had failed run again
// if they have to. Another task is a conflict.
func (s *Store) Retry(ctx context.Context, id, secrets string, strategy scaffoldercommon.RecoveryStrategy) error {
	if err := known(id); err != nil {
		return err
	}
	err := s.write(ctx, "retry the task "+id, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'open', heartbeat_at = `+s.now()+`, secrets = ?, cancelled = `+s.no()+`, started_at = NULL, ended_at = NULL
			WHERE id = ? AND status IN ('cancelled', 'completed', 'failed', 'skipped')`), secrets, id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, apierr.Conflict("Task with taskId %s cannot be retried", id))
		}
		if _, err := tx.ExecContext(ctx, s.text(`DELETE FROM scaffolder_task_event WHERE task_id = ? AND type IN ('cancelled', 'completion')`), id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.text(`DELETE FROM scaffolder_task_state WHERE task_id = ? AND kind = ?`), id, CleanupState); err != nil {
			return err
		}
		if _, err = s.insert(ctx, tx, id, scaffoldercommon.EventRecovered, scaffoldercommon.EventBody{RecoverStrategy: strategy}); err != nil {
			return err
		}
		return s.notify(ctx, tx, "")
	})
	if err == nil {
		s.wake()
		s.follow.tell(id)
	}
	return err
}
