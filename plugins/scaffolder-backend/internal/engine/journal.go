package engine

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/flytower/flytower/internal/redact"
	scaffoldercommon "github.com/flytower/flytower/plugins/scaffolder-common"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

// Journal takes what a run tells, in order.
type Journal interface {
	Write(ctx context.Context, body scaffoldercommon.EventBody) error
}

// log writes a line of a run, with its secrets hidden.
func (x *execution) log(body scaffoldercommon.EventBody) error {
	body.Message = x.redact(body.Message)
	return x.run.Journal.Write(x.ctx, body)
}

// stepLog is the handler of the logger of an action. Lines have their level in
// front, in colour, and their attributes as JSON at the end.
type stepLog struct {
	x      *execution
	step   string
	prefix string // of groups
	attrs  []slog.Attr
}

func newStepLogger(x *execution, step string) *slog.Logger {
	return slog.New(&stepLog{x: x, step: step})
}

func (*stepLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h *stepLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	changed := *h
	changed.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.prefix + a.Key
		changed.attrs = append(changed.attrs, a)
	}
	return &changed
}

func (h *stepLog) WithGroup(name string) slog.Handler {
	changed := *h
	if name != "" {
		changed.prefix += name + "."
	}
	return &changed
}

func (h *stepLog) Handle(_ context.Context, r slog.Record) error {
	level, colour := "info", "32"
	switch {
	case r.Level >= slog.LevelError:
		level, colour = "error", "31"
	case r.Level >= slog.LevelWarn:
		level, colour = "warn", "33"
	}
	attrs := slices.Clone(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		a.Key = h.prefix + a.Key
		attrs = append(attrs, a)
		return true
	})
	var text strings.Builder
	text.WriteString("\x1b[" + colour + "m" + level + "\x1b[39m: " + r.Message)
	if len(attrs) > 0 {
		slices.SortStableFunc(attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
		record := template.NewRecord()
		for _, a := range attrs {
			record.Set(a.Key, attrValue(a.Value.Resolve()))
		}
		text.WriteString(" " + string(template.AppendJSON(nil, record)))
	}
	return h.x.log(scaffoldercommon.EventBody{Message: text.String(), StepID: h.step})
}

func attrValue(v slog.Value) template.Value {
	any := v.Any()
	if err, ok := any.(error); ok {
		return template.String(err.Error())
	}
	if value, err := template.From(any); err == nil {
		return value
	}
	return template.String(v.String())
}

// minHiddenLine is the length from which on a line of a secret is a secret by
// itself; shorter ones occur by chance.
const minHiddenLine = 8

// hideText makes a secret known and, since logs are written in lines, each
// line of a long one.
func hideText(secrets *redact.Redactor, secret string) {
	all := []string{secret}
	if strings.Contains(strings.TrimSpace(secret), "\n") {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= minHiddenLine && !strings.HasPrefix(line, "-----") {
				all = append(all, line)
			}
		}
	}
	secrets.Add(all...)
}

// learn makes texts known as secrets that exist only because of secrets: those
// of a value that are not the same without them.
func learn(secrets *redact.Redactor, with, without template.Value) {
	switch v := with.(type) {
	case template.String:
		if with != without {
			hideText(secrets, string(v))
		}
	case *template.Array:
		other, _ := without.(*template.Array)
		for i, item := range v.All() {
			var counterpart template.Value = template.Undefined{}
			if other != nil && i < other.Len() {
				counterpart = other.At(i)
			}
			learn(secrets, item, counterpart)
		}
	case *template.Record:
		other, _ := without.(*template.Record)
		for key, item := range v.All() {
			counterpart, ok := other.Get(key)
			if !ok {
				hideText(secrets, key)
			}
			learn(secrets, item, counterpart)
		}
	}
}

// redact hides the secrets of the run in a text.
func (x *execution) redact(text string) string { return string(x.secrets.Redact([]byte(text))) }
