package roothttprouter

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/internal/isotime"
	"github.com/flytower/flytower/internal/redact"
)

// logRequest writes the line of a finished request. Values of query
// parameters that are credentials are not written.
func logRequest(ctx context.Context, log *slog.Logger, r *http.Request, original string, w *response, now time.Time) {
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	url := clip(redact.Query(original))
	method := clip(r.Method)
	agent := clip(first(r.Header["User-Agent"]))
	referrer := first(r.Header["Referer"])
	if referrer == "" {
		referrer = first(r.Header["Referrer"])
	}
	referrer = clip(redact.Query(referrer))
	length := first(w.Header()["Content-Length"])
	version := "1.1"
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		version = strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor)
	}

	line := make([]byte, 0, 512)
	line = append(line, '[')
	line = isotime.Append(line, now)
	line = append(line, `] "`...)
	line = append(line, method...)
	line = append(line, ' ')
	line = append(line, url...)
	line = append(line, " HTTP/"...)
	line = append(line, version...)
	line = append(line, `" `...)
	line = strconv.AppendInt(line, int64(w.status), 10)
	line = append(line, ' ')
	line = append(line, or(length, "0")...)
	line = append(line, ` "`...)
	line = append(line, or(referrer, "-")...)
	line = append(line, `" "`...)
	line = append(line, or(agent, "-")...)
	line = append(line, '"')
	text := string(line)
	date := text[1 : 1+strings.IndexByte(text, 'Z')]

	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("type", "incomingRequest"), slog.String("date", date), slog.String("method", method),
		slog.String("url", url), slog.Int("status", w.status), slog.String("httpVersion", version))
	if agent != "" {
		attrs = append(attrs, slog.String("userAgent", agent))
	}
	if n, err := strconv.ParseInt(length, 10, 64); err == nil {
		attrs = append(attrs, slog.Int64("contentLength", n))
	}
	if referrer != "" {
		attrs = append(attrs, slog.String("referrer", referrer))
	}
	// The logger would look up where in the code this is, which no line says.
	record := slog.NewRecord(now, slog.LevelInfo, text, 0)
	record.AddAttrs(attrs...)
	_ = log.Handler().Handle(ctx, record) // as the logger itself
}

// maxLogged bounds what a client can put into one field of a line, in bytes.
const maxLogged = 4096

func clip(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func or(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}
