// Package hostclient sends requests to source hosts as a good citizen of
// their rate limits.
//
//	client := hostclient.New(hostclient.Options{Transport: guard.Transport()})
//	answer, err := client.Get(ctx, hostclient.Request{
//		URL:        "https://api.github.com/repos/acme/shop",
//		Header:     http.Header{"Authorization": {"Bearer " + token}},
//		Credential: hostclient.CredentialID(token),
//	})
//
// One client serves a whole process, so that all callers share what it knows.
// Requests with the same host and credential pass through one lane:
//
//   - A lane runs a bounded number of requests at a time. Interactive ones go
//     first, and a share of the host's quota is kept for them.
//   - Retry-After, X-RateLimit-*, RateLimit-* and GitHub's secondary limits
//     stop the lane for as long as the host asks. A request that would wait
//     longer than Options.MaxWait fails at once.
//   - 429, 5xx and broken connections are retried a few times with growing,
//     jittered pauses, and are then service-unavailable errors. They are
//     never taken for an answer about the target.
//   - Identical reads at the same time are one request, and answers with an
//     ETag are remembered within a bound and revalidated.
//
// Redirects are followed up to five times, never from https to http, and
// without credentials to another host.
package hostclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/egress"
)

// Options configure a [Client]. The zero value of each member is its default.
type Options struct {
	// Transport sends the requests; the default is that of an [egress.Guard]
	// that trusts no host.
	Transport http.RoundTripper
	// MaxConcurrent is the number of requests at a time per lane; 10.
	MaxConcurrent int
	// MaxWaiting is the number of requests of each priority that wait per
	// lane; 1000.
	MaxWaiting int
	// MaxWait is the longest time that a request waits for the host before it
	// fails, and the longest pause between two tries; 30 seconds.
	MaxWait time.Duration
	// MaxRetries is how often a read is tried again; 2. Negative is never.
	MaxRetries int
	// InteractiveShare is the part of a host's quota that background requests
	// leave untouched; 0.1. Negative is none.
	InteractiveShare float64
	// QuietPeriod is the pause after a limit without a hint, which doubles
	// with each one in a row; 1 minute.
	QuietPeriod time.Duration
	// MemoryBytes bounds the remembered answers; 32 MiB. Negative is none.
	MemoryBytes int64
	// UserAgent is sent with every request; "flytower".
	UserAgent string

	// Now, Sleep and Random replace the clock and the source of jitter, a
	// number in [0,1), in tests.
	Now    func() time.Time
	Sleep  func(ctx context.Context, d time.Duration) error
	Random func() float64
}

func (o *Options) setDefaults() {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.MaxConcurrent, 10)
	def(&o.MaxWaiting, 1000)
	def(&o.MaxRetries, 2)
	if o.Transport == nil {
		o.Transport = egress.New(egress.Options{}).Transport()
	}
	if o.MaxWait == 0 {
		o.MaxWait = 30 * time.Second
	}
	if o.InteractiveShare == 0 {
		o.InteractiveShare = 0.1
	}
	if o.QuietPeriod == 0 {
		o.QuietPeriod = time.Minute
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 32 << 20
	}
	if o.UserAgent == "" {
		o.UserAgent = "flytower"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Client sends requests. Create it with [New]; it is safe for concurrent use.
type Client struct {
	opts   Options
	http   *http.Client
	reads  Flights[*Answer]
	memory *memory

	mu    sync.Mutex
	lanes map[laneKey]*lane
}

// New returns a client.
func New(o Options) *Client {
	o.setDefaults()
	return &Client{
		opts:   o,
		http:   &http.Client{Transport: o.Transport, CheckRedirect: checkRedirect},
		memory: newMemory(max(o.MemoryBytes, 0)),
		lanes:  map[laneKey]*lane{},
	}
}

// Close closes idle connections. Requests must have ended.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CredentialID returns a name for a secret, from which neither the secret nor
// another one of the same name can be found: answers are shared by it. It is
// "" for "".
func CredentialID(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("flytower credential\x00" + secret))
	return hex.EncodeToString(sum[:16])
}

// Request is a request to a host.
type Request struct {
	// Method is GET by default. Only GET and HEAD are retried after a broken
	// connection or a 5xx.
	Method string
	URL    string
	Header http.Header
	// Body of a request that is no read; nil for none.
	Body []byte
	// Credential names the credential in Header; see [CredentialID].
	Credential string
	// Resource is the part of the host's budget; "core" by default.
	Resource string
	// Interactive requests go before others.
	Interactive bool
	// MaxBytes bounds the body that [Client.Get] reads; 16 MiB by default.
	MaxBytes int64
	// Immutable says that the URL names its content, as that of a git object
	// does: a remembered answer is used without asking the host.
	Immutable bool
	// NoRedirects returns redirects as answers.
	NoRedirects bool
	// Limits are those that the operator configured for the host.
	Limits Limits
}

// Limits are configured per host.
type Limits struct {
	// MaxRetries overrides that of the client where it is not nil.
	MaxRetries *int
	// RetryStatus are further statuses that are worth a retry.
	RetryStatus []int
	// PerMinute is the number of requests per minute; 0 is no limit.
	PerMinute int
}

// maxRefusal is how much of the body of a redirect or a refusal is kept, in
// bytes.
const maxRefusal = 64 << 10

// DefaultMaxBytes is how much of a body [Client.Get] reads by default.
const DefaultMaxBytes = 16 << 20

// Answer is a whole answer. It may be shared: do not change it.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// URL is where the answer came from, after redirects.
	URL string
}

// Get sends a request and reads the whole answer. Any status but those that
// say "not now" (429, 5xx and refusals because of a limit) is an answer; those
// are service-unavailable errors. A longer body than MaxBytes is a
// payload-too-large error, an address that the egress guard blocks a
// not-allowed error.
func (c *Client) Get(ctx context.Context, r Request) (*Answer, error) {
	if r.MaxBytes <= 0 {
		r.MaxBytes = DefaultMaxBytes
	}
	if m := r.method(); m != http.MethodGet || len(r.Body) > 0 {
		return c.fetch(ctx, r)
	}
	key := r.key()
	a, _, err := c.reads.Do(ctx, key, func(ctx context.Context) (*Answer, error) {
		return c.revalidate(ctx, r, key)
	})
	return a, err
}

// revalidate reads what it remembers only if it changed. A conditional
// request of the caller passes as it is.
func (c *Client) revalidate(ctx context.Context, r Request, key string) (*Answer, error) {
	conditional := r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	var known *remembered
	if !conditional {
		if known = c.memory.get(key); known != nil {
			if r.Immutable {
				return known.answer, nil
			}
			r.Header = r.Header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			r.Header.Set("If-None-Match", known.etag)
		}
	}
	a, err := c.fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	if known != nil && a.Status == http.StatusNotModified {
		return known.answer, nil
	}
	if !conditional {
		c.memory.put(key, a)
	}
	return a, nil
}

func (c *Client) fetch(ctx context.Context, r Request) (*Answer, error) {
	tries := &tries{left: c.retries(r)}
	for {
		a, err := c.fetchOnce(ctx, r, tries)
		var cut *cutError
		if err == nil || !errors.As(err, &cut) {
			return a, err
		}
		if !r.repeatable() || !tries.another() {
			return nil, apierr.ServiceUnavailable("reading the answer of %s: %w", r.host(), cut.err)
		}
		if err := c.opts.Sleep(ctx, c.backoff(tries.done-1)); err != nil {
			return nil, err
		}
	}
}

// tries counts the retries of a request, wherever it breaks.
type tries struct{ done, left int }

// another takes one of the retries that are left.
func (t *tries) another() bool {
	if t.left <= 0 {
		return false
	}
	t.done++
	t.left--
	return true
}

// cutError tells that the connection broke within the body.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }

// fetchOnce opens the answer and reads its body.
func (c *Client) fetchOnce(ctx context.Context, r Request, t *tries) (*Answer, error) {
	resp, err := c.open(ctx, r, t)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	limit, whole := r.MaxBytes, true
	if resp.StatusCode >= 300 {
		// The page that comes with a refusal is not what the caller bounds.
		limit, whole = maxRefusal, false
	}
	if whole && resp.ContentLength > limit {
		return nil, tooLarge(r)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &cutError{err}
	case int64(len(body)) > limit && whole:
		return nil, tooLarge(r)
	}
	body = body[:min(int64(len(body)), limit)]
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: body, URL: resp.Request.URL.String()}, nil
}

func tooLarge(r Request) error {
	return apierr.New(apierr.KindPayloadTooLarge, "the answer of %s has more than %d bytes", r.host(), r.MaxBytes)
}

// Open sends a request and returns the answer with its body unread; the
// caller closes it. The slot in the lane is held until then. Errors are those
// of [Client.Get].
func (c *Client) Open(ctx context.Context, r Request) (*http.Response, error) {
	return c.open(ctx, r, &tries{left: c.retries(r)})
}

func (c *Client) open(ctx context.Context, r Request, t *tries) (*http.Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("request to a malformed URL %q", r.URL)
	}
	l := c.lane(laneKey{strings.ToLower(u.Host), r.Credential, r.resource()})
	for {
		resp, pause, err := c.send(ctx, l, r, t.done)
		if err == nil {
			return resp, nil
		}
		if pause < 0 || pause > c.opts.MaxWait || !t.another() {
			return nil, err
		}
		if err := c.opts.Sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// send makes one try. pause is how long to wait before the next; negative
// where another try is of no use.
func (c *Client) send(ctx context.Context, l *lane, r Request, try int) (resp *http.Response, pause time.Duration, err error) {
	const never = -1
	if err := l.enter(ctx, r.Interactive, r.Limits.PerMinute); err != nil {
		return nil, never, err
	}
	leave := sync.OnceFunc(l.leave)
	defer func() {
		if err != nil {
			leave()
		}
	}()
	req, err := http.NewRequestWithContext(withRedirects(ctx, !r.NoRedirects), r.method(), r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, never, fmt.Errorf("making a request to %s: %w", r.host(), err)
	}
	if len(r.Body) == 0 {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	maps.Copy(req.Header, r.Header)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.opts.UserAgent)
	}
	resp, err = c.http.Do(req)
	if err != nil {
		return nil, c.afterBreak(ctx, r, try, err), c.broken(ctx, r, err)
	}
	var start []byte
	refusal := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests
	if refusal {
		start, err = io.ReadAll(io.LimitReader(resp.Body, 8<<10))
		if err != nil {
			_ = resp.Body.Close()
			return nil, c.afterBreak(ctx, r, try, err), c.broken(ctx, r, err)
		}
	}
	s := readSignals(resp.StatusCode, resp.Header, start, c.opts.Now())
	l.observe(s)
	if s.limited || resp.StatusCode >= 500 || slices.Contains(r.Limits.RetryStatus, resp.StatusCode) {
		_ = resp.Body.Close()
		return nil, c.afterRefusal(l, r, s, resp.StatusCode, try), c.refused(l, r, s, resp.StatusCode)
	}
	resp.Body = &body{Reader: io.MultiReader(bytes.NewReader(start), resp.Body), closer: resp.Body, leave: leave}
	return resp, 0, nil
}

// body gives the slot of the lane back when it is closed.
type body struct {
	io.Reader
	closer io.Closer
	leave  func()
}

func (b *body) Close() error {
	defer b.leave()
	return b.closer.Close()
}

func (c *Client) broken(ctx context.Context, r Request, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, whose query may hold a signature
	}
	if egress.IsBlocked(err) {
		return apierr.NotAllowed("%w; name the host below integrations or backend.reading.allow if it is meant to be reached", err)
	}
	var refused *redirectError
	if errors.As(err, &refused) {
		return apierr.NotAllowed("%s answered with a redirect that is not followed: %w", r.host(), err)
	}
	return apierr.ServiceUnavailable("no answer from %s: %w", r.host(), err)
}

func (c *Client) afterBreak(ctx context.Context, r Request, try int, err error) time.Duration {
	var refused *redirectError
	if ctx.Err() != nil || egress.IsBlocked(err) || errors.As(err, &refused) || !r.repeatable() {
		return -1
	}
	return c.backoff(try)
}

func (c *Client) afterRefusal(l *lane, r Request, s signals, status, try int) time.Duration {
	if s.limited {
		// A limit means that nothing happened, so any request may be repeated.
		// The lane itself waits; a pause of zero lets it decide.
		if wait := l.blockedFor(); wait > c.opts.MaxWait {
			return -1
		}
		return 0
	}
	if !r.repeatable() || status == http.StatusNotImplemented {
		return -1
	}
	return c.backoff(try)
}

func (c *Client) refused(l *lane, r Request, s signals, status int) error {
	if s.limited {
		return l.unavailable(whyBlocked, l.blockedFor())
	}
	return apierr.ServiceUnavailable("%s answered with status %d", r.host(), status)
}

// backoff is 100 ms·2^try, at most 10 s, of which the upper half is jitter.
func (c *Client) backoff(try int) time.Duration {
	d := min(100*time.Millisecond<<min(try, 10), 10*time.Second)
	return d/2 + time.Duration(c.opts.Random()*float64(d/2))
}

func (c *Client) retries(r Request) int {
	if r.Limits.MaxRetries != nil {
		return *r.Limits.MaxRetries
	}
	return max(c.opts.MaxRetries, 0)
}

// maxLanes bounds the lanes: with tokens of users there is one per user.
const maxLanes = 1024

func (c *Client) lane(k laneKey) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.lanes[k]; ok {
		return l
	}
	if len(c.lanes) >= maxLanes {
		maps.DeleteFunc(c.lanes, func(_ laneKey, l *lane) bool { return l.idle() })
	}
	l := &lane{key: k, opts: &c.opts}
	c.lanes[k] = l
	return l
}

// Quotas returns what is known about every lane, sorted by host, credential
// and resource.
func (c *Client) Quotas() []Quota {
	c.mu.Lock()
	lanes := slices.Collect(maps.Values(c.lanes))
	c.mu.Unlock()
	slices.SortFunc(lanes, func(a, b *lane) int { return strings.Compare(a.key.String(), b.key.String()) })
	quotas := make([]Quota, len(lanes))
	for i, l := range lanes {
		quotas[i] = l.quota()
	}
	return quotas
}

func (r *Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func (r *Request) repeatable() bool {
	m := r.method()
	return m == http.MethodGet || m == http.MethodHead
}

func (r *Request) resource() string {
	if r.Resource == "" {
		return "core"
	}
	return r.Resource
}

func (r *Request) host() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return "the host"
	}
	return u.Host
}

// key tells reads apart that may have different answers. Interactive reads do
// not wait for background ones.
func (r *Request) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\x00%s\x00%t\x00%t\x00%d", r.URL, r.Credential, r.Interactive, r.NoRedirects, r.MaxBytes)
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		v := strings.Join(r.Header[k], ",")
		if k == "Authorization" {
			if r.Credential != "" {
				continue // named already, and by a name that outlives its renewal
			}
			v = CredentialID(v)
		}
		fmt.Fprintf(&b, "\x00%s:%s", k, v)
	}
	return b.String()
}
