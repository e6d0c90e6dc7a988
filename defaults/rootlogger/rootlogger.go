// Package rootlogger is the default logger of a backend: log/slog with
// readable coloured lines on a terminal and one JSON object per line
// elsewhere, levels that configuration decides per plugin or message, and
// secrets replaced by ***.
//
//	log := rootlogger.New(rootlogger.Options{})
//	log.Info("ready", "port", 7007)
//
// It works before there is a configuration; [Logger.Configure] applies one.
//
// A JSON line has the keys level, message, service, plugin (in plugins),
// timestamp and those of the attributes, sorted. An attribute "message" is
// appended to the message; attributes that are called level or timestamp
// get an underscore appended. An error is written as its text; causes that
// the text does not mention follow in <key>Causes, and with level debug
// stack has the types of all causes, and the stack of a panic.
//
// The levels of slog are error, warn, info and debug; between and below them
// are those of npm: http is -1, verbose -2 and silly -8.
package rootlogger

import (
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/flytower/flytower/internal/redact"
)

// Format is how lines look.
type Format int

// The formats. Auto is Text on a terminal and JSON elsewhere, and JSON
// wherever NODE_ENV is "production". Text is coloured on a terminal, unless
// NO_COLOR is set, and elsewhere if FORCE_COLOR is.
const (
	Auto Format = iota
	Text
	JSON
)

// Options customise a logger. The zero value is the default.
type Options struct {
	// Writer receives whole lines, one Write each, never two at once.
	// Nil stands for os.Stdout.
	Writer io.Writer
	Format Format
	// Level is the threshold as long as neither LOG_LEVEL nor the
	// configuration sets another one. The zero value is info.
	Level slog.Level
	// Meta is added to every line; the configuration can add to it. Without
	// it, lines have service: backstage.
	Meta map[string]any
	// OmitTimestamp leaves the key timestamp out of JSON lines.
	OmitTimestamp bool
	// Getenv reads LOG_LEVEL, NODE_ENV, NO_COLOR and FORCE_COLOR. Nil stands
	// for os.Getenv.
	Getenv func(string) string
}

// Logger is a *slog.Logger whose settings can change while it is in use. All
// loggers derived from it follow.
type Logger struct {
	*slog.Logger
	state *state
}

// state is what all loggers of a family share.
type state struct {
	out       *lineWriter
	json      bool
	color     bool
	timestamp bool
	redactor  redact.Redactor
	settings  atomic.Pointer[settings]
	base      settings // without configuration
	getenv    func(string) string
}

// New returns a logger. An invalid LOG_LEVEL is left for
// [Logger.Configure] to report.
func New(o Options) *Logger {
	s := &state{timestamp: !o.OmitTimestamp, getenv: o.Getenv}
	if s.getenv == nil {
		s.getenv = os.Getenv
	}
	if o.Writer == nil {
		o.Writer = os.Stdout
	}
	s.out = &lineWriter{w: o.Writer}
	file, isFile := o.Writer.(interface{ Fd() uintptr })
	terminal := isFile && term.IsTerminal(int(file.Fd()))
	switch o.Format {
	case JSON:
		s.json = true
	case Auto:
		s.json = !terminal || s.getenv("NODE_ENV") == "production"
	}
	s.color = (terminal || s.getenv("FORCE_COLOR") != "") && s.getenv("NO_COLOR") == ""
	s.base = settings{level: o.Level, meta: []slog.Attr{slog.String("service", "backstage")}}
	for _, key := range sortedKeys(o.Meta) {
		s.base.setMeta(key, o.Meta[key])
	}
	if level, ok := ParseLevel(s.getenv("LOG_LEVEL")); ok {
		s.base.level = level
	}
	initial := s.base
	s.settings.Store(&initial)
	return &Logger{Logger: slog.New(&handler{state: s}), state: s}
}

// AddSecrets makes secrets known that are replaced in everything written
// from now on, also in their JSON, URL and base64 forms. It returns how many
// were new.
func (l *Logger) AddSecrets(secrets ...string) int { return l.state.redactor.Add(secrets...) }

// Level returns the threshold for what no override matches.
func (l *Logger) Level() slog.Level { return l.state.settings.Load().level }
