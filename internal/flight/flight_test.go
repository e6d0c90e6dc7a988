package flight_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flytower/flytower/internal/flight"
)

func TestConcurrentCallsShareOneLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := flight.NewCache[string, int](10, time.Minute, time.Now)
		var loads atomic.Int32
		release := make(chan struct{})
		results := make(chan int, 20)
		for range 20 {
			go func() {
				v, err := c.Get(t.Context(), "k", func(context.Context) (int, error) {
					<-release
					return int(loads.Add(1)), nil
				})
				if err != nil {
					t.Error(err)
				}
				results <- v
			}()
		}
		synctest.Wait()
		close(release)
		for range 20 {
			if v := <-results; v != 1 {
				t.Errorf("got %d, want the one load", v)
			}
		}
		time.Sleep(time.Minute)
		if _, ok := c.Peek("k"); ok {
			t.Error("the result outlived its time")
		}
	})
}

func TestCancelledLeaderDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, string]
		ctx, cancel := context.WithCancel(t.Context())
		leader := make(chan error, 1)
		go func() {
			_, err := g.Do(ctx, "k", func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
			leader <- err
		}()
		synctest.Wait()
		waiter := make(chan string, 1)
		go func() {
			v, err := g.Do(t.Context(), "k", func(context.Context) (string, error) { return "taken over", nil })
			if err != nil {
				t.Error(err)
			}
			waiter <- v
		}()
		impatient, stop := context.WithCancel(t.Context())
		stop()
		if _, err := g.Do(impatient, "k", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a waiter whose context ended got %v", err)
		}
		synctest.Wait()
		cancel()
		if err := <-leader; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v", err)
		}
		if v := <-waiter; v != "taken over" {
			t.Errorf("the waiter got %q", v)
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	c := flight.NewCache[int, int](2, time.Minute, time.Now)
	boom := errors.New("boom")
	if _, err := c.Get(t.Context(), 1, func(context.Context) (int, error) { return 0, boom }); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	v, err := c.Get(t.Context(), 1, func(context.Context) (int, error) { return 7, nil })
	if v != 7 || err != nil {
		t.Fatalf("got %d, %v", v, err)
	}
}

func TestPanicReleasesTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, int]
		gate := make(chan struct{})
		go func() {
			defer func() { _ = recover() }()
			_, _ = g.Do(t.Context(), "k", func(context.Context) (int, error) { <-gate; panic("boom") })
		}()
		synctest.Wait()
		got := make(chan error, 1)
		go func() {
			_, err := g.Do(t.Context(), "k", nil)
			got <- err
		}()
		synctest.Wait()
		close(gate)
		if err := <-got; err == nil {
			t.Error("the waiter saw no error")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := flight.NewCache[int, int](3, time.Minute, time.Now)
	for i := range 100 {
		c.Put(i, i, time.Now().Add(time.Minute))
		c.Peek(0) // keeps the first one in use
	}
	if c.Len() != 3 {
		t.Errorf("%d results are kept, want 3", c.Len())
	}
	if _, ok := c.Peek(0); !ok {
		t.Error("the result in use made room")
	}
}
