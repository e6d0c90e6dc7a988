// Package otlp exports the traces of a backend with the OpenTelemetry
// protocol over HTTP. It is a package of its own because it makes a binary
// about eleven megabytes larger:
//
//	b := flytower.New()
//	b.Add(otlp.Factory)
//
// It exports if OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
// OTEL_EXPORTER_OTLP_ENDPOINT is set, unless OTEL_SDK_DISABLED is true or
// OTEL_TRACES_EXPORTER is none. The other OTEL_EXPORTER_OTLP_* variables
// (headers, timeout, compression, certificates) have their usual meaning.
package otlp

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/telemetry"
)

// Factory adds the exporter to telemetry.SpanExporters.
var Factory = backend.NewRootServiceFactory(telemetry.SpanExporters, func(env *backend.RootEnv) backend.MakeFunc[sdktrace.SpanExporter] {
	log := core.RootLogger.From(env)
	return func(ctx context.Context) (sdktrace.SpanExporter, error) {
		exporter, err := New(ctx, os.Getenv)
		if err != nil {
			return nil, err
		}
		if exporter == nil {
			log().InfoContext(ctx, "traces are not exported: OTEL_EXPORTER_OTLP_ENDPOINT is not set, or the export is switched off")
		}
		return exporter, nil
	}
}, backend.Lazy())

// New returns the exporter that the environment asks for, nil if it asks for
// none. It does not wait for the collector to be reachable.
func New(ctx context.Context, getenv func(string) string) (sdktrace.SpanExporter, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if endpoint == "" {
		base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
		if base == "" {
			return nil, nil
		}
		endpoint = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL, such as http://collector:4318")
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := getenv(name); protocol {
		case "":
			continue
		case "http/protobuf":
		default:
			return nil, fmt.Errorf("%s is %q; use http/protobuf, for which collectors listen on port 4318", name, protocol)
		}
		break
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("making the trace exporter: %w", err)
	}
	return exporter, nil
}
