package backend

import (
	"sync"
	"time"
)

// The phases of a backend, as in [Status].
const (
	PhaseNew      = "new"
	PhaseStarting = "starting"
	PhaseStarted  = "started"
	PhaseStopping = "stopping"
	PhaseStopped  = "stopped"
	PhaseFailed   = "failed"
)

// The states of a plugin or module, as in [PluginStatus] and [ModuleStatus].
const (
	StateWaiting  = "waiting"
	StateStarting = "starting"
	StateStarted  = "started"
	StateFailed   = "failed"
	StateStopping = "stopping"
	StateStopped  = "stopped"
)

// Status is the state of a backend at one moment.
type Status struct {
	Phase     string         `json:"phase"`              // one of the Phase constants
	Error     string         `json:"error,omitempty"`    // why the start failed
	StartedAt time.Time      `json:"startedAt,omitzero"` // when Start was called
	ReadyAt   time.Time      `json:"readyAt,omitzero"`   // when everything had started
	StoppedAt time.Time      `json:"stoppedAt,omitzero"` // when everything had stopped
	Panics    int64          `json:"panics"`             // recovered panics outside of plugins
	Plugins   []PluginStatus `json:"plugins"`            // in the order in which they were added
}

// PluginStatus is the state of a plugin.
type PluginStatus struct {
	ID            string         `json:"id"`
	Description   string         `json:"description,omitempty"`
	State         string         `json:"state"` // one of the State constants
	Error         string         `json:"error,omitempty"`
	AllowedToFail bool           `json:"allowedToFail"`
	Panics        int64          `json:"panics"`              // recovered panics of the plugin and its modules
	Duration      time.Duration  `json:"durationNanoseconds"` // of the start, up to now while starting
	Source        string         `json:"source"`              // where it is declared
	Modules       []ModuleStatus `json:"modules"`
}

// ModuleStatus is the state of a module.
type ModuleStatus struct {
	ID            string        `json:"id"`
	Description   string        `json:"description,omitempty"`
	State         string        `json:"state"`
	Error         string        `json:"error,omitempty"`
	AllowedToFail bool          `json:"allowedToFail"`
	Duration      time.Duration `json:"durationNanoseconds"`
	Source        string        `json:"source"`
}

// progress is the state of a plugin or module while the backend runs. It is
// guarded by the mutex of the backend's board.
type progress struct {
	state   string
	err     error
	allowed bool
	begin   time.Time
	end     time.Time
}

func (p *progress) duration() time.Duration {
	switch {
	case p.begin.IsZero():
		return 0
	case p.end.IsZero():
		return time.Since(p.begin)
	}
	return p.end.Sub(p.begin)
}

// board holds the live state of a backend and tells subscribers about changes.
type board struct {
	mu        sync.Mutex
	phase     string
	err       error
	startedAt time.Time
	readyAt   time.Time
	stoppedAt time.Time
	plugins   []*pluginRun
	subs      map[*subscriber]struct{}
	watching  tasks // the goroutines of subscribers
}

type subscriber struct {
	wake chan struct{}
	quit chan struct{}
	once sync.Once
}

// update changes the board and wakes the subscribers.
func (s *board) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	for sub := range s.subs {
		select {
		case sub.wake <- struct{}{}:
		default: // it is awake already and will see the change
		}
	}
}

// Status returns the current state of the backend and of its plugins.
func (b *Backend) Status() Status {
	s := &b.board
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Phase: s.phase, StartedAt: s.startedAt, ReadyAt: s.readyAt, StoppedAt: s.stoppedAt,
		Panics: b.root.panics.Load(), Plugins: make([]PluginStatus, 0, len(s.plugins)),
	}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	for _, p := range s.plugins {
		ps := PluginStatus{
			ID: p.id, Description: p.part.options.description, State: p.progress.state, AllowedToFail: p.allowed,
			Panics: p.lifecycle.panics.Load(), Duration: p.progress.duration(), Source: sourceOf(p.part.pc),
			Modules: make([]ModuleStatus, 0, len(p.modules)),
		}
		if p.err != nil {
			ps.Error = p.err.Error()
		}
		for _, m := range p.modules {
			ms := ModuleStatus{
				ID: m.part.module, Description: m.part.options.description, State: m.state, AllowedToFail: m.allowed,
				Duration: m.duration(), Source: sourceOf(m.part.pc),
			}
			if m.err != nil {
				ms.Error = m.err.Error()
			}
			ps.Modules = append(ps.Modules, ms)
		}
		st.Plugins = append(st.Plugins, ps)
	}
	return st
}

// subscribe calls fn with the current status, and with the newest one after
// changes, one call at a time. States that pass while fn runs are skipped.
func (b *Backend) subscribe(fn func(Status)) (cancel func()) {
	sub := &subscriber{wake: make(chan struct{}, 1), quit: make(chan struct{})}
	sub.wake <- struct{}{}
	s := &b.board
	s.mu.Lock()
	if s.subs == nil {
		s.subs = map[*subscriber]struct{}{}
	}
	s.subs[sub] = struct{}{}
	s.mu.Unlock()
	cancel = func() {
		s.mu.Lock()
		delete(s.subs, sub)
		s.mu.Unlock()
		sub.once.Do(func() { close(sub.quit) })
	}
	task := s.watching.begin("status subscriber")
	go func() {
		defer s.watching.end(task)
		for {
			select {
			case <-sub.quit:
				return
			case <-sub.wake:
				select {
				case <-sub.quit:
					return
				default:
				}
			}
			st := b.Status()
			_ = b.root.guard("status subscriber", func() error { fn(st); return nil }) // a panic is logged there
			if st.Phase == PhaseStopped || st.Phase == PhaseFailed {
				cancel()
				return
			}
		}
	}()
	return cancel
}
