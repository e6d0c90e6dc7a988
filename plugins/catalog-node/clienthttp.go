package catalognode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

const (
	// tries is how often a call that may be repeated is made.
	tries = 4
	// firstPause is doubled with each try.
	firstPause = 100 * time.Millisecond
	// maxPause is the longest time that the catalog may ask a caller to wait.
	maxPause = 30 * time.Second
	// maxAnswer bounds the answer to one call, in bytes.
	maxAnswer = 256 << 20
)

// ClientOption changes a part of the client.
type ClientOption func(*client)

// WithSleep sets how the client waits before it tries again, for tests. The
// default sleeps until the context ends.
func WithSleep(sleep func(ctx context.Context, d time.Duration) error) ClientOption {
	return func(c *client) { c.sleep = sleep }
}

// NewClient returns the client over a service that calls plugins.
func NewClient(peers core.PluginClientService, opts ...ClientOption) Client {
	c := &client{peers: peers, sleep: sleep}
	for _, o := range opts {
		o(c)
	}
	return c
}

type client struct {
	peers core.PluginClientService
	sleep func(ctx context.Context, d time.Duration) error
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

// request is a call of the catalog.
type request struct {
	method, path string
	query        url.Values
	body         any
	as           core.Credentials
	// repeatable says that the call may be made again although nobody knows
	// what became of the last try.
	repeatable bool
	// want is the only status that is a success; 0 is any 2xx.
	want int
	// decode reads a success; nil reads nothing.
	decode func(io.Reader) error
	// answer takes statuses that are no success, and reports whether they are
	// an answer after all.
	answer func(status int, body []byte) bool
}

// call makes a call whose answer is JSON.
func call[T any](ctx context.Context, c *client, r request) (T, error) {
	var out T
	r.decode = func(body io.Reader) error {
		var fresh T // of this try
		err := json.NewDecoder(body).Decode(&fresh)
		out = fresh
		return err
	}
	if err := c.do(ctx, r); err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// do makes a call, again where that may help.
func (c *client) do(ctx context.Context, r request) error {
	if r.body != nil {
		// Encoded once, and as it is sent: what does not encode is no trouble of
		// the catalog.
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.body); err != nil {
			return fmt.Errorf("encoding a request to the catalog: %w", err)
		}
		r.body = json.RawMessage(bytes.TrimSpace(text.Bytes()))
	}
	pause := firstPause
	for try := 1; ; try++ {
		err := c.try(ctx, r)
		var f *failure
		if err == nil || !errors.As(err, &f) {
			return err
		}
		if try > 1 && r.method == http.MethodDelete && apierr.KindOf(f.err) == apierr.KindNotFound {
			return nil // an earlier try, whose answer got lost, has removed it
		}
		if !r.repeatable || !f.again || try == tries || ctx.Err() != nil || f.after > maxPause {
			return f.err
		}
		wait := max(f.after, pause/2+rand.N(pause/2))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return f.err
		}
		if err := c.sleep(ctx, wait); err != nil {
			return errors.Join(f.err, err)
		}
		pause *= 2
	}
}

// failure is a call that failed.
type failure struct {
	err   error
	again bool          // it may succeed later
	after time.Duration // that the catalog asked for
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// try makes a call once.
func (c *client) try(ctx context.Context, r request) (err error) {
	resp, err := c.peers.Do(ctx, core.PluginRequest{Plugin: "catalog", Method: r.method, Path: r.path, Query: r.query, JSON: r.body, As: r.as})
	if err != nil {
		// Neither credentials that are no good nor a malformed request get
		// better with time; those have a kind.
		return &failure{err: err, again: apierr.KindOf(err) == apierr.KindError || apierr.KindOf(err) == apierr.KindServiceUnavailable}
	}
	defer resp.Body.Close()
	if r.want != 0 && resp.StatusCode != r.want || resp.StatusCode/100 != 2 {
		return c.refused(r, resp)
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer + 1}
	if r.decode != nil {
		err = r.decode(body)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body) // so that the connection can be used again
	}
	switch {
	case body.N <= 0:
		return fmt.Errorf("the catalog answered %s with more than %d bytes; ask for smaller pages or fewer fields", r.path, maxAnswer)
	case err != nil:
		return &failure{err: fmt.Errorf("reading the answer of the catalog to %s: %w", r.path, err), again: true}
	}
	return nil
}

// maxRefusal bounds what is read of an answer that is no success.
const maxRefusal = 1 << 20

func (c *client) refused(r request, resp *http.Response) error {
	if r.answer != nil {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if err != nil {
			return &failure{err: fmt.Errorf("reading the answer of the catalog to %s: %w", r.path, err), again: true}
		}
		if r.answer(resp.StatusCode, body) {
			return nil
		}
		resp.Body = io.NopCloser(bytes.NewReader(body)) // the caller closes the first one
	}
	if resp.StatusCode/100 == 2 {
		return fmt.Errorf("the catalog answered %s with the unexpected status %d", r.path, resp.StatusCode)
	}
	f := &failure{err: apierr.FromResponse(resp)}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.again, f.after = true, retryAfter(resp.Header.Get("Retry-After"))
	}
	return f
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3); 0 where
// it says nothing.
func retryAfter(v string) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
