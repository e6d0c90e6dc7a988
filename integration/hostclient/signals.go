package hostclient

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signals are what an answer says about limits.
type signals struct {
	hasQuota         bool
	limit, remaining int
	reset            time.Time
	// limited means that the request was refused because of a limit.
	limited bool
	// retryAt is when the host wants to hear from us again; zero is unknown.
	retryAt time.Time
}

// readSignals reads the headers of GitHub (X-RateLimit-*), GitLab and the
// IETF draft (RateLimit-*), and Retry-After (RFC 9110, section 10.2.3). body
// is the beginning of the body of a refusal: GitHub names its secondary
// limits only there.
func readSignals(status int, h http.Header, body []byte, now time.Time) signals {
	var s signals
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		limit, okLimit := number(h.Get(prefix + "Limit"))
		remaining, okRemaining := number(h.Get(prefix + "Remaining"))
		reset, okReset := number(h.Get(prefix + "Reset"))
		if okLimit && okRemaining && okReset && limit > 0 {
			s.hasQuota, s.limit, s.remaining = true, limit, remaining
			s.reset = earlier(moment(reset, now), now.Add(maxQuiet))
			break
		}
	}
	s.retryAt = retryAfter(h.Get("Retry-After"), now)
	switch status {
	case http.StatusTooManyRequests:
		s.limited = true
	case http.StatusForbidden:
		exhausted := s.hasQuota && s.remaining == 0
		s.limited = exhausted || !s.retryAt.IsZero() || isSecondaryLimit(body)
	case http.StatusServiceUnavailable:
		s.limited = !s.retryAt.IsZero()
	}
	return s
}

func isSecondaryLimit(body []byte) bool {
	lower := bytes.ToLower(body)
	for _, mark := range []string{"secondary rate limit", "abuse detection", "abuse-rate-limits", "api rate limit exceeded"} {
		if bytes.Contains(lower, []byte(mark)) {
			return true
		}
	}
	return false
}

// number reads the first whole number of a header such as "60" or "60, 60;w=60".
func number(s string) (int, bool) {
	s, _, _ = strings.Cut(s, ",")
	s, _, _ = strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(s))
	return n, err == nil && n >= 0
}

// moment reads seconds since 1970, or, where the number is too small for
// that, seconds from now.
func moment(seconds int, now time.Time) time.Time {
	const since1970 = 1_000_000_000 // the year 2001
	if seconds >= since1970 && seconds < math.MaxInt32*4 {
		return time.Unix(int64(seconds), 0)
	}
	return now.Add(time.Duration(min(seconds, int(maxQuiet/time.Second))) * time.Second)
}

func retryAfter(s string, now time.Time) time.Time {
	if s == "" {
		return time.Time{}
	}
	if n, ok := number(s); ok {
		return now.Add(time.Duration(min(n, int(maxQuiet/time.Second))) * time.Second)
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return time.Time{}
	}
	return earlier(t, now.Add(maxQuiet))
}
