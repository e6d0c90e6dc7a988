package engine

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

const (
	// maxBatch is how many lines of a log are written at once.
	maxBatch = 200
	// gather is how long lines wait for others.
	gather = 50 * time.Millisecond
	// maxLine bounds a line of a log, in bytes.
	maxLine = 1 << 20
)

// writer is the journal of a task in the database. One goroutine writes, in
// order and in batches; who tells more than it can write waits.
type writer struct {
	ctx   context.Context
	store *tasks.Store
	claim *tasks.Claim
	lines chan scaffoldercommon.EventBody
	loops sync.WaitGroup

	mu  sync.Mutex
	err error // the first

	gate   sync.RWMutex // held for reading by those who write
	closed bool
}

func newWriter(ctx context.Context, store *tasks.Store, claim *tasks.Claim) *writer {
	w := &writer{ctx: ctx, store: store, claim: claim, lines: make(chan scaffoldercommon.EventBody, maxBatch)}
	w.loops.Go(w.loop)
	return w
}

// Write implements [Journal].
func (w *writer) Write(_ context.Context, body scaffoldercommon.EventBody) error {
	if len(body.Message) > maxLine {
		body.Message = strings.ToValidUTF8(body.Message[:maxLine], "") + "…"
	}
	if err := w.failed(); err != nil {
		return err
	}
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return errEnded
	}
	select {
	case w.lines <- body:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writer) loop() {
	for first := range w.lines {
		batch := []scaffoldercommon.EventBody{first}
		timer := time.NewTimer(gather)
		for open := true; open && len(batch) < maxBatch; {
			select {
			case line, ok := <-w.lines:
				if open = ok; ok {
					batch = append(batch, line)
				}
			case <-timer.C:
				open = false
			}
		}
		timer.Stop()
		if w.failed() != nil {
			continue // those who write are told; what is left is let go
		}
		if err := w.store.Log(w.ctx, w.claim, batch); err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
	}
}

// errEnded is what an action is told that writes after its task ended.
var errEnded = errors.New("the task has ended")

// close writes what is left, and returns why something could not be written.
func (w *writer) close() error {
	w.gate.Lock()
	w.closed = true
	close(w.lines)
	w.gate.Unlock()
	w.loops.Wait()
	return w.failed()
}
