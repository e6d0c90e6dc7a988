package backendtest

import (
	"slices"
	"sync"
	"time"
)

// Clock is a clock that stands still until it is advanced. A plugin that asks
// for the time through a service of its own can be given Now.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	seq    int
	alarms []alarm

	advancing sync.Mutex
}

type alarm struct {
	at  time.Time
	seq int // of the same moment, the one that was set first rings first
	fn  func()
}

// NewClock returns a clock that shows noon of 1 January 2026, UTC.
func NewClock() *Clock { return &Clock{now: time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward. The tasks that become due run one after the
// other, in the order in which they are due, each at the time that it is due;
// Advance returns when they have ended. It must not be called by a task.
func (c *Clock) Advance(d time.Duration) {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	target := c.Now().Add(d)
	for {
		ring := c.next(target)
		if ring == nil {
			return
		}
		ring()
	}
}

// next moves the clock to the next alarm up to the target and returns it, or
// to the target.
func (c *Clock) next(target time.Time) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.alarms) == 0 || c.alarms[0].at.After(target) {
		c.now = target
		return nil
	}
	first := c.alarms[0]
	c.alarms = c.alarms[1:]
	if first.at.After(c.now) {
		c.now = first.at
	}
	return first.fn
}

// at calls fn when the clock is advanced to t or beyond.
func (c *Clock) at(t time.Time, fn func()) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	seq := c.seq
	c.alarms = append(c.alarms, alarm{t, seq, fn})
	slices.SortFunc(c.alarms, func(a, b alarm) int {
		if byTime := a.at.Compare(b.at); byTime != 0 {
			return byTime
		}
		return a.seq - b.seq
	})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alarms = slices.DeleteFunc(c.alarms, func(a alarm) bool { return a.seq == seq })
	}
}
