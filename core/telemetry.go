package core

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
)

// Metrics is the meter of a plugin, named "backstage-plugin-<id>". Package
// core knows the OpenTelemetry API only; the default implementation exports
// what is measured.
var Metrics = backend.NewServiceRef[metric.Meter]("alpha.core.metrics")

// Tracing is the tracer of a plugin, named "backstage-plugin-<id>". Its spans
// have the attribute backstage.plugin.id and, where the context tells who
// calls (see [WithSpanPrincipal]), backstage.principal.type.
var Tracing = backend.NewServiceRef[trace.Tracer]("alpha.core.tracing")

// TelemetryProviders are the providers behind [Metrics] and [Tracing].
type TelemetryProviders struct {
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider
	// Exposition writes all metrics in the format of Prometheus; nil where
	// they are not collected. It lets everybody in.
	Exposition http.Handler
}

// Telemetry has the providers of the backend.
var Telemetry = backend.NewRootServiceRef[TelemetryProviders]("flytower.telemetry")

// InSpan runs fn in a span. Its error, which is returned, marks the span as
// failed; so does a panic, which goes on.
func InSpan(ctx context.Context, tracer trace.Tracer, name string, fn func(context.Context) error, opts ...trace.SpanStartOption) error {
	ctx, span := tracer.Start(ctx, name, opts...)
	defer span.End() // records a panic as an exception, too
	returned := false
	defer func() {
		if !returned {
			span.SetStatus(codes.Error, "panic")
		}
	}()
	err := fn(ctx)
	returned = true
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetAttributes(attribute.String("error.type", string(apierr.KindOf(err))))
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

type spanPrincipalKey struct{}

// WithSpanPrincipal returns a context whose spans tell what kind of principal
// calls and, where the configuration allows it, which user.
func WithSpanPrincipal(ctx context.Context, who Credentials) context.Context {
	return context.WithValue(ctx, spanPrincipalKey{}, who.Principal)
}

// SpanPrincipal returns the principal of [WithSpanPrincipal].
func SpanPrincipal(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(spanPrincipalKey{}).(Principal)
	return p, ok
}
