package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/ratelimit"
)

func ask(h http.Handler, addr, path string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = addr
	h.ServeHTTP(w, r)
	return w
}

var byPath = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/fails" {
		w.WriteHeader(400)
	}
})

func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := ratelimit.Defaults("")
		s.Limit = 2
		h := ratelimit.New(s, ratelimit.NewMemory(0), slog.New(slog.DiscardHandler)).Wrap(byPath)
		const client = "203.0.113.9:1234"
		for i, want := range []int{200, 200, 429, 429} {
			if w := ask(h, client, "/"); w.Code != want {
				t.Errorf("request %d: %d", i, w.Code)
			}
		}
		time.Sleep(30 * time.Second)
		if w := ask(h, client, "/"); w.Code != 429 || w.Header().Get("Retry-After") != "30" {
			t.Errorf("half a minute later: %d, retry after %q", w.Code, w.Header().Get("Retry-After"))
		}
		time.Sleep(30 * time.Second)
		if w := ask(h, client, "/"); w.Code != 200 {
			t.Errorf("in the next window: %d", w.Code)
		}
	})
}

func TestWhoCounts(t *testing.T) {
	t.Parallel()
	s := ratelimit.Defaults("")
	s.Limit = 1
	h := ratelimit.New(s, ratelimit.NewMemory(0), slog.New(slog.DiscardHandler)).Wrap(byPath)
	for _, tt := range []struct {
		addr string
		want int
	}{
		{"127.0.0.1:1", 200}, {"127.0.0.1:1", 200}, {"[::1]:1", 200}, {"[::1]:1", 200}, {"", 200}, {"", 200},
		{"[2001:db8:1:ff00::1]:1", 200}, {"[2001:db8:1:ff77::2]:1", 429}, {"[2001:db8:1:fe00::1]:1", 200},
		{"[::ffff:203.0.113.9]:1", 200}, {"203.0.113.9:2", 429}, {"[fe80::1%eth0]:1", 200}, {"[fe80::2%eth1]:1", 429},
	} {
		if w := ask(h, tt.addr, "/"); w.Code != tt.want {
			t.Errorf("%s: %d, want %d", tt.addr, w.Code, tt.want)
		}
	}
}

func TestSkipping(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		change func(*ratelimit.Settings)
		path   string
		free   bool
	}{
		{func(s *ratelimit.Settings) { s.SkipFailedRequests = true }, "/fails", true},
		{func(s *ratelimit.Settings) { s.SkipFailedRequests = true }, "/works", false},
		{func(s *ratelimit.Settings) { s.SkipSuccessfulRequests = true }, "/works", true},
		{func(s *ratelimit.Settings) { s.SkipSuccessfulRequests = true }, "/fails", false},
	} {
		s := ratelimit.Defaults("")
		s.Limit = 1
		tt.change(&s)
		h := ratelimit.New(s, ratelimit.NewMemory(0), slog.New(slog.DiscardHandler)).Wrap(byPath)
		ask(h, "203.0.113.9:1", tt.path)
		if w := ask(h, "203.0.113.9:1", tt.path); (w.Code != 429) != tt.free {
			t.Errorf("%s: %d, want free %t", tt.path, w.Code, tt.free)
		}
	}
}

type brokenStore struct{ ratelimit.Store }

func (brokenStore) Hit(context.Context, string, time.Duration) (int, time.Time, error) {
	return 0, time.Time{}, errors.New("down")
}

func TestBrokenStore(t *testing.T) {
	t.Parallel()
	s := ratelimit.Defaults("")
	log := slog.New(slog.DiscardHandler)
	if w := ask(ratelimit.New(s, brokenStore{}, log).Wrap(byPath), "203.0.113.9:1", "/"); w.Code != 500 || strings.Contains(w.Body.String(), "down") {
		t.Errorf("by default: %d %s", w.Code, w.Body)
	}
	s.PassOnStoreError = true
	if w := ask(ratelimit.New(s, brokenStore{}, log).Wrap(byPath), "203.0.113.9:1", "/"); w.Code != 200 {
		t.Errorf("passing: %d", w.Code)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(100)
	for i := range 10000 {
		if _, _, err := m.Hit(t.Context(), fmt.Sprint(i), time.Hour); err != nil {
			t.Fatal(err)
		}
		// A client that goes on is not forgotten.
		if n, _, _ := m.Hit(t.Context(), "busy", time.Hour); n != i+1 {
			t.Fatalf("the busy client has %d hits after %d", n, i+1)
		}
	}
	if n := m.Len(); n > 101 {
		t.Errorf("%d keys are held", n)
	}
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	config := configtest.FromYAML(t, "backend:\n  rateLimit:\n    incomingRequestLimit: 1\n    store: {type: redis, connection: 'redis://"+server.Addr()+"'}\n    plugin: {demo: {skipFailedRequests: true, incomingRequestLimit: 1}, other: false}")
	log := slog.New(slog.DiscardHandler)
	global, closeGlobal, err := ratelimit.Root(config, log)
	if err != nil {
		t.Fatal(err)
	}
	defer closeGlobal()
	h := global.Wrap(byPath)
	if a, b := ask(h, "203.0.113.9:1", "/").Code, ask(h, "203.0.113.9:1", "/").Code; a != 200 || b != 429 {
		t.Errorf("got %d and %d", a, b)
	}
	if !server.Exists("rl:203.0.113.9") || server.TTL("rl:203.0.113.9") <= 0 {
		t.Errorf("keys %v", server.Keys())
	}
	server.FastForward(2 * time.Minute)
	if w := ask(h, "203.0.113.9:1", "/"); w.Code != 200 {
		t.Errorf("in the next window: %d", w.Code)
	}
	plugin, closePlugin, err := ratelimit.Plugin(config, "demo", log)
	if err != nil {
		t.Fatal(err)
	}
	defer closePlugin()
	h = plugin.Wrap(byPath)
	for range 3 {
		if w := ask(h, "203.0.113.9:1", "/fails"); w.Code != 400 {
			t.Errorf("a failed request counts: %d", w.Code)
		}
	}
	for _, id := range []string{"other", "absent"} {
		if l, _, err := ratelimit.Plugin(config, id, log); l != nil || err != nil {
			t.Errorf("plugin %s: limiter %v, error %v", id, l, err)
		}
	}
	_, err = ratelimit.DialRedis(t.Context(), "redis://user:hunter2@[bad")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestParsePrefix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"127.0.0.1": "127.0.0.1/32", "10.1.2.3/8": "10.0.0.0/8", "0:0:0:0:0:0:0:1": "::1/128", "::ffff:1.2.3.4": "1.2.3.4/32",
	} {
		if got, err := ratelimit.ParsePrefix(text); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("%s: %s, error %v", text, got, err)
		}
	}
}
