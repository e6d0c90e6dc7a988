package roothttprouter

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/flytower/flytower/core"
)

// limits are those of backend.server.
type limits struct {
	headers     time.Duration // to receive the head of a request
	request     time.Duration // to receive a whole request
	keepAlive   time.Duration // between requests of a connection
	inactive    time.Duration // of a connection that takes no data; 0 is none
	maxHeaders  int           // 0 is no limit besides the size
	maxRequests int           // of a connection; 0 is no limit
}

// maxHeaderBytes is the largest head of a request. Users in many groups have
// long tokens, and lists are filtered by long URLs.
const maxHeaderBytes = 1 << 20

func parseLimits(config core.Config, log *slog.Logger) (limits, error) {
	l := limits{headers: 60 * time.Second, request: 300 * time.Second, keepAlive: 5 * time.Second}
	c := config.Sub("backend.server")
	for key, to := range map[string]*time.Duration{
		"headersTimeout": &l.headers, "requestTimeout": &l.request,
		"keepAliveTimeout": &l.keepAlive, "timeout": &l.inactive,
	} {
		if v, ok := c.Value(key); ok {
			if ms, ok := v.(float64); ok {
				*to = max(0, time.Duration(ms*float64(time.Millisecond)))
				continue
			}
		}
		d, err := c.DurationOr(key, *to)
		if err != nil {
			log.Warn("A limit of the HTTP server is ignored", "error", err)
			continue
		}
		*to = max(0, d)
	}
	var err error
	if l.maxHeaders, err = c.IntOr("maxHeadersCount", 0); err != nil {
		return l, err
	}
	l.maxRequests, err = c.IntOr("maxRequestsPerSocket", 0)
	return l, err
}

// limitBody gives the client a time in which the body must have arrived. Once
// it has, the connection is read without a limit, so that a long answer is
// not taken for a client that went away.
func limitBody(w http.ResponseWriter, r *http.Request, d time.Duration) {
	if d <= 0 || r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(d)) != nil {
		return // not a connection, as in tests
	}
	r.Body = &limitedBody{ReadCloser: r.Body, done: func() { _ = rc.SetReadDeadline(time.Time{}) }}
}

type limitedBody struct {
	io.ReadCloser
	done func()
}

// Read implements [io.Reader].
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.done != nil { //nolint:errorlint // readers return io.EOF itself
		b.done()
		b.done = nil
	}
	return n, err
}
