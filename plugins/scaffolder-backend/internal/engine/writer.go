package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

const (
	// maxBatch is how many entries are written at once, and maxBatchBytes the
	// size of their texts from which on they are.
	maxBatch      = 200
	maxBatchBytes = 1 << 20
	// gather is how long lines wait for others.
	gather = 50 * time.Millisecond
	// maxLine bounds a line of a log, in bytes.
	maxLine = 1 << 20
)

// writer writes what a run tells, and its state, to the database. One
// goroutine writes, in order and in batches; who tells more than it can write
// waits. State is written together with the lines before it, and who keeps it
// waits until it is.
type writer struct {
	ctx     context.Context
	store   *tasks.Store
	claim   *tasks.Claim
	retry   retrier
	entries chan pending
	loops   sync.WaitGroup

	mu  sync.Mutex
	err error // the first

	gate   sync.RWMutex // held for reading by those who write
	closed bool
}

// pending is an entry that is to be written. done, if not nil, is told when it
// is, or that it cannot be.
type pending struct {
	tasks.Entry
	done chan error
}

func (p pending) size() int {
	size := len(p.Body.Message)
	for _, k := range p.Kept {
		size += len(k.Value)
	}
	return size
}

func newWriter(ctx context.Context, store *tasks.Store, claim *tasks.Claim, retry retrier) *writer {
	w := &writer{ctx: ctx, store: store, claim: claim, retry: retry, entries: make(chan pending, maxBatch)}
	w.loops.Go(w.loop)
	return w
}

// Write implements [Journal].
func (w *writer) Write(_ context.Context, body scaffoldercommon.EventBody) error {
	if len(body.Message) > maxLine {
		body.Message = strings.ToValidUTF8(body.Message[:maxLine], "") + "…"
	}
	return w.send(pending{Entry: tasks.Entry{Body: body}})
}

// Load implements [State].
func (w *writer) Load(ctx context.Context, kind string) (state map[string]json.RawMessage, err error) {
	err = w.retry.do(ctx, func(ctx context.Context) (err error) {
		state, err = w.store.State(ctx, w.claim, kind)
		return err
	})
	return state, err
}

// Keep implements [State].
func (w *writer) Keep(_ context.Context, all ...tasks.Kept) error {
	done := make(chan error, 1)
	if err := w.send(pending{Entry: tasks.Entry{Kept: all}, done: done}); err != nil {
		return err
	}
	return <-done
}

func (w *writer) send(p pending) error {
	if err := w.failed(); err != nil {
		return err
	}
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closed {
		return errEnded
	}
	select {
	case w.entries <- p:
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
	for first := range w.entries {
		batch := w.gather(first)
		err := w.failed()
		if err == nil { // or else what is left is let go: those who write are told
			if err = w.write(batch); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
		}
		for _, p := range batch {
			if p.done != nil {
				p.done <- err
			}
		}
	}
}

// gather collects entries until one of them has somebody who waits for it.
func (w *writer) gather(first pending) []pending {
	batch, size := []pending{first}, first.size()
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for last := first; last.done == nil && len(batch) < maxBatch && size < maxBatchBytes; {
		select {
		case p, ok := <-w.entries:
			if !ok {
				return batch
			}
			batch, size, last = append(batch, p), size+p.size(), p
		case <-timer.C:
			return batch
		}
	}
	return batch
}

func (w *writer) write(batch []pending) error {
	entries := make([]tasks.Entry, len(batch))
	for i, p := range batch {
		entries[i] = p.Entry
	}
	return w.retry.do(w.ctx, func(ctx context.Context) error { return w.store.Append(ctx, w.claim, entries) })
}

// errEnded is what an action is told that writes after its task ended.
var errEnded = errors.New("the task has ended")

// close writes what is left, and returns why something could not be written.
func (w *writer) close() error {
	w.gate.Lock()
	w.closed = true
	close(w.entries)
	w.gate.Unlock()
	w.loops.Wait()
	return w.failed()
}
