// Package plugincall calls the routes of a plugin, wherever it runs, and calls
// again where that may help. The clients that plugins offer to others share it:
//
//	c := plugincall.New(peers, "catalog")
//	found, err := plugincall.JSON[Page](ctx, c, plugincall.Request{Path: "/entities", As: who, Repeatable: true})
//
// What the plugin refuses is an error with the kind that it gave it, around an
// *apierr.ResponseError. Repeatable calls are repeated where the plugin does
// not answer or says that it cannot now (429, 502, 503, 504): up to four times
// in all, with growing pauses, or after the time that it asks for if that is up
// to half a minute, and while the context lasts.
package plugincall

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
	// maxPause is the longest time that the plugin may ask a caller to wait.
	maxPause = 30 * time.Second
	// maxAnswer bounds the answer to one call, in bytes.
	maxAnswer = 256 << 20
)

// Client calls one plugin. It is safe for concurrent use.
type Client struct {
	// Peers reach the plugin.
	Peers core.PluginClientService
	// Plugin is its id.
	Plugin string
	// Sleep is how the client waits before it tries again.
	Sleep func(ctx context.Context, d time.Duration) error
}

// New returns a client that waits until the context ends.
func New(peers core.PluginClientService, plugin string) *Client {
	return &Client{Peers: peers, Plugin: plugin, Sleep: sleep}
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

// Request is a call of the plugin.
type Request struct {
	// Method is GET if empty; Path is relative to the plugin, and escaped.
	Method, Path string
	Query        url.Values
	// Body, if not nil, is sent as JSON.
	Body any
	// As says on whose behalf.
	As core.Credentials
	// Repeatable says that the call may be made again although nobody knows
	// what became of the last try.
	Repeatable bool
	// Want is the only status that is a success; 0 is any 2xx.
	Want int
	// Decode reads a success; nil reads nothing.
	Decode func(io.Reader) error
	// Answer takes statuses that are no success, and reports whether they are
	// an answer after all; nil takes none.
	Answer func(status int, body []byte) bool
}

// JSON makes a call whose answer is JSON.
func JSON[T any](ctx context.Context, c *Client, r Request) (T, error) {
	var out T
	r.Decode = func(body io.Reader) error {
		var fresh T // of this try
		err := json.NewDecoder(body).Decode(&fresh)
		out = fresh
		return err
	}
	if err := c.Do(ctx, r); err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// Do makes a call, again where that may help.
func (c *Client) Do(ctx context.Context, r Request) error {
	if r.Body != nil {
		// Encoded once, and as it is sent: what does not encode is no trouble of
		// the plugin.
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.Body); err != nil {
			return fmt.Errorf("encoding a request to the %s: %w", c.Plugin, err)
		}
		r.Body = json.RawMessage(bytes.TrimSpace(text.Bytes()))
	}
	pause := firstPause
	for try := 1; ; try++ {
		err := c.try(ctx, r)
		var f *failure
		if err == nil || !errors.As(err, &f) {
			return err
		}
		if try > 1 && r.Method == http.MethodDelete && apierr.KindOf(f.err) == apierr.KindNotFound {
			return nil // an earlier try, whose answer got lost, has removed it
		}
		if !r.Repeatable || !f.again || try == tries || ctx.Err() != nil || f.after > maxPause {
			return f.err
		}
		wait := max(f.after, pause/2+rand.N(pause/2))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return f.err
		}
		if err := c.Sleep(ctx, wait); err != nil {
			return errors.Join(f.err, err)
		}
		pause *= 2
	}
}

// failure is a call that failed.
type failure struct {
	err   error
	again bool          // it may succeed later
	after time.Duration // that the plugin asked for
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// try makes a call once.
func (c *Client) try(ctx context.Context, r Request) (err error) {
	resp, err := c.Peers.Do(ctx, core.PluginRequest{Plugin: c.Plugin, Method: r.Method, Path: r.Path, Query: r.Query, JSON: r.Body, As: r.As})
	if err != nil {
		// Neither credentials that are no good nor a malformed request get
		// better with time; those have a kind.
		return &failure{err: err, again: apierr.KindOf(err) == apierr.KindError || apierr.KindOf(err) == apierr.KindServiceUnavailable}
	}
	defer resp.Body.Close()
	if r.Want != 0 && resp.StatusCode != r.Want || resp.StatusCode/100 != 2 {
		return c.refused(r, resp)
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer + 1}
	if r.Decode != nil {
		err = r.Decode(body)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body) // so that the connection can be used again
	}
	switch {
	case body.N <= 0:
		return fmt.Errorf("the %s answered %s with more than %d bytes; ask for smaller pages or fewer fields", c.Plugin, r.Path, maxAnswer)
	case err != nil:
		return &failure{err: fmt.Errorf("reading the answer of the %s to %s: %w", c.Plugin, r.Path, err), again: true}
	}
	return nil
}

// maxRefusal bounds what is read of an answer that is no success.
const maxRefusal = 1 << 20

func (c *Client) refused(r Request, resp *http.Response) error {
	if r.Answer != nil {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if err != nil {
			return &failure{err: fmt.Errorf("reading the answer of the %s to %s: %w", c.Plugin, r.Path, err), again: true}
		}
		if r.Answer(resp.StatusCode, body) {
			return nil
		}
		resp.Body = io.NopCloser(bytes.NewReader(body)) // the caller closes the first one
	}
	if resp.StatusCode/100 == 2 {
		return fmt.Errorf("the %s answered %s with the unexpected status %d", c.Plugin, r.Path, resp.StatusCode)
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
