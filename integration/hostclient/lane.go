package hostclient

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/flytower/flytower/apierr"
)

// laneKey is what hosts count requests by.
type laneKey struct {
	host, credential, resource string
}

// lane admits the requests to one host with one credential: a bounded number
// at a time, interactive ones first, none while the host asks for quiet.
type lane struct {
	key  laneKey
	opts *Options

	mu          sync.Mutex
	inFlight    int
	interactive list.List // of chan struct{}: requests that wait for a slot
	background  list.List
	nextAt      time.Time // earliest start of the next request where a rate is set
	pacing      int       // interactive requests that wait for nextAt
	blocked     time.Time // no request before this
	strikes     int       // limits hit in a row without a time to wait
	limit       int       // as the host told; 0 is unknown
	remaining   int
	reset       time.Time
	lastUsed    time.Time
}

// Quota is what is known about the budget of one credential at one host.
type Quota struct {
	Host string
	// Credential tells credentials apart; it is no secret. Empty is anonymous.
	Credential string
	// Resource is the part of the host's budget, "core" in general.
	Resource string
	// Limit and Remaining are requests per window as the host last told;
	// Limit 0 is unknown.
	Limit, Remaining int
	// Reset is the end of the window.
	Reset time.Time
	// BlockedUntil is set while the host asked for quiet.
	BlockedUntil time.Time
	// InFlight requests run, Waiting requests wait for a slot.
	InFlight, Waiting int
}

func (l *lane) quota() Quota {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := Quota{
		Host: l.key.host, Credential: l.key.credential, Resource: l.key.resource,
		Limit: l.limit, Remaining: l.remaining, Reset: l.reset,
		InFlight: l.inFlight, Waiting: l.interactive.Len() + l.background.Len(),
	}
	if l.blocked.After(l.opts.Now()) {
		q.BlockedUntil = l.blocked
	}
	return q
}

func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight == 0 && l.interactive.Len() == 0 && l.background.Len() == 0 && !l.blocked.After(l.opts.Now())
}

// enter waits until a request may start. The caller must call leave after a
// nil error.
func (l *lane) enter(ctx context.Context, interactive bool, perMinute int) error {
	for {
		wait, why, err := l.tryEnter(ctx, interactive, perMinute)
		if err != nil {
			return err
		}
		if wait <= 0 {
			return nil
		}
		if wait > l.opts.MaxWait {
			return l.unavailable(why, wait)
		}
		paced := interactive && why == whyRate
		if paced {
			l.addPacing(1)
		}
		err = l.opts.Sleep(ctx, wait)
		if paced {
			l.addPacing(-1)
		}
		if err != nil {
			return err
		}
	}
}

func (l *lane) addPacing(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pacing += n
}

const (
	whyBlocked = "the host limits the rate of requests"
	whyReserve = "what is left of the rate limit is kept for interactive requests"
	whyRate    = "the configured number of requests per minute is used up"
)

// tryEnter takes a slot, or tells how long to wait before the next try.
func (l *lane) tryEnter(ctx context.Context, interactive bool, perMinute int) (time.Duration, string, error) {
	l.mu.Lock()
	if wait, why := l.quietLocked(interactive, perMinute); wait > 0 {
		l.mu.Unlock()
		return wait, why, nil
	}
	queue := &l.background
	if interactive {
		queue = &l.interactive
	}
	if l.inFlight < l.opts.MaxConcurrent {
		l.takeLocked(perMinute)
		l.mu.Unlock()
		return 0, "", nil
	}
	if queue.Len() >= l.opts.MaxWaiting {
		l.mu.Unlock()
		return 0, "", apierr.ServiceUnavailable("%d requests wait for %s already; try again later", l.opts.MaxWaiting, l.key.host)
	}
	turn := make(chan struct{})
	place := queue.PushBack(turn)
	l.mu.Unlock()

	select {
	case <-turn:
		// The slot is ours. While we waited the host may have asked for quiet.
		l.mu.Lock()
		wait, why := l.quietLocked(interactive, perMinute)
		if wait <= 0 {
			l.startLocked(perMinute)
			l.mu.Unlock()
			return 0, "", nil
		}
		l.mu.Unlock()
		l.leave()
		return wait, why, nil
	case <-ctx.Done():
		l.mu.Lock()
		select {
		case <-turn: // granted at the same moment: pass it on
			l.mu.Unlock()
			l.leave()
		default:
			queue.Remove(place)
			l.mu.Unlock()
		}
		return 0, "", context.Cause(ctx)
	}
}

func (l *lane) takeLocked(perMinute int) {
	l.inFlight++
	l.startLocked(perMinute)
}

func (l *lane) startLocked(perMinute int) {
	now := l.opts.Now()
	l.lastUsed = now
	if perMinute > 0 {
		l.nextAt = later(now, l.nextAt).Add(time.Minute / time.Duration(perMinute))
	}
	if l.remaining > 0 {
		l.remaining-- // until the answer tells better
	}
}

// quietLocked returns how long a request has to wait for the host.
func (l *lane) quietLocked(interactive bool, perMinute int) (time.Duration, string) {
	now := l.opts.Now()
	if d := l.blocked.Sub(now); d > 0 {
		return d, whyBlocked
	}
	if l.limit > 0 && l.reset.After(now) {
		floor := 0
		if !interactive {
			floor = int(float64(l.limit) * l.opts.InteractiveShare)
		}
		if l.remaining <= floor {
			why := whyReserve
			if l.remaining <= 0 {
				why = whyBlocked
			}
			return l.reset.Sub(now), why
		}
	}
	if perMinute > 0 {
		step := time.Minute / time.Duration(perMinute)
		if d := l.nextAt.Sub(now); d > 0 {
			return d, whyRate
		}
		if !interactive && l.pacing > 0 {
			return step, whyRate
		}
	}
	return 0, ""
}

// leave gives the slot back, to a waiting interactive request first.
func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queue := range []*list.List{&l.interactive, &l.background} {
		if first := queue.Front(); first != nil {
			turn, _ := queue.Remove(first).(chan struct{})
			close(turn) // the slot passes on, so inFlight stays
			return
		}
	}
	l.inFlight--
}

// observe learns from the headers of an answer.
func (l *lane) observe(s signals) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	if s.hasQuota {
		// Answers of concurrent requests arrive in any order: within a window
		// the smallest number is the latest.
		if !s.reset.Equal(l.reset) || s.remaining < l.remaining || l.limit == 0 {
			l.remaining = s.remaining
		}
		l.limit, l.reset = s.limit, s.reset
	}
	if !s.limited {
		l.strikes = 0
		return
	}
	until := s.retryAt
	if until.IsZero() && s.hasQuota && s.remaining == 0 {
		until = s.reset
	}
	if !until.After(now) {
		// No hint: GitHub asks for a minute at least, and more each time.
		until = now.Add(min(l.opts.QuietPeriod<<min(l.strikes, 6), maxQuiet))
		l.strikes++
	}
	l.blocked = later(l.blocked, earlier(until, now.Add(maxQuiet)))
}

// blockedFor returns how long the host asked for quiet.
func (l *lane) blockedFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.blocked.Sub(l.opts.Now()), 0)
}

func (l *lane) unavailable(why string, wait time.Duration) error {
	e := apierr.ServiceUnavailable("no request to %s now: %s; try again in %s", l.key.host, why, wait.Round(time.Second))
	e.Fields = map[string]any{"retryAfterSeconds": int(wait/time.Second) + 1}
	return e
}

// maxQuiet bounds how long a host may silence us, against clocks and headers
// that are wrong. Windows of hosts are an hour.
const maxQuiet = 65 * time.Minute

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (k laneKey) String() string { return fmt.Sprintf("%s/%s/%s", k.host, k.credential, k.resource) }
