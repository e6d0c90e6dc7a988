package catalognode_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func newSCMEvents(t *testing.T, o catalognode.SCMEventsOptions) catalognode.SCMEventsService {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := catalognode.NewSCMEvents(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func updated(url string) catalognode.SCMEvent {
	return catalognode.SCMEvent{Type: catalognode.SCMLocationUpdated, URL: url}
}

// inbox notes the URLs that it gets.
type inbox struct {
	mu      sync.Mutex
	urls    []string
	batches []int
}

func (i *inbox) take(_ context.Context, events []catalognode.SCMEvent) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.batches = append(i.batches, len(events))
	for _, e := range events {
		i.urls = append(i.urls, e.URL)
	}
	return nil
}

func (i *inbox) got() string { i.mu.Lock(); defer i.mu.Unlock(); return strings.Join(i.urls, " ") }

func TestSCMEventsReachAllSubscribersInOrder(t *testing.T) {
	t.Parallel()
	s := newSCMEvents(t, catalognode.SCMEventsOptions{})
	var a, b inbox
	cancel := s.Subscribe("a", a.take)
	s.Subscribe("failing", func(context.Context, []catalognode.SCMEvent) error { return errors.New("broken") })
	s.Subscribe("panicking", func(context.Context, []catalognode.SCMEvent) error { panic("broken") })
	s.Subscribe("b", b.take)
	if err := s.Publish(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range 3 {
		if err := s.Publish(t.Context(), updated(fmt.Sprint(i, "x")), updated(fmt.Sprint(i, "y"))); err != nil {
			t.Error(err)
		}
	}
	cancel()
	cancel()
	if err := s.Publish(t.Context(), updated("late")); err != nil {
		t.Error(err)
	}
	if a.got() != "0x 0y 1x 1y 2x 2y" || b.got() != a.got()+" late" {
		t.Errorf("a got %s, b got %s", a.got(), b.got())
	}
}

func TestSCMEventsComeInBatches(t *testing.T) {
	t.Parallel()
	s := newSCMEvents(t, catalognode.SCMEventsOptions{})
	var in inbox
	s.Subscribe("in", in.take)
	events := make([]catalognode.SCMEvent, 2500)
	for i := range events {
		events[i] = updated(fmt.Sprint(i))
	}
	if err := s.Publish(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{1000, 1000, 500}, in.batches); d != "" {
		t.Errorf("batches (-want +got):\n%s", d)
	}
}

func TestMalformedSCMEvents(t *testing.T) {
	t.Parallel()
	s := newSCMEvents(t, catalognode.SCMEventsOptions{})
	var in inbox
	s.Subscribe("in", in.take)
	for _, e := range []catalognode.SCMEvent{
		{},
		{Type: "location.vanished", URL: "x"},
		{Type: catalognode.SCMRepositoryDeleted, FromURL: "x", ToURL: "y"},
		{Type: catalognode.SCMLocationMoved, URL: "x"},
		{Type: catalognode.SCMRepositoryMoved, FromURL: "x"},
	} {
		if err := s.Publish(t.Context(), updated("good"), e); apierr.KindOf(err) != apierr.KindInput || !strings.Contains(err.Error(), "event 2 of 2") {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if in.got() != "" {
		t.Errorf("delivered beside a malformed one: %s", in.got())
	}
}

func TestPublishingFromAHandlerIsRefused(t *testing.T) {
	t.Parallel()
	s := newSCMEvents(t, catalognode.SCMEventsOptions{})
	var refused error
	s.Subscribe("echo", func(ctx context.Context, events []catalognode.SCMEvent) error {
		refused = s.Publish(ctx, events...)
		return nil
	})
	if err := s.Publish(t.Context(), updated("x")); err != nil || apierr.KindOf(refused) != apierr.KindConflict {
		t.Errorf("published: %v, refused: %v", err, refused)
	}
}

// A subscriber handles one batch at a time; a publisher waits for it as long
// as its context lasts, and the end of a subscription waits for the handler.
func TestBusySubscribersOfSCMEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSCMEvents(t, catalognode.SCMEventsOptions{Timeout: time.Minute})
		var in inbox
		cancel := s.Subscribe("slow", func(ctx context.Context, events []catalognode.SCMEvent) error {
			_ = in.take(ctx, events)
			<-ctx.Done()
			return ctx.Err()
		})
		first := make(chan error, 1)
		go func() { first <- s.Publish(t.Context(), updated("first")) }()
		synctest.Wait()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := s.Publish(ctx, updated("impatient")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow") {
			t.Errorf("published to a busy subscriber: %v", err)
		}
		cancelled := make(chan struct{})
		go func() { cancel(); close(cancelled) }()
		synctest.Wait()
		select {
		case <-cancelled:
			t.Error("the end of the subscription did not wait for its handler")
		default:
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		<-cancelled
		if err := s.Publish(t.Context(), updated("late")); err != nil || in.got() != "first" {
			t.Errorf("%v, got %s", err, in.got())
		}
	})
}

func TestSCMEventsAreCounted(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	s := newSCMEvents(t, catalognode.SCMEventsOptions{Meter: metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")})
	if err := s.Publish(t.Context(), updated("x"), updated("y"), catalognode.SCMEvent{Type: catalognode.SCMRepositoryMoved, FromURL: "x", ToURL: "y"}); err != nil {
		t.Fatal(err)
	}
	s.ActionTaken(t.Context(), catalognode.SCMActionRefresh, 5)
	s.ActionTaken(t.Context(), catalognode.SCMActionDelete, 0)
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			kv := p.Attributes.ToSlice()[0]
			got[fmt.Sprintf("%s %s=%s", m.Name, kv.Key, kv.Value.AsString())] = p.Value
		}
	}
	want := map[string]int64{
		"catalog.events.scm.messages eventType=location": 2, "catalog.events.scm.messages eventType=repository": 1,
		"catalog.events.scm.actions action=refresh": 5,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("counted (-want +got):\n%s", d)
	}
}

// The service is there without being added, and is one for the process.
func TestTheServiceOfSCMEventsIsThere(t *testing.T) {
	t.Parallel()
	var ofPlugin, ofOther catalognode.SCMEventsService
	uses := func(id string, to *catalognode.SCMEventsService) backend.Feature {
		return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			events := catalognode.SCMEvents.From(env)
			return func(context.Context) error { *to = events(); return nil }
		})
	}
	backendtest.Start(t, uses("a", &ofPlugin), uses("b", &ofOther))
	if ofPlugin == nil || ofPlugin != ofOther {
		t.Errorf("%v, %v", ofPlugin, ofOther)
	}
}
