package catalogbackend

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// newObserver returns what the engine tells about each processed entity, as
// metrics under the names that dashboards know.
func newObserver(meter metric.Meter, state *store.Store) (func(ctx context.Context, result string, took, waited time.Duration), error) {
	processed, err1 := meter.Int64Counter("catalog.processed.entities.count", metric.WithDescription("Amount of entities processed"))
	duration, err2 := meter.Float64Histogram("catalog.processing.duration", metric.WithUnit("s"), metric.WithDescription("Time spent executing the full processing flow"))
	delay, err3 := meter.Float64Histogram("catalog.processing.queue.delay", metric.WithUnit("s"), metric.WithDescription("How long entities waited between being due and being processed"))
	length, err4 := meter.Int64ObservableGauge("catalog.stitching.queue.length", metric.WithDescription("Number of entities waiting for their final form"))
	due, err5 := meter.Int64ObservableGauge("catalog.processing.queue.length", metric.WithDescription("Number of entities that are due"))
	lag, err6 := meter.Float64ObservableGauge("catalog.processing.lag", metric.WithUnit("s"), metric.WithDescription("How long the oldest due entity has waited"))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		b, err := state.Backlog(ctx)
		if err != nil {
			return err
		}
		o.ObserveInt64(length, int64(b.Dirty))
		o.ObserveInt64(due, int64(b.Due))
		o.ObserveFloat64(lag, b.Oldest.Seconds())
		return nil
	}, length, due, lag)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, result string, took, waited time.Duration) {
		with := metric.WithAttributes(attribute.String("result", result))
		processed.Add(ctx, 1, with)
		duration.Record(ctx, took.Seconds(), with)
		delay.Record(ctx, waited.Seconds())
	}, nil
}

// observeIndex measures the index in memory.
func observeIndex(meter metric.Meter, x *index.Index) error {
	memory, err1 := meter.Int64ObservableGauge("catalog.index.memory", metric.WithUnit("By"), metric.WithDescription("Memory that the index of the catalog takes"))
	entities, err2 := meter.Int64ObservableGauge("catalog.index.entities", metric.WithDescription("Number of entities in the index of the catalog"))
	inSync, err3 := meter.Int64ObservableGauge("catalog.index.in_sync", metric.WithDescription("1 while the index of the catalog answers, 0 while the database does"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := x.Status()
		o.ObserveInt64(memory, int64(s.Memory.Bytes))
		o.ObserveInt64(entities, int64(s.Memory.Entities))
		answers := int64(0)
		if s.InSync {
			answers = 1
		}
		o.ObserveInt64(inSync, answers)
		return nil
	}, memory, entities, inSync)
	return err
}

// Topics that the catalog publishes to.
const (
	topicErrors    = "experimental.catalog.errors"
	topicConflicts = "experimental.catalog.conflict"
)

// announcer tells others what went wrong with entities.
type announcer struct {
	events   core.EventsService
	log      *slog.Logger
	handlers []func(context.Context, catalognode.ProcessingError)
	turn     *sync.Mutex // handlers are called one at a time
}

func (a announcer) errors(ctx context.Context, e catalognode.ProcessingError, location string, news bool) {
	if news && len(a.handlers) > 0 {
		a.turn.Lock()
		defer a.turn.Unlock()
		for _, handle := range a.handlers {
			handle(ctx, e)
		}
	}
	list := make([]map[string]any, len(e.Errors))
	for i, err := range e.Errors {
		list[i] = apierr.Serialize(err)
	}
	a.publish(ctx, topicErrors, map[string]any{"entity": e.EntityRef, "location": location, "errors": list})
}

func (a announcer) conflict(ctx context.Context, c store.Conflict) {
	a.publish(ctx, topicConflicts, map[string]any{
		"entityRef": c.Ref, "newLocationKey": c.Wanted, "existingLocationKey": c.Holder,
		"lastConflictAt": time.Now().UTC().Format(time.RFC3339Nano),
	})
}

func (a announcer) publish(ctx context.Context, topic string, payload any) {
	raw, err := json.Marshal(payload)
	if err == nil {
		err = a.events.Publish(ctx, core.Event{Topic: topic, Payload: raw})
	}
	if err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "publishing an event of the catalog failed", "topic", topic, "error", err)
	}
}
