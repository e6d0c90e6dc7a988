package events

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/flytower/flytower/core"
)

const (
	// DefaultHandlerTimeout is how long a handler may take for one event.
	DefaultHandlerTimeout = 5 * time.Minute
	// DefaultConcurrency is how many events a subscriber handles at once.
	DefaultConcurrency = 32
	// maxDepth is how many handlers may stand between an event and the event
	// that caused it.
	maxDepth = 16
)

// Local delivers events within a process. All plugins of a backend share one.
type Local struct {
	timeout     time.Duration
	concurrency int

	mu     sync.RWMutex
	topics map[string][]*subscriber
}

// Option adjusts the delivery of events.
type Option func(*settings)

type settings struct {
	timeout            time.Duration
	concurrency        int
	minPause, maxPause time.Duration
}

func newSettings(opts []Option) settings {
	s := settings{timeout: DefaultHandlerTimeout, concurrency: DefaultConcurrency, minPause: time.Second, maxPause: time.Minute}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// WithHandlerTimeout sets how long a handler may take for one event.
func WithHandlerTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithConcurrency sets how many events a subscriber handles at once.
func WithConcurrency(n int) Option { return func(s *settings) { s.concurrency = max(n, 1) } }

// WithPause sets how long to wait before the bus is tried again after a
// failure: first at least, doubled each time, and at most. The default is one
// second and one minute.
func WithPause(least, most time.Duration) Option {
	return func(s *settings) { s.minPause, s.maxPause = least, most }
}

// NewLocal returns a bus without subscribers.
func NewLocal(opts ...Option) *Local {
	s := newSettings(opts)
	return &Local{timeout: s.timeout, concurrency: s.concurrency, topics: map[string][]*subscriber{}}
}

// subscriber is one subscription of one plugin.
type subscriber struct {
	// id is "<plugin>.<id>".
	id      string
	topics  []string
	onEvent func(context.Context, core.Event) error
	timeout time.Duration
	log     *slog.Logger
	// guard contains panics, and counts them for the plugin.
	guard func(ctx context.Context, what string, fn func(context.Context) error) error
	// work refuses when the plugin stops, and is waited for.
	work *work
	// slots has a place for each event that may be handled at once.
	slots chan struct{}
}

// handle runs the handler, and waits for it as long as caller lasts and the
// handler may take. It reports whether the event counts as delivered, which
// is the case as soon as the handler has begun.
func (s *subscriber) handle(caller context.Context, e core.Event) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), s.timeout)
	select {
	case s.slots <- struct{}{}:
	case <-caller.Done():
		cancel()
		return false
	case <-ctx.Done():
		cancel()
		s.log.WarnContext(ctx, "an event was not handled: the subscriber is busy", "subscriber", s.id, "topic", e.Topic)
		return false
	}
	if !s.work.begin() {
		cancel()
		<-s.slots
		return false
	}
	done := make(chan struct{})
	go func() { // ends with the handler, for which the stop of the plugin waits
		defer s.work.end()
		defer cancel()
		defer func() { <-s.slots }()
		defer close(done)
		err := s.guard(ctx, "event handler "+s.id, func(ctx context.Context) error { return s.onEvent(ctx, e) })
		if err != nil {
			s.log.WarnContext(ctx, "a subscriber failed to handle an event", "subscriber", s.id, "topic", e.Topic, "error", err.Error())
		}
	}()
	select {
	case <-done:
	case <-caller.Done():
	case <-ctx.Done():
		select {
		case <-done: // its end is what ended the context
		default:
			s.log.WarnContext(ctx, "a subscriber takes too long and is not waited for", "subscriber", s.id, "topic", e.Topic, "timeout", s.timeout)
		}
	}
	return true
}

type depthKey struct{}

// publish delivers the event and returns who had it, sorted.
func (l *Local) publish(ctx context.Context, e core.Event) ([]string, error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	if depth >= maxDepth {
		return nil, fmt.Errorf("event of topic %q: %d event handlers have published to each other; break the circle", e.Topic, depth)
	}
	handling := context.WithValue(ctx, depthKey{}, depth+1)
	l.mu.RLock()
	subscribers := l.topics[e.Topic]
	l.mu.RUnlock()

	delivered := make([]bool, len(subscribers))
	var group sync.WaitGroup
	for i, s := range subscribers {
		group.Go(func() { delivered[i] = s.handle(handling, e) })
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("publishing an event of topic %q: %w", e.Topic, err)
	}

	notified := []string{}
	for i, s := range subscribers {
		if delivered[i] {
			notified = append(notified, s.id)
		}
	}
	slices.Sort(notified)
	return slices.Compact(notified), nil
}

func (l *Local) add(s *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range s.topics {
		// A publisher may hold the old list, so it is not appended to in place.
		l.topics[topic] = append(slices.Clone(l.topics[topic]), s)
	}
}

func (l *Local) remove(s *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range s.topics {
		rest := slices.DeleteFunc(slices.Clone(l.topics[topic]), func(other *subscriber) bool { return other == s })
		if len(rest) == 0 {
			delete(l.topics, topic)
		} else {
			l.topics[topic] = rest
		}
	}
}

// work is what a plugin has under way. It refuses more when the plugin stops.
type work struct {
	mu      sync.Mutex
	stopped bool
	count   int
	idle    chan struct{}
}

func newWork() *work { return &work{idle: make(chan struct{})} }

func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.count++
	return true
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
	if w.stopped && w.count == 0 {
		close(w.idle)
	}
}

// stop refuses more, and waits for what is under way.
func (w *work) stop(ctx context.Context) error {
	w.mu.Lock()
	if !w.stopped {
		w.stopped = true
		if w.count == 0 {
			close(w.idle)
		}
	}
	w.mu.Unlock()
	select {
	case <-w.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("events are still being handled: %w", ctx.Err())
	}
}
