package database

import (
	"container/list"
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// limiter bounds the connections of all pools together. It has two parts:
//
//   - Whoever wants to use a connection waits in line for one of max places,
//     whatever pool the connection is of. This is where waiting happens, in
//     order of arrival.
//   - Whoever holds a place and finds no idle connection in the pool makes one.
//     If max connections exist, some are idle in other pools, since at most max
//     are used: one of those is closed.
type limiter struct {
	max    int
	waited func(time.Duration) // is told how long each wait took

	mu      sync.Mutex
	used    int
	line    list.List // of chan struct{}, closed with the place handed over
	held    map[*pgx.Conn]struct{}
	sockets int
	dialers list.List // of chan struct{}, as line
	pools   map[*pgxpool.Pool]struct{}
}

func newLimiter(most int, waited func(time.Duration)) *limiter {
	return &limiter{max: most, waited: waited, held: map[*pgx.Conn]struct{}{}, pools: map[*pgxpool.Pool]struct{}{}}
}

// occupancy is what the limiter knows, for metrics.
type occupancy struct{ used, idle, waiting int }

func (l *limiter) occupancy() occupancy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return occupancy{used: l.used, idle: max(0, l.sockets-l.used), waiting: l.line.Len()}
}

// enter takes a place. It reports whether it did before ctx ended.
func (l *limiter) enter(ctx context.Context) bool {
	l.mu.Lock()
	if l.used < l.max && l.line.Len() == 0 {
		l.used++
		l.mu.Unlock()
		l.waited(0)
		return true
	}
	turn := make(chan struct{})
	e := l.line.PushBack(turn)
	l.mu.Unlock()
	began := time.Now()
	select {
	case <-turn:
		l.waited(time.Since(began))
		return true
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-turn: // handed over in the same moment
			l.leaveLocked()
		default:
			l.line.Remove(e)
		}
		return false
	}
}

func (l *limiter) leaveLocked() {
	if front := l.line.Front(); front != nil {
		close(l.line.Remove(front).(chan struct{}))
		return
	}
	l.used--
}

// release gives the place of a connection back, if it has one.
func (l *limiter) release(conn *pgx.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[conn]; ok {
		delete(l.held, conn)
		l.leaveLocked()
	}
}

// ticket travels from the start of an acquisition to its end.
type ticket struct {
	entered bool
	cancel  context.CancelFunc
}

type ticketKey struct{}

// tracer makes a pool respect the limiter. It implements the tracers of pgx.
type tracer struct {
	limiter *limiter
	timeout time.Duration // for an acquisition
}

func (t *tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	k := &ticket{}
	ctx, k.cancel = context.WithTimeout(ctx, t.timeout)
	k.entered = t.limiter.enter(ctx) // if not, the pool returns the error of ctx
	return context.WithValue(ctx, ticketKey{}, k)
}

func (t *tracer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	k := ctx.Value(ticketKey{}).(*ticket)
	k.cancel()
	t.limiter.mu.Lock()
	defer t.limiter.mu.Unlock()
	switch {
	case !k.entered:
	case data.Err != nil:
		t.limiter.leaveLocked()
	default:
		t.limiter.held[data.Conn] = struct{}{}
	}
}

func (t *tracer) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	t.limiter.release(data.Conn)
}

// TraceQueryStart does nothing: pgx takes only tracers of queries.
func (*tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd does nothing.
func (*tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// socket counts for the limiter until it is closed.
type socket struct {
	net.Conn
	limiter *limiter
	once    sync.Once
	mu      sync.Mutex
	conn    *pgx.Conn // whose socket this is, once known
}

// Close closes the socket, and gives back the place of a connection that was
// taken out of its pool for good.
func (s *socket) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		conn := s.conn
		s.mu.Unlock()
		if conn != nil {
			s.limiter.release(conn)
		}
		s.limiter.closed()
	})
	return s.Conn.Close()
}

func (s *socket) belongsTo(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
}

// socketOf finds the socket below encryption.
func socketOf(conn *pgx.Conn) (*socket, bool) {
	c := conn.PgConn().Conn()
	for {
		if s, ok := c.(*socket); ok {
			return s, true
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		c = inner.NetConn()
	}
}

// dial makes a connection once there is room for it.
func (l *limiter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := l.room(ctx); err != nil {
		return nil, err
	}
	var d net.Dialer // with TCP keep-alive
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		l.closed()
		return nil, err
	}
	return &socket{Conn: conn, limiter: l}, nil
}

func (l *limiter) room(ctx context.Context) error {
	l.mu.Lock()
	if l.sockets < l.max && l.dialers.Len() == 0 {
		l.sockets++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	e := l.dialers.PushBack(turn)
	l.mu.Unlock()
	// A connection becomes idle a moment after its place was given back, so
	// there may be none to close yet.
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		l.closeIdle(ctx)
		select {
		case <-turn:
			return nil
		case <-again.C:
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			select {
			case <-turn:
				l.closedLocked()
			default:
				l.dialers.Remove(e)
			}
			return ctx.Err()
		}
	}
}

func (l *limiter) closed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closedLocked()
}

func (l *limiter) closedLocked() {
	if front := l.dialers.Front(); front != nil {
		close(l.dialers.Remove(front).(chan struct{}))
		return
	}
	l.sockets--
}

// closeIdle closes an idle connection of the pool that has the most.
func (l *limiter) closeIdle(ctx context.Context) {
	l.mu.Lock()
	var richest *pgxpool.Pool
	most := int32(0)
	for p := range l.pools {
		if n := p.Stat().IdleConns(); n > most {
			richest, most = p, n
		}
	}
	l.mu.Unlock()
	if richest == nil {
		return
	}
	for i, conn := range richest.AcquireAllIdle(asIs(ctx)) {
		if i == 0 {
			_ = conn.Conn().Close(ctx) // it is gone in any case
		}
		conn.Release()
	}
}

func (l *limiter) add(p *pgxpool.Pool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pools[p] = struct{}{}
}

func (l *limiter) remove(p *pgxpool.Pool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pools, p)
}
