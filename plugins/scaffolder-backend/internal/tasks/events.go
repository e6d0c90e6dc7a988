package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Event is something that happened in a task, as it is stored.
type Event struct {
	ID          int64
	Recoverable bool
	TaskID      string
	Body        json.RawMessage
	Type        scaffoldercommon.EventType
	CreatedAt   time.Time

	frame []byte // if it has been made
}

// MarshalJSON writes the form that clients read, in one line.
func (e Event) MarshalJSON() ([]byte, error) {
	return encode(struct {
		ID          int64                      `json:"id"`
		Recoverable bool                       `json:"isTaskRecoverable"`
		TaskID      string                     `json:"taskId"`
		Body        json.RawMessage            `json:"body"`
		Type        scaffoldercommon.EventType `json:"type"`
		CreatedAt   string                     `json:"createdAt"`
	}{e.ID, e.Recoverable, e.TaskID, e.Body, e.Type, e.CreatedAt.UTC().Format(timeFormat)})
}

// Ends reports whether the task does nothing more after the event by itself.
func (e Event) Ends() bool {
	return e.Type == scaffoldercommon.EventCompletion && !e.Recoverable
}

// Frame returns the event in the format of EventSource.
func (e Event) Frame() ([]byte, error) {
	if e.frame != nil {
		return e.frame, nil
	}
	text, err := e.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("write the event %d: %w", e.ID, err)
	}
	frame := make([]byte, 0, len("event: \ndata: \n\n")+len(e.Type)+len(text))
	frame = append(append(frame, "event: "...), e.Type...)
	frame = append(append(frame, "\ndata: "...), text...)
	return append(frame, "\n\n"...), nil
}

// insert writes an event of a task that the transaction has locked, and
// returns its id.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, id string, kind scaffoldercommon.EventType, body scaffoldercommon.EventBody) (event int64, err error) {
	text, err := encode(body)
	if err != nil {
		return 0, fmt.Errorf("write an event of the task %s: %w", id, err)
	}
	err = tx.QueryRowContext(ctx, s.text(`INSERT INTO scaffolder_task_event (task_id, type, body, created_at) VALUES (?, ?, ?, `+s.now()+`) RETURNING id`), id, string(kind), string(text)).Scan(&event)
	if err != nil {
		return 0, fmt.Errorf("write an event of the task %s: %w", id, err)
	}
	return event, s.notify(ctx, tx, id)
}

// insertAll writes events of a type, in order, of a task that the transaction
// has locked.
func (s *Store) insertAll(ctx context.Context, tx *sql.Tx, id string, kind scaffoldercommon.EventType, bodies []scaffoldercommon.EventBody) error {
	for part := range slices.Chunk(bodies, 50) {
		args := make([]any, 0, 3*len(part))
		for _, body := range part {
			text, err := encode(body)
			if err != nil {
				return fmt.Errorf("write an event of the task %s: %w", id, err)
			}
			args = append(args, id, string(kind), string(text))
		}
		row := "(?, ?, ?, " + s.now() + ")"
		if _, err := tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task_event (task_id, type, body, created_at) VALUES `+row+strings.Repeat(", "+row, len(part)-1)), args...); err != nil {
			return fmt.Errorf("write events of the task %s: %w", id, err)
		}
	}
	if len(bodies) == 0 {
		return nil
	}
	return s.notify(ctx, tx, id)
}

const (
	// maxEvents is how many events are read at once.
	maxEvents = 1000
	// maxBytes is the size of their bodies from which on no more are read.
	maxBytes = 4 << 20
)

// Events returns events of a task in order, those after an id and, whatever
// their id, those that say that the task ended; at most about a thousand, or
// four megabytes. After a task started over, what was before is left out.
// recoverable is what the specification of the task says.
func (s *Store) Events(ctx context.Context, id string, after int64, recoverable bool) ([]Event, error) {
	if err := known(id); err != nil {
		return nil, err
	}
	events, after, err := s.before(ctx, id, after, recoverable)
	if err != nil {
		return nil, err
	}
	later, err := s.later(ctx, id, after, recoverable)
	if err != nil {
		return nil, err
	}
	if recoverable && len(events) == 0 && len(later) == 1 && later[0].Type == scaffoldercommon.EventRecovered {
		return later[:0], nil // nothing has happened since it started over
	}
	return append(events, later...), nil
}

// before returns what of the events up to an id counts in spite of it: those
// that say that the task ended. from is after what to go on reading.
func (s *Store) before(ctx context.Context, id string, after int64, recoverable bool) (ends []Event, from int64, err error) {
	started := int64(0) // over, with this event
	if recoverable {
		last, err := s.read(ctx, Event{TaskID: id}, `type <> 'log' AND type = 'recovered' ORDER BY id DESC LIMIT 1`)
		if err != nil {
			return nil, 0, err
		}
		var body scaffoldercommon.EventBody
		if len(last) > 0 && json.Unmarshal(last[0].Body, &body) == nil && body.RecoverStrategy == scaffoldercommon.RecoverStartOver {
			started = last[0].ID
		}
	}
	if after > 0 {
		if ends, err = s.read(ctx, Event{TaskID: id, Recoverable: recoverable}, `type <> 'log' AND type = 'completion' AND id >= ? AND id <= ? ORDER BY id`, started, after); err != nil {
			return nil, 0, err
		}
	}
	return ends, max(after, started-1), nil
}

// later returns a page of the events after an id.
func (s *Store) later(ctx context.Context, id string, after int64, recoverable bool) ([]Event, error) {
	return s.read(ctx, Event{TaskID: id, Recoverable: recoverable}, `id > ? ORDER BY id LIMIT `+strconv.Itoa(maxEvents), after)
}

// read returns events of a task; like has what they have in common.
func (s *Store) read(ctx context.Context, like Event, which string, args ...any) ([]Event, error) {
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	failed := func(err error) ([]Event, error) {
		return nil, fmt.Errorf("read the events of the task %s: %w", like.TaskID, err)
	}
	rows, err := db.QueryContext(ctx, s.text(`SELECT id, type, body, created_at FROM scaffolder_task_event WHERE task_id = ? AND `+which), append([]any{like.TaskID}, args...)...)
	if err != nil {
		return failed(err)
	}
	defer rows.Close()
	events, size := []Event{}, 0
	for size < maxBytes && rows.Next() {
		e := like
		var body string
		var created int64
		if err := rows.Scan(&e.ID, &e.Type, &body, &created); err != nil {
			return failed(err)
		}
		e.Body, e.CreatedAt = json.RawMessage(body), time.UnixMilli(created)
		size += len(body)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return failed(err)
	}
	return events, nil
}

// Follow returns a channel that is sent to when the task has new events, or
// may have them. Call stop at the end.
func (s *Store) Follow(id string) (changed <-chan struct{}, stop func()) { return s.follow.add(id) }

// followers are those who wait for events, by task.
type followers struct {
	mu   sync.Mutex
	byID map[string]map[chan struct{}]bool
}

func newFollowers() *followers { return &followers{byID: map[string]map[chan struct{}]bool{}} }

func (f *followers) add(id string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byID[id] == nil {
		f.byID[id] = map[chan struct{}]bool{}
	}
	f.byID[id][c] = true
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.byID[id], c)
		if len(f.byID[id]) == 0 {
			delete(f.byID, id)
		}
	}
}

func (f *followers) tell(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.byID[id] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (f *followers) tellAll() {
	f.mu.Lock()
	ids := make([]string, 0, len(f.byID))
	for id := range f.byID {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	for _, id := range ids {
		f.tell(id)
	}
}
