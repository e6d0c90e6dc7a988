package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// StopError says that the backend did not stop cleanly. Everything that could
// be stopped was.
type StopError struct{ Errors []error }

func (e *StopError) Error() string {
	if len(e.Errors) == 1 {
		return "the backend did not stop cleanly: " + indent(e.Errors[0].Error())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the backend did not stop cleanly: %d problems", len(e.Errors))
	for _, err := range e.Errors {
		fmt.Fprintf(&b, "\n  %s", indent(err.Error()))
	}
	return b.String()
}

// Unwrap returns the errors, for errors.Is and errors.As.
func (e *StopError) Unwrap() []error { return e.Errors }

// errStopLimit is the cause of a stop that took too long.
var errStopLimit = errors.New("the time limit of the stop has passed")

// Stop stops the backend: first the before-stop hooks, while everything still
// serves, then all plugins at once, then the root services, those that others
// need last. Each hook has a time limit, and so has the whole; ctx can end it
// earlier. What goes wrong is collected in a *StopError.
//
// Stop gives a running start up and waits for it. Calling it again waits for
// the same stop and returns the same error. Before a start it does nothing,
// except that the backend can no longer be started.
func (b *Backend) Stop(ctx context.Context) error {
	b.mu.Lock()
	b.sealed = true
	b.mu.Unlock()

	b.run.Lock()
	switch b.phase {
	case PhaseNew:
		b.phase = PhaseStopped
		close(b.stopped)
		b.run.Unlock()
		b.board.update(func() { b.board.phase, b.board.stoppedAt = PhaseStopped, time.Now() })
		return nil
	case PhaseStarting:
		b.giveUp(errStopping)
		b.run.Unlock()
		select {
		case <-b.started:
			return b.Stop(ctx)
		case <-ctx.Done():
			return fmt.Errorf("wait for the start to end: %w", context.Cause(ctx))
		}
	case PhaseFailed:
		b.run.Unlock()
		return nil // Start has stopped it
	case PhaseStopping, PhaseStopped:
		b.run.Unlock()
		select {
		case <-b.stopped:
			return b.stopErr
		case <-ctx.Done():
			return fmt.Errorf("wait for the stop to end: %w", context.Cause(ctx))
		}
	}
	b.phase = PhaseStopping
	b.run.Unlock()
	b.board.update(func() { b.board.phase = PhaseStopping })

	err := b.shutdown(ctx, true)
	b.run.Lock()
	b.phase, b.stopErr = PhaseStopped, err
	close(b.stopped)
	b.run.Unlock()
	b.board.update(func() { b.board.phase, b.board.stoppedAt = PhaseStopped, time.Now() })
	b.awaitSubscribers(ctx)
	return err
}

// awaitSubscribers lets subscribers see the final status.
func (b *Backend) awaitSubscribers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	b.board.watching.wait(ctx)
}

// shutdown runs the phases of a stop.
func (b *Backend) shutdown(ctx context.Context, drain bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, b.policy.StopTimeout, errStopLimit)
	defer cancel()
	limit := b.policy.HookTimeout
	var errs []error
	if drain {
		errs = append(errs, b.root.runBefore(ctx, limit)...)
	}
	failed := make([][]error, len(b.board.plugins))
	var wg sync.WaitGroup
	for i, p := range b.board.plugins {
		wg.Go(func() { failed[i] = b.stopPlugin(ctx, p, limit) })
	}
	wg.Wait()
	for _, f := range failed {
		errs = append(errs, f...)
	}
	errs = append(errs, b.root.runStop(ctx, limit)...)
	b.endMake(errStopping)
	for _, what := range b.awaitTasks(ctx) {
		errs = append(errs, fmt.Errorf("%s still runs", what))
	}
	for _, err := range errs {
		b.log().ErrorContext(ctx, "stop", "error", err)
	}
	if len(errs) == 0 {
		return nil
	}
	return &StopError{errs}
}

func (b *Backend) awaitTasks(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return b.tasks.wait(ctx)
}

func (b *Backend) stopPlugin(ctx context.Context, p *pluginRun, limit time.Duration) []error {
	setState := func(from, to string) {
		b.board.update(func() {
			if p.state == from {
				p.state = to
			}
			for _, m := range p.modules {
				if m.state == from {
					m.state = to
				}
			}
		})
	}
	setState(StateWaiting, StateStopped)
	setState(StateStarted, StateStopping)
	errs := p.lifecycle.runStop(ctx, limit)
	setState(StateStopping, StateStopped)
	return errs
}
