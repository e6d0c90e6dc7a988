package roothttprouter

import (
	"context"
	"sync/atomic"
	"time"
)

// connection is the state of a connection.
type connection struct {
	requests  atomic.Int64
	streaming atomic.Bool // an event stream, or taken over
	draining  *atomic.Bool
	plain     *plainConn         // nil below TLS
	cancel    context.CancelFunc // of the context of its requests
}

// stream marks the answer as one that does not end by itself.
func (c *connection) stream() {
	c.streaming.Store(true)
	if c.draining.Load() {
		c.cancel()
	}
}

// track remembers the connection while it serves a request.
func (s *Server) track(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
}

func (s *Server) untrack(c *connection) {
	c.streaming.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// whenIdle returns a channel that is closed when no request is served.
func (s *Server) whenIdle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		idle := make(chan struct{})
		if len(s.conns) == 0 {
			close(idle)
			return idle
		}
		s.idle = idle
	}
	return s.idle
}

// cancel ends the contexts of requests: of streams, or of all.
func (s *Server) cancel(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if all || c.streaming.Load() {
			c.cancel()
		}
	}
}

// drain serves on while load balancers learn that the backend is not ready
// any more, and then until the last request is answered.
func (s *Server) drain(ctx context.Context) error {
	if s.shutdownDelay > 0 {
		t := time.NewTimer(s.shutdownDelay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	limit, cancel := context.WithTimeout(ctx, s.drainTimeout)
	defer cancel()
	s.draining.Store(true)
	s.cancel(false)
	if s.http.Shutdown(limit) == nil {
		select {
		case <-s.whenIdle():
			return nil
		case <-limit.Done():
		}
	}
	s.Log.Warn("Requests that did not end in time are cut off", "limit", s.drainTimeout)
	s.cancel(true)
	return s.http.Close()
}
