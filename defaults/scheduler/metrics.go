package scheduler

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics have the names of the Node backend.
type metrics struct {
	clock              func() time.Time
	count              metric.Int64Counter
	duration           metric.Float64Histogram
	lastStart, lastEnd metric.Float64Gauge
}

func newMetrics(meter metric.Meter, clock func() time.Time) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	m := &metrics{clock: clock}
	var errs [4]error
	m.count, errs[0] = meter.Int64Counter("backend_tasks.task.runs.count", metric.WithDescription("Runs of tasks by how far they came."))
	m.duration, errs[1] = meter.Float64Histogram("backend_tasks.task.runs.duration", metric.WithUnit("s"), metric.WithDescription("Duration of runs of tasks."))
	m.lastStart, errs[2] = meter.Float64Gauge("backend_tasks.task.runs.started", metric.WithUnit("s"), metric.WithDescription("When the last run of a task began, in seconds since 1970."))
	m.lastEnd, errs[3] = meter.Float64Gauge("backend_tasks.task.runs.completed", metric.WithUnit("s"), metric.WithDescription("When the last run of a task ended, in seconds since 1970."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("create a metric of tasks: %w", err)
		}
	}
	return m, nil
}

func labels(w *worker, result string) metric.MeasurementOption {
	set := []attribute.KeyValue{attribute.String("taskId", w.task.ID), attribute.String("scope", w.scope())}
	if result != "" {
		set = append(set, attribute.String("result", result))
	}
	return metric.WithAttributes(set...)
}

func (w *worker) scope() string {
	if w.task.Schedule.Local {
		return "local"
	}
	return "global"
}

func (m *metrics) started(ctx context.Context, w *worker) {
	m.count.Add(ctx, 1, labels(w, "started"))
	m.lastStart.Record(ctx, seconds(m.clock()), labels(w, ""))
}

func (m *metrics) ended(ctx context.Context, w *worker, d time.Duration, err error) {
	result := "completed"
	if err != nil {
		result = "failed"
	}
	m.count.Add(ctx, 1, labels(w, result))
	m.duration.Record(ctx, d.Seconds(), labels(w, result))
	m.lastEnd.Record(ctx, seconds(m.clock()), labels(w, result))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
