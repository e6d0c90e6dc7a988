package catalogbackend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
)

// observed replaces telemetry by what a test can read.
type observed struct {
	reader *metric.ManualReader
	spans  *tracetest.SpanRecorder
}

func newObserved() observed {
	return observed{metric.NewManualReader(), tracetest.NewSpanRecorder()}
}

func (o observed) factory() backend.Feature {
	return backend.NewRootServiceFactory(core.Telemetry, func(*backend.RootEnv) backend.MakeFunc[core.TelemetryProviders] {
		return func(context.Context) (core.TelemetryProviders, error) {
			return core.TelemetryProviders{
				Meter:  metric.NewMeterProvider(metric.WithReader(o.reader)),
				Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o.spans)),
			}, nil
		}
	})
}

// metrics returns the values of counters and gauges, and the numbers of
// measurements of histograms, of the catalog.
func (o observed) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, scope := range data.ScopeMetrics {
		if scope.Scope.Name != "backstage-plugin-catalog" {
			continue
		}
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				collect(out, m.Name, d.DataPoints)
			case metricdata.Gauge[int64]:
				collect(out, m.Name, d.DataPoints)
			case metricdata.Gauge[float64]:
				collect(out, m.Name, d.DataPoints)
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[m.Name+labels(p.Attributes)] += float64(p.Count)
				}
			}
		}
	}
	return out
}

func labels(set attribute.Set) string {
	if set.Len() == 0 {
		return ""
	}
	return "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
}

func collect[N int64 | float64](out map[string]float64, name string, points []metricdata.DataPoint[N]) {
	for _, p := range points {
		out[name+labels(p.Attributes)] += float64(p.Value)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		o := newObserved()
		p := open(t, db, "  scmEvents: true\n", o.factory())
		p.source.Store("/bad.yaml", "kind: Component")
		p.register("/bad.yaml")
		var got map[string]float64
		p.eventually("the bad location was processed", func() bool {
			got = o.metrics(t)
			return got["catalog.processed.entities.count{result=errors}"] > 0
		})
		for name, want := range map[string]float64{
			"catalog.processed.entities.count{result=changed}": 4, "catalog_processed_entities_count{result=changed}": 4,
			"catalog.processing.duration{result=changed}": 4, "catalog.processing.queue.delay": 4, "catalog.processors.duration{result=ok}": 10,
			"catalog.stitched.entities.count{result=changed}": 4, "catalog_stitched_entities_count": 4,
		} {
			if got[name] < want {
				t.Errorf("%s = %v, want at least %v", name, got[name], want)
			}
		}
		for _, name := range []string{"catalog.stitching.queue.length", "catalog.processing.queue.length", "catalog.processing.lag", "catalog.index.in_sync"} {
			if _, ok := got[name]; !ok {
				t.Errorf("%s is missing", name)
			}
		}
		if got["catalog_entities_count{kind=location}"] == 0 || got["catalog_relations_count"] == 0 {
			t.Errorf("what the catalog has is not counted: %v", got)
		}
	})
}

// What the catalog has is counted by kind, and not for each reader of metrics
// anew.
func TestCountsOfTheCatalog(t *testing.T) {
	t.Parallel()
	o := newObserved()
	p := open(t, testdb.NewSQLite(t), "", o.factory())
	first := o.metrics(t)
	p.source.Store("/guide.yaml", guide)
	p.register("/guide.yaml")
	p.eventually("the entity is there", func() bool { return p.lifecycleOf("audio-guide") != nil })
	second := o.metrics(t)
	for _, got := range []map[string]float64{first, second} {
		want := map[string]float64{
			"catalog_entities_count{kind=component}": 2, "catalog_entities_count{kind=api}": 1, "catalog_entities_count{kind=location}": 1,
			"catalog_registered_locations_count": 0, "catalog_relations_count": 12,
		}
		have := map[string]float64{}
		for name := range want {
			if v, ok := got[name]; ok {
				have[name] = v
			}
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	o := newObserved()
	open(t, testdb.NewSQLite(t), "", o.factory())
	seen := map[string]bool{}
	for _, s := range o.spans.Ended() {
		if s.InstrumentationScope().Name != "backstage-plugin-catalog-backend" {
			continue
		}
		seen[s.Name()] = true
		for _, kv := range s.Attributes() {
			seen[fmt.Sprintf("%s %s=%s", s.Name(), kv.Key, kv.Value.Emit())] = true
		}
	}
	for _, want := range []string{
		"TaskPipelineLoop", "ProcessingRun backstage.entity.apiVersion=backstage.io/v1alpha1", "ProcessingRun backstage.entity.kind=Component",
		"ProcessingRun backstage.entity.metadata.namespace=default", "ProcessingRun backstage.entity.metadata.name=Ticketing",
		"ProcessingStage backstage.catalog.processor.stage=preProcessEntity", "ProcessingStage backstage.catalog.processor.stage=validateEntityKind",
		"ProcessingStage backstage.catalog.processor.stage=readLocation", "ProcessingStage backstage.catalog.processor.stage=postProcessEntity",
		"ProcessingStep backstage.catalog.processor.name=BuiltinKindsEntityProcessor", "ProcessingStep backstage.catalog.processor.stage=readLocation",
	} {
		if !seen[want] {
			t.Errorf("no span %s", want)
		}
	}
}

// events of the catalog, by topic.
type heard struct {
	mu   sync.Mutex
	list map[string][]map[string]any
}

func (h *heard) feature() backend.Feature {
	h.list = map[string][]map[string]any{}
	return backend.NewPlugin("listener", func(env *backend.PluginEnv) backend.InitFunc {
		events := core.Events.From(env)
		return func(ctx context.Context) error {
			return events().Subscribe(ctx, core.Subscription{
				ID: "all", Topics: []string{"experimental.catalog.conflict", "experimental.catalog.errors"},
				OnEvent: func(_ context.Context, e core.Event) error {
					var body map[string]any
					if err := json.Unmarshal(e.Payload, &body); err != nil {
						return err
					}
					h.mu.Lock()
					defer h.mu.Unlock()
					h.list[e.Topic] = append(h.list[e.Topic], body)
					return nil
				},
			})
		}
	})
}

func (h *heard) first(topic string) map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list[topic]) == 0 {
		return nil
	}
	return h.list[topic][0]
}

func TestEventsOfTheCatalog(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		var h heard
		p := open(t, db, "", h.feature())
		p.source.Store("/bad.yaml", "kind: Component")
		p.source.Store("/twice.yaml", strings.Replace(guide, "audio-guide", "Ticketing", 1))
		p.register("/bad.yaml")
		p.register("/twice.yaml")
		var failed, refused map[string]any
		p.eventually("both are told", func() bool {
			failed, refused = h.first("experimental.catalog.errors"), h.first("experimental.catalog.conflict")
			return failed != nil && refused != nil
		})
		errs, _ := failed["errors"].([]any)
		if at := "url:" + p.files.URL + "/bad.yaml"; failed["location"] != at || !strings.HasPrefix(fmt.Sprint(failed["entity"]), "location:default/generated-") || len(errs) != 1 {
			t.Errorf("errors: %v", failed)
		} else if first, _ := errs[0].(map[string]any); first["name"] == nil || first["message"] == nil {
			t.Errorf("error: %v", first)
		}
		entity, _ := refused["unprocessedEntity"].(map[string]any)
		if refused["entityRef"] != "component:default/ticketing" || refused["newLocationKey"] != "url:"+p.files.URL+"/twice.yaml" ||
			!strings.HasPrefix(fmt.Sprint(refused["existingLocationKey"]), "file:") || entity["kind"] != "Component" || !strings.HasSuffix(fmt.Sprint(refused["lastConflictAt"]), "Z") {
			t.Errorf("conflict: %v", refused)
		}
		names := []string{}
		for k := range refused {
			names = append(names, k)
		}
		slices.Sort(names)
		if d := cmp.Diff([]string{"entityRef", "existingLocationKey", "lastConflictAt", "newLocationKey", "unprocessedEntity"}, names); d != "" {
			t.Errorf("conflict (-want +got):\n%s", d)
		}
		if a := p.do(getMethod, "/entities/by-name/component/default/ticketing", ""); a.status != http.StatusOK {
			t.Errorf("the first one: %d %s", a.status, a.text)
		}
	})
}
