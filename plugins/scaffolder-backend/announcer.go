package scaffolderbackend

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

const (
	// topic is that of changes of tasks on the event bus.
	topic = "scaffolder.task"
	// maxNews is how many changes wait for subscribers that are slow.
	maxNews = 1000
	// newsTimeout is what subscribers may take for a change.
	newsTimeout = 30 * time.Second
)

// announcer tells the event bus of changes of tasks, in order, without holding
// up the tasks.
type announcer struct {
	bus  core.EventsService
	log  *slog.Logger
	news chan tasks.Change
	done chan struct{} // closed when all is told

	mu      sync.Mutex
	closed  bool
	begun   bool
	dropped int
}

func newAnnouncer(bus core.EventsService, log *slog.Logger) *announcer {
	return &announcer{bus: bus, log: log, news: make(chan tasks.Change, maxNews), done: make(chan struct{})}
}

// tell never blocks: what is too much is left out, and logged.
func (a *announcer) tell(c tasks.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	select {
	case a.news <- c:
	default:
		if a.dropped++; a.dropped == 1 {
			a.log.Warn("subscribers of "+topic+" are too slow: changes of tasks are left out", "waiting", maxNews)
		}
	}
}

func (a *announcer) start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed && !a.begun {
		a.begun = true
		go a.loop(context.WithoutCancel(ctx))
	}
	return nil
}

// stop waits until subscribers know what has happened so far.
func (a *announcer) stop(ctx context.Context) error {
	a.mu.Lock()
	begun := a.begun
	if !a.closed {
		a.closed = true
		close(a.news)
	}
	a.mu.Unlock()
	if !begun {
		return nil
	}
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *announcer) loop(ctx context.Context) {
	defer close(a.done)
	for c := range a.news {
		payload, err := json.Marshal(c)
		if err == nil {
			limited, done := context.WithTimeout(ctx, newsTimeout)
			err = a.bus.Publish(limited, core.Event{Topic: topic, Payload: payload})
			done()
		}
		if err != nil {
			a.log.Warn("a change of a task could not be announced", "topic", topic, "error", err)
		}
		a.mu.Lock()
		if a.dropped > 0 && len(a.news) == 0 {
			a.log.Warn("changes of tasks were left out", "topic", topic, "count", a.dropped)
			a.dropped = 0
		}
		a.mu.Unlock()
	}
}
