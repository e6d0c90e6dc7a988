package roothttprouter_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flytower/flytower/defaults/roothttprouter"
)

// events sends one event and waits until the client lets it go on.
func events(goOn <-chan struct{}, ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-goOn:
			_, _ = io.WriteString(w, "data: two\n\n")
		case <-r.Context().Done():
		}
		ended <- r.Context().Err()
	}
}

func (s *server) open(method, path string, headers ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestEventsAreNotBuffered(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"", "gzip"} {
		s := start(t, "backend:\n")
		goOn, ended := make(chan struct{}), make(chan error, 1)
		s.mount("/events", events(goOn, ended))
		resp := s.open("GET", "/events", "Accept-Encoding: "+coding)
		if resp.Header.Get("Content-Encoding") != coding {
			t.Fatalf("encoding %q, want %q", resp.Header.Get("Content-Encoding"), coding)
		}
		body := io.Reader(resp.Body)
		if coding == "gzip" {
			z, err := gzip.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		first := make([]byte, len("data: one\n\n"))
		if _, err := io.ReadFull(body, first); err != nil || string(first) != "data: one\n\n" {
			t.Fatalf("got %q, error %v", first, err)
		}
		close(goOn)
		if rest, err := io.ReadAll(body); err != nil || string(rest) != "data: two\n\n" {
			t.Errorf("then %q, error %v", rest, err)
		}
		<-ended
	}
}

func TestStopServesOnAndThenDrains(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  lifecycle: {serverShutdownDelay: 1s}")
	began, finish := make(chan struct{}), make(chan struct{})
	s.mount("/slow", func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "finished")
	})
	ended := make(chan error, 1)
	s.mount("/events", events(nil, ended))
	slow := make(chan string, 1)
	go func() {
		resp, err := http.Get(s.url + "/slow") //nolint:noctx // ends with the server
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			slow <- err.Error()
			return
		}
		slow <- string(body)
	}()
	<-began
	stream := s.open("GET", "/events")

	stopped := make(chan error, 1)
	go func() { stopped <- s.backend.Stop(context.Background()) }()
	// While the delay lasts, requests are served and readiness says no.
	for {
		resp, body := s.do("GET", "/.backstage/health/v1/readiness")
		if resp.StatusCode == 503 {
			if body != `{"message":"Backend is shutting down","status":"error"}` {
				t.Errorf("readiness says %s", body)
			}
			break
		}
	}
	// The event stream is ended, the slow request is waited for.
	if err := <-ended; err == nil {
		t.Error("the context of the event stream goes on")
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the event stream was cut off: %v", err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("the backend stopped under a request: %v", err)
	default:
	}
	close(finish)
	if got := <-slow; got != "finished" {
		t.Errorf("the slow request got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
		c.Close()
		t.Error("the server still accepts connections")
	}
}

func TestDrainHasALimit(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n", roothttprouter.WithDrainTimeout(time.Millisecond))
	began, ended := make(chan struct{}), make(chan struct{})
	s.mount("/hangs", func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	go func() {
		if resp, err := http.Get(s.url + "/hangs"); err == nil { //nolint:noctx // ends with the server
			resp.Body.Close()
		}
	}()
	<-began
	if err := s.backend.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	if !strings.Contains(s.log.String(), "cut off") {
		t.Errorf("the log does not tell:\n%s", s.log)
	}
}

func TestUpgradePassesThrough(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	ended := make(chan struct{})
	s.mount("/socket", func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		line, err := rw.ReadString('\n')
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "echo "+line)
		<-r.Context().Done() // until the server drains
	})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" || resp.Header.Get("Keep-Alive") != "" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	_, _ = io.WriteString(c, "hello\n")
	if got, err := br.ReadString('\n'); got != "echo hello\n" {
		t.Errorf("got %q, error %v", got, err)
	}
	if err := s.backend.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestHeadsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  server: {maxHeadersCount: 20}")
	s.mount("/x", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	// A user with a thousand groups has a long token and long filters.
	resp, _ := s.do("GET", "/x?"+strings.Repeat("filter=relations.ownedBy%3Dgroup:default/a-long-name&", 1000), "Authorization: Bearer "+strings.Repeat("x", 200<<10))
	if resp.StatusCode != 200 {
		t.Errorf("a head of 250 KiB: %d", resp.StatusCode)
	}
	got := s.raw("GET /x HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 2<<20) + "\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 431 ") || !strings.Contains(got, `{"error":{"name":"Error","message":"The head of the request is larger than 1024 KiB"},"response":{"statusCode":431}}`) {
		t.Errorf("a head of 2 MiB: %.300q", got)
	}
	got = s.raw("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Repeat("X-Many: 1\r\n", 30) + "\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("thirty fields: %.300q", got)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	for _, text := range []string{"GET /%E0%A4%A HTTP/1.1\r\nHost: x\r\n\r\n", "nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nBad Header: a\r\n\r\n"} {
		got := s.raw(text)
		if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(got, `{"error":{"name":"InputError",`) || !strings.Contains(got, "X-Frame-Options: SAMEORIGIN\r\n") {
			t.Errorf("%q: %q", text, got)
		}
	}
	mounted := http.NotFoundHandler()
	if err := s.Use("/api/words", mounted); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"GET /%E0%A4%A HTTP/1.1\r\nHost: x\r\n\r\n":            `"request":{"method":"GET","url":"/%E0%A4%A"}`,
		"PUT /API/Words/%zz?a=<b> HTTP/1.1\r\nHost: x\r\n\r\n": `"request":{"method":"PUT","url":"/%zz?a=\u003cb\u003e"}`,
	} {
		if got := s.raw(text); !strings.Contains(got, want) {
			t.Errorf("%q: %q lacks %s", text, got, want)
		}
	}
	for _, text := range []string{"nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /%A HTTP/1.1\r\n\r\n"} {
		if got := s.raw(text); strings.Contains(got, `"request"`) {
			t.Errorf("a request was made up: %q", got)
		}
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n  server: {headersTimeout: 20, requestTimeout: 20}")
	got := make(chan error, 1)
	s.mount("/body", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		got <- err
	})
	// The head never ends.
	if text := s.raw("GET / HTTP/1.1\r\nHost: x\r\nX-"); text != "" && !strings.HasPrefix(text, "HTTP/1.1 408") && !strings.HasPrefix(text, "HTTP/1.1 400") {
		t.Errorf("got %q", text)
	}
	// The body never ends.
	s.raw("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := <-got; err == nil {
		t.Error("a body that never arrives is read without end")
	}
}

// deadlines is a listener that remembers the read deadline of its connection.
type deadlines struct {
	net.Listener
	last atomic.Value // time.Time
}

type deadlineConn struct {
	net.Conn
	l *deadlines
}

func (l *deadlines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &deadlineConn{c, l}, err
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.l.last.Store(t)
	return c.Conn.SetReadDeadline(t)
}

func TestALongAnswerOutlivesTheRequestTimeout(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := &deadlines{Listener: l}
	s := start(t, "backend:\n", roothttprouter.WithListener(conn))
	// A connection that is read under a deadline ends the context of its
	// request when the deadline passes.
	limited := func() bool {
		d, _ := conn.last.Load().(time.Time)
		return !d.IsZero()
	}
	s.mount("/x", func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && !limited() {
			t.Error("the body may take for ever")
		}
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if limited() {
			t.Errorf("%s: the answer has the deadline of the request", r.Method)
		}
	})
	s.do("GET", "/x")
	resp, err := s.client.Post(s.url+"/x", "text/plain", strings.NewReader("x")) //nolint:noctx // short
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestFilesPassUncopied(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.png", time.Unix(1e9, 0), strings.NewReader(strings.Repeat("x", 100000)))
	})
	resp, body := s.do("GET", "/file")
	if resp.StatusCode != 200 || len(body) != 100000 || resp.Header.Get("Etag") != "" || resp.ContentLength != 100000 {
		t.Errorf("got %d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
	}
	resp, body = s.do("GET", "/file", "Range: bytes=5-9")
	if resp.StatusCode != 206 || body != "xxxxx" {
		t.Errorf("range: %d %q", resp.StatusCode, body)
	}
}

func TestUnusualRequestTargets(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/api/:pluginId", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "plugin "+r.PathValue("pluginId"))
	})
	s.mount("/api/app", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "app "+r.URL.Path) })
	for target, want := range map[string]string{
		"OPTIONS *":                        "",
		"CONNECT example.com:443":          "",
		"GET http://other.test/api/x/y":    "plugin x",
		"GET //evil.example.com/%2e%2e/":   "",
		"GET /api//x":                      "",
		"GET /api/%2e%2e/x":                "",
		"GET /x?" + strings.Repeat("&", 9): "app /x",
	} {
		got := s.raw(target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		if body != want {
			t.Errorf("%s: %q, want the body %q", target, got, want)
		}
	}
	if got := s.raw("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 404") || !strings.Contains(got, "X-Content-Type-Options") {
		t.Errorf("a request for the server takes another way: %q", got)
	}
}

// TestWholeBodies answers with bodies whose length the handler tells.
func TestWholeBodies(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	body := strings.Repeat("all of it ", 1000)
	s.mount("/whole", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
	resp, got := s.do("POST", "/whole")
	if got != body || resp.ContentLength != int64(len(body)) || resp.Header.Get("Etag") != "" {
		t.Errorf("got %d bytes, length %d, tag %q", len(got), resp.ContentLength, resp.Header.Get("Etag"))
	}
	resp, _ = s.do("POST", "/whole", "Accept-Encoding: gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength == int64(len(body)) {
		t.Errorf("compressed: encoding %q, length %d", resp.Header.Get("Content-Encoding"), resp.ContentLength)
	}
}

// TestAnswersOfAllSizes sends bodies around the sizes at which they take another
// way to the connection, several over each connection.
func TestAnswersOfAllSizes(t *testing.T) {
	t.Parallel()
	s := start(t, "backend:\n")
	s.mount("/sized", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		body := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		if r.URL.Query().Has("long") {
			w.Header().Set("X-Long", strings.Repeat("long", 2000)) // no head that fits into one write
		}
		if r.URL.Query().Has("early") {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = io.WriteString(w, body)
	})
	for _, n := range []int{1, 1000, 3000, 3300, 4095, 4096, 4097, 8191, 8192, 8193, 12_000, 70_000, 2_000_000} {
		for _, more := range []string{"", "&long", "&early", "&long&early"} {
			resp, got := s.do("GET", "/sized?n="+strconv.Itoa(n)+more)
			if resp.StatusCode != 200 || got != strings.Repeat("0123456789abcdef", n/16+1)[:n] {
				t.Errorf("%d%s: %d, %d bytes", n, more, resp.StatusCode, len(got))
			}
			if len(resp.Header["X-Content-Type-Options"]) != 1 || (len(resp.Header.Get("X-Long")) == 8000) != strings.Contains(more, "long") {
				t.Errorf("%d%s: %v", n, more, resp.Header)
			}
		}
	}
}
