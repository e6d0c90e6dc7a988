package roothttprouter

import "net"

// net/http sends an answer that is larger than its buffer of 4 KiB in two
// writes: a buffer with the head and the begin of the body, and the rest. Each
// is a call of the kernel, and wakes the client up. What is known to have a
// second part is therefore held back until that comes.

// together joins two writes. The goroutine of the handler uses it.
type together struct {
	wanted bool
	first  []byte
	parts  [2][]byte
	both   net.Buffers
}

// maxFirst is the size of the buffer of net/http: the first write is no larger.
const maxFirst = 4 << 10

// largeBody is from how many bytes on there is a second part in any case.
const largeBody = 2 * maxFirst

func (t *together) write(c *net.TCPConn, p []byte) (int, error) {
	if len(t.first) == 0 {
		if len(p) > maxFirst {
			return c.Write(p)
		}
		t.first = append(t.first, p...)
		return len(p), nil
	}
	first := len(t.first)
	t.parts = [2][]byte{t.first, p}
	t.both = t.parts[:]
	n, err := t.both.WriteTo(c)
	t.parts, t.first = [2][]byte{}, t.first[:0]
	return max(int(n)-first, 0), err
}

// large writes a large part of a body with fn, in one piece with what comes
// before it.
func (c *plainConn) large(fn func() (int, error)) (n int, err error) {
	c.together.wanted = true
	defer func() {
		c.together.wanted = false
		if len(c.together.first) > 0 {
			_, failed := c.TCPConn.Write(c.together.first)
			c.together.first = c.together.first[:0]
			if err == nil {
				err = failed
			}
		}
	}()
	return fn()
}
