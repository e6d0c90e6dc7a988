package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/sealed"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
)

// Engine takes open tasks and runs them. Its fields are set before it is used.
type Engine struct {
	Store  *tasks.Store
	Runner *Runner
	// Isolated, if not nil, executes tasks in place of the runner.
	Isolated Executor
	Box      *sealed.Box
	Auth     core.AuthService
	Logger   *slog.Logger
	// Auditor is told of runs; nil tells nobody. MaxAudited is the length from
	// which on parameters are cut for it, in UTF-16 units; negative never.
	Auditor    core.AuditorService
	MaxAudited int
	// Limit is how many tasks run at once.
	Limit int
	// Lease is how long a task belongs to a run that does not extend it.
	Lease time.Duration
	// Timeout is how long a task may run, all of its runs taken together.
	Timeout time.Duration
	// Recover lets tasks whose backend went away go on where they were.
	Recover bool

	once     sync.Once
	draining chan struct{} // closed when no more tasks are to be claimed
	idle     chan struct{} // closed when Run has ended
	drain    sync.Once

	mu   sync.Mutex
	here map[string]chan struct{} // tasks that run here; closed at their ends
}

const (
	// poll is how often open tasks are looked for without being woken.
	poll = 2 * time.Second
	// firstBackoff and lastBackoff are pauses after the database failed.
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	// heartbeat is how often a lease is extended, unless it is short.
	heartbeat = time.Second
)

// ErrStopped is the cause of the end of runs when the backend stops.
var ErrStopped = errors.New("the backend stopped while the task ran; retry the task")

func (e *Engine) init() {
	e.once.Do(func() {
		e.draining, e.idle, e.here = make(chan struct{}), make(chan struct{}), map[string]chan struct{}{}
	})
}

// Drain stops taking tasks, and waits until those that run have ended, or
// until the context ends. Run has to be running.
func (e *Engine) Drain(ctx context.Context) error {
	e.init()
	e.drain.Do(func() { close(e.draining) })
	select {
	case <-e.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for running tasks: %w", context.Cause(ctx))
	}
}

// Run claims and runs tasks until the context ends, and waits for those that
// run. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	e.init()
	defer close(e.idle)
	var running sync.WaitGroup
	defer running.Wait()
	claiming, end := context.WithCancel(ctx)
	defer end()
	running.Go(func() {
		select {
		case <-e.draining:
			end()
		case <-claiming.Done():
		}
	})
	if e.Recover {
		running.Go(func() { e.recover(claiming) })
	}
	running.Go(func() { e.sweep(claiming) })
	free := make(chan struct{}, e.Limit)
	backoff := firstBackoff
	for {
		select {
		case free <- struct{}{}:
		case <-claiming.Done():
			return nil
		}
		claim, err := e.Store.Claim(claiming, e.grant())
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
		if err != nil && claiming.Err() == nil {
			e.Logger.WarnContext(ctx, "no task could be claimed", "error", err, "retryIn", backoff)
			pause, backoff = backoff, min(2*backoff, lastBackoff)
		}
		timer := time.NewTimer(pause)
		select {
		case <-e.Store.Woken():
		case <-timer.C:
		case <-claiming.Done():
		}
		timer.Stop()
	}
}

// grant is the lease as it is written: a tenth shorter, so that a task whose
// instance went away runs again elsewhere before the lease has passed.
func (e *Engine) grant() time.Duration { return e.Lease - e.Lease/10 }

// recover opens tasks whose lease has ended, as soon as it has.
func (e *Engine) recover(ctx context.Context) {
	backoff := firstBackoff
	for {
		_, err := e.Store.Recover(ctx)
		pause := e.Lease / 2
		if err == nil {
			var left time.Duration
			var ok bool
			if left, ok, err = e.Store.NextExpiry(ctx); ok && err == nil {
				pause = min(pause, max(left, 0)+10*time.Millisecond)
			}
			backoff = firstBackoff
		}
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "tasks whose backend went away could not be looked for", "error", err, "retryIn", backoff)
			pause, backoff = backoff, min(2*backoff, lastBackoff)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
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

// stale is what tasks that nobody runs any more are told.
const stale = "This task was marked as stale as it exceeded its timeout"

// CloseStale fails tasks that gave no sign of life for as long as a task may
// run.
func (e *Engine) CloseStale(ctx context.Context) error {
	for {
		abandoned, err := e.Store.Abandoned(ctx, e.Timeout)
		if err != nil || len(abandoned) == 0 {
			return err
		}
		for _, claim := range abandoned {
			err := e.Store.CloseAbandoned(ctx, claim, e.Timeout, stale)
			if err != nil && !errors.Is(err, tasks.ErrLost) {
				return err
			}
		}
	}
}
