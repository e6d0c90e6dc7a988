// Package roothealth is the default implementation of [core.RootHealth].
//
// The backend is ready from the end of its start until it begins to stop, as
// long as no required check fails. Services and plugins add checks:
//
//	health().AddCheck("database", true, func(ctx context.Context) error { return pool.Ping(ctx) })
package roothealth

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory makes the default health service.
var Factory = backend.NewRootServiceFactory(core.RootHealth, func(env *backend.RootEnv) backend.MakeFunc[core.HealthService] {
	lifecycle, instance := core.RootLifecycle.From(env), core.InstanceMetadata.From(env)
	return func(context.Context) (core.HealthService, error) { return New(lifecycle(), instance()) }
})

const (
	checkLimit = 2 * time.Second // of one run of a check
	checkFresh = time.Second     // how long its result is used
)

type phase int32

const (
	waiting phase = iota
	up
	down
)

// Service implements [core.HealthService].
type Service struct {
	lifecycle backend.RootLifecycle
	instance  backend.Instance
	phase     atomic.Int32

	mu     sync.Mutex
	checks []*check
}

// New returns the health of a backend.
func New(lifecycle backend.RootLifecycle, instance backend.Instance) (*Service, error) {
	s := &Service{lifecycle: lifecycle, instance: instance}
	set := func(p phase) func(context.Context) error {
		return func(context.Context) error { s.phase.Store(int32(p)); return nil }
	}
	if err := lifecycle.OnStart("readiness", set(up)); err != nil {
		return nil, err
	}
	if err := lifecycle.BeforeStop("readiness", set(down)); err != nil {
		return nil, err
	}
	return s, lifecycle.OnStop("readiness", set(down))
}

var _ core.HealthService = (*Service)(nil)

type payload struct {
	Message string `json:"message,omitempty"`
	Status  string `json:"status"`
}

// Liveness implements [core.HealthService]: a process that answers is alive.
func (*Service) Liveness(context.Context) core.Health {
	return core.Health{Status: http.StatusOK, Payload: payload{Status: "ok"}}
}

// Readiness implements [core.HealthService].
func (s *Service) Readiness(ctx context.Context) core.Health {
	message := s.notReady()
	if message == "" {
		for _, r := range s.run(ctx, true) {
			if r.Error != "" {
				message = fmt.Sprintf("Check '%s' failed", r.Name)
				break
			}
		}
	}
	return health(message, payload{Message: message, Status: statusOf(message)})
}

func (s *Service) notReady() string {
	switch phase(s.phase.Load()) {
	case waiting:
		return "Backend has not started yet"
	case down:
		return "Backend is shutting down"
	default:
		return ""
	}
}

func statusOf(message string) string {
	if message == "" {
		return "ok"
	}
	return "error"
}

func health(message string, v any) core.Health {
	if message == "" {
		return core.Health{Status: http.StatusOK, Payload: v}
	}
	return core.Health{Status: http.StatusServiceUnavailable, Payload: v}
}

// detail is the document of [Service.Detail].
type detail struct {
	payload
	Backend backend.Status `json:"backend"`
	Checks  []CheckResult  `json:"checks"`
}

// CheckResult is the outcome of a check in the document of Detail.
type CheckResult struct {
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Status   string `json:"status"` // ok or error
	Error    string `json:"error,omitempty"`
	// Millis is how long the check took, in milliseconds.
	Millis int64 `json:"milliseconds"`
}

// Detail implements [core.HealthService]. Its status is that of Readiness.
func (s *Service) Detail(ctx context.Context) core.Health {
	message := s.notReady()
	results := s.run(ctx, false)
	for _, r := range results {
		if message == "" && r.Required && r.Error != "" {
			message = fmt.Sprintf("Check '%s' failed", r.Name)
		}
	}
	return health(message, detail{
		payload: payload{Message: message, Status: statusOf(message)},
		Backend: s.instance.Status(), Checks: results,
	})
}

// AddCheck implements [core.HealthService].
func (s *Service) AddCheck(name string, required bool, fn func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, &check{name: name, required: required, fn: fn})
}

// run returns the results of the checks, which run at once.
func (s *Service) run(ctx context.Context, requiredOnly bool) []CheckResult {
	s.mu.Lock()
	var checks []*check
	for _, c := range s.checks {
		if c.required || !requiredOnly {
			checks = append(checks, c)
		}
	}
	s.mu.Unlock()
	results := make([]CheckResult, len(checks))
	runs := make([]*run, len(checks))
	for i, c := range checks {
		runs[i] = c.begin(s.lifecycle)
	}
	limit, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	for i, c := range checks {
		results[i] = CheckResult{Name: c.name, Required: c.required, Status: "ok"}
		select {
		case <-runs[i].done:
			results[i].Millis = runs[i].took.Milliseconds()
			if err := runs[i].err; err != nil {
				results[i].Error = err.Error()
			}
		case <-limit.Done():
			results[i].Error = fmt.Sprintf("no answer within %s", checkLimit)
			results[i].Millis = time.Since(runs[i].begin).Milliseconds()
		}
		results[i].Status = statusOf(results[i].Error)
	}
	return results
}

// check is a named check with its last or current run.
type check struct {
	name     string
	required bool
	fn       func(context.Context) error

	mu   sync.Mutex
	last *run
}

type run struct {
	begin time.Time
	done  chan struct{}
	// What follows is set before done is closed.
	end  time.Time
	took time.Duration
	err  error
}

// begin returns the current run, a fresh result, or a new run. A check that
// hangs is not started a second time.
func (c *check) begin(lifecycle backend.Lifecycle) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil {
		select {
		case <-c.last.done:
			if time.Since(c.last.end) < checkFresh {
				return c.last
			}
		default:
			return c.last
		}
	}
	r := &run{begin: time.Now(), done: make(chan struct{})}
	select {
	case <-lifecycle.Done():
		r.err = fmt.Errorf("not checked: the backend is stopping")
		r.end = time.Now()
		close(r.done)
		return r
	default:
	}
	c.last = r
	r.err = fmt.Errorf("the check panicked")
	lifecycle.Go("health check "+c.name, func(ctx context.Context) error {
		defer func() {
			r.end = time.Now()
			r.took = r.end.Sub(r.begin)
			close(r.done)
		}()
		ctx, cancel := context.WithTimeout(ctx, checkLimit)
		defer cancel()
		r.err = c.fn(ctx)
		return nil // the result is reported, not logged
	})
	return r
}
