package memhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// headLimit is how much a handler may write before its answer begins, in
// bytes; it is the buffer of net/http's server.
const headLimit = 2048

// exchange is the http.ResponseWriter of one request. A handler uses it from
// one goroutine at a time, as it must with any ResponseWriter.
type exchange struct {
	method string
	header http.Header
	cancel context.CancelFunc

	wrote    bool // WriteHeader was called
	status   int
	sent     http.Header // copy at WriteHeader
	trailers []string    // names declared by the Trailer header
	length   int64       // declared Content-Length, -1 if none
	written  int64
	head     []byte // written before the answer began
	begin    sync.Once
	begun    chan struct{}
	aborted  error
	pipe     *pipe
	trailer  http.Header // complete when the pipe is at its end
}

// Header returns the header; changes after WriteHeader have no effect, except
// for trailers.
func (e *exchange) Header() http.Header { return e.header }

// WriteHeader fixes status and header. Informational ones are not passed on.
func (e *exchange) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	}
	if e.wrote || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	e.wrote, e.status, e.length = true, status, -1
	e.sent = e.header.Clone()
	for _, names := range e.sent.Values("Trailer") {
		for name := range strings.SplitSeq(names, ",") {
			if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); name != "" {
				e.trailers = append(e.trailers, name)
			}
		}
	}
	for name := range e.sent {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(e.sent, name)
		}
	}
	e.sent.Del("Trailer")
	e.sent.Del("Connection")
	e.sent.Del("Transfer-Encoding")
	if v := e.sent.Get("Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			e.length = n
		} else {
			e.sent.Del("Content-Length")
		}
	}
}

func (e *exchange) bodyAllowed() bool {
	return e.status >= 200 && e.status != http.StatusNoContent && e.status != http.StatusNotModified
}

// Write sends b.
func (e *exchange) Write(b []byte) (int, error) {
	if !e.wrote {
		e.WriteHeader(http.StatusOK)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if !e.bodyAllowed() {
		return 0, http.ErrBodyNotAllowed
	}
	e.written += int64(len(b))
	if e.length >= 0 && e.written > e.length {
		return 0, http.ErrContentLength
	}
	if e.hasBegun() {
		if e.method == http.MethodHead {
			return len(b), nil
		}
		return e.pipe.write(b)
	}
	e.head = append(e.head, b...)
	if len(e.head) > headLimit {
		if err := e.start(false); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (e *exchange) hasBegun() bool {
	select {
	case <-e.begun:
		return true
	default:
		return false
	}
}

// start lets the client see the answer, and what was written so far.
func (e *exchange) start(complete bool) (err error) {
	e.begin.Do(func() {
		if !e.wrote {
			e.WriteHeader(http.StatusOK)
		}
		e.complete(complete)
		head := e.head
		e.head = nil
		if complete && e.method != http.MethodHead {
			// It fits: the buffer of the pipe is larger than the head.
			_, err = e.pipe.write(head)
			close(e.begun)
			return
		}
		close(e.begun)
		if e.method != http.MethodHead {
			_, err = e.pipe.write(head)
		}
	})
	return err
}

// complete adds the headers that a server adds.
func (e *exchange) complete(all bool) {
	if _, set := e.sent["Date"]; !set {
		e.sent.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if !e.bodyAllowed() {
		return
	}
	if _, set := e.sent["Content-Type"]; !set && len(e.head) > 0 && e.sent.Get("Content-Encoding") == "" {
		e.sent.Set("Content-Type", http.DetectContentType(e.head))
	}
	if all && e.length < 0 && len(e.trailers) == 0 && (e.method != http.MethodHead || len(e.head) > 0) {
		e.length = int64(len(e.head))
		e.sent.Set("Content-Length", strconv.Itoa(len(e.head)))
	}
}

// Flush lets the client see what was written so far.
func (e *exchange) Flush() { _ = e.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (e *exchange) FlushError() error {
	if !e.wrote {
		e.WriteHeader(http.StatusOK)
	}
	return e.start(false)
}

// EnableFullDuplex succeeds: reading and writing never exclude each other.
func (e *exchange) EnableFullDuplex() error { return nil }

// SetReadDeadline can only remove the deadline, which is none anyway.
func (e *exchange) SetReadDeadline(at time.Time) error { return noDeadline(at) }

// SetWriteDeadline can only remove the deadline, which is none anyway.
func (e *exchange) SetWriteDeadline(at time.Time) error { return noDeadline(at) }

func noDeadline(at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return fmt.Errorf("in-memory requests have no deadlines: %w", errors.ErrUnsupported)
}

// finish ends the answer after the handler returned.
func (e *exchange) finish() {
	_ = e.start(true)
	e.trailer = http.Header{}
	for _, name := range e.trailers {
		if v := e.header.Values(name); len(v) > 0 {
			e.trailer[name] = v
		}
	}
	for name, v := range e.header {
		if t, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			e.trailer[textproto.CanonicalMIMEHeaderKey(t)] = v
		}
	}
	if e.length >= 0 && e.written < e.length && e.bodyAllowed() && e.method != http.MethodHead {
		e.pipe.finish(io.ErrUnexpectedEOF)
		return
	}
	e.pipe.finish(io.EOF)
}

// abort ends the answer after the handler panicked.
func (e *exchange) abort() {
	e.begin.Do(func() {
		e.aborted = ErrAborted
		close(e.begun)
	})
	e.pipe.finish(io.ErrUnexpectedEOF)
}

func (e *exchange) response(req *http.Request) *http.Response {
	resp := &http.Response{
		Status:     strconv.Itoa(e.status) + " " + http.StatusText(e.status),
		StatusCode: e.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: e.sent, ContentLength: e.length, Request: req,
	}
	if !e.bodyAllowed() {
		resp.ContentLength = 0
	}
	if len(e.trailers) > 0 {
		resp.Trailer = http.Header{}
		for _, name := range e.trailers {
			resp.Trailer[name] = nil
		}
	}
	resp.Body = &responseBody{e: e, resp: resp}
	return resp
}

// responseBody is what the client reads.
type responseBody struct {
	e    *exchange
	resp *http.Response
	once sync.Once
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.e.pipe.read(p)
	if errors.Is(err, io.EOF) && len(b.e.trailer) > 0 {
		b.once.Do(func() { b.resp.Trailer = b.e.trailer })
	}
	return n, err
}

// errBodyClosed is what reading after Close gives, and writing by a handler
// whose client has closed the body.
var errBodyClosed = errors.New("the body of the answer was closed")

func (b *responseBody) Close() error {
	b.e.pipe.abandon(errBodyClosed)
	b.e.cancel()
	return nil
}
