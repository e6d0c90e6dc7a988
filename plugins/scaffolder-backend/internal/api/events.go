package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	// ping is how often a silent stream shows that it lives.
	ping = 20 * time.Second
	// writeDeadline is how long a client may take to receive a batch.
	writeDeadline = 30 * time.Second
)

// watching finds the task and the place to begin at, and runs fn.
func (h *Handler) watching(r *http.Request, action string, fn func(t tasks.Task, after int64, recoverable bool) error) error {
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
		return fn(t, after, spec.Recoverable())
	})
}

// whileServing returns a context that ends with the request, when the plugin
// stops, and when done is called.
func (h *Handler) whileServing(r *http.Request) (ctx context.Context, done context.CancelFunc) {
	ctx, done = context.WithCancel(r.Context())
	go func() {
		select {
		case <-h.Stop:
			done()
		case <-ctx.Done():
		}
	}()
	return ctx, done
}

// events answers with the events after one, as soon as there is one.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) error {
	return h.watching(r, "events", func(t tasks.Task, after int64, recoverable bool) error {
		found, err := h.Store.Events(r.Context(), t.ID, after, recoverable)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			serving, done := h.whileServing(r)
			defer done()
			ctx, end := context.WithTimeout(serving, longPoll)
			defer end()
			watcher := h.Store.Watch(t.ID, after, recoverable)
			defer watcher.Close()
			if found, err = watcher.Next(ctx); ctx.Err() != nil {
				if r.Context().Err() != nil {
					return r.Context().Err()
				}
				found, err = []tasks.Event{}, nil
			}
			if err != nil {
				return err
			}
		}
		apierr.WriteJSON(w, http.StatusOK, found)
		return nil
	})
}

// stream sends events as they happen, each once.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) error {
	return h.watching(r, "stream", func(t tasks.Task, after int64, recoverable bool) error {
		// A stream is not compressed: an encoder for each would take half a
		// megabyte for as long as it is open.
		r.Header.Del("Accept-Encoding")
		header := w.Header()
		header.Set("Connection", "keep-alive")
		header.Set("Cache-Control", "no-cache")
		header.Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		out := &eventWriter{w: w, control: http.NewResponseController(w)}
		// The connection may serve other requests later.
		defer func() { _ = out.control.SetWriteDeadline(time.Time{}) }()
		if out.flush() != nil {
			return nil
		}
		ctx, done := h.whileServing(r)
		defer done()
		watcher := h.Store.Watch(t.ID, after, recoverable)
		defer watcher.Close()
		for {
			silent, end := context.WithTimeout(ctx, ping)
			found, err := watcher.Next(silent)
			end()
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, context.DeadlineExceeded) && silent.Err() != nil:
				if out.comment() != nil {
					return nil
				}
				continue
			case err != nil:
				return nil //nolint:nilerr // the answer has begun: the client comes back with the last id
			}
			for _, e := range found {
				if err := out.event(e); err != nil {
					return nil //nolint:nilerr // the client has gone, or is too slow
				}
				if e.Ends() {
					_ = out.flush() // the client has gone, or has all
					return nil
				}
			}
			if out.flush() != nil {
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
	frame, err := e.Frame()
	if err != nil {
		return err
	}
	return o.write(frame)
}

// comment is ignored by clients, and keeps proxies from closing the stream.
func (o *eventWriter) comment() error {
	return errors.Join(o.write([]byte(": ping\n\n")), o.flush())
}

func (o *eventWriter) write(text []byte) error {
	// Where there are no deadlines, the server's own holds.
	_ = o.control.SetWriteDeadline(time.Now().Add(writeDeadline))
	_, err := o.w.Write(text)
	return err
}

func (o *eventWriter) flush() error {
	_ = o.control.SetWriteDeadline(time.Now().Add(writeDeadline)) // as above
	return o.control.Flush()
}
