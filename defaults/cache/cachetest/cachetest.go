// Package cachetest checks that a store keeps what package cache promises.
//
//	func TestStore(t *testing.T) {
//		cachetest.Run(t, func(t *testing.T) (cache.Store, func(time.Duration)) {
//			clock := …
//			return mystore.New(clock), clock.Advance
//		})
//	}
package cachetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flytower/flytower/defaults/cache"
)

// Run runs the checks. Open returns an empty store, which Run closes, and a
// function that lets time pass for it.
func Run(t *testing.T, open func(t *testing.T) (store cache.Store, advance func(time.Duration))) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, *fixture){
		"absent":         absent,
		"set and get":    setAndGet,
		"overwrite":      overwrite,
		"delete":         remove,
		"expiry":         expiry,
		"renewed expiry": renewedExpiry,
		"for ever":       forever,
		"any bytes":      anyBytes,
		"plugins":        plugins,
		"long keys":      longKeys,
		"concurrency":    concurrency,
		"ended context":  endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, advance := open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			check(t, &fixture{t, store, advance})
		})
	}
}

type fixture struct {
	t       *testing.T
	store   cache.Store
	advance func(time.Duration)
}

func (f *fixture) set(name, value string, ttl time.Duration) {
	f.t.Helper()
	if err := f.store.Set(f.t.Context(), name, []byte(value), ttl); err != nil {
		f.t.Fatalf("Set %s: %v", name, err)
	}
}

func (f *fixture) want(name, value string) {
	f.t.Helper()
	got, ok, err := f.store.Get(f.t.Context(), name)
	if err != nil || !ok || string(got) != value {
		f.t.Errorf("Get %s: got %.100q, %v, %v; want %.100q", name, got, ok, err, value)
	}
}

func (f *fixture) wantAbsent(name string) {
	f.t.Helper()
	if got, ok, err := f.store.Get(f.t.Context(), name); err != nil || ok {
		f.t.Errorf("Get %s: got %.100q, %v, %v; want nothing", name, got, ok, err)
	}
}

func absent(_ *testing.T, f *fixture) { f.wantAbsent(f.store.Key("p", "nope")) }

func setAndGet(_ *testing.T, f *fixture) {
	name := f.store.Key("p", "a")
	f.set(name, "1", time.Minute)
	f.want(name, "1")
	f.want(name, "1")
}

func overwrite(_ *testing.T, f *fixture) {
	name := f.store.Key("p", "a")
	f.set(name, "1", 0)
	f.set(name, "22", 0)
	f.want(name, "22")
}

func remove(t *testing.T, f *fixture) {
	name := f.store.Key("p", "a")
	f.set(name, "1", 0)
	for range 2 {
		if err := f.store.Delete(t.Context(), name); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		f.wantAbsent(name)
	}
}

func expiry(_ *testing.T, f *fixture) {
	short, long := f.store.Key("p", "short"), f.store.Key("p", "long")
	f.set(short, "1", 2*time.Second)
	f.set(long, "2", time.Hour)
	f.advance(time.Second)
	f.want(short, "1")
	f.advance(2 * time.Second)
	f.wantAbsent(short)
	f.want(long, "2")
}

func renewedExpiry(_ *testing.T, f *fixture) {
	name := f.store.Key("p", "a")
	f.set(name, "1", 2*time.Second)
	f.set(name, "2", time.Hour)
	f.advance(time.Minute)
	f.want(name, "2")
	f.set(name, "3", 2*time.Second)
	f.advance(time.Minute)
	f.wantAbsent(name)
}

func forever(_ *testing.T, f *fixture) {
	name := f.store.Key("p", "a")
	f.set(name, "1", time.Second)
	f.set(name, "2", 0)
	f.advance(60 * 24 * time.Hour)
	f.want(name, "2")
}

func anyBytes(_ *testing.T, f *fixture) {
	for i, value := range []string{"", "\r\nEND\r\n", "\x00\xff", strings.Repeat("ä", 100_000)} {
		name := f.store.Key("p", fmt.Sprint(i))
		f.set(name, value, time.Hour)
		f.want(name, value)
	}
}

func plugins(_ *testing.T, f *fixture) {
	a, b := f.store.Key("a", "k"), f.store.Key("b", "k")
	f.set(a, "1", 0)
	f.wantAbsent(b)
	f.set(b, "2", 0)
	f.want(a, "1")
}

func longKeys(_ *testing.T, f *fixture) {
	name := f.store.Key("plugin", strings.Repeat("k", 199))
	f.set(name, "1", 0)
	f.want(name, "1")
}

func concurrency(t *testing.T, f *fixture) {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name := f.store.Key("p", fmt.Sprint(i%3))
			for range 20 {
				if err := f.store.Set(t.Context(), name, []byte("value"), time.Minute); err != nil {
					t.Errorf("Set: %v", err)
				}
				if got, ok, err := f.store.Get(t.Context(), name); err != nil || !ok || !bytes.Equal(got, []byte("value")) {
					t.Errorf("Get: %q, %v, %v", got, ok, err)
				}
			}
		})
	}
	group.Wait()
}

func endedContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.store.Set(ctx, f.store.Key("p", "a"), nil, 0); err == nil {
		t.Error("Set did not mind that the context has ended")
	}
	if _, _, err := f.store.Get(ctx, f.store.Key("p", "a")); err == nil {
		t.Error("Get did not mind that the context has ended")
	}
}
