package catalogmoduleincrementalingestion

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// gauges measure when ingestions began and ended.
type gauges struct{ begun, ended metric.Float64Gauge }

func newGauges(meter metric.Meter) (gauges, error) {
	begun, err1 := meter.Float64Gauge("catalog_incremental.ingestions.started", metric.WithUnit("s"),
		metric.WithDescription("When the ingestion of a provider began last, in seconds since 1970"))
	ended, err2 := meter.Float64Gauge("catalog_incremental.ingestions.completed", metric.WithUnit("s"),
		metric.WithDescription("When the ingestion of a provider ended or failed last, in seconds since 1970"))
	return gauges{begun, ended}, errors.Join(err1, err2)
}

func (g gauges) started(ctx context.Context, provider string) {
	g.begun.Record(ctx, seconds(), metric.WithAttributes(attribute.String("providerName", provider)))
}

func (g gauges) completed(ctx context.Context, provider, status string) {
	g.ended.Record(ctx, seconds(), metric.WithAttributes(attribute.String("providerName", provider), attribute.String("status", status)))
}

func seconds() float64 { return float64(time.Now().UnixMilli()) / 1000 }
