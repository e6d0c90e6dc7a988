package otlp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/defaults/telemetry"
	"github.com/flytower/flytower/defaults/telemetry/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	paths := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		paths <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type")
	}))
	defer collector.Close()
	for _, tc := range []struct{ name, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL + "/", "POST /v1/traces application/x-protobuf"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.URL + "/in", "POST /in application/x-protobuf"},
	} {
		exporter, err := otlp.New(t.Context(), env(tc.name, tc.value))
		if err != nil {
			t.Fatal(err)
		}
		providers, shutdown, err := telemetry.New(t.Context(), telemetry.Options{NoMetrics: true, SpanExporters: []sdktrace.SpanExporter{exporter}})
		if err != nil {
			t.Fatal(err)
		}
		_, span := providers.Tracer.Tracer("x").Start(t.Context(), "work")
		span.End()
		if err := shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-paths; got != tc.want {
			t.Errorf("the collector got %q, want %q", got, tc.want)
		}
	}
}

func TestOff(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, e := range []func(string) string{
		env(), env(endpoint, "http://x:4318", "OTEL_SDK_DISABLED", "True"), env(endpoint, "http://x:4318", "OTEL_TRACES_EXPORTER", "none"),
	} {
		if exporter, err := otlp.New(t.Context(), e); exporter != nil || err != nil {
			t.Errorf("got %v, %v, want nothing", exporter, err)
		}
	}
	for _, e := range []func(string) string{env(endpoint, "collector:4318"), env(endpoint, "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")} {
		if _, err := otlp.New(t.Context(), e); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_") {
			t.Errorf("got %v, want an error that names the variable", err)
		}
	}
}
