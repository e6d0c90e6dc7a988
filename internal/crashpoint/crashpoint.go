// Package crashpoint breaks HTTP connections at chosen requests, for tests of
// what happens when a process dies between two requests.
//
//	var wire crashpoint.Wire
//	server := httptest.NewServer(wire.Wrap(handler))
//	wire.Cut(3, crashpoint.After, cancel) // the third request acts, and its answer is lost
//
// After the cut all requests fail, as those of a dead process do, until
// [Wire.Mend]. [Blip] breaks one request only, as a network does.
package crashpoint

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Point is where a request breaks off.
type Point int

const (
	// Before the server acts.
	Before Point = iota
	// After the server acted, and before its answer is sent.
	After
)

// String returns "before" or "after".
func (p Point) String() string {
	if p == Before {
		return "before"
	}
	return "after"
}

// Wire is what requests go over. The zero value is sound.
type Wire struct {
	mu    sync.Mutex
	n     int
	at    int
	point Point
	once  bool
	onCut func()
	cut   bool
	log   []string
}

// Cut breaks the connection at the n-th request from now on, counted from 1,
// and calls onCut, which may be nil, at once: it can end the process by
// cancelling its context.
func (w *Wire) Cut(n int, point Point, onCut func()) { w.set(n, point, onCut, false) }

// Blip breaks the connection at the n-th request from now on, and no other.
func (w *Wire) Blip(n int, point Point) { w.set(n, point, nil, true) }

// Mend makes the wire sound, and counts from 0.
func (w *Wire) Mend() { w.set(0, Before, nil, false) }

func (w *Wire) set(n int, point Point, onCut func(), once bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.at, w.point, w.onCut, w.once, w.cut, w.log = 0, n, point, onCut, once, false, nil
}

// Requests returns how many requests came since the last call of another
// method, broken ones included.
func (w *Wire) Requests() int { w.mu.Lock(); defer w.mu.Unlock(); return w.n }

// Log returns the requests, method and path each.
func (w *Wire) Log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.log...)
}

// WasCut reports whether the request to break came.
func (w *Wire) WasCut() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.cut }

// Wrap puts the wire before a server.
func (w *Wire) Wrap(server http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.n++
		w.log = append(w.log, r.Method+" "+r.URL.Path)
		here := w.at > 0 && w.n == w.at
		dead := w.cut && !w.once
		if here {
			w.cut = true
		}
		point, onCut := w.point, w.onCut
		w.mu.Unlock()
		switch {
		case here && point == After:
			// the server gets the whole request, whatever the client does then
			body, err := io.ReadAll(r.Body)
			if err == nil {
				again := r.Clone(context.WithoutCancel(r.Context()))
				again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				server.ServeHTTP(httptest.NewRecorder(), again)
			}
		case !here && !dead:
			server.ServeHTTP(rw, r)
			return
		}
		if here && onCut != nil {
			onCut()
		}
		panic(http.ErrAbortHandler)
	})
}
