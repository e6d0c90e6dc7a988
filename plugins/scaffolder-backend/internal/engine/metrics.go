package engine

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Metrics measure tasks and their steps, under the names that dashboards know.
// A nil Metrics measures nothing.
type Metrics struct {
	tasks, steps               metric.Int64Counter
	taskDuration, stepDuration metric.Float64Histogram
}

// NewMetrics returns the metrics of a meter.
func NewMetrics(meter metric.Meter) (*Metrics, error) {
	m := &Metrics{}
	var errs [4]error
	m.tasks, errs[0] = meter.Int64Counter("scaffolder.task.count", metric.WithDescription("Tasks that ended, by their template and result"))
	m.steps, errs[1] = meter.Int64Counter("scaffolder.step.count", metric.WithDescription("Steps that ended, by their template, name and result"))
	m.taskDuration, errs[2] = meter.Float64Histogram("scaffolder.task.duration", metric.WithUnit("s"), metric.WithDescription("How long tasks ran"))
	m.stepDuration, errs[3] = meter.Float64Histogram("scaffolder.step.duration", metric.WithUnit("s"), metric.WithDescription("How long steps ran"))
	return m, errors.Join(errs[:]...)
}

// Results of tasks and steps.
const (
	resultOK        = "ok"
	resultFailed    = "failed"
	resultCancelled = "cancelled"
	resultSkipped   = "skipped"
)

func (m *Metrics) task(ctx context.Context, template, result string, took time.Duration) {
	if m == nil {
		return
	}
	labels := metric.WithAttributes(attribute.String("template", template), attribute.String("result", result))
	m.tasks.Add(ctx, 1, labels)
	m.taskDuration.Record(ctx, took.Seconds(), labels)
}

func (m *Metrics) step(ctx context.Context, template, step, result string, took time.Duration) {
	if m == nil {
		return
	}
	labels := metric.WithAttributes(attribute.String("template", template), attribute.String("step", step), attribute.String("result", result))
	m.steps.Add(ctx, 1, labels)
	m.stepDuration.Record(ctx, took.Seconds(), labels)
}
