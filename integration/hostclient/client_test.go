package hostclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/egress"
	"github.com/flytower/flytower/integration/hostclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that only sleeping moves.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.slept = append(c.slept, d)
	return ctx.Err()
}

func (c *clock) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func (c *clock) total() (sum time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.slept {
		sum += d
	}
	return sum
}

type fixture struct {
	*clock
	client *hostclient.Client
	url    string
	hits   *atomic.Int64
}

// setup starts a host that answers by serve, which gets the number of the
// request, from 1.
func setup(t *testing.T, o hostclient.Options, serve func(n int64, w http.ResponseWriter, r *http.Request)) fixture {
	t.Helper()
	f := fixture{clock: newClock(), hits: &atomic.Int64{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(f.hits.Add(1), w, r) }))
	t.Cleanup(srv.Close)
	if o.Transport == nil {
		o.Transport = egress.New(egress.Options{Trusted: func(h string) bool { return h == "127.0.0.1" }}).Transport()
	}
	o.Now, o.Sleep, o.Random = f.Now, f.clock.Sleep, func() float64 { return 0.5 }
	f.client, f.url = hostclient.New(o), srv.URL
	t.Cleanup(f.client.Close)
	return f
}

func wantKind(t *testing.T, err error, kind apierr.Kind) {
	t.Helper()
	if apierr.KindOf(err) != kind {
		t.Errorf("error %v (%s), want %s", err, apierr.KindOf(err), kind)
	}
}

func TestRetriesServerErrors(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503, 504} {
		f := setup(t, hostclient.Options{}, func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n < 3 {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, "ok")
		})
		a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url})
		if err != nil || string(a.Body) != "ok" {
			t.Errorf("%d: %v", status, err)
		}
		// 3/4 of 100 ms and of 200 ms: half is fixed, half is jitter.
		if got := f.total(); got != 225*time.Millisecond {
			t.Errorf("%d: slept %s", status, got)
		}
	}
}

func TestGivesUpAsUnavailable(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	_, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url})
	wantKind(t, err, apierr.KindServiceUnavailable)
	if n := f.hits.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	_, err = f.client.Get(t.Context(), hostclient.Request{URL: f.url, Method: http.MethodPost})
	wantKind(t, err, apierr.KindServiceUnavailable)
	if n := f.hits.Load(); n != 4 {
		t.Errorf("a POST was repeated: %d requests", n)
	}
	none := 0
	_, err = f.client.Get(t.Context(), hostclient.Request{URL: f.url, Limits: hostclient.Limits{MaxRetries: &none}})
	wantKind(t, err, apierr.KindServiceUnavailable)
	if n := f.hits.Load(); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
}

func TestBrokenConnectionsAreUnavailable(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n == 4 {
			fmt.Fprint(w, "whole")
			return
		}
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "part")
		if n != 1 {
			panic(http.ErrAbortHandler)
		}
	})
	_, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url})
	wantKind(t, err, apierr.KindServiceUnavailable)
	if a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url}); err != nil || string(a.Body) != "whole" {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLimitsOfHosts(t *testing.T) {
	t.Parallel()
	start := newClock().now
	for _, c := range []struct {
		name    string
		status  int
		header  map[string]string
		body    string
		limited bool
		wait    time.Duration
	}{
		{"429 with seconds", 429, map[string]string{"Retry-After": "7"}, "", true, 7 * time.Second},
		{"429 with a date", 429, map[string]string{"Retry-After": start.Add(9 * time.Second).Format(http.TimeFormat)}, "", true, 9 * time.Second},
		{"primary limit", 403, map[string]string{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(start.Unix()+12, 10)}, "", true, 12 * time.Second},
		{"GitLab", 429, map[string]string{"RateLimit-Limit": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": strconv.FormatInt(start.Unix()+5, 10)}, "", true, 5 * time.Second},
		{"draft with seconds", 429, map[string]string{"RateLimit-Limit": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": "6"}, "", true, 6 * time.Second},
		{"secondary limit with a hint", 403, map[string]string{"Retry-After": "3"}, `{"message":"You have exceeded a secondary rate limit."}`, true, 3 * time.Second},
		{"secondary limit without", 403, nil, `{"message":"You have exceeded a Secondary Rate Limit."}`, true, time.Minute},
		{"503 with a hint", 503, map[string]string{"Retry-After": "4"}, "", true, 4 * time.Second},
		{"forbidden", 403, map[string]string{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "40", "X-RateLimit-Reset": strconv.FormatInt(start.Unix()+9, 10)}, "no", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, hostclient.Options{MaxWait: 2 * time.Minute}, func(n int64, w http.ResponseWriter, _ *http.Request) {
				if n > 1 {
					fmt.Fprint(w, "ok")
					return
				}
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url})
			if err != nil {
				t.Fatal(err)
			}
			if !c.limited {
				if a.Status != c.status || string(a.Body) != c.body {
					t.Errorf("answer %d %q", a.Status, a.Body)
				}
				return
			}
			if a.Status != 200 || f.total() != c.wait {
				t.Errorf("status %d after %s, want 200 after %s", a.Status, f.total(), c.wait)
			}
		})
	}
}

func TestLongLimitsFailAtOnceAndForAll(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(429)
		}
	})
	r := hostclient.Request{URL: f.url, Credential: "a"}
	for range 3 {
		_, err := f.client.Get(t.Context(), r)
		wantKind(t, err, apierr.KindServiceUnavailable)
	}
	if n, slept := f.hits.Load(), f.total(); n != 1 || slept != 0 {
		t.Errorf("%d requests, slept %s; want 1 and none", n, slept)
	}
	q := f.client.Quotas()
	if len(q) != 1 || !q[0].BlockedUntil.Equal(f.Now().Add(10*time.Minute)) {
		t.Errorf("quotas %+v", q)
	}
	if _, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url, Credential: "b"}); err != nil {
		t.Errorf("another credential is blocked, too: %v", err)
	}
	f.advance(10 * time.Minute)
	if _, err := f.client.Get(t.Context(), r); err != nil {
		t.Errorf("after the time is over: %v", err)
	}
}

func TestShareOfQuotaIsKeptForInteractive(t *testing.T) {
	t.Parallel()
	left := atomic.Int64{}
	left.Store(12)
	var reset int64
	f := setup(t, hostclient.Options{}, func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "100")
		w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(left.Add(-1), 10))
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
	})
	reset = f.Now().Unix() + 1800
	get := func(interactive bool) error {
		_, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url, Interactive: interactive})
		return err
	}
	for range 2 {
		if err := get(false); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, get(false), apierr.KindServiceUnavailable)
	for i := range 10 {
		if err := get(true); err != nil {
			t.Fatalf("interactive request %d: %v", i, err)
		}
	}
	wantKind(t, get(true), apierr.KindServiceUnavailable)
	if q := f.client.Quotas()[0]; q.Remaining != 0 || q.Limit != 100 || q.Reset.Unix() != reset {
		t.Errorf("quota %+v", q)
	}
}

func TestRequestsPerMinute(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(int64, http.ResponseWriter, *http.Request) {})
	for range 4 {
		if _, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url, Limits: hostclient.Limits{PerMinute: 30}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.total(); got != 6*time.Second {
		t.Errorf("slept %s, want 6s", got)
	}
}

func TestInteractiveGoesFirst(t *testing.T) {
	t.Parallel()
	// Time stands still in the bubble until all wait, so the order is certain.
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		gate := make(chan struct{})
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			order = append(order, r.URL.Path)
			mu.Unlock()
			<-gate
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
		})
		c := hostclient.New(hostclient.Options{Transport: transport, MaxConcurrent: 1})
		var wg sync.WaitGroup
		for _, path := range []string{"/first", "/background1", "/background2", "/interactive"} {
			wg.Go(func() {
				if _, err := c.Get(t.Context(), hostclient.Request{URL: "https://h.example.com" + path, Interactive: path == "/interactive"}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if q := c.Quotas()[0]; q.InFlight != 1 || q.Waiting != 3 {
			t.Errorf("quota %+v", q)
		}
		close(gate)
		wg.Wait()
		if got := strings.Join(order, " "); got != "/first /interactive /background1 /background2" {
			t.Errorf("order %s", got)
		}
	})
}

// The configured rate is handed to interactive requests first, too.
func TestInteractiveGoesFirstAtARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		start := time.Now()
		c := hostclient.New(hostclient.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprintf("%s@%s", r.URL.Path[1:], time.Since(start)))
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})})
		var wg sync.WaitGroup
		for _, name := range []string{"first", "background", "interactive"} {
			wg.Go(func() {
				_, err := c.Get(t.Context(), hostclient.Request{
					URL: "https://h.example.com/" + name, Interactive: name == "interactive", Limits: hostclient.Limits{PerMinute: 60},
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if got := strings.Join(order, " "); got != "first@0s interactive@1s background@2s" {
			t.Errorf("order %s", got)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestIdenticalReadsAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hits atomic.Int64
		gate := make(chan struct{})
		c := hostclient.New(hostclient.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			hits.Add(1)
			select {
			case <-gate:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
		})})
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 5 {
			ctx := t.Context()
			if i == 0 {
				ctx = first
			}
			wg.Go(func() {
				_, err := c.Get(ctx, hostclient.Request{URL: "https://h.example.com/"})
				if (i == 0) != errors.Is(err, context.Canceled) {
					t.Errorf("caller %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		if hits.Load() != 1 {
			t.Errorf("%d requests, want 1", hits.Load())
		}
		cancel() // the one that runs goes away, another takes over
		synctest.Wait()
		close(gate)
		wg.Wait()
		if hits.Load() != 2 {
			t.Errorf("%d requests, want 2", hits.Load())
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		c := hostclient.New(hostclient.Options{MaxConcurrent: 1, MaxWaiting: 1, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-gate
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})})
		var wg sync.WaitGroup
		waiting, cancel := context.WithCancel(t.Context())
		for i, ctx := range []context.Context{t.Context(), waiting} {
			wg.Go(func() {
				_, err := c.Get(ctx, hostclient.Request{URL: "https://h.example.com/" + strconv.Itoa(i)})
				if (i == 1) != errors.Is(err, context.Canceled) {
					t.Errorf("request %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		_, err := c.Get(t.Context(), hostclient.Request{URL: "https://h.example.com/2"})
		wantKind(t, err, apierr.KindServiceUnavailable)
		cancel() // leaves the queue
		synctest.Wait()
		if q := c.Quotas()[0]; q.Waiting != 0 {
			t.Errorf("quota %+v", q)
		}
		close(gate)
		wg.Wait()
		if q := c.Quotas()[0]; q.InFlight != 0 {
			t.Errorf("quota %+v", q)
		}
	})
}

func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(_ int64, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "content")
	})
	get := func(r hostclient.Request) *hostclient.Answer {
		t.Helper()
		r.URL = f.url
		a, err := f.client.Get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for range 2 {
		if a := get(hostclient.Request{}); a.Status != 200 || string(a.Body) != "content" {
			t.Errorf("answer %d %q", a.Status, a.Body)
		}
	}
	if n := f.hits.Load(); n != 2 {
		t.Errorf("%d requests, want 2: one of them conditional", n)
	}
	get(hostclient.Request{Immutable: true})
	if n := f.hits.Load(); n != 2 {
		t.Errorf("%d requests: what cannot change was asked for again", n)
	}
	if a := get(hostclient.Request{Header: http.Header{"If-None-Match": {`"v1"`}}}); a.Status != 304 {
		t.Errorf("a condition of the caller gave %d", a.Status)
	}
	get(hostclient.Request{Credential: "other", Immutable: true})
	if n := f.hits.Load(); n != 4 {
		t.Errorf("%d requests: a memory is shared between credentials", n)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Header.Get("Authorization"), r.Header.Get("Private-Token"), r.Header.Get("Referer"))
	}))
	t.Cleanup(other.Close)
	f := setup(t, hostclient.Options{}, func(_ int64, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/same":
			http.Redirect(w, r, "/echo", http.StatusMovedPermanently)
		case "/echo":
			fmt.Fprint(w, r.Header.Get("Authorization"))
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		default:
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	})
	h := http.Header{"Authorization": {"Bearer x"}, "Private-Token": {"y"}}
	for path, want := range map[string]string{"/other": "||", "/same": "Bearer x"} {
		a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url + path, Header: h})
		if err != nil || string(a.Body) != want {
			t.Errorf("%s: %q, %v", path, a.Body, err)
		}
	}
	before := f.hits.Load()
	for _, path := range []string{"/metadata", "/file", "/loop"} {
		_, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url + path, Header: h})
		wantKind(t, err, apierr.KindNotAllowed)
	}
	if n := f.hits.Load() - before; n != 1+1+6 {
		t.Errorf("%d requests, want 8: refused redirects are not retried", n)
	}
	a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url + "/metadata", NoRedirects: true})
	if err != nil || a.Status != 302 {
		t.Errorf("redirects as answers: %v", err)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t, hostclient.Options{}, func(_ int64, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		for range 64 {
			fmt.Fprint(w, strings.Repeat("x", 1024))
		}
	})
	_, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url, MaxBytes: 4096})
	wantKind(t, err, apierr.KindPayloadTooLarge)
	if a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url, MaxBytes: 64 << 10}); err != nil || len(a.Body) != 64<<10 {
		t.Errorf("exactly as much: %v", err)
	}
	if a, err := f.client.Get(t.Context(), hostclient.Request{URL: f.url + "/missing", MaxBytes: 10}); err != nil || a.Status != 404 {
		t.Errorf("a long page that says that nothing is there: %v", err)
	}
	if q := f.client.Quotas()[0]; q.InFlight != 0 {
		t.Errorf("a slot is lost: %+v", q)
	}
}

func TestCredentialIDHidesTheSecret(t *testing.T) {
	t.Parallel()
	a, b := hostclient.CredentialID("ghp_a"), hostclient.CredentialID("ghp_b")
	if a == b || len(a) != 32 || strings.Contains(a, "ghp") || hostclient.CredentialID("") != "" {
		t.Errorf("%q, %q", a, b)
	}
}
