package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
)

// Engine takes open tasks and runs them.
type Engine struct {
	Store  *tasks.Store
	Runner *Runner
	// Isolated, if not nil, executes tasks in place of the runner.
	Isolated Executor
	Box      *sealed.Box
	Auth     core.AuthService
	Logger   *slog.Logger
	// Limit is how many tasks run at once.
	Limit int
	// Lease is how long a task belongs to a run that does not extend it.
	Lease time.Duration
	// Timeout is how long a task may run.
	Timeout time.Duration
	// Recover lets tasks whose backend went away go on where they were.
	Recover bool
}

const (
	// poll is how often open tasks are looked for without being woken.
	poll = 2 * time.Second
	// firstBackoff and lastBackoff are pauses after the database failed.
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	// heartbeat is how often a lease is extended, unless it is short.
	heartbeat = time.Second
	// writeTimeout is how long what is written at the end of a run may take.
	writeTimeout = 15 * time.Second
)

// errStopped is the cause of the end of runs when the backend stops.
var errStopped = errors.New("the backend stopped while the task ran; retry the task")

// Run claims and runs tasks until the context ends, and waits for those that
// run.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, e.Limit)
	backoff := firstBackoff
	recovered := time.Time{}
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if e.Recover && time.Since(recovered) > e.Lease/3 {
			if _, err := e.Store.Recover(ctx); err != nil && ctx.Err() == nil {
				e.Logger.WarnContext(ctx, "tasks whose backend went away could not be looked for", "error", err)
			}
			recovered = time.Now()
		}
		claim, err := e.Store.Claim(ctx, e.Lease)
		if claim != nil {
			backoff = firstBackoff
			running.Go(func() {
				defer func() { <-free }()
				e.run(ctx, claim)
			})
			continue
		}
		<-free
		pause := poll
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "no task could be claimed", "error", err, "retryIn", backoff)
			pause, backoff = backoff, min(2*backoff, lastBackoff)
		}
		if e.Recover {
			pause = min(pause, max(e.Lease/3, 10*time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-e.Store.Woken():
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// stored is what is sealed of a task.
type stored struct {
	Secrets map[string]string `json:"secrets"`
	// Token is that of the caller who created the task.
	Token string `json:"token"`
}

// Seal makes the text in which the secrets of a task are stored.
func Seal(box *sealed.Box, id string, secrets map[string]string, token core.Token) (string, error) {
	all := make(map[string]string, len(secrets)+1)
	for name, secret := range secrets {
		all[name] = secret
	}
	all["backstageToken"] = token.Reveal()
	text, err := json.Marshal(stored{all, token.Reveal()})
	if err != nil {
		return "", fmt.Errorf("write the secrets of the task: %w", err)
	}
	return box.Seal(id, string(text)), nil
}

// run runs a claimed task and says how it ended.
func (e *Engine) run(stop context.Context, claim *tasks.Claim) {
	ctx, lose := context.WithCancelCause(context.WithoutCancel(stop))
	defer lose(nil)
	work, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(stop, func() { end(errStopped) })()
	timer := time.AfterFunc(e.Timeout, func() { end(ErrTimeout) })
	defer timer.Stop()
	if claim.Cancelled {
		end(ErrCancelled)
	}
	journal := newWriter(ctx, e.Store, claim)
	var background sync.WaitGroup
	over := make(chan struct{})
	background.Go(func() { e.keep(ctx, over, claim, lose, end) })
	output, err := e.execute(ctx, work, claim, journal)
	stopped := errors.Is(context.Cause(work), errStopped)
	err = errors.Join(err, journal.close())
	close(over)
	background.Wait()

	last, done := context.WithTimeout(ctx, writeTimeout)
	defer done()
	switch {
	case errors.Is(context.Cause(ctx), tasks.ErrLost) || errors.Is(err, tasks.ErrLost):
		e.Logger.WarnContext(ctx, "a run gave its task up, which somebody else has now", "task", claim.ID)
		return
	case stopped && err != nil && e.Recover:
		err = e.Store.Release(last, claim)
	case err != nil:
		e.Logger.InfoContext(ctx, "a task failed", "task", claim.ID, "error", err)
		err = e.Store.Complete(last, claim, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{
			Message: "Run completed with status: failed", Error: &scaffoldercommon.TaskError{Name: string(apierr.KindOf(err)), Message: err.Error()},
		})
	default:
		err = e.Store.Complete(last, claim, scaffoldercommon.TaskCompleted, scaffoldercommon.EventBody{
			Message: "Run completed with status: completed", Output: output,
		})
		if err == nil {
			e.removeWorkspace(last, claim.ID)
		}
	}
	if err != nil && !errors.Is(err, tasks.ErrLost) {
		e.Logger.ErrorContext(ctx, "how a task ended could not be stored; it counts as abandoned", "task", claim.ID, "error", err)
	}
}

func (e *Engine) execute(ctx, work context.Context, claim *tasks.Claim, journal Journal) (json.RawMessage, error) {
	var spec scaffoldercommon.TaskSpec
	if err := json.Unmarshal(claim.Spec, &spec); err != nil {
		return nil, fmt.Errorf("read the specification of the task: %w", err)
	}
	e.Logger.InfoContext(ctx, "running a task", "task", claim.ID, "createdBy", claim.CreatedBy)
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
		ID: claim.ID, Spec: spec, Secrets: secrets.Secrets, Journal: journal, State: state{e.Store, claim}, Resume: e.Recover,
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
// is cancelled or belongs to somebody else.
func (e *Engine) keep(ctx context.Context, over <-chan struct{}, claim *tasks.Claim, lose, end context.CancelCauseFunc) {
	changed, done := e.Store.Follow(claim.ID)
	defer done()
	every := min(heartbeat, e.Lease/5)
	tick := time.NewTicker(every)
	defer tick.Stop()
	extended := time.Now()
	for {
		select {
		case <-tick.C:
		case <-changed:
			// Own log lines come here, too: they must not make it busy.
			if time.Since(extended) < every/10 {
				continue
			}
		case <-over:
			return
		}
		cancelled, err := e.Store.Renew(ctx, claim, e.Lease)
		switch {
		case errors.Is(err, tasks.ErrLost), err != nil && time.Since(extended) > e.Lease:
			lose(tasks.ErrLost)
			return
		case err == nil:
			extended = time.Now()
			if cancelled {
				end(ErrCancelled)
			}
		}
	}
}

// state is the state of a task in the store.
type state struct {
	store *tasks.Store
	claim *tasks.Claim
}

func (s state) Load(ctx context.Context, kind string) (map[string]json.RawMessage, error) {
	return s.store.State(ctx, s.claim, kind)
}

func (s state) Keep(ctx context.Context, all ...tasks.Kept) error {
	return s.store.KeepAll(ctx, s.claim, all...)
}

// stale is what tasks that nobody runs any more are told.
const stale = "This task was marked as stale as it exceeded its timeout"

// CloseStale fails tasks that gave no sign of life for as long as a task may
// run.
func (e *Engine) CloseStale(ctx context.Context) error {
	abandoned, err := e.Store.Abandoned(ctx, e.Timeout)
	if err != nil {
		return err
	}
	for _, claim := range abandoned {
		err := e.Store.Complete(ctx, claim, scaffoldercommon.TaskFailed, scaffoldercommon.EventBody{Message: stale})
		if err != nil && !errors.Is(err, tasks.ErrLost) {
			return err
		}
	}
	return nil
}
