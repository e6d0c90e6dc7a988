package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Dependencies are what a scheduler needs. Router, HTTPAuth, Meter and Tracer
// may be nil.
type Dependencies struct {
	Plugin    string
	Database  core.DatabaseService
	Logger    *slog.Logger
	Lifecycle backend.Lifecycle
	Router    core.Router
	HTTPAuth  core.HTTPAuthService
	Meter     metric.Meter
	Tracer    trace.Tracer
}

type options struct {
	clock     func() time.Time
	zone      *time.Location
	lease     time.Duration
	heartbeat time.Duration
	poll      time.Duration
	grace     time.Duration
	authorize Authorize
}

// Option changes what [New] and [NewFactory] do.
type Option func(*options)

// WithClock sets the clock of the instance; the default is time.Now. It must
// go as fast as real time.
func WithClock(now func() time.Time) Option { return func(o *options) { o.clock = now } }

// WithTimeZone sets the time zone of cron expressions; the default is the
// local one. All instances must have the same.
func WithTimeZone(zone *time.Location) Option { return func(o *options) { o.zone = zone } }

// WithLease sets for how long an instance has a task that it runs, and how
// often it renews that; the defaults are 20 and 5 seconds. The lease should
// be at least three times the heartbeat.
func WithLease(lease, heartbeat time.Duration) Option {
	return func(o *options) { o.lease, o.heartbeat = lease, heartbeat }
}

// WithPollInterval sets how long an instance waits at most before it looks for
// tasks that became due; the default is 5 seconds.
func WithPollInterval(d time.Duration) Option { return func(o *options) { o.poll = d } }

// WithStopGrace sets how long a stopping instance waits for runs to end before
// it leaves their tasks to others; the default is 10 seconds.
func WithStopGrace(d time.Duration) Option { return func(o *options) { o.grace = d } }

// minPoll keeps frequent tasks from turning the loop into a busy one.
const minPoll = 100 * time.Millisecond

// Why the context of a run ended.
var (
	errCancelled = errors.New("the task was cancelled")
	errTimeout   = errors.New("the task timed out")
	errStopping  = errors.New("the instance stopped while the task ran")
	errLost      = errors.New("the lease of the task was lost: it was cancelled, or the database could not be reached")
)

type workerState string

const (
	initialWait workerState = "initial-wait"
	idle        workerState = "idle"
	running     workerState = "running"
)

// worker is a task of this instance.
type worker struct {
	task     core.Task
	plan     plan
	settings json.RawMessage
	// wake ends the pause of a local task, which a trigger has done.
	wake chan struct{}

	mu     sync.Mutex
	state  workerState
	from   time.Time               // of a global task: when the initial wait is over
	gone   bool                    // the row is gone, or a newer version has it
	cancel context.CancelCauseFunc // of the run, or nil
	local  localState
}

// scheduler implements core.SchedulerService for one plugin.
type scheduler struct {
	Dependencies
	options
	store   *store
	metrics *metrics
	// wake ends the pause of the loop.
	wake  chan struct{}
	stop  context.Context // ends when the plugin begins to stop
	mount sync.Once

	// runs counts the runs of global tasks; the loop waits for them.
	runs sync.WaitGroup

	mu      sync.Mutex
	workers []*worker
	looping bool
	started bool
}

// New makes the scheduler of a plugin.
func New(d Dependencies, opts ...Option) (core.SchedulerService, error) {
	o := options{clock: time.Now, zone: time.Local, lease: 20 * time.Second, heartbeat: 5 * time.Second, poll: 5 * time.Second, grace: 10 * time.Second}
	for _, set := range opts {
		set(&o)
	}
	s := &scheduler{Dependencies: d, options: o, store: newStore(d.Database, o.clock, o.zone), wake: make(chan struct{}, 1)}
	var err error
	if s.metrics, err = newMetrics(d.Meter, o.clock); err != nil {
		return nil, err
	}
	stop, end := context.WithCancelCause(context.Background())
	s.stop = stop
	d.Lifecycle.Go("scheduler stop", func(ctx context.Context) error {
		<-ctx.Done()
		end(errStopping)
		return nil
	})
	if err := d.Lifecycle.OnStart("scheduler", s.start); errors.Is(err, backend.ErrTooLate) {
		s.started = true
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// Schedule registers the task.
func (s *scheduler) Schedule(ctx context.Context, t core.Task) error {
	if t.ID == "" || t.Run == nil {
		return errors.New("schedule a task: it needs an id and a function")
	}
	set, p, err := newSettings(t.Schedule, s.zone)
	if err != nil {
		return fmt.Errorf("schedule task %q: %w", t.ID, err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("schedule task %q: %w", t.ID, err)
	}
	w := &worker{task: t, plan: p, settings: text, wake: make(chan struct{}, 1), state: idle}
	if p.delay > 0 {
		w.state = initialWait
	}
	s.mu.Lock()
	if s.find(t.ID) != nil {
		s.mu.Unlock()
		return fmt.Errorf("schedule task %q: this instance has a task of that id already", t.ID)
	}
	s.workers = append(s.workers, w)
	s.mu.Unlock()
	if !t.Schedule.Local {
		if err := s.store.register(ctx, t.ID, string(text), p); err != nil {
			s.mu.Lock()
			s.workers = slices.DeleteFunc(s.workers, func(x *worker) bool { return x == w })
			s.mu.Unlock()
			return err
		}
	}
	s.mount.Do(s.routes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		s.begin(w)
	}
	return nil
}

// start begins to run what was scheduled before the plugin had started.
func (s *scheduler) start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	for _, w := range s.workers {
		s.begin(w)
	}
	return nil
}

// begin is called once per task, with s.mu held.
func (s *scheduler) begin(w *worker) {
	if w.task.Schedule.Local {
		s.Lifecycle.Go("task "+w.task.ID, func(ctx context.Context) error { return s.runLocal(ctx, w) })
		return
	}
	w.mu.Lock()
	w.from = s.clock().Add(w.plan.delay)
	w.mu.Unlock()
	if !s.looping {
		s.looping = true
		s.Lifecycle.Go("scheduler", s.loop)
	}
	poke(s.wake)
}

// poke wakes who waits on the channel, now or next time.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// find is called with s.mu held.
func (s *scheduler) find(id string) *worker {
	for _, w := range s.workers {
		if w.task.ID == id {
			return w
		}
	}
	return nil
}

func (s *scheduler) worker(id string) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(id)
}

// list returns the tasks in order of registration.
func (s *scheduler) list() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.workers)
}

// Trigger runs the task now.
func (s *scheduler) Trigger(ctx context.Context, id string) error {
	if w := s.worker(id); w != nil && w.task.Schedule.Local {
		return w.triggerLocal()
	}
	if err := s.store.trigger(ctx, id); err != nil {
		return err
	}
	if w := s.worker(id); w != nil {
		w.skipInitialWait()
	}
	poke(s.wake)
	return nil
}

// Cancel ends the current run of the task.
func (s *scheduler) Cancel(ctx context.Context, id string) error {
	w := s.worker(id)
	if w != nil && w.task.Schedule.Local {
		return w.cancelLocal()
	}
	if err := s.store.cancel(ctx, id); err != nil {
		return err
	}
	if w != nil { // else the instance that runs it finds out at its next heartbeat
		w.endRun(errCancelled)
	}
	return nil
}

// Tasks returns the tasks of this instance.
func (s *scheduler) Tasks() []core.TaskInfo {
	var out []core.TaskInfo
	for _, w := range s.list() {
		out = append(out, core.TaskInfo{ID: w.task.ID, Local: w.task.Schedule.Local, Settings: slices.Clone(w.settings)})
	}
	return out
}

func (w *worker) skipInitialWait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from = time.Time{}
}

// endRun ends the context of the current run, if there is one.
func (w *worker) endRun(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(cause)
	}
}
