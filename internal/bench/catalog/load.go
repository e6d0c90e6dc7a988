//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// request is one that is sent as it is.
type request []byte

// newRequest renders a request for a target.
func (t *target) newRequest(method, path string, body []byte) request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\n", method, path, t.host)
	if t.token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", t.token)
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// connection is a keep-alive connection that costs the client little, since
// the client shares the processors with what it measures.
type connection struct {
	net.Conn
	in *bufio.Reader
}

func dial(ctx context.Context, host string) (*connection, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// answer is what is left of a response.
type answer struct {
	status int
	bytes  int64
	close  bool
}

var (
	contentLength = []byte("content-length:")
	chunked       = []byte("transfer-encoding: chunked")
	closing       = []byte("connection: close")
)

// do sends a request, and copies the body of the response to w.
func (c *connection) do(r request, w io.Writer) (a answer, err error) {
	if _, err := c.Write(r); err != nil {
		return a, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < 12 {
		return a, fmt.Errorf("malformed status line %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, fmt.Errorf("malformed status line %q", line)
	}
	length, inChunks := int64(-1), false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		switch {
		case hasPrefixFold(line, contentLength):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[len(contentLength):])), 10, 64); err != nil {
				return a, err
			}
		case hasPrefixFold(line, chunked):
			inChunks = true
		case hasPrefixFold(line, closing):
			a.close = true
		}
	}
	switch {
	case inChunks:
		a.bytes, err = c.copyChunks(w)
	case length >= 0:
		a.bytes, err = c.copy(w, length)
	case a.status != http.StatusNoContent && a.status != http.StatusNotModified:
		err = errors.New("a response without a length")
	}
	return a, err
}

// copy copies n bytes of the response, or drops them where nobody wants them.
func (c *connection) copy(w io.Writer, n int64) (int64, error) {
	if w != io.Discard {
		return io.CopyN(w, c.in, n)
	}
	dropped, err := c.in.Discard(int(n))
	return int64(dropped), err
}

func hasPrefixFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], prefix)
}

func (c *connection) copyChunks(w io.Writer) (n int64, err error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return n, err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return n, fmt.Errorf("malformed chunk: %w", err)
		}
		copied, err := c.copy(w, size)
		n += copied
		if err != nil {
			return n, err
		}
		if _, err := c.in.Discard(2); err != nil || size == 0 {
			return n, err
		}
	}
}

// sample is what some rounds of a question measured.
type sample struct {
	latencies []time.Duration
	bytes     int64
	elapsed   time.Duration
	// serving and asking are the processor times of the server and of this
	// process; serving is 0 if the process of the server is not known.
	serving, asking time.Duration
}

func (s *sample) add(o sample) {
	s.latencies = append(s.latencies, o.latencies...)
	s.bytes += o.bytes
	s.elapsed += o.elapsed
	s.serving += o.serving
	s.asking += o.asking
}

// cost returns the processor time of the server per request, in seconds.
func (s sample) cost() float64 {
	if len(s.latencies) == 0 {
		return 0
	}
	return s.serving.Seconds() / float64(len(s.latencies))
}

// quantile returns the latency that the part q of the requests did not exceed.
func (s sample) quantile(q float64) time.Duration {
	if len(s.latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[int(q*float64(len(sorted)-1))]
}

// rate returns the requests per second.
func (s sample) rate() float64 {
	if s.elapsed == 0 {
		return 0
	}
	return float64(len(s.latencies)) / s.elapsed.Seconds()
}

// leastRequests is how often each connection asks in a round, however long
// that takes.
const leastRequests = 3

// load asks over a number of connections, each as soon as it has its answer.
func (t *target) load(ctx context.Context, requests []request, connections int, d time.Duration) (all sample, err error) {
	samples := make([]sample, connections)
	failures := make([]error, connections)
	open := make([]*connection, connections)
	for i := range open {
		if open[i], err = dial(ctx, t.host); err != nil {
			return all, err
		}
		defer open[i].Close()
	}
	served, err := t.cpu()
	if err != nil {
		return all, err
	}
	asked, began := ownTime(), time.Now()
	end := began.Add(d)
	var asking sync.WaitGroup
	for i, c := range open {
		asking.Go(func() { samples[i], failures[i] = c.ask(ctx, requests, i, end) })
	}
	asking.Wait()
	for _, s := range samples {
		all.add(s)
	}
	all.elapsed, all.asking = time.Since(began), ownTime()-asked
	after, err := t.cpu()
	all.serving = after - served
	return all, errors.Join(append(failures, err)...)
}

// ownTime returns the processor time that this process took.
func ownTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func (c *connection) ask(ctx context.Context, requests []request, i int, end time.Time) (s sample, err error) {
	at := i * 7919 % len(requests)
	for n := 0; n < leastRequests || time.Now().Before(end); n++ {
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		began := time.Now()
		a, err := c.do(requests[at], io.Discard)
		took := time.Since(began)
		if err != nil {
			return s, err
		}
		if a.status != http.StatusOK || a.close {
			return s, fmt.Errorf("the answer has the status %d (closes: %v) to %.200s", a.status, a.close, requests[at])
		}
		s.latencies = append(s.latencies, took)
		s.bytes += a.bytes
		at = (at + 1) % len(requests)
	}
	return s, nil
}
