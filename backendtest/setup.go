package backendtest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// settings are what the features of this package change.
type settings struct {
	clock     *Clock
	level     slog.Level
	anonymous *Identity
	ownership map[string][]string
	panics    bool // are expected
}

// setup is the service that has the settings.
type setup struct {
	mu  sync.Mutex
	got *settings
}

var (
	// adjustments are added by features of a test.
	adjustments = backend.NewRootMultiServiceRef[func(*settings)]("backendtest.adjustments")
	// settingsRef is what they come to.
	settingsRef = backend.NewRootServiceRef[*settings]("backendtest.settings")
)

func adjust(fn func(*settings)) backend.Feature {
	return backend.NewRootServiceFactory(adjustments, func(*backend.RootEnv) backend.MakeFunc[func(*settings)] {
		return func(context.Context) (func(*settings), error) { return fn, nil }
	})
}

func (s *setup) factory() backend.ServiceFactory {
	return backend.NewRootServiceFactory(settingsRef, func(env *backend.RootEnv) backend.MakeFunc[*settings] {
		all := adjustments.From(env)
		return func(context.Context) (*settings, error) {
			got := &settings{level: slog.LevelWarn, ownership: map[string][]string{}}
			for _, fn := range all() {
				fn(got)
			}
			if got.clock == nil {
				got.clock = NewClock()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = got
			return got, nil
		}
	})
}

func (s *setup) clock() *Clock { return s.get().clock }

func (s *setup) get() *settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// UseClock makes the backend follow a clock, for example one that several
// backends share.
func UseClock(c *Clock) backend.Feature { return adjust(func(s *settings) { s.clock = c }) }

// LogLevel makes the log of the test show messages of the level and above.
// The default is slog.LevelWarn. The log of a test is printed if it fails, or
// with go test -v.
func LogLevel(level slog.Level) backend.Feature { return adjust(func(s *settings) { s.level = level }) }

// Silent logs nothing, for tests in which errors are expected.
func Silent() backend.Feature { return LogLevel(slog.Level(127)) }

// AllowPanics lets plugins panic. Otherwise a panic fails the test when it
// ends, even though the backend goes on.
func AllowPanics() backend.Feature { return adjust(func(s *settings) { s.panics = true }) }

// Unauthenticated makes requests without a token count as those of an
// identity. Tests that were written for other backends of the family expect
// User("user:default/mock"); here, as in production, such requests have no
// credentials.
func Unauthenticated(as Identity) backend.Feature {
	return adjust(func(s *settings) { s.anonymous = &as })
}

// Ownership makes a user own things by these entity refs, beside the user's
// own.
func Ownership(user string, refs ...string) backend.Feature {
	return adjust(func(s *settings) { s.ownership[user] = append(s.ownership[user], refs...) })
}

// testLog writes to the log of a test, until the test ends.
type testLog struct {
	mu     sync.Mutex
	t      testing.TB
	closed bool
}

func (l *testLog) factory() backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootLogger, func(env *backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		set := settingsRef.From(env)
		return func(context.Context) (*slog.Logger, error) {
			return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: set().level, ReplaceAttr: dropTime})), nil
		}
	})
}

func dropTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Write writes one line.
func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.t.Logf("%s", line[:max(len(line)-1, 0)])
	}
	return len(line), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
