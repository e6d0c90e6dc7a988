package roothttprouter

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
)

// connListener wraps the connections that it accepts.
type connListener struct {
	net.Listener
	inactive time.Duration
	refusal  func(status int, head []byte) []byte
	secure   bool
}

// Accept implements [net.Listener].
func (l *connListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.inactive > 0 {
		c = &patientConn{Conn: c, limit: l.inactive}
	}
	if l.secure {
		return c, nil // below TLS there is nothing to read here
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return &plainConn{TCPConn: tcp, refusal: l.refusal}, nil
	}
	return c, nil
}

// plainConn gives requests that net/http refuses before any handler sees them
// (a malformed line, a head that is too large) the headers and the body that
// every other error has. The refusal is one write, of a form that no answer
// of a handler has.
type plainConn struct {
	*net.TCPConn
	refusal func(status int, head []byte) []byte
	// head is how the newest request begins. Reading and refusing are done by
	// one goroutine after the other, never at once.
	head []byte
	wire wire
}

// maxHead bounds what is kept of a request, in bytes: enough for its line.
const maxHead = 1 << 10

// Read implements [net.Conn].
func (c *plainConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		if len(c.head) != 1 { // net/http takes the first byte of a request by itself
			c.head = c.head[:0]
		}
		c.head = append(c.head, p[:min(n, maxHead)]...)
	}
	return n, err
}

var (
	statusLine   = []byte("HTTP/1.1 ")
	refusalShape = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
)

// Write implements [net.Conn].
func (c *plainConn) Write(p []byte) (int, error) {
	if n, err, ok := c.wire.write(c.TCPConn, p); ok {
		return n, err
	}
	if len(p) > 256 || !bytes.HasPrefix(p, statusLine) || len(p) < len(statusLine)+3 {
		return c.TCPConn.Write(p)
	}
	head, _, ok := bytes.Cut(p, refusalShape)
	if !ok || bytes.Contains(head, []byte("\r\n")) {
		return c.TCPConn.Write(p)
	}
	status, err := strconv.Atoi(string(p[len(statusLine) : len(statusLine)+3]))
	if err != nil || status < 400 {
		return c.TCPConn.Write(p)
	}
	if _, err := c.TCPConn.Write(c.refusal(status, c.head)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// refusal returns a function that makes whole answers to requests that could
// not be read.
func (s *Server) refusal() func(status int, head []byte) []byte {
	return func(status int, head []byte) []byte {
		kind, message := apierr.KindInput, "The request is malformed"
		switch status {
		case 431:
			kind, message = apierr.KindError, "The head of the request is larger than "+strconv.Itoa(maxHeaderBytes>>10)+" KiB"
		case 501, 505:
			kind, message = apierr.KindNotImplemented, "The request asks for something that the server does not do"
		}
		body := `{"error":{"name":"` + string(kind) + `","message":"` + message + `"},` + s.refusedRequest(head) + `"response":{"statusCode":` + strconv.Itoa(status) + `}}`
		var b bytes.Buffer
		b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
		for _, h := range s.headers.list {
			b.WriteString(h.key + ": " + h.value[0] + "\r\n")
		}
		b.WriteString("Vary: Accept-Encoding\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n" + body)
		return b.Bytes()
	}
}

// refusedRequest returns the member request of an answer to what begins with
// head, if that is a request line whose target is malformed. Another line may
// be that of an earlier request, of several that arrived together.
func (s *Server) refusedRequest(head []byte) string {
	line, _, ok := strings.Cut(string(head), "\r\n")
	method, rest, ok2 := strings.Cut(line, " ")
	target, version, ok3 := strings.Cut(rest, " ")
	if !ok || !ok2 || !ok3 || !strings.HasPrefix(target, "/") || !strings.HasPrefix(version, "HTTP/") {
		return ""
	}
	if _, err := url.ParseRequestURI(target); err == nil {
		return ""
	}
	// Plugins tell their own part of the path.
	for _, mount := range s.mounts.paths() {
		if len(target) > len(mount) && strings.EqualFold(target[:len(mount)], mount) && target[len(mount)] == '/' {
			target = target[len(mount):]
			break
		}
	}
	request, err := json.Marshal(apierr.BodyRequest{Method: method, URL: target})
	if err != nil {
		return ""
	}
	return `"request":` + string(request) + `,`
}

// patientConn gives up on a peer that takes no data for a while.
type patientConn struct {
	net.Conn
	limit time.Duration
}

// maxWrite is how much is written within one limit, in bytes.
const maxWrite = 64 << 10

// Write implements [net.Conn].
func (c *patientConn) Write(p []byte) (n int, err error) {
	for {
		part := p[n:min(len(p), n+maxWrite)]
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(part)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}
