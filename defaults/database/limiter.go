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
//     order of arrival; only plugins that use their whole share are passed by.
//   - Whoever holds a place and finds no idle connection in the pool makes one.
//     If max connections exist, some are idle in other pools, since at most max
//     are used: one of those is closed.
type limiter struct {
	max    int
	waited func(time.Duration) // is told how long each wait took

	mu      sync.Mutex
	used    int
	line    list.List // of *waiter
	held    map[*pgx.Conn]*share
	sockets int
	dialers list.List // of chan struct{}, closed when it is their turn
	pools   map[*pgxpool.Pool]struct{}
}

// share is how many places one plugin may have at once.
type share struct {
	max  int
	used int // guarded by the limiter's mutex
}

type waiter struct {
	share *share
	turn  chan struct{} // closed when the place is handed over
}

func newLimiter(most int, waited func(time.Duration)) *limiter {
	return &limiter{max: most, waited: waited, held: map[*pgx.Conn]*share{}, pools: map[*pgxpool.Pool]struct{}{}}
}

// occupancy is what the limiter knows, for metrics.
type occupancy struct{ used, idle, waiting int }

func (l *limiter) occupancy() occupancy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return occupancy{used: l.used, idle: max(0, l.sockets-l.used), waiting: l.line.Len()}
}

// enter takes a place. It reports whether it did before ctx ended.
func (l *limiter) enter(ctx context.Context, s *share) bool {
	w := &waiter{share: s, turn: make(chan struct{})}
	l.mu.Lock()
	e := l.line.PushBack(w)
	l.admitLocked()
	l.mu.Unlock()
	select {
	case <-w.turn:
		l.waited(0)
		return true
	default:
	}
	began := time.Now()
	select {
	case <-w.turn:
		l.waited(time.Since(began))
		return true
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-w.turn: // handed over in the same moment
			l.leaveLocked(s)
		default:
			l.line.Remove(e)
		}
		return false
	}
}

// admitLocked hands out the free places.
func (l *limiter) admitLocked() {
	for e := l.line.Front(); e != nil && l.used < l.max; {
		next, w := e.Next(), e.Value.(*waiter)
		if w.share.used < w.share.max {
			l.used++
			w.share.used++
			close(w.turn)
			l.line.Remove(e)
		}
		e = next
	}
}

func (l *limiter) leaveLocked(s *share) {
	l.used--
	s.used--
	l.admitLocked()
}

// release gives the place of a connection back, if it has one.
func (l *limiter) release(conn *pgx.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.held[conn]; ok {
		delete(l.held, conn)
		l.leaveLocked(s)
	}
}

// ticket travels from the start of an acquisition to its end.
type ticket struct {
	share   *share
	entered bool
	cancel  context.CancelFunc
}

type ticketKey struct{}

// shareKey is the key of the share of the plugin that acquires a connection of
// a pool that plugins share.
type shareKey struct{}

// tracer makes a pool respect the limiter. It implements the tracers of pgx.
type tracer struct {
	limiter *limiter
	timeout time.Duration // for an acquisition
	own     *share        // of those that bring none
}

func (t *tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	k := &ticket{share: t.own}
	if s, ok := ctx.Value(shareKey{}).(*share); ok {
		k.share = s
	}
	ctx, k.cancel = context.WithTimeout(ctx, t.timeout)
	k.entered = t.limiter.enter(ctx, k.share) // if not, the pool returns the error of ctx
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
		t.limiter.leaveLocked(k.share)
	default:
		t.limiter.held[data.Conn] = k.share
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
