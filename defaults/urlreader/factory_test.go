package urlreader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader"
	"github.com/flytower/flytower/internal/configtest"
)

// value is a factory of a root service that is there already.
func value[T any](ref backend.RootTarget[T], v T) backend.ServiceFactory {
	return backend.NewRootServiceFactory(ref, func(*backend.RootEnv) backend.MakeFunc[T] {
		return func(context.Context) (T, error) { return v, nil }
	})
}

// user is a plugin that hands its reader out.
func user(id string, got chan<- core.URLReaderService) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
		reader := core.URLReader.From(env)
		return func(context.Context) error {
			got <- reader()
			return nil
		}
	})
}

// constant reads the same text everywhere.
type constant struct{ core.URLReaderService }

func (constant) Read(context.Context, string, core.ReadOptions) (core.ReadResult, error) {
	return core.ReadResult{ETag: "constant"}, nil
}

func (constant) Resolve(ref, _ string) (string, error) { return "constant:" + ref, nil }

func TestFactory(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit-Limit", "100")
		w.Header().Set("RateLimit-Remaining", "77")
		w.Header().Set("RateLimit-Reset", "60")
		fmt.Fprint(w, "x")
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	config, update := configtest.Live(t, "{app: {}}")
	metrics := sdkmetric.NewManualReader()
	var logs bytes.Buffer
	got := make(chan core.URLReaderService, 2)
	b := backend.New().Add(
		urlreader.Factory,
		value[core.ConfigRoot](core.RootConfig, config),
		value[*slog.Logger](core.RootLogger, slog.New(slog.NewTextHandler(&logs, nil))),
		value[core.TelemetryProviders](core.Telemetry, core.TelemetryProviders{Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics))}),
		value[core.URLReaderFactory](core.URLReaderFactories, func(context.Context, core.Config) ([]core.URLReaderEntry, error) {
			return []core.URLReaderEntry{{
				Name: "constant", Reader: constant{},
				Matches: func(u string) bool { return strings.HasPrefix(u, "https://github.com/constant/") },
			}}, nil
		}),
		user("one", got), user("two", got),
	)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, two := <-got, <-got
	if one != two {
		t.Error("plugins have readers of their own, and so limits of their own")
	}
	if r, err := one.Read(t.Context(), "https://github.com/constant/x/blob/main/y", core.ReadOptions{}); err != nil || r.ETag != "constant" {
		t.Errorf("an added reader does not come first: %v, %v", r, err)
	}
	if u, err := one.Resolve("x", "https://github.com/constant/x/blob/main/y"); err != nil || u != "constant:x" {
		t.Errorf("an added reader does not resolve: %q, %v", u, err)
	}
	if u, err := one.Resolve("x", "https://github.com/o/r/blob/main/y"); err != nil || u != "https://github.com/o/r/tree/main/x" {
		t.Errorf("resolved %q, %v", u, err)
	}
	_, err := one.Resolve("x", "nonsense")
	wantKind(t, err, apierr.KindInput)

	update("{backend: {reading: {allow: [{host: \"" + host + "\"}]}}}")
	wantFile(t, one, srv.URL+"/x", "x")
	update("{backend: {reading: {allow: [{host: \"*\"}]}}}")
	wantFile(t, one, srv.URL+"/x", "x")

	var rm metricdata.ResourceMetrics
	if err := metrics.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && len(g.DataPoints) == 1 {
				found = append(found, fmt.Sprintf("%s=%d", m.Name, g.DataPoints[0].Value))
			}
		}
	}
	slices.Sort(found)
	want := "flytower.integration.blocked=0 flytower.integration.quota.limit=100 flytower.integration.quota.remaining=77 flytower.integration.requests.waiting=0"
	if s := strings.Join(found, " "); s != want {
		t.Errorf("metrics %s", s)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(logs.String(), "the last good one stays") {
		t.Errorf("the wrong configuration is not logged: %s", &logs)
	}
}

func TestWrongConfigurationFailsTheStart(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(urlreader.Factory, user("one", make(chan core.URLReaderService, 1)),
		value[*slog.Logger](core.RootLogger, slog.New(slog.DiscardHandler)),
		value[core.ConfigRoot](core.RootConfig, configtest.FromYAML(t, "integrations:\n  github:\n    - host: https://x\n")))
	err := b.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "app-config.yaml:3") {
		t.Errorf("%v", err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// Every key of the schema is described, and what the readers read is in it.
func TestConfigSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(urlreader.ConfigSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile("schema.json"); err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal([]byte(urlreader.ConfigSchema), &root); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		if items, ok := schema["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		props, _ := schema["properties"].(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(props)) {
			p, ok := props[k].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is no schema", path, k)
				continue
			}
			keys++
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", path, k)
			}
			secret := strings.HasSuffix(k, "ecret") || strings.HasSuffix(strings.ToLower(k), "token") || strings.HasSuffix(strings.ToLower(k), "password") || strings.HasSuffix(k, "Key")
			if secret && p["visibility"] != "secret" {
				t.Errorf("%s.%s is no secret", path, k)
			}
			walk(path+"."+k, p)
		}
	}
	walk("", root)
	if keys < 50 {
		t.Errorf("%d keys", keys)
	}
}
