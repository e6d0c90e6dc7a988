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
	// Limits bound how many tasks run; they are set before the store is used.
	Limits Limits
	// Changed, if not nil, is told of changes after they are committed. It must
	// not block. It is set before the store is used.
	Changed func(Change)

	db    core.DatabaseService
	woken chan struct{}
	// follow are those who wait for events, cancels for the end of a task.
	follow, cancels *followers
	feeds           *feeds
}

// NewStore returns the store in a database that has the tables.
func NewStore(db core.DatabaseService) *Store {
	s := &Store{db: db, woken: make(chan struct{}, 1), follow: newFollowers(), cancels: newFollowers()}
	s.feeds = newFeeds(s)
	return s
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
	Template  string // its ref
	CreatedBy string // empty if a service creates it
	Secrets   string // sealed
}

// NewID returns the id of a new task.
func NewID() string { return uuid.NewString() }

// Create stores an open task.
func (s *Store) Create(ctx context.Context, t New) error {
	err := s.write(ctx, "store the task", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task (id, spec, template, status, created_by, created_at, secrets) VALUES (?, ?, ?, 'open', ?, `+s.now()+`, ?)`),
			t.ID, string(t.Spec), t.Template, sql.NullString{String: t.CreatedBy, Valid: t.CreatedBy != ""}, t.Secrets)
		if err != nil {
			return err
		}
		return s.notify(ctx, tx, "")
	})
	if err == nil {
		s.wake()
		s.change(Change{ID: t.ID, Spec: t.Spec, CreatedBy: t.CreatedBy, Status: string(scaffoldercommon.TaskOpen)})
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
