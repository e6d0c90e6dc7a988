package tasks

import (
	"encoding/json"
	"time"

	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Change is a change of a task that others may want to hear of. It is told
// after it was committed.
type Change struct {
	// ID, Spec and the times are those of a task that was created or claimed,
	// or that ended.
	ID            string
	Spec          json.RawMessage
	CreatedBy     string
	CreatedAt     time.Time
	LastHeartbeat time.Time
	// Status is that of the task, or else cancelled or recovered.
	Status string
	// EventID, TaskID and Body are those of the event of a task that was
	// cancelled or recovered.
	EventID int64
	TaskID  string
	Body    *scaffoldercommon.EventBody
}

// MarshalJSON writes the payload that subscribers read.
func (c Change) MarshalJSON() ([]byte, error) {
	if c.TaskID != "" {
		return encode(struct {
			ID     int64                       `json:"id"`
			TaskID string                      `json:"taskId"`
			Status string                      `json:"status"`
			Body   *scaffoldercommon.EventBody `json:"body"`
		}{c.EventID, c.TaskID, c.Status, c.Body})
	}
	out := struct {
		ID            string          `json:"id"`
		Spec          json.RawMessage `json:"spec,omitempty"`
		Status        string          `json:"status"`
		LastHeartbeat string          `json:"lastHeartbeatAt,omitempty"`
		CreatedAt     string          `json:"createdAt,omitempty"`
		CreatedBy     string          `json:"createdBy,omitempty"`
	}{ID: c.ID, Spec: c.Spec, Status: c.Status, CreatedBy: c.CreatedBy}
	if !c.LastHeartbeat.IsZero() {
		out.LastHeartbeat = c.LastHeartbeat.UTC().Format(timeFormat)
	}
	if !c.CreatedAt.IsZero() {
		out.CreatedAt = c.CreatedAt.UTC().Format(timeFormat)
	}
	return encode(out)
}

func (s *Store) change(c Change) {
	if s.Changed != nil {
		s.Changed(c)
	}
}
