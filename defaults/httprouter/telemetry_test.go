package httprouter_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/flytower/flytower/core"
)

func TestRequestsAreMeasured(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	providers := core.TelemetryProviders{
		Meter: metric.NewMeterProvider(metric.WithReader(reader)), Tracer: trace.NewTracerProvider(),
	}
	principals := make(chan core.PrincipalType, 1)
	b := build(t, "", func(_ context.Context, r core.Router, _ core.HTTPAuthService) error {
		r.HandleFunc("GET /things/{id}", func(_ http.ResponseWriter, req *http.Request) {
			p, _ := core.SpanPrincipal(req.Context())
			principals <- p.Type
		})
		r.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
		return nil
	}, root(core.Telemetry, providers))
	if err := b.backend.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.findURL()
	b.do("GET", "/api/demo/things/1", "user:jane")
	if got := <-principals; got != core.PrincipalUser {
		t.Errorf("spans tell of %q", got)
	}
	b.do("GET", "/api/demo/panic", "user:jane")
	b.do("GET", "/api/demo/things/1", "")
	b.do("GET", "/api/demo/none", "user:jane")
	if err := b.backend.Stop(t.Context()); err != nil { // all requests have ended then
		t.Fatal(err)
	}

	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "http.server.request.duration" {
				for _, p := range h.DataPoints {
					route, _ := p.Attributes.Value("http.route")
					status, _ := p.Attributes.Value("http.response.status_code")
					plugin, _ := p.Attributes.Value("backstage.plugin.id")
					counts[plugin.AsString()+" "+route.AsString()+" "+status.String()] += p.Count
				}
			}
		}
	}
	want := map[string]uint64{"demo /things/{id} 200": 1, "demo /panic 500": 1, "demo  401": 1, "demo  404": 1}
	if d := cmp.Diff(want, counts); d != "" {
		t.Error(d)
	}
}
