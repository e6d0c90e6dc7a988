package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Backend wires features, and starts and stops them. It has no feature of its
// own. A process may hold several. Its methods may be called by several
// goroutines at once, except that features are added before it starts.
type Backend struct {
	mu       sync.Mutex // guards what is added and resolved
	added    []added
	only     []string
	onlyPC   uintptr
	chosen   bool // Only was called
	wiring   *wiring
	installs map[*factory]*install
	defaults map[*service]*factory // of references
	parts    map[*unit]*part
	loaders  map[*loader]*declared
	sealed   bool    // Start or Stop was called
	yielded  []added // by feature loaders
	wanted   []*need // by Get and GetFor

	run     sync.Mutex // guards the fields below
	phase   string
	started chan struct{} // closed when Start has returned
	stopped chan struct{} // closed when Stop has run
	stopErr error
	giveUp  context.CancelCauseFunc // ends a running start

	live    atomic.Pointer[wiring]  // the graph that instances are made of
	makeCtx context.Context         // of instances; they outlive the start
	endMake context.CancelCauseFunc // ends makeCtx

	board     board
	result    Result       // guarded by board.mu, as is completed
	completed []*pluginRun // in the order of completion
	final     bool         // the result stands
	runs      map[string]*pluginRun
	policy    StartupPolicy
	root      lifecycle
	tasks     tasks
	logger    atomic.Pointer[slog.Logger]
	seq       atomic.Int64
}

// added is a feature together with where it was added.
type added struct {
	feature   Feature
	pc        uintptr
	via       *loader // the feature loader that yielded it, or nil
	path      string  // which of its features it is
	isDefault bool
}

// Option configures a backend.
type Option func(*Backend)

// WithDefaults adds default factories. Adding a factory of the same service
// overrides a default, once; for a multiton service it adds to it.
func WithDefaults(fs ...ServiceFactory) Option {
	pc := callerPC(0)
	return func(b *Backend) {
		for _, f := range fs {
			b.added = append(b.added, added{feature: f, pc: pc, isDefault: true})
		}
	}
}

// New returns a backend without features.
func New(opts ...Option) *Backend {
	b := &Backend{
		installs: map[*factory]*install{}, defaults: map[*service]*factory{}, parts: map[*unit]*part{}, loaders: map[*loader]*declared{},
		phase: PhaseNew, started: make(chan struct{}), stopped: make(chan struct{}),
	}
	b.board.phase = PhaseNew
	b.root.init(b, "")
	for _, o := range opts {
		o(b)
	}
	return b
}

// Add adds features. Whatever is wrong with them is reported by
// [Backend.Validate]. It panics if the backend has been started or stopped.
func (b *Backend) Add(fs ...Feature) *Backend {
	pc := callerPC(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sealed {
		panic("backend: Add was called after Start or Stop; add features before, or yield them from a feature loader")
	}
	for _, f := range fs {
		b.added = append(b.added, added{feature: f, pc: pc})
	}
	b.wiring = nil
	return b
}

// Only keeps the named plugins with their modules, and leaves the others out:
// the same program then runs as one process or as many. [Backend.Validate]
// reports names that are not installed. Without names nothing is kept.
func (b *Backend) Only(plugins ...string) *Backend {
	pc := callerPC(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sealed {
		panic("backend: Only was called after Start or Stop")
	}
	b.only, b.onlyPC, b.chosen = append([]string(nil), plugins...), pc, true
	b.wiring = nil
	return b
}

// Validate checks the wiring and returns every problem that it has as a
// *ValidationError, or nil. Nothing but declare functions runs, so it is a
// unit test of a backend. What a feature loader may still provide is not
// missed here, but when the backend starts.
func (b *Backend) Validate() error { return b.resolved().err() }

func (b *Backend) resolved() *wiring {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resolvedLocked()
}

// resolvedLocked is resolved for callers that hold b.mu, as those do that read
// what resolving the graph anew would change.
func (b *Backend) resolvedLocked() *wiring {
	if b.wiring == nil {
		b.wiring = b.resolve(nil, nil, nil, false)
	}
	return b.wiring
}

// log returns the logger of the backend, or one that discards.
func (b *Backend) log() *slog.Logger {
	if l := b.logger.Load(); l != nil {
		return l
	}
	return slog.New(slog.DiscardHandler)
}

// Instance describes the backend; unlike [InstanceMetadata] it can be asked
// before the start, by commands that look at the wiring.
func (b *Backend) Instance() Instance { return instanceView{b} }

// ErrNotStarted is returned for what needs a started backend.
var ErrNotStarted = errors.New("the backend is not started")

// Get returns a root service of a started backend, for tests and main
// packages. If nothing has needed the service so far, it is made.
func Get[T any](b *Backend, ref RootServiceRef[T]) (T, error) {
	v := &value[T]{id: ref.ID()}
	err := b.get("", ref.s, v)
	return v.v, err
}

// GetFor returns a service of a plugin of a started backend, for tests and
// main packages.
func GetFor[T any](b *Backend, plugin string, ref ServiceRef[T]) (T, error) {
	v := &value[T]{id: ref.ID()}
	err := b.get(plugin, ref.s, v)
	return v.v, err
}

func (b *Backend) get(plugin string, s *service, to slot) error {
	if s == nil {
		return errors.New("get a service: the reference is a zero value")
	}
	pc := callerPC(1)
	b.run.Lock()
	phase := b.phase
	b.run.Unlock()
	if phase != PhaseStarted {
		return fmt.Errorf("get service %q: %w", s.id, ErrNotStarted)
	}
	var p *pluginRun
	if s.scope == pluginScope {
		if p = b.runs[plugin]; p == nil {
			return fmt.Errorf("get service %q: plugin %q is not installed", s.id, plugin)
		}
	}
	n := &need{service: s, slot: to, pc: pc}
	if node := b.live.Load().nodes[s.id]; node == nil || !node.used || node.service != s {
		if err := b.want(n); err != nil {
			return fmt.Errorf("get service %q: %w", s.id, err)
		}
	}
	return b.fill(b.makeCtx, []*need{n}, p, owner{})
}

// want adds a need that no feature has to the graph.
func (b *Backend) want(n *need) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	wanted := append(b.wanted[:len(b.wanted):len(b.wanted)], n)
	w := b.resolve(b.yielded, wanted, nil, true)
	if err := w.err(); err != nil {
		return err
	}
	b.wanted, b.wiring = wanted, w
	b.live.Store(w)
	return nil
}
