package core

import (
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/flytower/flytower/backend"
)

// Metrics is the meter of a plugin, named "backstage-plugin-<id>". Package
// core knows the OpenTelemetry API only; the default implementation exports
// what is measured.
var Metrics = backend.NewServiceRef[metric.Meter]("alpha.core.metrics")

// Tracing is the tracer of a plugin, named "backstage-plugin-<id>".
var Tracing = backend.NewServiceRef[trace.Tracer]("alpha.core.tracing")

// TelemetryProviders are the providers behind [Metrics] and [Tracing].
type TelemetryProviders struct {
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider
}

// Telemetry has the providers of the backend.
var Telemetry = backend.NewRootServiceRef[TelemetryProviders]("flytower.telemetry")
