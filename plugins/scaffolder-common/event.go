package scaffoldercommon

import (
	"encoding/json"
	"time"
)

// EventType is the kind of a [TaskEvent].
type EventType string

// The kinds of events.
const (
	EventLog        EventType = "log"
	EventCompletion EventType = "completion"
	EventCancelled  EventType = "cancelled"
	EventRecovered  EventType = "recovered"
)

// TaskEvent is something that happened in a task. IDs grow, over all tasks.
type TaskEvent struct {
	ID int64 `json:"id"`
	// Recoverable says that a completion may be followed by another run.
	Recoverable bool      `json:"isTaskRecoverable"`
	TaskID      string    `json:"taskId"`
	Body        EventBody `json:"body"`
	Type        EventType `json:"type"`
	CreatedAt   time.Time `json:"createdAt"`
}

// EventBody is what an event says; which fields it has depends on its type.
type EventBody struct {
	Message string     `json:"message,omitempty"`
	StepID  string     `json:"stepId,omitempty"`
	Status  StepStatus `json:"status,omitempty"`
	// Output of a completed task, an object.
	Output json.RawMessage `json:"output,omitempty"`
	// Error of a failed task.
	Error *TaskError `json:"error,omitempty"`
	// RecoverStrategy of a recovered task.
	RecoverStrategy RecoveryStrategy `json:"recoverStrategy,omitempty"`
}

// TaskError is why a task failed.
type TaskError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}
