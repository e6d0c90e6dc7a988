package scaffoldercommon

import (
	"encoding/json"
	"time"
)

// APIVersion is the version of templates and tasks that the scaffolder knows.
const APIVersion = "scaffolder.backstage.io/v1beta3"

// TaskStatus is where a task is on its way.
type TaskStatus string

// The states of a task. Open ones wait; one that is cancelled ends as failed.
const (
	TaskOpen       TaskStatus = "open"
	TaskProcessing TaskStatus = "processing"
	TaskCompleted  TaskStatus = "completed"
	TaskFailed     TaskStatus = "failed"
	TaskCancelled  TaskStatus = "cancelled"
	TaskSkipped    TaskStatus = "skipped"
)

// Ended reports whether nothing more happens to the task unless it is retried.
func (s TaskStatus) Ended() bool {
	switch s {
	case TaskCompleted, TaskFailed, TaskCancelled, TaskSkipped:
		return true
	}
	return false
}

// StepStatus is where a step of a task is on its way.
type StepStatus string

// The states of a step.
const (
	StepProcessing StepStatus = "processing"
	StepCompleted  StepStatus = "completed"
	StepFailed     StepStatus = "failed"
	StepSkipped    StepStatus = "skipped"
	StepCancelled  StepStatus = "cancelled"
)

// Task is a run of a template, as the routes of the scaffolder give it.
type Task struct {
	ID            string     `json:"id"`
	Spec          TaskSpec   `json:"spec"`
	Status        TaskStatus `json:"status"`
	CreatedAt     time.Time  `json:"createdAt"`
	LastHeartbeat *time.Time `json:"lastHeartbeatAt,omitempty"`
	// CreatedBy is the ref of the user; empty if a service created the task.
	CreatedBy string `json:"createdBy,omitempty"`
}

// TaskSpec is what a task does. Texts in it may contain expressions.
type TaskSpec struct {
	APIVersion string     `json:"apiVersion"`
	Steps      []TaskStep `json:"steps"`
	Recovery   *Recovery  `json:"EXPERIMENTAL_recovery,omitempty"`
	// Output is an object.
	Output json.RawMessage `json:"output"`
	// Parameters are the values of the form, an object.
	Parameters json.RawMessage `json:"parameters"`
	User       TaskUser        `json:"user"`
	Template   *TemplateInfo   `json:"templateInfo,omitempty"`
}

// Recovery says what happens to a task whose backend stopped.
type Recovery struct {
	Strategy RecoveryStrategy `json:"EXPERIMENTAL_strategy,omitempty"`
}

// RecoveryStrategy is none, or startOver.
type RecoveryStrategy string

// The strategies of recovery.
const (
	RecoverNone      RecoveryStrategy = "none"
	RecoverStartOver RecoveryStrategy = "startOver"
)

// Recoverable reports whether the task starts over when its backend stopped.
func (s TaskSpec) Recoverable() bool {
	return s.Recovery != nil && s.Recovery.Strategy == RecoverStartOver
}

// TaskStep is a step of a task. Each and If are expressions, or values.
type TaskStep struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Action string          `json:"action"`
	Input  json.RawMessage `json:"input,omitempty"`
	If     json.RawMessage `json:"if,omitempty"`
	Each   json.RawMessage `json:"each,omitempty"`
	// Timeout is how long the step may run: a text such as 10m, or an object
	// such as {"minutes": 10}.
	Timeout json.RawMessage `json:"timeout,omitempty"`
}

// TaskUser is the user who created a task; it is empty if that was a service.
type TaskUser struct {
	// Entity is the user's entity in the catalog, if there is one.
	Entity json.RawMessage `json:"entity,omitempty"`
	Ref    string          `json:"ref,omitempty"`
}

// TemplateInfo says where the template of a task is from.
type TemplateInfo struct {
	EntityRef string `json:"entityRef"`
	// BaseURL is what relative URLs in the template refer to.
	BaseURL string `json:"baseUrl,omitempty"`
	// Entity is the template's entity, of which the metadata is kept.
	Entity json.RawMessage `json:"entity,omitempty"`
}
