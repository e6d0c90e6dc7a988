package cache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/defaults/cache"
	"github.com/flytower/flytower/defaults/cache/cachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) NowNano() int64 { return c.Now().UnixNano() }

// Tick returns a channel without ticks: nothing may depend on the sweep.
func (*clock) Tick(time.Duration) <-chan time.Time { return nil }

func (c *clock) Advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func TestMemory(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) (cache.Store, func(time.Duration)) {
		c := newClock()
		store, err := cache.NewMemory(cache.MemoryOptions{Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		return store, c.Advance
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	store, err := cache.NewMemory(cache.MemoryOptions{MaxBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i := range 1000 {
		if err := store.Set(t.Context(), fmt.Sprint(i), make([]byte, 1000), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := store.Bytes(); got > limit || got == 0 {
		t.Errorf("holds %d bytes, want at most %d and some", got, limit)
	}
}

func TestMemoryForgetsWhatNobodyReads(t *testing.T) {
	t.Parallel()
	c := newClock()
	store, err := cache.NewMemory(cache.MemoryOptions{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Set(t.Context(), "a", make([]byte, 1000), time.Minute); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour)
	if got := store.Bytes(); got != 0 {
		t.Errorf("holds %d bytes, want none", got)
	}
}

func openRedis(t *testing.T, options cache.ValkeyOptions) (*cache.Valkey, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	options.URL = "redis://" + server.Addr()
	store, err := cache.OpenValkey(options)
	if err != nil {
		t.Fatal(err)
	}
	return store, server
}

func TestValkey(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) (cache.Store, func(time.Duration)) {
		store, server := openRedis(t, cache.ValkeyOptions{Timeout: 5 * time.Second})
		return store, server.FastForward
	})
}

func TestValkeyErrorsHideThePassword(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"redis://u:hunter2@%zz", "http://u:hunter2@localhost", "redis://u:hunter2@127.0.0.1:1/0"} {
		_, err := cache.OpenValkey(cache.ValkeyOptions{URL: u, Timeout: 100 * time.Millisecond})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want an error without the password", u, err)
		}
	}
}

func TestMemcache(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) (cache.Store, func(time.Duration)) {
		c := newClock()
		server := startMemcached(t, c)
		store, err := cache.NewMemcache(cache.MemcacheOptions{Servers: []string{server.addr}, Timeout: 5 * time.Second, Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		return store, c.Advance
	})
}

func TestMemcacheTimes(t *testing.T) {
	t.Parallel()
	c := newClock()
	server := startMemcached(t, c)
	store, err := cache.NewMemcache(cache.MemcacheOptions{Servers: []string{server.addr}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, tc := range []struct {
		ttl  time.Duration
		want int64
	}{
		{0, 0}, {time.Millisecond, 1}, {1500 * time.Millisecond, 2}, {30 * 24 * time.Hour, 30 * 24 * 3600},
		{31 * 24 * time.Hour, c.Now().Unix() + 31*24*3600},
	} {
		if err := store.Set(t.Context(), "k", nil, tc.ttl); err != nil {
			t.Fatal(err)
		}
		if got := server.lastTime(); got != tc.want {
			t.Errorf("%v: sent %d, want %d", tc.ttl, got, tc.want)
		}
	}
}

func TestParseMemcacheServers(t *testing.T) {
	t.Parallel()
	got, err := cache.ParseMemcacheServers("memcached://a:1/, b,[::1]:2,[::1]")
	if want := "[a:1 b:11211 [::1]:2 [::1]:11211]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"", "a,", "user:hunter2@a"} {
		if _, err := cache.ParseMemcacheServers(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// memcached speaks as much of the text protocol as the store uses.
type memcached struct {
	addr  string
	clock *clock

	mu    sync.Mutex
	items map[string]memcachedItem
	last  int64
}

type memcachedItem struct {
	value   []byte
	expires time.Time
}

func (m *memcached) lastTime() int64 { m.mu.Lock(); defer m.mu.Unlock(); return m.last }

func startMemcached(t *testing.T, c *clock) *memcached {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &memcached{addr: listener.Addr().String(), clock: c, items: map[string]memcachedItem{}}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return m
}

func (m *memcached) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		answer := "ERROR\r\n"
		switch {
		case len(words) == 2 && (words[0] == "gets" || words[0] == "get"):
			answer = m.get(words[1])
		case len(words) == 5 && words[0] == "set":
			size, err := strconv.Atoi(words[4])
			if err != nil {
				return
			}
			value := make([]byte, size+2)
			if _, err := io.ReadFull(in, value); err != nil {
				return
			}
			seconds, err := strconv.ParseInt(words[3], 10, 64)
			if err != nil {
				return
			}
			m.set(words[1], value[:size], seconds)
			answer = "STORED\r\n"
		case len(words) == 2 && words[0] == "delete":
			answer = m.remove(words[1])
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (m *memcached) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	item, ok := m.items[key]
	if !ok || !item.expires.IsZero() && !m.clock.Now().Before(item.expires) {
		return "END\r\n"
	}
	return fmt.Sprintf("VALUE %s 0 %d 1\r\n%s\r\nEND\r\n", key, len(item.value), item.value)
}

func (m *memcached) set(key string, value []byte, seconds int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = seconds
	item := memcachedItem{value: value}
	switch {
	case seconds == 0:
	case seconds > 30*24*3600:
		item.expires = time.Unix(seconds, 0)
	default:
		item.expires = m.clock.Now().Add(time.Duration(seconds) * time.Second)
	}
	m.items[key] = item
}

func (m *memcached) remove(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.items[key]; !ok {
		return "NOT_FOUND\r\n"
	}
	delete(m.items, key)
	return "DELETED\r\n"
}
