// Package memhttp sends HTTP requests to a handler of the same process
// without a network.
//
//	transport := memhttp.New(nil)
//	resp, err := transport.RoundTrip(req, handler)
//
// What both sides see is what they would see over a connection: the answer
// begins when the handler flushes, has written 2 KiB or returns, whichever
// comes first; it streams in both directions with bounded buffers; a client
// that goes away ends the context of the handler; values of the client's
// context do not reach the handler. Hijacking is not possible, and there are
// no deadlines other than those of the contexts.
package memhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
)

// Panicked is called with the value and the stack of a handler that panicked,
// unless it panicked with [http.ErrAbortHandler].
type Panicked func(r *http.Request, value any, stack []byte)

// Transport owns the goroutines in which handlers run.
type Transport struct {
	panicked Panicked

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// New returns a transport. A nil panicked logs with [slog.Default].
func New(panicked Panicked) *Transport {
	if panicked == nil {
		panicked = func(r *http.Request, v any, stack []byte) {
			slog.ErrorContext(r.Context(), "handler panicked", "path", r.URL.Path, "panic", v, "stack", string(stack))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Transport{panicked: panicked, ctx: ctx, cancel: cancel}
}

// ErrClosed is what requests get after [Transport.Close].
var ErrClosed = errors.New("the in-memory transport is closed")

// ErrAborted is what a client gets whose handler panicked before the answer
// began.
var ErrAborted = errors.New("the handler ended abnormally")

// Close ends the contexts of the handlers that still run, and waits for them
// until ctx ends. No request is accepted from then on.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	done := make(chan struct{})
	go func() { t.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for handlers of in-memory requests: %w", ctx.Err())
	}
}

// RoundTrip lets h answer the request; h sees the path of the request's URL.
// Like that of an [http.RoundTripper], it returns when the answer begins. The
// caller closes the body of the answer; if it does so early, or if the context
// of the request ends, the context of the handler ends.
func (t *Transport) RoundTrip(req *http.Request, h http.Handler) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		closeBody(req)
		return nil, err
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		closeBody(req)
		return nil, ErrClosed
	}
	t.wg.Add(1)
	t.mu.Unlock()

	// The handler gets none of the values of the client's context: over a
	// connection it would not either, and they may hold credentials.
	ctx, cancel := context.WithCancel(t.ctx)
	body := newRequestBody(req.Body)
	ex := &exchange{
		method: req.Method, header: http.Header{}, cancel: cancel,
		begun: make(chan struct{}), pipe: newPipe(),
	}
	stop := context.AfterFunc(req.Context(), func() {
		ex.pipe.abandon(req.Context().Err())
		cancel()
	})
	// A handler may be blocked reading a body that never comes.
	release := context.AfterFunc(ctx, func() { body.Close() })
	server := serverRequest(ctx, req, body)
	go func() {
		defer t.wg.Done()
		defer cancel()
		defer stop()
		defer release()
		defer body.Close()
		t.serve(ex, server, h)
	}()

	select {
	case <-ex.begun:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-t.ctx.Done():
		cancel()
		return nil, ErrClosed
	}
	if ex.aborted != nil {
		return nil, ex.aborted
	}
	return ex.response(req), nil
}

func (t *Transport) serve(ex *exchange, r *http.Request, h http.Handler) {
	clean := false
	defer func() {
		v := recover()
		if clean {
			return
		}
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // identity is what net/http compares, too
			t.panicked(r, v, debug.Stack())
		}
		ex.abort()
	}()
	h.ServeHTTP(ex, r)
	ex.finish()
	clean = true
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// serverRequest returns the request as a server would have read it.
func serverRequest(ctx context.Context, req *http.Request, body io.ReadCloser) *http.Request {
	u := *req.URL
	u.Scheme, u.Host, u.User, u.Fragment, u.RawFragment = "", "", nil, "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	r := (&http.Request{
		Method: req.Method, URL: &u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: req.Header.Clone(), Body: body, ContentLength: req.ContentLength,
		// There is no RemoteAddr: whoever counts or trusts addresses must not
		// take this for a client of this machine.
		Host: req.Host, RequestURI: u.RequestURI(),
	}).WithContext(ctx)
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		r.ContentLength = 0
	case req.ContentLength == 0:
		r.ContentLength = -1 // a body of unknown length
	}
	if r.ContentLength > 0 {
		r.Header.Set("Content-Length", fmt.Sprint(r.ContentLength))
	}
	if r.ContentLength < 0 {
		r.TransferEncoding = []string{"chunked"}
	}
	return r
}

// requestBody makes the caller's body safe to close while it is read, and
// keeps the handler from reading it after the exchange.
type requestBody struct {
	rc   io.ReadCloser
	mu   sync.Mutex
	done bool
}

func newRequestBody(rc io.ReadCloser) io.ReadCloser {
	if rc == nil || rc == http.NoBody {
		return http.NoBody
	}
	return &requestBody{rc: rc}
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	done := b.done
	b.mu.Unlock()
	if done {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.rc.Read(p)
}

func (b *requestBody) Close() error {
	b.mu.Lock()
	first := !b.done
	b.done = true
	b.mu.Unlock()
	if !first {
		return nil
	}
	return b.rc.Close()
}

// pipeLimit is how far a handler may be ahead of its client, in bytes.
const pipeLimit = 64 << 10

// pipe is a bounded buffer between a handler and its client.
type pipe struct {
	mu     sync.Mutex
	change sync.Cond
	buf    bytes.Buffer
	end    error // what the reader gets after the buffer: io.EOF or worse
	gone   error // set when the reader has left
}

func newPipe() *pipe {
	p := &pipe{}
	p.change.L = &p.mu
	return p
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 {
		for p.buf.Len() >= pipeLimit && p.gone == nil {
			p.change.Wait()
		}
		if p.gone != nil {
			return n, p.gone
		}
		k := min(len(b), pipeLimit-p.buf.Len())
		p.buf.Write(b[:k])
		n += k
		b = b[k:]
		p.change.Broadcast()
	}
	return n, nil
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.gone != nil:
			return 0, p.gone
		case p.buf.Len() > 0:
			n, _ := p.buf.Read(b)
			p.change.Broadcast()
			return n, nil
		case p.end != nil:
			return 0, p.end
		case len(b) == 0:
			return 0, nil
		}
		p.change.Wait()
	}
}

// finish says that nothing more will be written.
func (p *pipe) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = err
	}
	p.change.Broadcast()
}

// abandon says that nothing more will be read.
func (p *pipe) abandon(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone == nil {
		p.gone = err
	}
	p.buf.Reset()
	p.change.Broadcast()
}
