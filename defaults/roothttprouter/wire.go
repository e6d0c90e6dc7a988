package roothttprouter

import (
	"bytes"
	"net"
	"sync"
)

// net/http sorts and copies all headers of each answer, and sends one that is
// larger than its buffer of 4 KiB in two writes: a buffer with the head and the
// begin of the body, and the rest. Each write is a call of the kernel, and wakes
// the client up. A connection without TLS does better: the headers that are the
// same in all answers are put into the head as text, on its way, and what is
// known to have a second part is held back until that comes.

// wire is how a connection writes. The goroutine of the handler uses it.
type wire struct {
	insert []byte        // headers that the next head lacks
	split  bool          // the next write has a second part
	first  *bytes.Buffer // the first part, nil if none is held back
	parts  [2][]byte
	both   net.Buffers
}

// maxFirst is the size of the buffer of net/http: a first part is no larger.
const maxFirst = 4 << 10

// largeBody is from how many bytes on there is a second part in any case.
const largeBody = 2 * maxFirst

var heads = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 2*maxFirst)) }}

// write writes p; plain is false if it has nothing to do with it.
func (w *wire) write(c *net.TCPConn, p []byte) (n int, err error, plain bool) {
	switch {
	case w.first != nil:
		n, err = w.finish(c, p)
	case w.insert != nil || w.split && len(p) <= maxFirst:
		w.first, _ = heads.Get().(*bytes.Buffer)
		head, rest, ok := bytes.Cut(p, []byte("\r\n"))
		if ok && w.insert != nil && bytes.HasPrefix(head, []byte("HTTP/1.")) {
			w.first.Write(head)
			w.first.WriteString("\r\n")
			w.first.Write(w.insert)
			w.first.Write(rest)
		} else {
			w.first.Write(p)
		}
		w.insert = nil
		if w.split && len(p) <= maxFirst {
			return len(p), nil, true
		}
		if _, err = w.finish(c, nil); err == nil {
			n = len(p)
		}
	default:
		return 0, nil, false
	}
	return n, err, true
}

// finish writes the first part and p, and returns how much of p it wrote.
func (w *wire) finish(c *net.TCPConn, p []byte) (n int, err error) {
	first := w.first.Len()
	if len(p) == 0 {
		n, err = c.Write(w.first.Bytes())
	} else {
		w.parts = [2][]byte{w.first.Bytes(), p}
		w.both = w.parts[:]
		var sum int64
		sum, err = w.both.WriteTo(c)
		n, w.parts = int(sum), [2][]byte{}
	}
	w.first.Reset()
	heads.Put(w.first)
	w.first = nil
	return max(n-first, 0), err
}

// large writes a large part of a body with fn, in one piece with what comes
// before it.
func (c *plainConn) large(fn func() (int, error)) (n int, err error) {
	c.wire.split = true
	n, err = fn()
	c.wire.split = false
	if c.wire.first != nil { // there was no second part
		if _, failed := c.wire.finish(c.TCPConn, nil); err == nil {
			err = failed
		}
	}
	return n, err
}
