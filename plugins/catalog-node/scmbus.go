package catalognode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/flytower/flytower/apierr"
)

// SCMEventsOptions configure [NewSCMEvents].
type SCMEventsOptions struct {
	Logger *slog.Logger
	// Meter counts events and actions; nil counts nothing.
	Meter metric.Meter
	// Timeout is how long a subscriber may take for a batch; 0 is five
	// minutes.
	Timeout time.Duration
}

// maxSCMBatch bounds the events that a subscriber gets at once.
const maxSCMBatch = 1000

// NewSCMEvents returns a service that passes events on in memory.
func NewSCMEvents(o SCMEventsOptions) (SCMEventsService, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	messages, err1 := o.Meter.Int64Counter("catalog.events.scm.messages", metric.WithDescription("Number of events of source hosts that the catalog got"))
	actions, err2 := o.Meter.Int64Counter("catalog.events.scm.actions", metric.WithDescription("Number of actions that the catalog took because of events of source hosts"))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return &scmBus{o: o, messages: messages, actions: actions}, nil
}

type scmBus struct {
	o                 SCMEventsOptions
	messages, actions metric.Int64Counter

	mu          sync.Mutex
	subscribers []*scmSubscriber
}

// scmSubscriber has its turn while it handles a batch, so that it sees events
// in their order. turn is closed to others once ended is closed.
type scmSubscriber struct {
	name     string
	onEvents func(context.Context, []SCMEvent) error
	turn     chan struct{}
	ended    chan struct{}
}

func (b *scmBus) Subscribe(name string, onEvents func(context.Context, []SCMEvent) error) func() {
	s := &scmSubscriber{name: name, onEvents: onEvents, turn: make(chan struct{}, 1), ended: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers = append(b.subscribers, s)
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.subscribers = slices.DeleteFunc(b.subscribers, func(o *scmSubscriber) bool { return o == s })
		b.mu.Unlock()
		close(s.ended)
		s.turn <- struct{}{} // and is never given back
	})
}

type scmHandlerKey struct{}

func (b *scmBus) Publish(ctx context.Context, events ...SCMEvent) error {
	if name, ok := ctx.Value(scmHandlerKey{}).(string); ok {
		return apierr.Conflict("%s publishes an event of a source host while it handles one, which could go on in a circle", name)
	}
	for i, e := range events {
		if err := e.check(); err != nil {
			return fmt.Errorf("event %d of %d: %w", i+1, len(events), err)
		}
	}
	for _, e := range events {
		b.messages.Add(ctx, 1, metric.WithAttributes(attribute.String("eventType", e.Type.concerns())))
	}
	b.mu.Lock()
	to := slices.Clone(b.subscribers)
	b.mu.Unlock()
	errs := make([]error, len(to))
	var wg sync.WaitGroup
	for i, s := range to {
		wg.Go(func() { errs[i] = b.deliver(ctx, s, events) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// deliver waits for the turn of the subscriber and hands the events to it.
func (b *scmBus) deliver(ctx context.Context, s *scmSubscriber, events []SCMEvent) error {
	for batch := range slices.Chunk(events, maxSCMBatch) {
		select {
		case s.turn <- struct{}{}:
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("events of source hosts did not reach %s, which is busy: %w", s.name, context.Cause(ctx))
		}
		err := b.handle(ctx, s, batch)
		<-s.turn
		if err != nil {
			b.o.Logger.WarnContext(ctx, "a subscriber failed to handle events of source hosts", "subscriber", s.name, "events", len(batch), "error", err)
		}
	}
	return nil
}

// handle calls the subscriber. A panic is its error.
func (b *scmBus) handle(ctx context.Context, s *scmSubscriber, batch []SCMEvent) (err error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, scmHandlerKey{}, s.name), b.o.Timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			b.o.Logger.ErrorContext(ctx, "a subscriber of events of source hosts panicked", "subscriber", s.name, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return s.onEvents(ctx, slices.Clone(batch))
}

func (b *scmBus) ActionTaken(ctx context.Context, action SCMAction, count int) {
	if count > 0 {
		b.actions.Add(ctx, int64(count), metric.WithAttributes(attribute.String("action", string(action))))
	}
}
