package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

const (
	// longPoll is how long a request for events waits for one.
	longPoll = 30 * time.Second
	// lookAgain is how often watchers look for events that nobody told them of.
	lookAgain = 5 * time.Second
	// ping is how often a silent stream shows that it lives.
	ping = 20 * time.Second
	// writeDeadline is how long a client may take to receive a batch.
	writeDeadline = 30 * time.Second
)

// watch is what a route of events reads.
type watch struct {
	h           *Handler
	id          string
	recoverable bool
	after       int64
	changed     <-chan struct{}
}

// watching finds the task and the place to begin at, and runs fn.
func (h *Handler) watching(r *http.Request, action string, fn func(*watch) error) error {
	values, err := query(r, "after")
	if err != nil {
		return err
	}
	after, ok, err := integer(values, "after")
	if err != nil {
		return err
	}
	if !ok {
		after = -1
	}
	return h.with(r, action, core.SeverityLow, []core.Permission{permissions.ReadTask}, func(_ core.Credentials, t tasks.Task) error {
		var spec scaffoldercommon.TaskSpec
		if err := json.Unmarshal(t.Spec, &spec); err != nil {
			return err
		}
		changed, stop := h.Store.Follow(t.ID)
		defer stop()
		return fn(&watch{h: h, id: t.ID, recoverable: spec.Recoverable(), after: after, changed: changed})
	})
}

// events answers with the events after one, as soon as there is one.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) error {
	return h.watching(r, "events", func(at *watch) error {
		end := time.NewTimer(longPoll)
		defer end.Stop()
		again := time.NewTicker(lookAgain)
		defer again.Stop()
		for {
			found, err := h.Store.Events(r.Context(), at.id, at.after, at.recoverable)
			if err != nil {
				return err
			}
			over := false
			if len(found) == 0 {
				select {
				case <-at.changed:
				case <-again.C:
				case <-end.C:
					over = true
				case <-h.Stop:
					over = true
				case <-r.Context().Done():
					return r.Context().Err()
				}
			}
			if over || len(found) > 0 {
				apierr.WriteJSON(w, http.StatusOK, found)
				return nil
			}
		}
	})
}

// stream sends events as they happen, each once.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) error {
	return h.watching(r, "stream", func(at *watch) error {
		header := w.Header()
		header.Set("Connection", "keep-alive")
		header.Set("Cache-Control", "no-cache")
		header.Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		out := &eventWriter{w: w, control: http.NewResponseController(w)}
		if out.flush() != nil {
			return nil
		}
		again := time.NewTicker(lookAgain)
		defer again.Stop()
		silent := time.NewTicker(ping)
		defer silent.Stop()
		var ends []int64 // of completions that were sent
		for {
			found, err := h.Store.Events(r.Context(), at.id, at.after, at.recoverable)
			if err != nil {
				return nil //nolint:nilerr // the answer has begun: the client comes back with the last id
			}
			sent := false
			for _, e := range found {
				if slices.Contains(ends, e.ID) {
					continue
				}
				if e.Type == scaffoldercommon.EventCompletion {
					ends = append(ends, e.ID)
				}
				if err := out.event(e); err != nil {
					return nil //nolint:nilerr // the client has gone
				}
				sent, at.after = true, max(at.after, e.ID)
				if e.Ends() {
					return out.flush()
				}
			}
			if sent {
				if out.flush() != nil {
					return nil
				}
				continue // there may be more than are read at once
			}
			select {
			case <-at.changed:
			case <-again.C:
			case <-silent.C:
				if out.comment() != nil {
					return nil
				}
			case <-h.Stop:
				return nil
			case <-r.Context().Done():
				return nil
			}
		}
	})
}

// eventWriter writes events in the format of EventSource.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (o *eventWriter) event(e tasks.Event) error {
	text, err := e.MarshalJSON()
	if err != nil {
		return err
	}
	return o.write("event: " + string(e.Type) + "\ndata: " + string(text) + "\n\n")
}

// comment is ignored by clients, and keeps proxies from closing the stream.
func (o *eventWriter) comment() error {
	return errors.Join(o.write(": ping\n\n"), o.flush())
}

func (o *eventWriter) write(text string) error {
	// Where there are no deadlines, the server's own holds.
	_ = o.control.SetWriteDeadline(time.Now().Add(writeDeadline))
	_, err := o.w.Write([]byte(text))
	return err
}

func (o *eventWriter) flush() error { return o.control.Flush() }
