package httptelemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/httptelemetry"
)

type fixture struct {
	*httptelemetry.HTTP
	reader *sdkmetric.ManualReader
	spans  *tracetest.InMemoryExporter
}

func setup(t *testing.T) fixture {
	t.Helper()
	f := fixture{reader: sdkmetric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	var err error
	f.HTTP, err = httptelemetry.New(core.TelemetryProviders{
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(f.reader)),
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(f.spans)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// durations returns the attributes of the histogram, one line per set.
func (f fixture) durations(t *testing.T, name string) []string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := f.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			histogram, ok := m.Data.(metricdata.Histogram[float64])
			if m.Name != name || !ok {
				continue
			}
			for _, point := range histogram.DataPoints {
				var parts []string
				for _, a := range point.Attributes.ToSlice() {
					if a.Key != "server.address" {
						parts = append(parts, string(a.Key)+"="+a.Value.String())
					}
				}
				lines = append(lines, strings.Join(parts, " "))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func TestRequestsAreMeasuredByRoute(t *testing.T) {
	t.Parallel()
	f := setup(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things/{id}", func(w http.ResponseWriter, r *http.Request) {
		httptelemetry.SetRoute(r.Context(), "/things/{id}")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		_, _ = io.WriteString(w, r.PathValue("id"))
	})
	mux.HandleFunc("GET /named-by-mux/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(f.Middleware("demo")(mux))
	defer server.Close()
	client := &http.Client{Transport: f.Transport(server.Client().Transport)}
	for _, path := range []string{"/things/1", "/things/2", "/named-by-mux/1", "/broken", "/nowhere", "/panic"} {
		if resp, err := client.Get(server.URL + path); err == nil {
			resp.Body.Close()
		}
	}
	server.Close() // waits for the handlers
	want := []string{
		"backstage.plugin.id=demo error.type=500 http.request.method=GET http.response.status_code=500 http.route=/panic",
		"backstage.plugin.id=demo http.request.method=GET http.response.status_code=200 http.route=/named-by-mux/{id}",
		"backstage.plugin.id=demo error.type=502 http.request.method=GET http.response.status_code=502 http.route=/broken",
		"backstage.plugin.id=demo http.request.method=GET http.response.status_code=404",
		"backstage.plugin.id=demo http.request.method=GET http.response.status_code=200 http.route=/things/{id}",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, f.durations(t, "http.server.request.duration")); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	if n := len(f.durations(t, "http.client.request.duration")); n != 4 { // 200, 502, 404, and an error
		t.Errorf("sent: %q", f.durations(t, "http.client.request.duration"))
	}
}

func TestTraceGoesOn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	server := httptest.NewServer(f.Middleware("demo")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		httptelemetry.SetRoute(r.Context(), "/x")
	})))
	defer server.Close()
	client := &http.Client{Transport: f.Transport(server.Client().Transport)}
	resp, err := client.Get(server.URL + "/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	server.Close()
	spans := map[string]tracetest.SpanStub{}
	for _, s := range f.spans.GetSpans() {
		spans[s.Name] = s
	}
	sent, served := spans["GET"], spans["GET /x"]
	if !sent.SpanContext.IsValid() || served.Parent.SpanID() != sent.SpanContext.SpanID() || served.SpanContext.TraceID() != sent.SpanContext.TraceID() {
		t.Errorf("the spans do not belong together: %+v", spans)
	}
}

func TestNestedMeasurementsCountOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	inner := f.Middleware("x")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		httptelemetry.SetRoute(r.Context(), "/things/{id}")
	}))
	f.Middleware("x")(inner).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/things/1", nil))
	if diff := cmp.Diff([]string{"backstage.plugin.id=x http.request.method=GET http.response.status_code=200 http.route=/things/{id}"}, f.durations(t, "http.server.request.duration")); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	if spans := f.spans.GetSpans(); len(spans) != 1 || spans[0].Name != "GET /things/{id}" {
		t.Errorf("spans %v", spans)
	}
}

func TestUnknownMethodsAreOne(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, method := range []string{"BREW", "WHEN"} {
		_, measurement := f.Begin(t.Context(), httptest.NewRequest(method, "/", nil), "")
		measurement.End(404)
	}
	for _, span := range f.spans.GetSpans() {
		if span.Name != "HTTP" {
			t.Errorf("a client chose the name %q", span.Name)
		}
	}
	if diff := cmp.Diff([]string{"http.request.method=_OTHER http.response.status_code=404"}, f.durations(t, "http.server.request.duration")); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
}

func TestSetRouteOutsideOfARequest(t *testing.T) {
	t.Parallel()
	httptelemetry.SetRoute(t.Context(), "/x")
}
