package roothttprouter

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// maxHeld is the largest first piece of a body that is held back, in bytes.
const maxHeld = 1 << 20

// response stands between the handlers and the connection. It adds entity
// tags and compression, and knows what was sent. It implements
// [answer.Writer].
type response struct {
	inner    http.ResponseWriter
	req      *http.Request
	encoders *encoders
	fixed    *fixedHeaders
	conn     *connection // nil outside of the server

	status    int // 0 until it is set
	committed bool
	hijacked  bool
	noBody    bool // 304 in place of the body
	held      *bytes.Buffer
	coding    encoding
	enc       encoder
}

// buffers for what is held back. Large ones are left to the collector.
var held = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxPooled = 128 << 10

func (w *response) release() {
	if w.held != nil {
		if w.held.Cap() <= maxPooled {
			w.held.Reset()
			held.Put(w.held)
		}
		w.held = nil
	}
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.inner.Header() }

// Unwrap is for [http.ResponseController].
func (w *response) Unwrap() http.ResponseWriter { return w.inner }

// Sent implements [answer.Writer].
func (w *response) Sent() bool { return w.committed || w.hijacked }

// Status implements [answer.Writer].
func (w *response) Status() int { return w.status }

// Discard implements [answer.Writer].
func (w *response) Discard() {
	if !w.Sent() {
		w.status = 0
		w.release()
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	if w.status != 0 || w.hijacked {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.inner.WriteHeader(status) // such as 103 Early Hints
		return
	}
	w.status = status
	if status == http.StatusSwitchingProtocols {
		delete(w.Header(), "Keep-Alive")
		w.fixed.add(w.Header(), nil)
		w.committed = true
		w.inner.WriteHeader(status)
	}
}

// complete reports whether a handler says that the first piece of its body is
// all of it: then there is nothing to hold it back for. Such an answer gets no
// entity tag but that of the handler.
func (w *response) complete(p []byte) bool {
	length := w.Header()["Content-Length"]
	return len(length) == 1 && length[0] == strconv.Itoa(len(p))
}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.committed {
		if len(p) == 0 {
			return 0, nil
		}
		if w.held == nil && len(p) <= maxHeld && w.Header()["Trailer"] == nil && !w.complete(p) {
			w.held, _ = held.Get().(*bytes.Buffer)
			return w.held.Write(p)
		}
		if err := w.pass(p); err != nil {
			return 0, err
		}
	}
	return w.body(p)
}

// pass ends holding back; next is what will be written then.
func (w *response) pass(next []byte) error {
	if w.held != nil {
		next = w.held.Bytes()
	}
	w.commit(-1, next)
	if w.held == nil {
		return nil
	}
	_, err := w.body(w.held.Bytes())
	w.release()
	return err
}

// body writes a part of the body.
func (w *response) body(p []byte) (int, error) {
	if w.noBody {
		return len(p), nil
	}
	if w.enc != nil {
		return w.enc.Write(p)
	}
	if len(p) >= largeBody && w.conn != nil && w.conn.plain != nil {
		return w.conn.plain.large(func() (int, error) { return w.inner.Write(p) })
	}
	return w.inner.Write(p)
}

// WriteWhole implements [answer.Whole]: p is the whole body. It is neither kept
// nor copied.
func (w *response) WriteWhole(p []byte) (int, error) {
	if w.Sent() || w.held != nil || len(p) == 0 || len(p) > maxHeld || w.Header()["Trailer"] != nil {
		return w.Write(p)
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.commit(len(p), p)
	return w.body(p)
}

// commit sends the header. length is that of the whole body, or -1; begin is
// how it begins.
func (w *response) commit(length int, begin []byte) {
	w.committed = true
	h := w.Header()
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if len(begin) > 0 && h["Content-Type"] == nil && h["Content-Encoding"] == nil {
		h["Content-Type"] = []string{http.DetectContentType(begin)}
	}
	if length > 0 {
		w.tag(h, begin)
	}
	if w.noBody {
		w.fixed.add(h, w.conn)
		w.inner.WriteHeader(w.status)
		return
	}
	w.chooseCoding(h, length)
	if w.coding != identity {
		delete(h, "Content-Length")
		h["Content-Encoding"] = []string{w.coding.String()}
		w.enc = w.encoders.get(w.coding, w.inner)
	} else if length > 0 && h["Content-Length"] == nil && bodyAllowed(w.status) {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	if w.conn != nil && strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		w.conn.stream()
	}
	w.fixed.add(h, w.conn)
	w.inner.WriteHeader(w.status)
}

// tag adds the entity tag of the whole body, and answers 304 if the client
// has it.
func (w *response) tag(h http.Header, body []byte) {
	if w.status == http.StatusPartialContent || !bodyAllowed(w.status) ||
		h["Content-Encoding"] != nil || h["Content-Range"] != nil {
		return
	}
	if h["Etag"] == nil {
		if h["Last-Modified"] != nil || h["Accept-Ranges"] != nil {
			return // the handler has its own way to tell versions apart
		}
		h["Etag"] = []string{entityTag(body)}
	}
	if w.status >= 200 && w.status < 300 && fresh(w.req, h.Get("Etag")) {
		w.status, w.noBody = http.StatusNotModified, true
		delete(h, "Content-Type")
		delete(h, "Content-Length")
	}
}

// entityTag returns the weak tag of a body: its length in hexadecimal digits
// and its SHA-1 in base64 without padding.
func entityTag(body []byte) string {
	sum := sha1.Sum(body)
	b := make([]byte, 0, 48)
	b = append(b, `W/"`...)
	b = strconv.AppendInt(b, int64(len(body)), 16)
	b = append(b, '-')
	b = base64.RawStdEncoding.AppendEncode(b, sum[:])
	b = append(b, '"')
	return string(b)
}

// fresh reports whether the client has the version of the tag (RFC 9110,
// section 13.1.2).
func fresh(r *http.Request, tag string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	known := r.Header["If-None-Match"]
	if len(known) == 0 {
		return false
	}
	for part := range strings.SplitSeq(r.Header.Get("Cache-Control"), ",") {
		if strings.EqualFold(strings.TrimSpace(part), "no-cache") {
			return false // the user asked for a reload
		}
	}
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range known {
		for part := range strings.SplitSeq(line, ",") {
			if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// chooseCoding decides about compression. length is -1 if it is not known.
func (w *response) chooseCoding(h http.Header, length int) {
	if !bodyAllowed(w.status) || w.status == http.StatusSwitchingProtocols ||
		!compressible(h.Get("Content-Type")) || noTransform(h) {
		return
	}
	addVary(h, "Accept-Encoding")
	if cl := h.Get("Content-Length"); cl != "" {
		if n, err := strconv.Atoi(cl); err == nil {
			length = n
		}
	}
	if length >= 0 && length < compressThreshold || w.req.Method == http.MethodHead ||
		h["Content-Encoding"] != nil || h["Content-Range"] != nil {
		return
	}
	w.coding = negotiate(strings.Join(w.req.Header["Accept-Encoding"], ","))
}

func noTransform(h http.Header) bool {
	for _, v := range h["Cache-Control"] {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), "no-transform") {
				return true
			}
		}
	}
	return false
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// FlushError sends what was written, for [http.ResponseController].
func (w *response) FlushError() error {
	if !w.committed {
		if err := w.pass(nil); err != nil {
			return err
		}
	}
	if w.enc != nil {
		if err := w.enc.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.inner).Flush()
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() } // the next write meets the same error

// ReadFrom implements [io.ReaderFrom], so that files go to the connection
// without a copy where they are not compressed.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if !w.committed && w.held == nil && w.Header()["Content-Type"] != nil {
		if w.status == 0 {
			w.WriteHeader(http.StatusOK)
		}
		w.commit(-1, nil)
	}
	if w.committed && w.enc == nil && !w.noBody {
		if rf, ok := w.inner.(io.ReaderFrom); ok {
			return rf.ReadFrom(src)
		}
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// Hijack implements [http.Hijacker].
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.committed && w.status != http.StatusSwitchingProtocols {
		return nil, nil, errors.New("the connection cannot be taken over: the answer was begun")
	}
	c, rw, err := http.NewResponseController(w.inner).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
		if w.conn != nil {
			w.conn.stream()
		}
	}
	return c, rw, err
}

// finish ends the answer when the handler has returned.
func (w *response) finish() {
	if w.hijacked {
		return
	}
	if !w.committed {
		if w.held != nil {
			w.commit(w.held.Len(), w.held.Bytes())
			_, _ = w.body(w.held.Bytes()) // a client that went away is not our error
			w.release()
		} else {
			w.commit(0, nil)
		}
	}
	w.closeEncoder(true)
}

// closeEncoder writes the end of a compressed body, unless the answer was
// aborted, and gives the encoder back.
func (w *response) closeEncoder(complete bool) {
	if w.enc == nil {
		return
	}
	if complete {
		_ = w.enc.Close() // a client that went away is not our error
	}
	w.encoders.put(w.coding, w.enc)
	w.enc = nil
}
