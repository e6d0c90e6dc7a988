package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/humanduration"
)

// settings are what the database and the routes know about a task.
type settings struct {
	Version      int    `json:"version"`
	Cadence      string `json:"cadence"` // cron expression, ISO 8601 duration, or "manual"
	InitialDelay string `json:"initialDelayDuration,omitempty"`
	Timeout      string `json:"timeoutAfterDuration"`
}

const manual = "manual"

// plan is settings in usable form.
type plan struct {
	next    func(time.Time) time.Time // of a cron expression, or nil
	every   time.Duration             // or 0
	delay   time.Duration
	timeout time.Duration
}

func (p plan) manual() bool { return p.next == nil && p.every == 0 }

// afterRun returns when the task runs next after a run that was due at some
// time and ended now; zero is never. What was missed is not made up for.
func (p plan) afterRun(due, now time.Time) time.Time {
	switch {
	case p.next != nil:
		return p.next(now)
	case p.every > 0:
		if next := due.Add(p.every); !due.IsZero() && next.After(now) {
			return next
		}
		return now
	}
	return time.Time{}
}

// atFirst returns when a new task runs; zero is never.
func (p plan) atFirst(now time.Time) time.Time {
	switch {
	case p.delay > 0:
		return now.Add(p.delay)
	case p.next != nil:
		return p.next(now)
	case p.every > 0:
		return now
	}
	return time.Time{}
}

// afterChange returns when a task that is registered anew would run next; zero
// is never.
func (p plan) afterChange(now time.Time) time.Time {
	switch {
	case p.next != nil:
		return p.next(now)
	case p.every > 0:
		return now.Add(p.every)
	}
	return time.Time{}
}

// interval is about how long it takes from one run to the next.
func (p plan) interval(now time.Time) time.Duration {
	switch {
	case p.next != nil:
		first := p.next(now)
		if second := p.next(first); second.After(first) {
			return second.Sub(first)
		}
	case p.every > 0:
		return p.every
	}
	return math.MaxInt64
}

func newSettings(s core.Schedule, zone *time.Location) (settings, plan, error) {
	out := settings{Version: 2, Timeout: iso(s.Timeout)}
	set := 0
	for _, b := range []bool{s.Frequency.Cron != "", s.Frequency.Every != 0, s.Frequency.Manual} {
		if b {
			set++
		}
	}
	switch {
	case set != 1:
		return out, plan{}, errors.New("exactly one of Cron, Every and Manual must be set")
	case s.Timeout <= 0:
		return out, plan{}, errors.New("the timeout must be positive")
	case s.Frequency.Every < 0 || s.Frequency.Every > 0 && s.Frequency.Every < time.Millisecond:
		return out, plan{}, fmt.Errorf("a frequency of %v is not possible: use a millisecond or more", s.Frequency.Every)
	case s.InitialDelay < 0:
		return out, plan{}, errors.New("the initial delay must not be negative")
	case s.Frequency.Manual:
		out.Cadence = manual
	case s.Frequency.Cron != "":
		out.Cadence = s.Frequency.Cron
	default:
		out.Cadence = iso(s.Frequency.Every)
	}
	if s.InitialDelay > 0 {
		out.InitialDelay = iso(s.InitialDelay)
	}
	p, err := out.plan(zone)
	return out, p, err
}

// parseSettings reads what this or another instance wrote, perhaps a newer one.
func parseSettings(text string, zone *time.Location) (plan, error) {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return plan{}, fmt.Errorf("settings of a task: %w", err)
	}
	if s.Version != 2 {
		return plan{}, fmt.Errorf("settings of a task have the unknown version %d", s.Version)
	}
	return s.plan(zone)
}

func (s settings) plan(zone *time.Location) (plan, error) {
	var p plan
	var err error
	if p.timeout, err = humanduration.ParseString(s.Timeout); err != nil {
		return p, fmt.Errorf("timeout: %w", err)
	}
	if s.InitialDelay != "" {
		if p.delay, err = humanduration.ParseString(s.InitialDelay); err != nil {
			return p, fmt.Errorf("initial delay: %w", err)
		}
	}
	switch {
	case s.Cadence == manual:
	case strings.HasPrefix(s.Cadence, "P"):
		if p.every, err = humanduration.ParseString(s.Cadence); err == nil && p.every <= 0 {
			err = fmt.Errorf("%q is no time at all", s.Cadence)
		}
		if err != nil {
			return p, fmt.Errorf("frequency: %w", err)
		}
	default:
		spec, err := parseCron(s.Cadence, zone)
		if err != nil {
			return p, fmt.Errorf("frequency: %w", err)
		}
		p.next = spec.Next
	}
	return p, nil
}

// iso writes a duration as ISO 8601 has it, in hours, minutes and seconds.
func iso(d time.Duration) string {
	d = d.Round(time.Millisecond)
	if d <= 0 {
		return "PT0S"
	}
	var b strings.Builder
	b.WriteString("PT")
	if h := d / time.Hour; h > 0 {
		fmt.Fprintf(&b, "%dH", h)
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		fmt.Fprintf(&b, "%dM", m)
	}
	if s := d % time.Minute; s > 0 {
		b.WriteString(strconv.FormatFloat(s.Seconds(), 'f', -1, 64) + "S")
	}
	return b.String()
}
