package telemetry_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/telemetry"
	"github.com/flytower/flytower/internal/configtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExposition(t *testing.T) {
	t.Parallel()
	providers, shutdown, err := telemetry.New(t.Context(), telemetry.Options{ServiceName: "portal"})
	if err != nil {
		t.Fatal(err)
	}
	counter, err := providers.Meter.Meter("backstage-plugin-things").Int64Counter("things.made", metric.WithUnit("{thing}"))
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3, metric.WithAttributes(attribute.String("kind", "a")))
	w := httptest.NewRecorder()
	providers.Exposition.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{
		`things_made_total{kind="a",otel_scope_name="backstage-plugin-things"`, "} 3\n", "go_goroutines ", "process_", `service_name="portal"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %s:\n%s", want, w.Body)
		}
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWithoutMetrics(t *testing.T) {
	t.Parallel()
	providers, shutdown, err := telemetry.New(t.Context(), telemetry.Options{NoMetrics: true})
	if err != nil || providers.Exposition != nil || providers.Meter == nil || providers.Tracer == nil {
		t.Fatalf("got %+v, %v", providers, err)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTracesAreFlushed(t *testing.T) {
	t.Parallel()
	exporter := &keeper{}
	providers, shutdown, err := telemetry.New(t.Context(), telemetry.Options{NoMetrics: true, SpanExporters: []sdktrace.SpanExporter{nil, exporter}})
	if err != nil {
		t.Fatal(err)
	}
	_, span := providers.Tracer.Tracer("x").Start(t.Context(), "work")
	span.End()
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(exporter.names) != 1 || exporter.names[0] != "work of flytower" {
		t.Errorf("exported %q", exporter.names)
	}
}

func TestWithoutExportersNothingIsTraced(t *testing.T) {
	t.Parallel()
	providers, shutdown, err := telemetry.New(t.Context(), telemetry.Options{NoMetrics: true, SpanExporters: []sdktrace.SpanExporter{nil}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shutdown(t.Context()) }()
	if _, span := providers.Tracer.Tracer("x").Start(t.Context(), "work"); span.IsRecording() {
		t.Error("a span is recorded that nobody exports")
	}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	token := core.NewToken("s3cret")
	for _, tc := range []struct {
		name, remote, host, header, value, method string
		open                                      bool
		token                                     core.Token
		want                                      int
	}{
		{name: "same machine", remote: "127.0.0.1:1", want: 200},
		{name: "same machine, IPv6", remote: "[::1]:1", want: 200},
		{name: "same machine, mapped", remote: "[::ffff:127.0.0.1]:1", want: 200},
		{name: "no address", remote: "", want: 403},
		{name: "in memory", remote: "127.0.0.1:0", want: 403},
		{name: "a name that was rebound", remote: "127.0.0.1:1", host: "rebound.evil.test", want: 403},
		{name: "a page of another origin", remote: "127.0.0.1:1", header: "Origin", value: "http://evil.test", want: 403},
		{name: "elsewhere", remote: "10.0.0.1:1", want: 403},
		{name: "elsewhere, open", remote: "10.0.0.1:1", open: true, want: 200},
		{name: "through a proxy", remote: "127.0.0.1:1", header: "X-Forwarded-For", value: "127.0.0.1", want: 403},
		{name: "through another proxy", remote: "127.0.0.1:1", header: "Forwarded", value: "for=1.2.3.4", want: 403},
		{name: "token", remote: "10.0.0.1:1", token: token, header: "Authorization", value: "bearer s3cret", want: 200},
		{name: "wrong token", remote: "10.0.0.1:1", token: token, header: "Authorization", value: "Bearer other", want: 403},
		{name: "basic", remote: "10.0.0.1:1", token: token, header: "Authorization", value: "Basic s3cret", want: 403},
		{name: "empty token is none", remote: "10.0.0.1:1", header: "Authorization", value: "Bearer ", want: 403},
		{name: "post", remote: "127.0.0.1:1", method: "POST", want: 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			method := "GET"
			if tc.method != "" {
				method = tc.method
			}
			r := httptest.NewRequest(method, "/metrics", nil)
			r.RemoteAddr, r.Host = tc.remote, "localhost:7007"
			if tc.host != "" {
				r.Host = tc.host
			}
			if tc.header != "" {
				r.Header.Set(tc.header, tc.value)
			}
			w := httptest.NewRecorder()
			telemetry.Protect(page, tc.open, tc.token).ServeHTTP(w, r)
			if w.Code != tc.want || (w.Code == 200) != (w.Body.String() == "page") {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
}

func TestReadConfig(t *testing.T) {
	t.Parallel()
	got, err := telemetry.ReadConfig(configtest.FromYAML(t, `{}`))
	if want := (telemetry.Settings{ServiceName: "flytower", Metrics: true, Path: "/metrics"}); err != nil || got != want {
		t.Errorf("defaults: got %+v, %v", got, err)
	}
	got, err = telemetry.ReadConfig(configtest.FromYAML(t, `
		backend:
		  telemetry:
		    serviceName: portal
		    metrics: { enabled: false, path: /internal/metrics, access: open, token: s3cret }
	`))
	if err != nil || got.ServiceName != "portal" || got.Metrics || got.Path != "/internal/metrics" || !got.Open || got.Token.Reveal() != "s3cret" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{`{ access: public }`, `{ path: metrics }`, `{ path: / }`, `{ enabled: perhaps }`} {
		if _, err := telemetry.ReadConfig(configtest.FromYAML(t, `backend: { telemetry: { metrics: `+bad+` } }`)); err == nil || !strings.Contains(err.Error(), "backend.telemetry.metrics.") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	if !json.Valid([]byte(telemetry.ConfigSchema)) {
		t.Error("the schema is not JSON")
	}
}
