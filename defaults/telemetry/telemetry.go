// Package telemetry is the default flytower.telemetry: it collects the
// metrics and the traces of a backend with OpenTelemetry.
//
// Metrics of all plugins, of the HTTP server, of the Go runtime and of the
// process are shown in the format of Prometheus at /metrics: by default to
// requests from the same machine, and to those with the token of
// backend.telemetry.metrics.token. See [Endpoint].
//
// Traces cost nothing until something exports them. Exporters are services of
// their own, [SpanExporters], so that a main package chooses what it links:
//
//	b := flytower.New()
//	b.Add(otlp.Factory) // exports to OTEL_EXPORTER_OTLP_ENDPOINT
//
// The OpenTelemetry variables OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_TRACES_SAMPLER and OTEL_BSP_* have their usual meaning. Nothing global
// is set, so that several backends may run in a process.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// DefaultServiceName is the name of the backend in its telemetry, unless
// backend.telemetry.serviceName or OTEL_SERVICE_NAME says otherwise.
const DefaultServiceName = "flytower"

// cardinalityLimit is how many combinations of attributes an instrument may
// have; what exceeds it is counted together.
const cardinalityLimit = 2000

// SpanExporters export the spans of the backend. Without any there is no
// tracing. A nil exporter is left out.
var SpanExporters = backend.NewRootMultiServiceRef[sdktrace.SpanExporter]("flytower.telemetry.spanExporters")

// Options configure the telemetry of a backend.
type Options struct {
	// ServiceName is the name of the backend; "" is [DefaultServiceName].
	ServiceName string
	// NoMetrics collects no metrics.
	NoMetrics bool
	// SpanExporters export spans; without any there is no tracing.
	SpanExporters []sdktrace.SpanExporter
	// Collectors are Prometheus collectors whose metrics are shown, too.
	Collectors []prometheus.Collector
}

// Factory is the default factory of core.Telemetry.
var Factory = NewFactory()

// NewFactory returns a factory; adjust may change the options that were read
// from the configuration.
func NewFactory(adjust ...func(*Options)) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.Telemetry, func(env *backend.RootEnv) backend.MakeFunc[core.TelemetryProviders] {
		config, lifecycle, exporters := core.RootConfig.From(env), core.RootLifecycle.From(env), SpanExporters.From(env)
		instance := core.InstanceMetadata.From(env)
		return func(ctx context.Context) (core.TelemetryProviders, error) {
			settings, err := ReadConfig(config())
			if err != nil {
				return core.TelemetryProviders{}, fmt.Errorf("telemetry: %w", err)
			}
			options := Options{ServiceName: settings.ServiceName, NoMetrics: !settings.Metrics, SpanExporters: exporters()}
			for _, fn := range adjust {
				fn(&options)
			}
			providers, shutdown, err := New(ctx, options)
			if err != nil {
				return core.TelemetryProviders{}, fmt.Errorf("telemetry: %w", err)
			}
			if err := lifecycle().OnStop("flush telemetry", shutdown); err != nil {
				return core.TelemetryProviders{}, fmt.Errorf("telemetry: %w", err)
			}
			if err := observePlugins(providers.Meter, instance()); err != nil {
				return core.TelemetryProviders{}, fmt.Errorf("telemetry: %w", err)
			}
			return providers, nil
		}
	}, backend.Lazy())
}

// New returns providers, and a function that flushes and ends them.
func New(ctx context.Context, options Options) (core.TelemetryProviders, func(context.Context) error, error) {
	name := options.ServiceName
	if name == "" {
		name = DefaultServiceName
	}
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", name)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return core.TelemetryProviders{}, nil, fmt.Errorf("describing the backend: %w", err)
	}
	providers := core.TelemetryProviders{Meter: noop.NewMeterProvider(), Tracer: tracenoop.NewTracerProvider()}
	var shutdowns []func(context.Context) error

	if !options.NoMetrics {
		meters, exposition, err := newMetrics(res, options.Collectors)
		if err != nil {
			return core.TelemetryProviders{}, nil, err
		}
		providers.Meter, providers.Exposition = meters, exposition
		shutdowns = append(shutdowns, meters.Shutdown)
	}
	traceOptions := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	for _, exporter := range options.SpanExporters {
		if exporter != nil {
			traceOptions = append(traceOptions, sdktrace.WithBatcher(exporter))
		}
	}
	if len(traceOptions) > 1 {
		tracers := sdktrace.NewTracerProvider(traceOptions...)
		providers.Tracer = tracers
		shutdowns = append(shutdowns, tracers.Shutdown)
	}
	shutdown := func(ctx context.Context) error {
		var errs []error
		for _, fn := range shutdowns {
			errs = append(errs, fn(ctx))
		}
		return errors.Join(errs...)
	}
	return providers, shutdown, nil
}

func newMetrics(res *resource.Resource, extra []prometheus.Collector) (*sdkmetric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, extra...)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, nil, fmt.Errorf("registering a metrics collector: %w", err)
		}
	}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, nil, fmt.Errorf("making the metrics exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter), sdkmetric.WithResource(res),
		sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter), sdkmetric.WithCardinalityLimit(cardinalityLimit))
	// One broken metric must not hide all others.
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
	return meters, handler, nil
}

// Settings are what the configuration says.
type Settings struct {
	ServiceName string
	// Metrics collects metrics.
	Metrics bool
	// Path is where they are shown.
	Path string
	// Open shows them to everybody.
	Open bool
	// Token, if set, lets requests in that bear it.
	Token core.Token
}

// ReadConfig reads backend.telemetry.
func ReadConfig(config core.Config) (Settings, error) {
	telemetry := config.Sub("backend.telemetry")
	var s Settings
	var err error
	if s.ServiceName, err = telemetry.StringOr("serviceName", DefaultServiceName); err != nil {
		return s, err
	}
	if s.Metrics, err = telemetry.BoolOr("metrics.enabled", true); err != nil {
		return s, err
	}
	if s.Path, err = telemetry.StringOr("metrics.path", DefaultPath); err != nil {
		return s, err
	}
	if !strings.HasPrefix(s.Path, "/") || strings.Trim(s.Path, "/") == "" {
		return s, &core.ConfigError{Key: telemetry.Path("metrics.path"), Position: telemetry.Position("metrics.path"), Problem: "must begin with a slash and name something", Remedy: "use " + DefaultPath}
	}
	access, err := telemetry.StringOr("metrics.access", "restricted")
	if err != nil {
		return s, err
	}
	if access != "restricted" && access != "open" {
		return s, &core.ConfigError{Key: telemetry.Path("metrics.access"), Position: telemetry.Position("metrics.access"), Problem: fmt.Sprintf("is %q", access), Remedy: "use restricted or open"}
	}
	s.Open = access == "open"
	token, err := telemetry.StringOr("metrics.token", "")
	s.Token = core.NewToken(token)
	return s, err
}

// ConfigSchema describes the configuration of telemetry, metrics and tracing.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "telemetry": {
          "type": "object",
          "description": "Metrics and traces of the backend.",
          "properties": {
            "serviceName": { "type": "string", "default": "flytower", "description": "Name of this backend in its telemetry; OTEL_SERVICE_NAME overrides it. Default: flytower." },
            "metrics": {
              "type": "object",
              "description": "Metrics in the format of Prometheus.",
              "properties": {
                "enabled": { "type": "boolean", "default": true, "description": "Whether metrics are collected and shown. Default: true." },
                "path": { "type": "string", "default": "/metrics", "description": "Path of the page with the metrics. Default: /metrics." },
                "access": { "type": "string", "enum": ["restricted", "open"], "default": "restricted", "description": "Who sees the metrics: restricted is requests that come from the same machine, not through a proxy, and those with the token; open is everybody. Default: restricted." },
                "token": { "type": "string", "visibility": "secret", "description": "Bearer token with which metrics may be read from anywhere. Default: none." }
              }
            }
          }
        }
      }
    }
  }
}`
