package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/events"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/coretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plugin is a plugin with events.
type plugin struct {
	*events.Service
	t         *testing.T
	lifecycle *coretest.Lifecycle
	log       *logText
}

type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}
func (l *logText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

func newPlugin(t *testing.T, id string, local *events.Local) *plugin {
	t.Helper()
	p := &plugin{t: t, lifecycle: coretest.NewLifecycle(), log: &logText{}}
	var err error
	p.Service, err = events.New(local, events.Services{
		Plugin: id, Log: slog.New(slog.NewTextHandler(p.log, nil)), Lifecycle: p.lifecycle,
	}, events.BusNever)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *plugin) stop() {
	p.t.Helper()
	if err := p.lifecycle.Stop(context.Background()); err != nil {
		p.t.Errorf("stop: %v", err)
	}
}

func (p *plugin) on(id, topic string, fn func(context.Context, core.Event) error) {
	p.t.Helper()
	if err := p.Subscribe(p.t.Context(), core.Subscription{ID: id, Topics: []string{topic, topic}, OnEvent: fn}); err != nil {
		p.t.Fatal(err)
	}
}

func TestPublishReachesAllPlugins(t *testing.T) {
	t.Parallel()
	local := events.NewLocal()
	a, b := newPlugin(t, "a", local), newPlugin(t, "b", local)
	defer a.stop()
	defer b.stop()
	var mu sync.Mutex
	got := map[string][]string{}
	record := func(who string) func(context.Context, core.Event) error {
		return func(_ context.Context, e core.Event) error {
			mu.Lock()
			defer mu.Unlock()
			got[who] = append(got[who], e.Topic+" "+string(e.Payload)+" "+e.Metadata["from"].(string))
			return nil
		}
	}
	a.on("one", "t", record("a.one"))
	b.on("one", "t", record("b.one"))
	b.on("two", "other", record("b.two"))
	for _, n := range []string{"1", "2", "3"} {
		if err := a.Publish(t.Context(), core.Event{Topic: "t", Payload: json.RawMessage(n), Metadata: map[string]any{"from": "test"}}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{"a.one": {"t 1 test", "t 2 test", "t 3 test"}, "b.one": {"t 1 test", "t 2 test", "t 3 test"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func TestFailuresStayWithTheSubscriber(t *testing.T) {
	t.Parallel()
	local := events.NewLocal()
	publisher, failing, panicking := newPlugin(t, "pub", local), newPlugin(t, "failing", local), newPlugin(t, "panicking", local)
	defer publisher.stop()
	defer failing.stop()
	defer panicking.stop()
	failing.on("x", "t", func(context.Context, core.Event) error { return errors.New("cannot do it") })
	panicking.on("x", "t", func(context.Context, core.Event) error { panic("ouch") })
	if err := publisher.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
		t.Errorf("Publish: %v", err)
	}
	if text := failing.log.String(); !strings.Contains(text, "subscriber=failing.x") || !strings.Contains(text, "cannot do it") {
		t.Errorf("log of the failing plugin: %s", text)
	}
	if diff := cmp.Diff([]string{"event handler panicking.x"}, panicking.lifecycle.Panics()); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
	if publisher.log.String() != "" || len(publisher.lifecycle.Panics()) != 0 {
		t.Errorf("the publisher was blamed: %s", publisher.log)
	}
}

func TestCircleIsRefused(t *testing.T) {
	t.Parallel()
	local := events.NewLocal()
	p := newPlugin(t, "p", local)
	defer p.stop()
	p.on("again", "t", func(ctx context.Context, e core.Event) error { return p.Publish(ctx, e) })
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
		t.Errorf("Publish: %v", err)
	}
	if !strings.Contains(p.log.String(), "break the circle") {
		t.Errorf("log: %s", p.log)
	}
}

func TestSlowHandlerIsNotWaitedForLongerThanItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlugin(t, "p", events.NewLocal(events.WithHandlerTimeout(time.Minute)))
		release := make(chan struct{})
		p.on("polite", "t", func(ctx context.Context, _ core.Event) error { <-ctx.Done(); return ctx.Err() })
		p.on("rude", "t", func(context.Context, core.Event) error { <-release; return nil })
		began := time.Now()
		if err := p.Publish(context.Background(), core.Event{Topic: "t"}); err != nil {
			t.Errorf("Publish: %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v, want a minute", took)
		}
		synctest.Wait()
		if text := p.log.String(); !strings.Contains(text, "subscriber=p.rude") || !strings.Contains(text, "deadline exceeded") {
			t.Errorf("log: %s", text)
		}
		close(release)
		p.stop()
	})
}

func TestEndedContextLeavesTheHandlersAtWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlugin(t, "p", events.NewLocal())
		handled := false
		p.on("slow", "t", func(ctx context.Context, _ core.Event) error {
			time.Sleep(time.Minute)
			handled = ctx.Err() == nil
			return nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Publish(ctx, core.Event{Topic: "t"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish: %v", err)
		}
		p.stop() // waits for the handler
		if !handled {
			t.Error("the handler did not finish")
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlugin(t, "p", events.NewLocal(events.WithConcurrency(2)))
		release, running := make(chan struct{}), make(chan struct{}, 10)
		p.on("x", "t", func(context.Context, core.Event) error { running <- struct{}{}; <-release; return nil })
		for range 5 {
			go func() {
				if err := p.Publish(context.Background(), core.Event{Topic: "t"}); err != nil {
					t.Errorf("Publish: %v", err)
				}
			}()
		}
		synctest.Wait()
		if n := len(running); n != 2 {
			t.Errorf("%d handlers run, want 2", n)
		}
		close(release)
		synctest.Wait()
		if n := len(running); n != 5 {
			t.Errorf("%d handlers ran, want 5", n)
		}
		p.stop()
	})
}

func TestStoppedPlugin(t *testing.T) {
	t.Parallel()
	local := events.NewLocal()
	a, b := newPlugin(t, "a", local), newPlugin(t, "b", local)
	defer b.stop()
	called := false
	a.on("x", "t", func(context.Context, core.Event) error { called = true; return nil })
	a.stop()
	if err := b.Publish(t.Context(), core.Event{Topic: "t"}); err != nil || called {
		t.Errorf("Publish: %v; called %v", err, called)
	}
	if err := a.Publish(t.Context(), core.Event{Topic: "t"}); !errors.Is(err, apierr.ServiceUnavailable("")) {
		t.Errorf("Publish of the stopped plugin: %v", err)
	}
	if err := a.Subscribe(t.Context(), core.Subscription{ID: "y", Topics: []string{"t"}, OnEvent: func(context.Context, core.Event) error { return nil }}); !errors.Is(err, apierr.ServiceUnavailable("")) {
		t.Errorf("Subscribe of the stopped plugin: %v", err)
	}
}

func TestInvalidUse(t *testing.T) {
	t.Parallel()
	p := newPlugin(t, "p", events.NewLocal())
	defer p.stop()
	fn := func(context.Context, core.Event) error { return nil }
	for _, s := range []core.Subscription{{Topics: []string{"t"}, OnEvent: fn}, {ID: "x", OnEvent: fn}, {ID: "x", Topics: []string{"t"}}} {
		if err := p.Subscribe(t.Context(), s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	if err := p.Publish(t.Context(), core.Event{}); !errors.Is(err, apierr.Input("")) {
		t.Errorf("an event without topic: %v", err)
	}
}

func TestReadBusMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]events.BusMode{
		`{}`: events.BusAuto, `{events: {useEventBus: never}}`: events.BusNever, `{events: {useEventBus: always}}`: events.BusAlways,
	} {
		if got, err := events.ReadBusMode(configtest.FromYAML(t, text)); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	if _, err := events.ReadBusMode(configtest.FromYAML(t, `{events: {useEventBus: sometimes}}`)); err == nil || !strings.Contains(err.Error(), "auto, always or never") {
		t.Errorf("got %v", err)
	}
}
