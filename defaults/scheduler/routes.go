package scheduler

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// Authorize decides whether a request may do something with the tasks of a
// plugin: action is "list", "trigger" or "cancel", task the id, or "" for the
// list. Its error becomes the answer.
type Authorize func(r *http.Request, action, task string) error

// WithAuthorize limits who may use the routes; by default every user and
// service may, except that an external service which is held to some
// permissions may only list.
func WithAuthorize(a Authorize) Option { return func(o *options) { o.authorize = a } }

const base = "/.backstage/scheduler/v1/tasks"

// routes mounts the routes below the plugin.
func (s *scheduler) routes() {
	if s.Router == nil {
		return
	}
	s.Router.HandleErr("GET "+base, func(w http.ResponseWriter, r *http.Request) error {
		if err := s.may(r, "list", ""); err != nil {
			return err
		}
		states, err := s.states(r)
		if err != nil {
			return err
		}
		apierr.WriteJSON(w, http.StatusOK, map[string]any{"tasks": states})
		return nil
	})
	s.Router.HandleErr("POST "+base+"/{id}/trigger", func(_ http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		if err := s.may(r, "trigger", id); err != nil {
			return err
		}
		return s.Trigger(r.Context(), id)
	})
	s.Router.HandleErr("POST "+base+"/{id}/cancel", func(_ http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		if err := s.may(r, "cancel", id); err != nil {
			return err
		}
		return s.Cancel(r.Context(), id)
	})
}

func (s *scheduler) may(r *http.Request, action, task string) error {
	if s.authorize != nil {
		return s.authorize(r, action, task)
	}
	if s.HTTPAuth == nil || action == "list" {
		return nil
	}
	who, err := s.HTTPAuth.Credentials(r, core.Allow{})
	if err == nil && who.Principal.Restrictions.Limit() {
		err = apierr.NotAllowed("the access of %s is restricted to permissions, and none is for tasks", who.Principal.Subject)
	}
	return err
}

// state is a task on the wire.
type state struct {
	TaskID   string          `json:"taskId"`
	PluginID string          `json:"pluginId"`
	Scope    string          `json:"scope"`
	Settings json.RawMessage `json:"settings"`
	Task     *taskState      `json:"taskState"`
	Worker   *workerStatus   `json:"workerState"`
}

// taskState is a task in the whole deployment, or a local one in this
// instance.
type taskState struct {
	Status     string   `json:"status"`
	StartedAt  wireTime `json:"startedAt,omitzero"`
	TimesOutAt wireTime `json:"timesOutAt,omitzero"`
	StartsAt   wireTime `json:"startsAt,omitzero"`
	// LastRunError is JSON within a string.
	LastRunEndedAt wireTime `json:"lastRunEndedAt,omitzero"`
	LastRunError   string   `json:"lastRunError,omitempty"`
}

type workerStatus struct {
	Status workerState `json:"status"`
}

type wireTime time.Time

// IsZero makes encoding leave out what is not known.
func (t wireTime) IsZero() bool { return time.Time(t).IsZero() }

// MarshalJSON writes milliseconds and the offset.
func (t wireTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format("2006-01-02T15:04:05.000-07:00"))
}

func (s *scheduler) states(r *http.Request) ([]state, error) {
	workers := s.list()
	var rows map[string]row
	for _, w := range workers {
		if !w.task.Schedule.Local {
			var err error
			if rows, err = s.store.rows(r.Context()); err != nil {
				return nil, err
			}
			break
		}
	}
	out := make([]state, 0, len(workers))
	for _, w := range workers {
		st := state{TaskID: w.task.ID, PluginID: s.Plugin, Scope: w.scope(), Settings: w.settings}
		w.mu.Lock()
		if !w.gone {
			st.Worker = &workerStatus{w.state}
		}
		if w.task.Schedule.Local {
			st.Task = w.localTaskState()
		} else if r, ok := rows[w.task.ID]; ok {
			st.Task = s.globalTaskState(r)
		}
		w.mu.Unlock()
		out = append(out, st)
	}
	return out, nil
}

func (s *scheduler) globalTaskState(r row) *taskState {
	t := &taskState{Status: "idle", StartsAt: wireTime(r.next), LastRunEndedAt: wireTime(r.lastEnded), LastRunError: r.lastError}
	if r.ticket != "" {
		t.Status, t.StartsAt, t.StartedAt = "running", wireTime{}, wireTime(r.startedAt)
		// What the row has is when the lease ends.
		if p, err := parseSettings(r.settings, s.zone); err == nil && !r.startedAt.IsZero() {
			t.TimesOutAt = wireTime(r.startedAt.Add(p.timeout))
		}
	}
	return t
}

// localTaskState is called with w.mu held.
func (w *worker) localTaskState() *taskState {
	t := &taskState{Status: "idle", StartsAt: wireTime(w.local.next), LastRunEndedAt: wireTime(w.local.lastEnded)}
	if text, ok := errorJSON(w.local.lastError).(string); ok {
		t.LastRunError = text
	}
	if w.state == running {
		t.Status, t.StartsAt, t.StartedAt = "running", wireTime{}, wireTime(w.local.startedAt)
		t.TimesOutAt = wireTime(w.local.startedAt.Add(w.plan.timeout))
	}
	return t
}
