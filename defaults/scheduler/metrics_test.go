package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/scheduler"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	l := newLife()
	defer l.stop()
	s, err := scheduler.New(scheduler.Dependencies{
		Plugin: "a", Database: closed{}, Logger: slog.New(slog.DiscardHandler), Lifecycle: l,
		Meter: metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	runs := make(chan int)
	n := 0
	task := core.Task{ID: "x", Schedule: core.Schedule{Frequency: core.Frequency{Every: 1e6}, Timeout: time.Hour, Local: true}, Run: func(ctx context.Context, _ core.TaskRun) error {
		n++
		runs <- n
		switch n {
		case 1:
			return nil
		case 2:
			return errors.New("bad")
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	if err := s.Schedule(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the third says that the second has ended
		<-runs
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var got []string
	add := func(name string, set attribute.Set, value any) {
		scope, _ := set.Value("scope")
		id, _ := set.Value("taskId")
		result, _ := set.Value("result")
		got = append(got, fmt.Sprint(name, " ", id.AsString(), " ", scope.AsString(), " ", result.AsString(), " ", value))
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				add(m.Name, p.Attributes, p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				add(m.Name, p.Attributes, p.Count)
			}
		case metricdata.Gauge[float64]:
			for _, p := range d.DataPoints {
				add(m.Name, p.Attributes, p.Value > 1.7e9)
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"backend_tasks.task.runs.completed x local completed true",
		"backend_tasks.task.runs.completed x local failed true",
		"backend_tasks.task.runs.count x local completed 1",
		"backend_tasks.task.runs.count x local failed 1",
		"backend_tasks.task.runs.count x local started 3",
		"backend_tasks.task.runs.duration x local completed 1",
		"backend_tasks.task.runs.duration x local failed 1",
		"backend_tasks.task.runs.started x local  true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
