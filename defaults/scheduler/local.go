package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// localState is what the database knows of a global task.
type localState struct {
	startedAt time.Time // of the current run
	next      time.Time // zero is never, or now
	lastEnded time.Time
	lastError error
}

// runLocal runs a task in this instance until the plugin stops.
func (s *scheduler) runLocal(ctx context.Context, w *worker) error {
	triggered := false
	if w.plan.delay > 0 {
		triggered = w.pause(ctx, s.clock, s.clock().Add(w.plan.delay))
	}
	if w.plan.manual() && !triggered {
		w.idle(time.Time{})
		w.pause(ctx, s.clock, time.Time{})
	}
	for ctx.Err() == nil {
		began := s.clock()
		s.runOnce(ctx, w, began)
		next := w.plan.afterRun(began, s.clock())
		w.idle(next)
		w.pause(ctx, s.clock, next)
	}
	return nil
}

func (s *scheduler) runOnce(ctx context.Context, w *worker, began time.Time) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, w.plan.timeout, errTimeout)
	defer stop()
	w.mu.Lock()
	select {
	case <-w.wake: // a trigger during the pause that just ended
	default:
	}
	w.state, w.cancel, w.local.startedAt = running, cancel, began
	w.mu.Unlock()
	err := s.call(ctx, w, core.TaskRun{})
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, errCancelled) || errors.Is(cause, errTimeout)) {
		err = cause
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = nil
	w.local.startedAt, w.local.lastEnded, w.local.lastError = time.Time{}, s.clock(), err
}

// idle says when the task runs next.
func (w *worker) idle(next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.local.next = idle, next
}

// pause waits until a time, forever if it is zero, or until the task is
// triggered, which it reports, or the plugin stops.
func (w *worker) pause(ctx context.Context, clock func() time.Time, until time.Time) (triggered bool) {
	var at <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(until.Sub(clock()))
		defer t.Stop()
		at = t.C
	}
	select {
	case <-w.wake:
		return true
	case <-ctx.Done():
	case <-at:
	}
	return false
}

func (w *worker) triggerLocal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == running {
		return apierr.Conflict("task %q is running already", w.task.ID)
	}
	poke(w.wake)
	return nil
}

func (w *worker) cancelLocal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel == nil {
		return apierr.Conflict("task %q is not running", w.task.ID)
	}
	w.cancel(errCancelled)
	return nil
}
