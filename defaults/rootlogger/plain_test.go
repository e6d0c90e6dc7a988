package rootlogger

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

// FuzzPlainLine compares the short way with the long one.
func FuzzPlainLine(f *testing.F) {
	f.Add("message", "key", "value", int64(7), true, 0)
	f.Add("a\"b", "service", "x\ny", int64(-1), false, 4)
	f.Add("", "plugin", "", int64(0), false, 8)
	f.Add("ä", "", "ö", int64(0), true, -4)
	f.Add("m", "timestamp", "now", int64(1), true, 0)
	f.Fuzz(func(t *testing.T, message, key, text string, n int64, yes bool, level int) {
		var out bytes.Buffer
		log := New(Options{Writer: &out, Format: JSON, Level: slog.LevelDebug, Getenv: func(string) string { return "" }})
		h, ok := log.With("plugin", "catalog", "b", yes).Handler().(*handler)
		if !ok {
			t.Fatal("it has another handler")
		}
		record := slog.NewRecord(time.Unix(1_700_000_000, 123_456_789), slog.Level(level), message, 0)
		record.AddAttrs(slog.String("type", "x"), slog.String(key, text), slog.Int64("n", n), slog.Bool(key, yes), slog.String("a", text))
		var p plainLine
		if !p.render(h.state.settings.Load(), h, record) {
			return
		}
		e := newEntry(record)
		for _, a := range h.state.settings.Load().meta {
			e.add(nil, a)
		}
		for _, sc := range h.scope {
			for _, a := range sc.attrs {
				e.add(sc.group, a)
			}
		}
		record.Attrs(func(a slog.Attr) bool { e.add(nil, a); return true })
		if want := e.json(true); !bytes.Equal(p.line, want) {
			t.Errorf("%s, want %s", p.line, want)
		}
	})
}

func BenchmarkRequestLine(b *testing.B) {
	log := New(Options{Writer: io.Discard, Format: JSON, Getenv: func(string) string { return "" }})
	log.AddSecrets("a-secret-that-is-long", "another-one", "hunter2-hunter2")
	line := log.With("service", "rootHttpRouter")
	b.ReportAllocs()
	for b.Loop() {
		line.LogAttrs(context.Background(), slog.LevelInfo, `[2026-11-23T03:10:26.000Z] "GET /api/catalog/entities/by-name/component/default/component-0001 HTTP/1.1" 200 1330 "-" "bench"`,
			slog.String("type", "incomingRequest"), slog.String("date", "2026-11-23T03:10:26.000Z"), slog.String("method", "GET"),
			slog.String("url", "/api/catalog/entities/by-name/component/default/component-0001"), slog.Int("status", 200), slog.String("httpVersion", "1.1"),
			slog.String("userAgent", "bench"), slog.Int64("contentLength", 1330))
	}
}
