package core

import (
	"context"
	"encoding/json"
	"time"

	"github.com/flytower/flytower/backend"
)

// Frequency says when a task runs. Exactly one field is set.
type Frequency struct {
	// Cron is an expression of five or six fields (the first of six are
	// seconds), or a name such as @daily, in the local time zone.
	Cron string
	// Every is measured from start to start.
	Every time.Duration
	// Manual runs only when triggered.
	Manual bool
}

// Schedule says when and where a task runs, and for how long.
type Schedule struct {
	Frequency Frequency
	// Timeout ends the context of a run. It is required.
	Timeout time.Duration
	// InitialDelay is waited for before the first run.
	InitialDelay time.Duration
	// Local runs the task in every instance; otherwise one instance at a time
	// runs it.
	Local bool
}

// TaskFunc is the work of a task. Its context ends with the timeout, with a
// cancellation, when the lease was lost, and when the backend stops.
type TaskFunc func(ctx context.Context, run TaskRun) error

// TaskRun tells a task about its run.
type TaskRun struct {
	// Fence grows with every run of the task in the whole deployment: what an
	// earlier run still writes can be told from what this one writes. It is 0
	// for local tasks.
	Fence int64
}

// Task is a scheduled task.
type Task struct {
	ID       string
	Schedule Schedule
	Run      TaskFunc
}

// TaskInfo describes a task of this instance.
type TaskInfo struct {
	ID       string
	Local    bool
	Settings json.RawMessage
}

// SchedulerService runs tasks of a plugin in the background. A run that
// panics or fails is logged, and the next one comes as planned.
type SchedulerService interface {
	// Schedule registers the task and begins to run it once the plugin has
	// started. The same id twice in one instance is an error.
	Schedule(ctx context.Context, t Task) error
	// Trigger runs a task now, wherever it runs; a conflict if it is running,
	// not found if nobody registered it.
	Trigger(ctx context.Context, id string) error
	// Cancel ends the current run of a task; a conflict if there is none.
	Cancel(ctx context.Context, id string) error
	// Tasks returns the tasks of this instance in order of registration.
	Tasks() []TaskInfo
}

// Scheduler runs tasks in the background.
var Scheduler = backend.NewServiceRef[SchedulerService]("core.scheduler")

// ScheduleFromConfig reads {frequency, timeout, initialDelay, scope} at key.
// A frequency is {cron: …}, {trigger: manual} or a duration.
func ScheduleFromConfig(c Config, key string) (Schedule, error) {
	s := Schedule{}
	sub := c.Sub(key)
	var err error
	switch {
	case sub.Has("frequency.cron"):
		s.Frequency.Cron, err = sub.String("frequency.cron")
	case sub.Has("frequency.trigger"):
		var trigger string
		if trigger, err = sub.String("frequency.trigger"); err == nil && trigger != "manual" {
			err = &ConfigError{Key: sub.Path("frequency.trigger"), Position: sub.Position("frequency.trigger"), Problem: "must be manual, found " + trigger}
		}
		s.Frequency.Manual = true
	case sub.Has("frequency"):
		s.Frequency.Every, err = sub.DurationOr("frequency", 0)
	default:
		err = &ConfigError{Key: sub.Path("frequency"), Position: c.Position(key), Problem: "is missing", Remedy: "say how often the task runs, for example {minutes: 30}"}
	}
	if err != nil {
		return s, err
	}
	if !sub.Has("timeout") {
		return s, &ConfigError{Key: sub.Path("timeout"), Position: c.Position(key), Problem: "is missing", Remedy: "say how long a run may take, for example {minutes: 5}"}
	}
	if s.Timeout, err = sub.DurationOr("timeout", 0); err != nil {
		return s, err
	}
	if s.InitialDelay, err = sub.DurationOr("initialDelay", 0); err != nil {
		return s, err
	}
	scope, err := sub.StringOr("scope", "global")
	if err != nil {
		return s, err
	}
	switch scope {
	case "global":
	case "local":
		s.Local = true
	default:
		return s, &ConfigError{Key: sub.Path("scope"), Position: sub.Position("scope"), Problem: "must be global or local, found " + scope}
	}
	return s, nil
}
