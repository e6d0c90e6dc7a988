package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

var schedulerFactory = backend.NewServiceFactory(core.Scheduler, func(env *backend.FactoryEnv) backend.MakeFunc[core.SchedulerService] {
	plugin, log, lifecycle := core.PluginMetadata.From(env), core.Logger.From(env), core.Lifecycle.From(env)
	set := settingsRef.From(env)
	return func(context.Context) (core.SchedulerService, error) {
		s := &scheduler{plugin: plugin().ID(), log: log(), lifecycle: lifecycle(), clock: set().clock, tasks: map[string]*task{}}
		err := lifecycle().OnStart("run the tasks once", func(context.Context) error { s.begin(); return nil })
		if errors.Is(err, backend.ErrTooLate) { // the test is the first to ask for it
			s.started, err = true, nil
		}
		return s, errors.Join(err, lifecycle().OnStop("forget the tasks", func(context.Context) error { s.end(); return nil }))
	}
})

// scheduler runs tasks when the plugin has started, when the clock says so,
// and when it is asked to.
type scheduler struct {
	plugin    string
	log       *slog.Logger
	lifecycle backend.Lifecycle
	clock     *Clock

	mu      sync.Mutex
	tasks   map[string]*task
	order   []string
	started bool
	ended   bool
}

type task struct {
	core.Task
	next func(time.Time) time.Time // nil for manual tasks
	turn chan struct{}             // held by the run

	// guarded by the mutex of the scheduler
	runs   int64
	cancel context.CancelFunc // of the run
	alarm  func()             // cancels the next one
	ran    chan struct{}      // closed when a run has ended
	err    error              // of the last run
}

func (s *scheduler) Schedule(_ context.Context, t core.Task) error {
	next, err := plan(t)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[t.ID] != nil {
		return apierr.Conflict("the plugin %q has scheduled a task %q already", s.plugin, t.ID)
	}
	added := &task{Task: t, next: next, turn: make(chan struct{}, 1), ran: make(chan struct{})}
	s.tasks[t.ID] = added
	s.order = append(s.order, t.ID)
	if s.started {
		s.beginTask(added)
	}
	return nil
}

// plan checks what the real scheduler checks, so that a test finds it, and
// returns when the task runs after a time.
func plan(t core.Task) (next func(time.Time) time.Time, err error) {
	f, ways := t.Schedule.Frequency, 0
	for _, set := range []bool{f.Cron != "", f.Every != 0, f.Manual} {
		if set {
			ways++
		}
	}
	switch {
	case t.ID == "":
		return nil, apierr.Input("a task needs an ID")
	case t.Run == nil:
		return nil, apierr.Input("the task %q has no function Run", t.ID)
	case ways != 1:
		return nil, apierr.Input("the frequency of the task %q must have exactly one of Cron, Every and Manual", t.ID)
	case f.Every < 0:
		return nil, apierr.Input("the task %q runs every %s; that must be positive", t.ID, f.Every)
	case t.Schedule.Timeout <= 0:
		return nil, apierr.Input("the task %q needs a positive Timeout", t.ID)
	case t.Schedule.InitialDelay < 0:
		return nil, apierr.Input("the initial delay of the task %q is negative", t.ID)
	case f.Every > 0:
		return func(from time.Time) time.Time { return from.Add(f.Every) }, nil
	case f.Cron != "":
		parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
		parsed, err := parser.Parse(f.Cron)
		if err != nil {
			return nil, apierr.Input("the cron expression %q of the task %q: %v", f.Cron, t.ID, err)
		}
		return parsed.Next, nil
	}
	return nil, nil
}

// begin runs the tasks for the first time.
func (s *scheduler) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	for _, id := range s.order {
		s.beginTask(s.tasks[id])
	}
}

func (s *scheduler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, t := range s.tasks {
		if t.alarm != nil {
			t.alarm()
		}
	}
}

// beginTask is called with the mutex held.
func (s *scheduler) beginTask(t *task) {
	switch {
	case t.next == nil: // manual
	case t.Schedule.InitialDelay > 0:
		s.plan(t, s.clock.Now().Add(t.Schedule.InitialDelay))
	default:
		s.plan(t, t.next(s.clock.Now()))
		s.lifecycle.Go("task "+t.ID, func(ctx context.Context) error { s.run(ctx, t); return nil })
	}
}

// plan is called with the mutex held.
func (s *scheduler) plan(t *task, at time.Time) {
	if s.ended || at.IsZero() {
		return
	}
	t.alarm = s.clock.at(at, func() {
		s.mu.Lock()
		s.plan(t, t.next(at))
		s.mu.Unlock()
		s.await(t)
	})
}

// await runs the task in the goroutine of whoever moves the clock, under the
// lifecycle of the plugin, so that a stop ends the run.
func (s *scheduler) await(t *task) {
	done := make(chan struct{})
	s.lifecycle.Go("task "+t.ID, func(ctx context.Context) error {
		defer close(done)
		s.run(ctx, t)
		return nil
	})
	select {
	case <-done:
	case <-s.lifecycle.Done():
	}
}

// run waits for its turn and runs the task.
func (s *scheduler) run(ctx context.Context, t *task) {
	select {
	case t.turn <- struct{}{}:
		s.runInTurn(ctx, t)
	case <-ctx.Done():
	}
}

func (s *scheduler) runInTurn(ctx context.Context, t *task) {
	ctx, cancel := context.WithTimeout(ctx, t.Schedule.Timeout)
	defer cancel()
	s.mu.Lock()
	t.runs++
	run := core.TaskRun{Fence: t.runs}
	if t.Schedule.Local {
		run.Fence = 0
	}
	t.cancel = cancel
	s.mu.Unlock()

	err := s.lifecycle.Guard(ctx, "task "+t.ID, func(ctx context.Context) error { return t.Run(ctx, run) })
	if err != nil {
		s.log.ErrorContext(ctx, "a task failed", "task", t.ID, "error", err)
	}

	s.mu.Lock()
	t.cancel, t.err = nil, err
	close(t.ran)
	t.ran = make(chan struct{})
	<-t.turn // while nobody can look, so that an ended run is not taken for one under way
	s.mu.Unlock()
}

func (s *scheduler) find(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[id]; t != nil {
		return t, nil
	}
	return nil, apierr.NotFound("the plugin %q has no task %q; it has %v", s.plugin, id, s.order)
}

func (s *scheduler) Trigger(_ context.Context, id string) error {
	t, err := s.find(id)
	if err != nil {
		return err
	}
	select {
	case t.turn <- struct{}{}:
	default:
		return apierr.Conflict("the task %q is running", id)
	}
	s.lifecycle.Go("task "+id, func(ctx context.Context) error { s.runInTurn(ctx, t); return nil })
	return nil
}

func (s *scheduler) Cancel(_ context.Context, id string) error {
	t, err := s.find(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.cancel == nil {
		return apierr.Conflict("the task %q is not running", id)
	}
	t.cancel()
	return nil
}

func (s *scheduler) Tasks() []core.TaskInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]core.TaskInfo, len(s.order))
	for i, id := range s.order {
		t := s.tasks[id]
		cadence := t.Schedule.Frequency.Cron
		switch {
		case t.next == nil:
			cadence = "manual"
		case cadence == "":
			cadence = t.Schedule.Frequency.Every.String()
		}
		settings, _ := json.Marshal(map[string]any{"version": 2, "cadence": cadence, "timeoutAfterDuration": t.Schedule.Timeout.String()}) // strings encode
		infos[i] = core.TaskInfo{ID: id, Local: t.Schedule.Local, Settings: settings}
	}
	return infos
}

// taskOf finds a task for the test.
func (s *Server) taskOf(t testing.TB, plugin, id string) (*scheduler, *task) {
	t.Helper()
	mock, ok := Service(t, s, plugin, core.Scheduler).(*scheduler)
	if !ok {
		t.Fatalf("backendtest: the test has replaced the scheduler of the plugin %q by one of its own", plugin)
	}
	found, err := mock.find(id)
	if err != nil {
		t.Fatalf("backendtest: %v", err)
	}
	return mock, found
}

// RunTask runs a task of a plugin now, after a run that may be under way, and
// returns its error.
func (s *Server) RunTask(t testing.TB, plugin, id string) error {
	t.Helper()
	mock, found := s.taskOf(t, plugin, id)
	var err error
	done := make(chan struct{})
	mock.lifecycle.Go("task "+id, func(ctx context.Context) error {
		defer close(done)
		select {
		case found.turn <- struct{}{}:
		case <-ctx.Done():
			err = ctx.Err()
			return nil
		}
		mock.runInTurn(ctx, found)
		mock.mu.Lock()
		err = found.err
		mock.mu.Unlock()
		return nil
	})
	select {
	case <-done:
		return err
	case <-mock.lifecycle.Done():
		return fmt.Errorf("the plugin %q stops", plugin)
	case <-t.Context().Done():
		return t.Context().Err()
	}
}

// WaitForTask returns when a task of a plugin has run at least once and is not
// running, with the error of its last run.
func (s *Server) WaitForTask(t testing.TB, plugin, id string) error {
	t.Helper()
	mock, found := s.taskOf(t, plugin, id)
	for {
		mock.mu.Lock()
		ran, idle, err := found.ran, found.runs > 0 && found.cancel == nil, found.err
		mock.mu.Unlock()
		if idle {
			return err
		}
		select {
		case <-ran:
		case <-mock.lifecycle.Done():
			return fmt.Errorf("the plugin %q stops", plugin)
		case <-t.Context().Done():
			return t.Context().Err()
		}
	}
}

// Tasks returns the ids of the tasks of a plugin, sorted.
func (s *Server) Tasks(t testing.TB, plugin string) []string {
	t.Helper()
	var ids []string
	for _, info := range Service(t, s, plugin, core.Scheduler).Tasks() {
		ids = append(ids, info.ID)
	}
	slices.Sort(ids)
	return ids
}
