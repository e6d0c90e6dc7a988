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
