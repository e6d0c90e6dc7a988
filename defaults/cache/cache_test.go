package cache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/cache"
	"github.com/flytower/flytower/internal/configtest"
)

// raw is a store that the test looks into.
type raw struct {
	items map[string]string
	ttl   time.Duration
	fail  error
	block bool
}

func (*raw) Key(plugin, key string) string { return plugin + ":" + key }

func (r *raw) Get(ctx context.Context, name string) ([]byte, bool, error) {
	if r.block {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	v, ok := r.items[name]
	return []byte(v), ok, r.fail
}

func (r *raw) Set(_ context.Context, name string, value []byte, ttl time.Duration) error {
	r.items[name], r.ttl = string(value), ttl
	return r.fail
}

func (r *raw) Delete(_ context.Context, name string) error {
	delete(r.items, name)
	return r.fail
}

func (*raw) Close() error { return nil }

func TestStoredForm(t *testing.T) {
	t.Parallel()
	c := newClock()
	expires := fmt.Sprint(c.Now().Add(time.Minute).UnixMilli())
	for _, tc := range []struct {
		name  string
		value any
		ttl   time.Duration
		want  string
	}{
		{"for ever", "x", 0, `{"value":"x"}`},
		{"expiring", map[string]any{"a": 1}, time.Minute, `{"value":{"a":1},"expires":` + expires + `}`},
		{"colon", []any{":x", "x:", "a\":b", ":", map[string]any{":k": ":v"}}, 0, `{"value":["::x","x:","a\":b","::",{":k":"::v"}]}`},
		{"html", "<&>", 0, `{"value":"<&>"}`},
		{"null", nil, 0, `{"value":null}`},
		{"spaced", json.RawMessage(`{ "a" : ":b" , "c":"\u003ad" }`), 0, `{"value":{"a":"::b","c":":\u003ad"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := &raw{items: map[string]string{}}
			s := cache.New("p", store, cache.Options{Now: c.Now})
			if err := s.Set(t.Context(), "key", tc.value, tc.ttl); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"p:a2V5": tc.want}, store.items); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			var got json.RawMessage
			if found, err := s.Get(t.Context(), "key", &got); err != nil || !found {
				t.Fatalf("Get: %v, %v", found, err)
			}
			var gotAny, wantAny any
			want, err := json.Marshal(tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if json.Unmarshal(got, &gotAny) != nil || json.Unmarshal(want, &wantAny) != nil {
				t.Fatalf("got %s", got)
			}
			if diff := cmp.Diff(wantAny, gotAny); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	c := newClock()
	for _, tc := range []struct {
		name, stored, want string
		found, reported    bool
	}{
		{"bytes", `{"value":{"data":":base64:aGk="},"expires":null}`, `{"data":"aGk="}`, true, false},
		{"expired", `{"value":1,"expires":1}`, "", false, false},
		{"fraction", `{"value":1,"expires":1e18}`, "1", true, false},
		{"no value", `{}`, "", false, false},
		{"not JSON", `hello`, "", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reported := false
			s := cache.New("p", &raw{items: map[string]string{"p:a2V5": tc.stored}}, cache.Options{
				Now: c.Now, Report: func(context.Context, string, error) { reported = true },
			})
			var got json.RawMessage
			found, err := s.Get(t.Context(), "key", &got)
			if err != nil || found != tc.found || string(got) != tc.want || reported != tc.reported {
				t.Errorf("got %s, %v, %v, reported %v", got, found, err, reported)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	store := &raw{items: map[string]string{}}
	s := cache.New("p", store, cache.Options{DefaultTTL: time.Hour})
	for _, tc := range []struct {
		cache core.CacheService
		ttl   time.Duration
		want  time.Duration
	}{
		{s, 0, time.Hour}, {s, time.Minute, time.Minute}, {s, -1, 0},
		{s.WithDefaultTTL(time.Second), 0, time.Second}, {s.WithDefaultTTL(0), 0, 0},
	} {
		if err := tc.cache.Set(t.Context(), "k", 1, tc.ttl); err != nil {
			t.Fatal(err)
		}
		if store.ttl != tc.want {
			t.Errorf("ttl %v: stored for %v, want %v", tc.ttl, store.ttl, tc.want)
		}
	}
}

func TestLongKeysAreHashed(t *testing.T) {
	t.Parallel()
	store := &raw{items: map[string]string{}}
	s := cache.New("p", store, cache.Options{})
	for _, n := range []int{147, 148, 100_000} {
		if err := s.Set(t.Context(), strings.Repeat("k", n), n, 0); err != nil {
			t.Fatal(err)
		}
	}
	lengths := map[int]int{}
	for name := range store.items {
		lengths[len(name)]++
	}
	if diff := cmp.Diff(map[int]int{2 + 196: 1, 2 + 44: 2}, lengths); diff != "" {
		t.Errorf("lengths of names (-want +got):\n%s", diff)
	}
}

func TestFailingStoreActsAsEmpty(t *testing.T) {
	t.Parallel()
	var reports []string
	s := cache.New("p", &raw{items: map[string]string{}, fail: errors.New("down")}, cache.Options{
		Report: func(_ context.Context, operation string, err error) {
			reports = append(reports, operation+" "+err.Error())
		},
	})
	var out any
	if found, err := s.Get(t.Context(), "k", &out); found || err != nil {
		t.Errorf("Get: %v, %v", found, err)
	}
	if err := s.Set(t.Context(), "k", 1, 0); err != nil {
		t.Errorf("Set: %v", err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if diff := cmp.Diff([]string{"get down", "set down", "delete down"}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestErrorsOfTheCaller(t *testing.T) {
	t.Parallel()
	s := cache.New("p", &raw{items: map[string]string{"p:a2V5": `{"value":"text"}`}}, cache.Options{})
	if err := s.Set(t.Context(), "k", make(chan int), 0); err == nil {
		t.Error("Set took a channel")
	}
	var number int
	if found, err := s.Get(t.Context(), "key", &number); err == nil || found {
		t.Errorf("a text was read as a number: %v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "key", &number); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestSlowStoreActsAsEmpty(t *testing.T) {
	t.Parallel()
	var reported error
	s := cache.New("p", &raw{block: true}, cache.Options{Timeout: time.Millisecond, Report: func(_ context.Context, _ string, err error) { reported = err }})
	var out any
	if found, err := s.Get(t.Context(), "k", &out); found || err != nil || !errors.Is(reported, context.DeadlineExceeded) {
		t.Errorf("got %v, %v, reported %v", found, err, reported)
	}
}

func TestManagerRedisNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ config, want string }{
		{`{ store: redis, connection: "redis://ADDR" }`, "p:a2V5"},
		{`{ store: redis, connection: { url: "redis://ADDR", name: x }, redis: { client: { namespace: team, keyPrefixSeparator: "/" } } }`, "team/p/a2V5"},
		{`{ store: valkey, connection: "redis://ADDR" }`, "namespace:p:a2V5"},
		{`{ store: valkey, connection: "redis://ADDR", valkey: { client: { keyPrefix: "x-" } } }`, "namespace:x-p:a2V5"},
	} {
		server := miniredis.RunT(t)
		m, err := cache.NewManager(configtest.FromYAML(t, `backend: { cache: `+strings.ReplaceAll(tc.config, "ADDR", server.Addr())+` }`), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if n := server.TotalConnectionCount(); n != 0 {
			t.Errorf("%s: %d connections before the first use", tc.config, n)
		}
		if err := m.ForPlugin("p").Set(t.Context(), "key", "v", time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, err := server.Get(tc.want); err != nil || !strings.HasPrefix(got, `{"value":"v","expires":`) {
			t.Errorf("%s: %s is %q, %v; keys %v", tc.config, tc.want, got, err, server.Keys())
		}
		if ttl := server.TTL(tc.want); ttl <= 0 || ttl > time.Minute {
			t.Errorf("%s: the server keeps it for %v", tc.config, ttl)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestManagerOutage(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m, err := cache.NewManager(configtest.FromYAML(t, `backend: { cache: { store: redis, connection: "redis://:hunter2@127.0.0.1:1", timeout: 200ms } }`), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 5 {
		var out any
		if found, err := m.ForPlugin("p").Get(t.Context(), "k", &out); found || err != nil {
			t.Fatalf("got %v, %v", found, err)
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "acts as if it were empty") || strings.Contains(text, "hunter2") {
		t.Errorf("log: %s", text)
	}
}

func TestManagerMemory(t *testing.T) {
	t.Parallel()
	m, err := cache.NewManager(configtest.FromYAML(t, `backend: { cache: { defaultTtl: 60000, memory: { maxBytes: 1000000 } } }`), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.ForPlugin("a").Set(t.Context(), "k", "v", 0); err != nil {
		t.Fatal(err)
	}
	var got string
	if found, err := m.ForPlugin("a").Get(t.Context(), "k", &got); err != nil || !found || got != "v" {
		t.Errorf("got %q, %v, %v", got, found, err)
	}
	if found, _ := m.ForPlugin("b").Get(t.Context(), "k", &got); found {
		t.Error("plugin b reads what plugin a wrote")
	}
}

func TestManagerConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ config, want string }{
		{`{ store: etcd }`, `backend.cache.store" is "etcd"`},
		{`{ store: infinispan }`, `Redis protocol`},
		{`{ store: redis }`, `backend.cache.connection" is missing`},
		{`{ store: redis, connection: "localhost:6379" }`, `must be a URL`},
		{`{ store: memcache, connection: "u:hunter2@h" }`, `without authentication`},
		{`{ store: redis, redis: { cluster: { rootNodes: [ { } ] } } }`, `rootNodes[0].url`},
		{`{ defaultTtl: -1 }`, `must not be negative`},
		{`{ defaultTtl: soon }`, `backend.cache.defaultTtl`},
		{`{ memory: { maxBytes: 0 } }`, `must be positive`},
	} {
		_, err := cache.NewManager(configtest.FromYAML(t, `backend: { cache: `+tc.config+` }`), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", tc.config, err, tc.want)
		}
	}
}

func TestManagerAddedStore(t *testing.T) {
	t.Parallel()
	store := &raw{items: map[string]string{}}
	m, err := cache.NewManager(configtest.FromYAML(t, `backend: { cache: { store: mine } }`), slog.New(slog.DiscardHandler),
		cache.WithStore("mine", store.Key, func(core.Config, time.Duration) (cache.Store, error) { return store, nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ForPlugin("p").Set(t.Context(), "key", 1, 0); err != nil || store.items["p:a2V5"] != `{"value":1}` {
		t.Errorf("%v: %v", err, store.items)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	var reportedNothing any
	if found, err := m.ForPlugin("p").Get(t.Context(), "key", &reportedNothing); found || err != nil {
		t.Errorf("after Close: %v, %v", found, err)
	}
}

func TestConfigSchemaIsJSON(t *testing.T) {
	t.Parallel()
	if !json.Valid([]byte(cache.ConfigSchema)) {
		t.Error("it is not JSON")
	}
}

func FuzzValue(f *testing.F) {
	for _, v := range []string{`":x"`, `{"a":":b","c":["\\","::"]}`, `"\u003a"`, `"\\\":"`, `{":a":1}`, `[{"a" : ":"} , "x"]`, `1`, `"\\u003a"`} {
		f.Add(v)
	}
	store := &raw{items: map[string]string{}}
	s := cache.New("p", store, cache.Options{})
	f.Fuzz(func(t *testing.T, text string) {
		var want any
		if json.Unmarshal([]byte(text), &want) != nil || strings.Contains(text, "base64") {
			return
		}
		if err := s.Set(t.Context(), "k", json.RawMessage(text), 0); err != nil {
			t.Fatal(err)
		}
		var got any
		if found, err := s.Get(t.Context(), "k", &got); err != nil || !found {
			t.Fatalf("%s: %v, %v; stored %s", text, found, err, store.items)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", text, diff)
		}
	})
}

func FuzzStored(f *testing.F) {
	for _, v := range []string{`{"value":":base64:aGk=","expires":1}`, `{"value":{`, `{"expires":-1e400}`, `{"value":"\`, `[]`, `{"value":":"}`} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := cache.New("p", &raw{items: map[string]string{"p:aw==": text}}, cache.Options{})
		var got any
		if found, err := s.Get(t.Context(), "k", &got); found && err != nil {
			t.Errorf("found, with error %v", err)
		}
	})
}

func BenchmarkMemory(b *testing.B) {
	store, err := cache.NewMemory(cache.MemoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	s := cache.New("p", store, cache.Options{})
	value := map[string]any{"name": "value", "list": []string{"a", "b:c", ":d"}}
	b.Run("set", func(b *testing.B) {
		for b.Loop() {
			if err := s.Set(b.Context(), "key", value, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			var out struct{ Name string }
			if found, err := s.Get(b.Context(), "key", &out); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
}
