package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
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

func (s *Store) insert(ctx context.Context, tx *sql.Tx, id string, kind scaffoldercommon.EventType, body scaffoldercommon.EventBody) error {
	text, err := encode(body)
	if err != nil {
		return fmt.Errorf("write an event of the task %s: %w", id, err)
	}
	_, err = tx.ExecContext(ctx, s.text(`INSERT INTO scaffolder_task_event (task_id, type, body, created_at) VALUES (?, ?, ?, `+s.now()+`)`), id, string(kind), string(text))
	if err != nil {
		return fmt.Errorf("write an event of the task %s: %w", id, err)
	}
	return s.notify(ctx, tx, id)
}

// maxEvents is how many events are read at once.
const maxEvents = 1000

// Events returns events of a task in order, those after an id and, whatever
// their id, those that say that the task ended; at most a thousand. After a
// task started over, what was before is left out. recoverable is what the
// specification of the task says.
func (s *Store) Events(ctx context.Context, id string, after int64, recoverable bool) ([]Event, error) {
	if err := known(id); err != nil {
		return nil, err
	}
	db, err := s.db.DB(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, s.text(`SELECT id, type, body, created_at FROM scaffolder_task_event
		WHERE task_id = ? AND (id > ? OR type = 'completion') ORDER BY id LIMIT ?`), id, after, maxEvents)
	if err != nil {
		return nil, fmt.Errorf("read the events of the task %s: %w", id, err)
	}
	defer rows.Close()
	events := []Event{}
	for rows.Next() {
		e := Event{TaskID: id, Recoverable: recoverable}
		var body string
		var created int64
		if err := rows.Scan(&e.ID, &e.Type, &body, &created); err != nil {
			return nil, fmt.Errorf("read the events of the task %s: %w", id, err)
		}
		e.Body, e.CreatedAt = json.RawMessage(body), time.UnixMilli(created)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the events of the task %s: %w", id, err)
	}
	return sinceStartingOver(events), nil
}

func sinceStartingOver(events []Event) []Event {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Type != scaffoldercommon.EventRecovered {
			continue
		}
		var body scaffoldercommon.EventBody
		if json.Unmarshal(events[i].Body, &body) != nil || body.RecoverStrategy != scaffoldercommon.RecoverStartOver {
			return events
		}
		return events[i:]
	}
	return events
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
