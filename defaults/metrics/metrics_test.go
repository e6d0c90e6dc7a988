package metrics_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/flytower/flytower/defaults/metrics"
	"github.com/flytower/flytower/internal/configtest"
)

type provider struct {
	embedded.MeterProvider
	asked []string
}

func (p *provider) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	c := metric.NewMeterConfig(opts...)
	p.asked = append(p.asked, name, c.InstrumentationVersion(), c.SchemaURL())
	return noop.Meter{}
}

func TestNames(t *testing.T) {
	t.Parallel()
	p := &provider{}
	config := configtest.FromYAML(t, `backend: { metrics: { plugin: { user-settings: { meter: { name: mine, version: "2", schemaUrl: "http://x/y" } } } } }`)
	for _, plugin := range []string{"catalog", "user-settings"} {
		if _, err := metrics.New(plugin, config, p); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"backstage-plugin-catalog", "", "", "mine", "2", "http://x/y"}, p.asked); diff != "" {
		t.Errorf("meters (-want +got):\n%s", diff)
	}
	if _, err := metrics.New("a", configtest.FromYAML(t, `backend: { metrics: { plugin: { a: { meter: { name: 7 } } } } }`), p); err == nil {
		t.Error("a number was taken for a name")
	}
}
