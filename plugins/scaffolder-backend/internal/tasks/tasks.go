// Package tasks keeps tasks, their events and their state in the database, and
// hands them out to those who run them.
//
// A run holds a claim: a number that grows with each run, and a lease that it
// has to renew. What a run writes counts only while its claim is the task's
// newest, so a run that was given up does no harm ([ErrLost]). The events of a
// task are written by one transaction at a time: their ids are in the order in
// which they can be seen, and a reader that continues after an id misses none.
package tasks

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Task is a task as it is stored.
type Task struct {
	ID            string
	Spec          json.RawMessage
	Status        scaffoldercommon.TaskStatus
	CreatedAt     time.Time
	LastHeartbeat time.Time // zero if there was none
	CreatedBy     string
}

// timeFormat is that of all times on the wire.
const timeFormat = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes the form that clients read.
func (t Task) MarshalJSON() ([]byte, error) {
	out := struct {
		ID              string                      `json:"id"`
		Spec            json.RawMessage             `json:"spec"`
		Status          scaffoldercommon.TaskStatus `json:"status"`
		CreatedAt       string                      `json:"createdAt"`
		LastHeartbeatAt string                      `json:"lastHeartbeatAt,omitempty"`
		CreatedBy       string                      `json:"createdBy,omitempty"`
	}{ID: t.ID, Spec: t.Spec, Status: t.Status, CreatedAt: t.CreatedAt.UTC().Format(timeFormat), CreatedBy: t.CreatedBy}
	if !t.LastHeartbeat.IsZero() {
		out.LastHeartbeatAt = t.LastHeartbeat.UTC().Format(timeFormat)
	}
	return encode(out)
}

// encode is json.Marshal that leaves characters of HTML as they are.
func encode(v any) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// Store keeps tasks. It is safe for concurrent use.
type Store struct {
	db     core.DatabaseService
	woken  chan struct{}
	follow *followers
}

// NewStore returns the store in a database that has the tables.
func NewStore(db core.DatabaseService) *Store {
	return &Store{db: db, woken: make(chan struct{}, 1), follow: newFollowers()}
}

// Woken is sent to when there may be a task to run.
func (s *Store) Woken() <-chan struct{} { return s.woken }

func (s *Store) wake() {
	select {
	case s.woken <- struct{}{}:
	default: // it is on its way
	}
}

// now is the time of the database in milliseconds, as an SQL expression.
func (s *Store) now() string {
	if s.db.Dialect() == core.PostgreSQL {
		return "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint"
	}
	return "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
}

// lock is what locks a row that is read in a transaction.
func (s *Store) lock(how string) string {
	if s.db.Dialect() == core.PostgreSQL {
		return " FOR UPDATE" + how
	}
	return "" // SQLite has one writer at a time
}

// text writes the statement with the placeholders of the dialect; ? stands
// for each.
func (s *Store) text(statement string) string {
	if s.db.Dialect() != core.PostgreSQL {
		return statement
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitAfterSeq(statement, "?") {
		if before, ok := strings.CutSuffix(part, "?"); ok {
			n++
			fmt.Fprintf(&b, "%s$%d", before, n)
		} else {
			b.WriteString(part)
		}
	}
	return b.String()
}

func (s *Store) write(ctx context.Context, what string, fn func(tx *sql.Tx) error) error {
	if err := s.db.WriteTx(ctx, fn); err != nil {
		var known *apierr.Error
		if errors.As(err, &known) || errors.Is(err, ErrLost) {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// New is a task to be stored.
type New struct {
	// ID is made by [NewID].
	ID        string
	Spec      json.RawMessage
	CreatedBy string // empty if a service creates it
	Secrets   string // sealed
}

// NewID returns the id of a new task.
func NewID() string { return uuid.NewString() }

// Create stores an open task.
func (s *Store) Create(ctx context.Context, t New) error {
	err := s.write(ctx, "store the task", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task (id, spec, status, created_by, created_at, secrets) VALUES (?, ?, 'open', ?, `+s.now()+`, ?)`),
			t.ID, string(t.Spec), sql.NullString{String: t.CreatedBy, Valid: t.CreatedBy != ""}, t.Secrets)
		if err != nil {
			return err
		}
		return s.notify(ctx, tx, "")
	})
	if err == nil {
		s.wake()
	}
	return err
}

const columns = "id, spec, status, created_by, created_at, heartbeat_at"

func scan(row interface{ Scan(...any) error }) (t Task, err error) {
	var spec string
	var by sql.NullString
	var created int64
	var beat sql.NullInt64
	if err := row.Scan(&t.ID, &spec, &t.Status, &by, &created, &beat); err != nil {
		return t, err
	}
	t.Spec, t.CreatedBy, t.CreatedAt = json.RawMessage(spec), by.String, time.UnixMilli(created)
	if beat.Valid {
		t.LastHeartbeat = time.UnixMilli(beat.Int64)
	}
	return t, nil
}

func notFound(id string) error { return apierr.NotFound("No task with id '%s' found", id) }

// known refuses ids that no task has, which PostgreSQL would not compare.
func known(id string) error {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return notFound(id)
	}
	return nil
}

// Get returns a task, or a not-found error.
func (s *Store) Get(ctx context.Context, id string) (Task, error) {
	if err := known(id); err != nil {
		return Task{}, err
	}
	db, err := s.db.DB(ctx)
	if err != nil {
		return Task{}, err
	}
	t, err := scan(db.QueryRowContext(ctx, s.text(`SELECT `+columns+` FROM scaffolder_task WHERE id = ?`), id))
	if errors.Is(err, sql.ErrNoRows) {
		return t, notFound(id)
	}
	if err != nil {
		return t, fmt.Errorf("read the task %s: %w", id, err)
	}
	return t, nil
}

// Cancel asks for the end of a task. One that ended already stays as it is.
func (s *Store) Cancel(ctx context.Context, id string) error {
	if err := known(id); err != nil {
		return err
	}
	err := s.write(ctx, "cancel the task "+id, func(tx *sql.Tx) error {
		var status scaffoldercommon.TaskStatus
		var cancelled bool
		err := tx.QueryRowContext(ctx, s.text(`SELECT status, cancelled FROM scaffolder_task WHERE id = ?`+s.lock("")), id).Scan(&status, &cancelled)
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
		return s.insert(ctx, tx, id, scaffoldercommon.EventCancelled, scaffoldercommon.EventBody{
			Message: "Step " + step + " has been cancelled.", StepID: step, Status: scaffoldercommon.StepCancelled,
		})
	})
	if err == nil {
		s.wake()
		s.follow.tell(id)
	}
	return err
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
// with new secrets. Another task is a conflict.
func (s *Store) Retry(ctx context.Context, id, secrets string, strategy scaffoldercommon.RecoveryStrategy) error {
	if err := known(id); err != nil {
		return err
	}
	err := s.write(ctx, "retry the task "+id, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.text(`UPDATE scaffolder_task SET status = 'open', heartbeat_at = `+s.now()+`, secrets = ?, cancelled = `+s.no()+`
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
		return s.insert(ctx, tx, id, scaffoldercommon.EventRecovered, scaffoldercommon.EventBody{RecoverStrategy: strategy})
	})
	if err == nil {
		s.wake()
		s.follow.tell(id)
	}
	return err
}
