package events_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/events"
	"github.com/flytower/flytower/internal/coretest"
)

// bus is a plugin "events" that the test directs: each poll takes the next
// answer.
type bus struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	// refuse is the status of everything but polls; 0 accepts.
	refuse int
	polls  chan func(w http.ResponseWriter, r *http.Request)
	asked  chan string // the requests, as they come
}

func newBus(t *testing.T, refuse int) *bus {
	t.Helper()
	b := &bus{refuse: refuse, polls: make(chan func(http.ResponseWriter, *http.Request), 20), asked: make(chan string, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *bus) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	request := strings.TrimSpace(r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body))
	b.mu.Lock()
	b.requests = append(b.requests, request)
	b.mu.Unlock()
	b.asked <- request
	switch {
	case b.refuse != 0:
		w.WriteHeader(b.refuse)
	case r.Method == "GET":
		select {
		case answer := <-b.polls:
			answer(w, r)
		case <-r.Context().Done():
		}
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func (b *bus) seen() []string { b.mu.Lock(); defer b.mu.Unlock(); return slices.Clone(b.requests) }

func give(payloads ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		for _, p := range payloads {
			list = append(list, map[string]any{"topic": "t", "payload": json.RawMessage(p)})
		}
		apierr.WriteJSON(w, 200, map[string]any{"events": list})
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hold answers 202 and keeps the answer open until the channel is closed or
// the client goes away.
func hold(end <-chan struct{}) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("backstage-events-notify-timeout", "55000")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}
}

// own is an auth service that knows only who it is.
type own struct{ core.AuthService }

func (own) Own() core.Credentials {
	return core.ServiceCredentials("plugin:p", core.NewToken("own"), nil, nil)
}

func (b *bus) plugin(t *testing.T, mode events.BusMode) *plugin {
	t.Helper()
	p := &plugin{t: t, lifecycle: coretest.NewLifecycle(), log: &logText{}}
	client := &coretest.Client{URLs: map[string]string{"events": b.URL}, HTTP: b.Client()}
	var err error
	p.Service, err = events.New(events.NewLocal(), events.Services{
		Plugin: "p", Log: slog.New(slog.NewTextHandler(p.log, nil)), Lifecycle: p.lifecycle, Plugins: client, Auth: own{},
	}, mode, events.WithPause(time.Millisecond, 2*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// next waits for a request.
func (b *bus) next(t *testing.T) string {
	t.Helper()
	select {
	case request := <-b.asked:
		return request
	case <-t.Context().Done():
		t.Fatal("no more requests")
		return ""
	}
}

func TestPublishToBus(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusAuto)
	defer p.stop()
	if err := p.Publish(t.Context(), core.Event{Topic: "t", Payload: json.RawMessage(`{"a":1}`), Metadata: map[string]any{"secret": 1}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`POST /bus/v1/events Bearer own {"event":{"payload":{"a":1},"topic":"t"},"notifiedSubscribers":[]}`,
		`POST /bus/v1/events Bearer own {"event":{"payload":null,"topic":"t"},"notifiedSubscribers":[]}`,
	}
	if diff := cmp.Diff(want, b.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestBusIsToldWhoHadTheEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusAuto)
	defer p.stop()
	p.on("b", "t", func(context.Context, core.Event) error { return nil })
	p.on("a", "t", func(context.Context, core.Event) error { panic("it had it all the same") })
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(b.seen(), func(r string) bool { return strings.HasPrefix(r, "POST") })
	if i < 0 || !strings.Contains(b.seen()[i], `"notifiedSubscribers":["p.a","p.b"]`) {
		t.Errorf("requests: %q", b.seen())
	}
}

func TestAbsentBus(t *testing.T) {
	t.Parallel()
	b := newBus(t, 404)
	p := b.plugin(t, events.BusAuto)
	defer p.stop()
	for range 3 {
		if err := p.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.seen()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if n := strings.Count(p.log.String(), "events stay within this backend"); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, p.log)
	}
}

func TestAbsentBusForSubscribers(t *testing.T) {
	t.Parallel()
	b := newBus(t, 404)
	p := b.plugin(t, events.BusAuto)
	p.on("x", "t", func(context.Context, core.Event) error { return nil })
	b.next(t)
	p.stop()
	if n := len(b.seen()); n != 1 {
		t.Errorf("%d requests, want 1: %q", n, b.seen())
	}
}

func TestBusThatMustBeThere(t *testing.T) {
	t.Parallel()
	p := newBus(t, 404).plugin(t, events.BusAlways)
	defer p.stop()
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); apierr.Status(err) != 404 {
		t.Errorf("got %v, want the answer of the bus", err)
	}
}

func TestFailingBusIsAnErrorOfThePublisher(t *testing.T) {
	t.Parallel()
	p := newBus(t, 503).plugin(t, events.BusAuto)
	defer p.stop()
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); apierr.Status(err) != 503 {
		t.Errorf("got %v, want the answer of the bus", err)
	}
}

func TestNeverAsksNobody(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusNever)
	p.on("x", "t", func(context.Context, core.Event) error { return nil })
	if err := p.Publish(t.Context(), core.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if n := len(b.seen()); n != 0 {
		t.Errorf("requests: %q", b.seen())
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusAuto)
	received := make(chan string, 10)
	p.on("x", "t", func(_ context.Context, e core.Event) error {
		received <- e.Topic + " " + string(e.Payload)
		if string(e.Payload) == "2" {
			panic("the next one comes all the same")
		}
		return nil
	})
	const put, get = `PUT /bus/v1/subscriptions/p.x Bearer own {"topics":["t"]}`, `GET /bus/v1/subscriptions/p.x/events Bearer own`
	end := make(chan struct{})
	close(end)
	b.polls <- give("1", "2", "3")
	b.polls <- hold(end)   // ends: it asks again
	b.polls <- status(500) // fails: it asks again after a pause
	b.polls <- status(404) // it subscribes again
	b.polls <- give("4")
	b.polls <- func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"events":[{`) }
	b.polls <- give("5")
	var got []string
	for range 5 {
		got = append(got, <-received)
	}
	if diff := cmp.Diff([]string{"t 1", "t 2", "t 3", "t 4", "t 5"}, got); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	p.stop()
	if diff := cmp.Diff([]string{put, get, get, get, get, put, get, get, get}, b.seen()[:9]); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestStopDoesNotWaitForEvents(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusAuto)
	p.on("x", "t", func(context.Context, core.Event) error { return nil })
	b.polls <- hold(nil)
	b.next(t) // PUT
	b.next(t) // GET
	p.stop()  // the test would not end otherwise
}

func TestStopWaitsForWhatWasReceived(t *testing.T) {
	t.Parallel()
	b := newBus(t, 0)
	p := b.plugin(t, events.BusAuto)
	began, release := make(chan struct{}), make(chan struct{})
	var handled []string
	p.on("x", "t", func(ctx context.Context, e core.Event) error {
		if string(e.Payload) == "1" {
			close(began)
			<-release
		}
		handled = append(handled, string(e.Payload))
		return ctx.Err()
	})
	b.polls <- give("1", "2")
	<-began
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	<-p.lifecycle.Done()
	close(release)
	<-stopped
	if diff := cmp.Diff([]string{"1", "2"}, handled); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	if p.log.String() != "" {
		t.Errorf("log: %s", p.log)
	}
}
