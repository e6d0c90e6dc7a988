// Package ratelimit bounds how many requests a client address may send.
//
//	limiter := ratelimit.New(settings, ratelimit.NewMemory(0), log)
//	handler = limiter.Wrap(handler)
//
// It counts in fixed windows. Counted answers carry X-RateLimit-Limit,
// X-RateLimit-Remaining and X-RateLimit-Reset (seconds since 1970); a request
// over the limit gets 429 with Retry-After. IPv6 addresses count by their /56,
// which is what a subscriber usually has.
package ratelimit

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// Store counts hits.
type Store interface {
	// Hit counts a hit of the key and returns the hits in its current window,
	// which began with its first hit, and when the window ends.
	Hit(ctx context.Context, key string, window time.Duration) (count int, reset time.Time, err error)
	// Undo takes a hit back.
	Undo(ctx context.Context, key string) error
}

// Settings are those of a level of backend.rateLimit.
type Settings struct {
	Window                 time.Duration
	Limit                  int
	Allowed                []netip.Prefix
	SkipSuccessfulRequests bool
	SkipFailedRequests     bool
	// PassOnStoreError lets requests pass when the store fails; otherwise they
	// get 500.
	PassOnStoreError bool
	// KeyPrefix separates the levels in a shared store.
	KeyPrefix string
}

// Defaults returns the settings of a level that says nothing: 5 requests per
// minute, loopback addresses free.
func Defaults(keyPrefix string) Settings {
	return Settings{
		KeyPrefix: keyPrefix, Window: time.Minute, Limit: 5,
		Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")},
	}
}

// Parse reads a level of backend.rateLimit over the defaults.
func Parse(c core.Config, keyPrefix string) (Settings, error) {
	return parseOver(c, Defaults(keyPrefix))
}

func parseOver(c core.Config, s Settings) (Settings, error) {
	var err error
	if s.Window, err = c.DurationOr("window", s.Window); err != nil {
		return s, err
	}
	if s.Window < time.Millisecond {
		return s, problem(c, "window", "must be at least a millisecond", "for example {minutes: 1}")
	}
	if s.Limit, err = c.IntOr("incomingRequestLimit", s.Limit); err != nil {
		return s, err
	}
	if s.Limit < 0 {
		return s, problem(c, "incomingRequestLimit", "must not be negative", "")
	}
	if c.Has("ipAllowList") {
		allowed, err := c.Strings("ipAllowList")
		if err != nil {
			return s, err
		}
		s.Allowed = nil
		for _, text := range allowed {
			p, err := ParsePrefix(text)
			if err != nil {
				return s, problem(c, "ipAllowList", "has "+strconv.Quote(text)+", which is no IP address or CIDR range", "")
			}
			s.Allowed = append(s.Allowed, p)
		}
	}
	for key, to := range map[string]*bool{
		"skipSuccessfulRequests": &s.SkipSuccessfulRequests,
		"skipFailedRequests":     &s.SkipFailedRequests,
		"passOnStoreError":       &s.PassOnStoreError,
	} {
		if *to, err = c.BoolOr(key, false); err != nil {
			return s, err
		}
	}
	return s, nil
}

func problem(c core.Config, key, problem, remedy string) error {
	return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: problem, Remedy: remedy}
}

// ParsePrefix reads an address or a CIDR range.
func ParsePrefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Limiter applies the settings.
type Limiter struct {
	settings Settings
	store    Store
	log      *slog.Logger
}

// New returns a limiter that counts in the store.
func New(s Settings, store Store, log *slog.Logger) *Limiter {
	return &Limiter{settings: s, store: store, log: log}
}

// Wrap limits the requests that reach next. The address is that of
// r.RemoteAddr; requests without one, which never left the process, pass.
func (l *Limiter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr, ok := Address(r)
		if !ok || l.allowed(addr) {
			next.ServeHTTP(w, r)
			return
		}
		key := l.settings.KeyPrefix + Group(addr)
		count, reset, err := l.store.Hit(r.Context(), key, l.settings.Window)
		if err != nil {
			l.log.ErrorContext(r.Context(), "The store of the rate limit failed", "error", err)
			if l.settings.PassOnStoreError {
				next.ServeHTTP(w, r)
				return
			}
			apierr.Write(w, r, apierr.New(apierr.KindError, "The rate limit cannot be checked"), "")
			return
		}
		h := w.Header()
		h.Set("X-Ratelimit-Limit", strconv.Itoa(l.settings.Limit))
		h.Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, l.settings.Limit-count)))
		h.Set("X-Ratelimit-Reset", strconv.FormatInt(ceilSeconds(reset), 10))
		if count > l.settings.Limit {
			h.Set("Retry-After", strconv.FormatInt(max(1, ceil(time.Until(reset))), 10))
			apierr.WriteJSON(w, http.StatusTooManyRequests, apierr.Body{
				Error:    map[string]any{"name": "Error", "message": "Too many requests, please try again later"},
				Response: apierr.BodyResponse{StatusCode: http.StatusTooManyRequests},
			})
			return
		}
		if !l.settings.SkipSuccessfulRequests && !l.settings.SkipFailedRequests {
			next.ServeHTTP(w, r)
			return
		}
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if failed := rec.status >= 400; failed && l.settings.SkipFailedRequests || !failed && l.settings.SkipSuccessfulRequests {
			if err := l.store.Undo(context.WithoutCancel(r.Context()), key); err != nil {
				l.log.WarnContext(r.Context(), "The store of the rate limit failed", "error", err)
			}
		}
	})
}

func ceil(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func ceilSeconds(t time.Time) int64 { return (t.UnixMilli() + 999) / 1000 }

func (l *Limiter) allowed(a netip.Addr) bool {
	for _, p := range l.settings.Allowed {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Address returns the client address of a request, without zone.
func Address(r *http.Request) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return a.Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// Group returns what the address counts as.
func Group(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(56)
	if err != nil {
		return a.String()
	}
	return p.String()
}

type statusRecorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (s *statusRecorder) WriteHeader(status int) {
	if !s.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		s.status, s.wrote = status, true
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write marks the answer as begun.
func (s *statusRecorder) Write(p []byte) (int, error) {
	s.wrote = true
	return s.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// FlushError sends what was written.
func (s *statusRecorder) FlushError() error {
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush is for handlers that ask for [http.Flusher].
func (s *statusRecorder) Flush() { _ = s.FlushError() } // the next write meets the same error

// Hijack hands the connection over.
func (s *statusRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(s.ResponseWriter).Hijack()
}
