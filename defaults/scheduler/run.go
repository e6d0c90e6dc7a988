package scheduler

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/core"
)

// lease is the right to run a global task.
type lease struct {
	ticket  string
	fence   int64
	renewed time.Time // when it was asked for, by the monotonic clock
}

// run does a claimed run of a global task, from its begin to its release.
func (s *scheduler) run(w *worker, p plan, l lease) {
	ctx, cancel := context.WithCancelCause(s.stop)
	defer cancel(nil)
	ctx, stopTimer := context.WithTimeoutCause(ctx, p.timeout, errTimeout)
	defer stopTimer()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cancel = nil
	}()

	done := make(chan error, 1)
	go func() { done <- s.call(ctx, w, core.TaskRun{Fence: l.fence}) }()
	err, ended := s.watch(ctx, cancel, w, l, done)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errCancelled), errors.Is(cause, errLost):
		s.Logger.Info("a run was ended", "task", w.task.ID, "reason", cause)
	case errors.Is(cause, errStopping) && (err != nil || !ended):
		// Somebody else runs it again, from now on.
		s.release(w, l, outcome{problem: errStopping, again: true})
	case errors.Is(cause, errTimeout) && (err != nil || !ended):
		s.Logger.Warn("a task timed out", "task", w.task.ID, "timeout", p.timeout)
		s.release(w, l, outcome{problem: errTimeout})
	default:
		s.release(w, l, outcome{problem: err})
	}
	if !ended && !errors.Is(cause, errStopping) {
		// The function ignores the end of its context. This instance does not
		// run it a second time meanwhile; others do.
		select {
		case <-done:
		case <-s.stop.Done():
		}
	}
}

// watch renews the lease until the function has returned. It stops waiting for
// one that ignores the end of its context: then ended is false.
func (s *scheduler) watch(ctx context.Context, cancel context.CancelCauseFunc, w *worker, l lease, done <-chan error) (_ error, ended bool) {
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	over := ctx.Done()
	var grace <-chan time.Time
	lost := time.NewTimer(s.lease - time.Since(l.renewed))
	defer lost.Stop()
	for {
		select {
		case err := <-done:
			return err, true
		case <-over:
			over = nil
			t := time.NewTimer(s.grace)
			defer t.Stop()
			grace = t.C
		case <-grace:
			s.Logger.Warn("a task ignores that its context has ended", "task", w.task.ID, "reason", context.Cause(ctx))
			return nil, false
		case <-lost.C:
			cancel(errLost)
		case <-beat.C:
			asked := time.Now()
			// A renewal that takes too long must not hide that the lease ends.
			beatCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), s.heartbeat)
			ours, err := s.store.renew(beatCtx, w.task.ID, l.ticket, s.lease)
			stop()
			switch {
			case err != nil:
				s.Logger.Warn("cannot renew the lease of a task", "task", w.task.ID, "error", err)
			case !ours:
				cancel(errLost)
			default:
				lost.Reset(s.lease - time.Since(asked))
			}
		}
	}
}

// call runs the function of a task; a panic is logged and is an error.
func (s *scheduler) call(ctx context.Context, w *worker, run core.TaskRun) error {
	began := s.clock()
	s.metrics.started(ctx, w)
	if s.Tracer != nil {
		var span trace.Span
		ctx, span = s.Tracer.Start(ctx, "task "+w.task.ID)
		defer span.End()
	}
	err := s.Lifecycle.Guard(ctx, "task "+w.task.ID, func(ctx context.Context) error { return w.task.Run(ctx, run) })
	if err != nil {
		trace.SpanFromContext(ctx).SetStatus(codes.Error, err.Error())
		if ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "a task failed", "task", w.task.ID, "error", err)
		}
	}
	s.metrics.ended(ctx, w, s.clock().Sub(began), err)
	return err
}

// release ends the run in the database. It tries for as long as the lease
// lasts; after that others find the task anyway.
func (s *scheduler) release(w *worker, l lease, o outcome) {
	ctx, stop := context.WithTimeout(context.Background(), s.lease)
	defer stop()
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		ours, err := s.store.release(ctx, w.task.ID, l.ticket, o)
		switch {
		case err == nil && !ours:
			s.Logger.Warn("the run of a task was not ours any more when it ended", "task", w.task.ID)
			return
		case err == nil:
			return
		case ctx.Err() != nil, s.stop.Err() != nil && pause > time.Second:
			s.Logger.Warn("cannot record the end of a task; it is due again when its lease has run out", "task", w.task.ID, "error", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
