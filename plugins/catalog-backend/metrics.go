package catalogbackend

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/api"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

// observer measures processing, under the names that dashboards know. The
// names with underscores are those of older dashboards: Prometheus would add
// _total to a counter, so they are gauges.
type observer struct {
	processed, stitched                            metric.Int64Counter
	duration, delay, processors, stitching, marked metric.Float64Histogram
	oldProcessed, oldStitched                      tally
}

func newObserver(meter metric.Meter, state *store.Store) (*observer, error) {
	o := &observer{}
	var errs []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, description string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description))
		errs = append(errs, err)
		return h
	}
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	o.processed = counter("catalog.processed.entities.count", "Amount of entities processed")
	o.stitched = counter("catalog.stitched.entities.count", "Amount of final entities that were built")
	o.duration = seconds("catalog.processing.duration", "Time spent executing the full processing flow")
	o.delay = seconds("catalog.processing.queue.delay", "How long entities waited between being due and being processed")
	o.processors = seconds("catalog.processors.duration", "Time spent executing the steps of processors")
	o.stitching = seconds("catalog.stitching.duration", "Time spent building a batch of final entities")
	o.marked = seconds("catalog.stitching.queue.delay", "How long the first of a batch of entities waited for its final form")
	o.oldProcessed.to = gauge("catalog_processed_entities_count", "Amount of entities processed; use catalog.processed.entities.count")
	o.oldStitched.to = gauge("catalog_stitched_entities_count", "Amount of final entities built; use catalog.stitched.entities.count")
	length := gauge("catalog.stitching.queue.length", "Number of entities waiting for their final form")
	due := gauge("catalog.processing.queue.length", "Number of entities that are due")
	lag, err := meter.Float64ObservableGauge("catalog.processing.lag", metric.WithUnit("s"), metric.WithDescription("How long the oldest due entity has waited"))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		o.oldProcessed.observe(to)
		o.oldStitched.observe(to)
		b, err := state.Backlog(ctx)
		if err != nil {
			return err
		}
		to.ObserveInt64(length, int64(b.Dirty))
		to.ObserveInt64(due, int64(b.Due))
		to.ObserveFloat64(lag, b.Oldest.Seconds())
		return nil
	}, o.oldProcessed.to, o.oldStitched.to, length, due, lag)
	return o, err
}

func result(name string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("result", name))
}

// entity is told about each processed entity; what failed took no time that
// could be told.
func (o *observer) entity(ctx context.Context, what string, took, waited time.Duration) {
	with := result(what)
	o.processed.Add(ctx, 1, with)
	o.oldProcessed.add(what, 1)
	if what == "failed" {
		return // it was counted as processed before it could not be stored
	}
	o.duration.Record(ctx, took.Seconds(), with)
	o.delay.Record(ctx, waited.Seconds())
}

// processor is told about each step of a processor.
func (o *observer) processor(ctx context.Context, _ string, took time.Duration, err error) {
	what := "ok"
	if err != nil {
		what = "failed"
	}
	o.processors.Record(ctx, took.Seconds(), result(what))
}

// finals is told about final entities that were built.
func (o *observer) finals(ctx context.Context, done store.Stitched, took time.Duration, err error) {
	what := "unchanged"
	switch {
	case err != nil:
		what = "error"
		o.stitched.Add(ctx, 1, result(what))
	case done.Changed > 0:
		what = "changed"
	}
	if done.Changed > 0 {
		o.stitched.Add(ctx, int64(done.Changed), result("changed"))
	}
	if done.Unchanged > 0 {
		o.stitched.Add(ctx, int64(done.Unchanged), result("unchanged"))
	}
	o.oldStitched.add("", int64(done.Changed+done.Unchanged))
	if took > 0 {
		o.stitching.Record(ctx, took.Seconds(), result(what))
		if err == nil {
			o.marked.Record(ctx, done.Waited.Seconds())
		}
	}
}

// tally is a gauge that counts, by result where that is not "".
type tally struct {
	to metric.Int64ObservableGauge
	mu sync.Mutex
	n  map[string]int64
}

func (t *tally) add(what string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int64{}
	}
	t.n[what] += n
}

func (t *tally) observe(to metric.Observer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, n := range t.n {
		if what == "" {
			to.ObserveInt64(t.to, n)
		} else {
			to.ObserveInt64(t.to, n, result(what))
		}
	}
}

// contentFor is how long counts of what the catalog has are believed.
const contentFor = 30 * time.Second

// counts is what the catalog has.
type counts struct {
	kinds                map[string]int64
	locations, relations int64
}

// content counts what the catalog has, at most once in a while, however often
// metrics are read.
type content struct {
	reader    api.Reader
	locations func(ctx context.Context) (int64, error)
	relations func(ctx context.Context) (int64, error)
	now       func() time.Time

	mu   sync.Mutex
	at   time.Time
	last counts
}

func (c *content) counts(ctx context.Context) (counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.at.IsZero() || now.Sub(c.at) >= contentFor {
		kinds, err := c.reader.Facets(ctx, []string{"kind"}, nil)
		if err != nil {
			return counts{}, err
		}
		n := counts{kinds: map[string]int64{}}
		for _, f := range kinds["kind"] {
			n.kinds[strings.ToLower(f.Value)] += int64(f.Count)
		}
		if n.locations, err = c.locations(ctx); err != nil {
			return counts{}, err
		}
		if n.relations, err = c.relations(ctx); err != nil {
			return counts{}, err
		}
		c.last, c.at = n, now
	}
	return c.last, nil
}

// observe measures what the catalog has.
func (c *content) observe(meter metric.Meter) error {
	entities, err1 := meter.Int64ObservableGauge("catalog_entities_count", metric.WithDescription("Total amount of entities in the catalog, by kind"))
	locations, err2 := meter.Int64ObservableGauge("catalog_registered_locations_count", metric.WithDescription("Total amount of registered locations in the catalog"))
	relations, err3 := meter.Int64ObservableGauge("catalog_relations_count", metric.WithDescription("Total amount of relations between entities; an estimate on PostgreSQL"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		n, err := c.counts(ctx)
		if err != nil {
			return err
		}
		for kind, count := range n.kinds {
			o.ObserveInt64(entities, count, metric.WithAttributes(attribute.String("kind", kind)))
		}
		o.ObserveInt64(locations, n.locations)
		o.ObserveInt64(relations, n.relations)
		return nil
	}, entities, locations, relations)
	return err
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
