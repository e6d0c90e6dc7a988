package catalogbackend

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// countRefusals returns what counts full mutations that were refused since
// they would have taken away too much.
func countRefusals(meter metric.Meter) (func(ctx context.Context, provider string), error) {
	refused, err := meter.Int64Counter("catalog.provider.mutations.refused", metric.WithDescription("Amount of full mutations refused because of what they would have removed"))
	return func(ctx context.Context, provider string) {
		refused.Add(ctx, 1, metric.WithAttributes(attribute.String("provider", provider)))
	}, err
}
