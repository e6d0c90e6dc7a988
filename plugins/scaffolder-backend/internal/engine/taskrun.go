package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// enter waits until no earlier run of a task is left in this process, which
// may take its time to notice that it lost the task.
func (e *Engine) enter(ctx context.Context, id string) (leave func(), err error) {
	mine := make(chan struct{})
	for {
		e.mu.Lock()
		other := e.here[id]
		if other == nil {
			e.here[id] = mine
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				delete(e.here, id)
				e.mu.Unlock()
				close(mine)
			}, nil
		}
		e.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// run runs a claimed task and says how it ended.
func (e *Engine) run(stop context.Context, claim *tasks.Claim) {
	begun := time.Now()
	ctx, lose := context.WithCancelCause(context.WithoutCancel(stop))
	defer lose(nil)
	work, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(stop, func() { end(ErrStopped) })()
	if claim.Cancelled {
		end(ErrCancelled)
	}
	timer := time.AfterFunc(max(0, e.Timeout-claim.Ran), func() { end(ErrTimeout) })
	defer timer.Stop()
	var background sync.WaitGroup
	over := make(chan struct{})
	background.Go(func() { e.keep(ctx, over, claim, lose, end) })
	defer background.Wait()
	defer close(over)
	var record core.AuditRecord
	if e.Auditor != nil {
		record = e.Auditor.Begin(ctx, e.audit(claim))
	}

	output, err := e.attempt(ctx, work, claim)
	err = e.conclude(ctx, work, claim, output, err)

	result := resultOK
	switch {
	case errors.Is(err, tasks.ErrLost), errors.Is(err, errReleased):
		result = "" // it goes on elsewhere
	case err != nil && errors.Is(context.Cause(work), ErrCancelled):
		result = resultCancelled
	case err != nil:
		result = resultFailed
	}
	if result != "" {
		e.Runner.Metrics.task(ctx, claim.Template, result, time.Since(begun))
	}
	switch {
	case record == nil:
	case err != nil:
		record.Fail(ctx, err, nil)
	default:
		record.Success(ctx, nil)
	}
}

// attempt runs the steps of a task.
func (e *Engine) attempt(ctx, work context.Context, claim *tasks.Claim) (json.RawMessage, error) {
	leave, err := e.enter(ctx, claim.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	journal := newWriter(ctx, e.Store, claim, e.retrier(claim))
	output, err := e.execute(ctx, work, claim, journal)
	if problem := journal.close(); problem != nil && !errors.Is(err, problem) {
		err = errors.Join(err, problem)
	}
	return output, err
}

func (e *Engine) retrier(claim *tasks.Claim) retrier {
	return retrier{logger: e.Logger, task: claim.ID, limit: e.Lease}
}

// errReleased is the outcome of a run that gave its task back.
var errReleased = errors.New("the task was given back, because the backend stopped")

// conclude stores how a run ended, and returns that.
func (e *Engine) conclude(ctx, work context.Context, claim *tasks.Claim, output json.RawMessage, outcome error) error {
	lost := func() error {
		e.Logger.WarnContext(ctx, "a run gave its task up, which somebody else has now", "task", claim.ID)
		return tasks.ErrLost
	}
	if errors.Is(context.Cause(ctx), tasks.ErrLost) || errors.Is(outcome, tasks.ErrLost) {
		return lost()
	}
	store := func(ctx context.Context) error {
		return e.Store.Complete(ctx, claim, scaffoldercommon.TaskCompleted, scaffoldercommon.EventBody{
			Message: "Run completed with status: completed", Output: output,
		})
	}
	switch {
	case outcome != nil && e.Recover && errors.Is(context.Cause(work), ErrStopped):
		outcome = errReleased
		store = func(ctx context.Context) error { return e.Store.Release(ctx, claim) }
	case outcome != nil:
		e.Logger.InfoContext(ctx, "a task failed", "task", claim.ID, "error", outcome)
		store = func(ctx context.Context) error {
			return e.Store.Complete(ctx, claim, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{
				Message: "Run completed with status: failed", Error: &scaffoldercommon.TaskError{Name: string(apierr.KindOf(outcome)), Message: outcome.Error()},
			})
		}
	}
	// A heartbeat finds the task ended before this returns: that is no loss.
	err := e.retrier(claim).do(context.WithoutCancel(ctx), store)
	if errors.Is(err, tasks.ErrLost) {
		return lost()
	}
	if err != nil {
		e.Logger.ErrorContext(ctx, "how a task ended could not be stored; it counts as abandoned", "task", claim.ID, "error", err)
		return errors.Join(outcome, err)
	}
	if outcome == nil {
		e.removeWorkspace(ctx, claim.ID)
	}
	return outcome
}

func (e *Engine) execute(ctx, work context.Context, claim *tasks.Claim, journal *writer) (json.RawMessage, error) {
	var spec scaffoldercommon.TaskSpec
	if err := json.Unmarshal(claim.Spec, &spec); err != nil {
		return nil, fmt.Errorf("read the specification of the task: %w", err)
	}
	e.Logger.InfoContext(ctx, "running a task", "task", claim.ID, "template", claim.Template, "createdBy", claim.CreatedBy)
	var secrets stored
	if claim.Secrets != "" {
		text, err := e.Box.Open(claim.ID, claim.Secrets)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &secrets); err != nil {
			return nil, errors.New("the secrets of the task cannot be read") // without the text
		}
	}
	run := &Run{
		ID: claim.ID, Spec: spec, Secrets: secrets.Secrets, Journal: journal, State: newSealingState(journal, claim.ID, e.Box, secrets.Secrets, e.Runner.Secrets), Resume: e.Recover,
		Initiator: func(ctx context.Context) (core.Credentials, error) {
			if secrets.Token == "" {
				return core.NoCredentials(), nil
			}
			who, err := e.Auth.Authenticate(ctx, secrets.Token, false)
			if err != nil {
				return who, fmt.Errorf("act for who created the task: %w", err)
			}
			return who, nil
		},
	}
	var executor Executor = e.Runner
	if e.Isolated != nil {
		executor = e.Isolated
	}
	output, err := executor.Execute(ctx, work, run)
	if err != nil {
		return nil, err
	}
	return output.MarshalJSON()
}

// keep extends the lease until over is closed, and ends the run when the task
// is cancelled or belongs to somebody else. What fails is tried again, until
// the lease has ended for sure.
func (e *Engine) keep(ctx context.Context, over <-chan struct{}, claim *tasks.Claim, lose, end context.CancelCauseFunc) {
	cancels, done := e.Store.FollowCancel(claim.ID)
	defer done()
	every := min(heartbeat, e.Lease/5)
	tick := time.NewTicker(every)
	defer tick.Stop()
	extended := claim.Since
	for {
		select {
		case <-tick.C:
		case <-cancels:
		case <-over:
			return
		}
		begun := time.Now()
		limit := max(e.Lease/4, every)
		if e.Recover {
			// Nobody else opens a task without recovery.
			if limit = min(limit, e.grant()-begun.Sub(extended)); limit <= 0 {
				lose(tasks.ErrLost)
				return
			}
		}
		attempt, done := context.WithTimeout(ctx, limit)
		cancelled, err := e.Store.Renew(attempt, claim, e.grant())
		done()
		switch {
		case errors.Is(err, tasks.ErrLost):
			lose(tasks.ErrLost)
			return
		case err == nil:
			extended = begun
			if cancelled {
				end(ErrCancelled)
			}
		}
	}
}
