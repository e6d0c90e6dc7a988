package scaffoldernode

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
)

// maxLogLine is the length of a line from which on it is written without
// waiting for its end, in bytes.
const maxLogLine = 1 << 20

// LogWriter writes what a program prints to the log of the task, line by line.
// Lines are put together before secrets in them are hidden, so it does not
// matter in which parts they arrive. Close writes what is left.
//
//	out := c.LogWriter(ctx)
//	defer out.Close()
//	cmd.Stdout, cmd.Stderr = out, out
func (c *ActionContext) LogWriter(ctx context.Context) io.WriteCloser {
	return &logWriter{ctx: ctx, logger: c.Logger}
}

type logWriter struct {
	ctx    context.Context
	logger *slog.Logger

	mu   sync.Mutex
	line []byte // without its end
}

// Write implements [io.Writer].
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		if room := maxLogLine - len(w.line); len(part) > room {
			part, rest, ended = p[:room], p[room:], true
		}
		w.line, p = append(w.line, part...), rest
		if ended {
			w.flush()
		}
	}
	return n, nil
}

func (w *logWriter) flush() {
	w.logger.InfoContext(w.ctx, string(bytes.TrimSuffix(w.line, []byte("\r"))))
	w.line = w.line[:0]
}

// Close implements [io.Closer].
func (w *logWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 {
		w.flush()
	}
	return nil
}
