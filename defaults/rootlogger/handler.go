package rootlogger

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
)

// lineWriter lets one line through at a time.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(line)
}

// handler implements slog.Handler. It keeps the attributes of With as they
// are, and renders at the end, because overrides look at their values.
type handler struct {
	state *state
	scope []scoped
	group []string
}

// scoped are attributes and the groups in which they stand.
type scoped struct {
	group []string
	attrs []slog.Attr
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.state.settings.Load().lowest()
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	next := *h
	next.scope = append(slices.Clip(h.scope), scoped{h.group, attrs})
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.group = append(slices.Clip(h.group), name)
	return &next
}

func (h *handler) Handle(_ context.Context, record slog.Record) error {
	s := h.state.settings.Load()
	if h.state.json && record.Level >= s.level {
		p, _ := plainLines.Get().(*plainLine)
		defer p.free()
		if p.render(s, h, record) {
			_, err := h.state.out.Write(h.state.redactor.Redact(p.line)) // it has no controls to escape
			return err
		}
	}
	e := newEntry(record)
	for _, a := range s.meta {
		e.add(nil, a)
	}
	for _, sc := range h.scope {
		for _, a := range sc.attrs {
			e.add(sc.group, a)
		}
	}
	record.Attrs(func(a slog.Attr) bool {
		e.add(h.group, a)
		return true
	})
	threshold := s.threshold(e.matched)
	if record.Level < threshold {
		return nil
	}
	e.debug = threshold <= slog.LevelDebug
	var line []byte
	if h.state.json {
		line = e.json(h.state.timestamp)
	} else {
		line = e.text(h.state.color)
	}
	_, err := h.state.out.Write(escapeControls(h.state.redactor.Redact(line)))
	return err
}
