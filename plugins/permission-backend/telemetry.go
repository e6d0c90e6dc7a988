package permissionbackend

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/core"
)

// measures are what the plugin measures. Names of permissions are not among
// the attributes: whoever asks may make them up.
type measures struct {
	decisions metric.Int64Counter
	duration  metric.Float64Histogram
	now       func() time.Time
}

func newMeasures(meter metric.Meter, now func() time.Time) (measures, error) {
	decisions, err1 := meter.Int64Counter("permission.policy.decisions", metric.WithDescription("Decisions of the permission policy, by result"))
	duration, err2 := meter.Float64Histogram("permission.authorize.duration", metric.WithUnit("s"), metric.WithDescription("Time spent deciding on the permissions of a request, and applying conditions"))
	return measures{decisions, duration, now}, errors.Join(err1, err2)
}

// decided counts a decision of the policy; an empty one stands for a failure.
func (m measures) decided(ctx context.Context, result core.AuthorizeResult) {
	if result == "" {
		result = "ERROR"
	}
	m.decisions.Add(ctx, 1, metric.WithAttributes(attribute.String("result", string(result))))
}

// request measures a request that began at a time.
func (m measures) request(ctx context.Context, began time.Time) {
	m.duration.Record(ctx, m.now().Sub(began).Seconds())
}
