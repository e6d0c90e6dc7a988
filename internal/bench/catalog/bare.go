//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// bareCommand is the first argument with which the program is the floor.
const bareCommand = "bare"

// bare answers with the bytes that another backend answered, and does nothing
// else: what net/http and the kernel take at least. A question that is new to
// it is passed on.
type bare struct {
	of   string
	mu   sync.RWMutex
	kept map[string]kept
}

type kept struct {
	header http.Header
	body   []byte
}

// serveBare serves until its standard input ends.
func serveBare(args []string) error {
	f := flag.NewFlagSet(bareCommand, flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "address to listen on")
	of := f.String("of", "", "base URL of the backend whose answers are given")
	if err := f.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &bare{of: *of, kept: map[string]kept{}}, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // it ends with Close
	_, _ = io.Copy(io.Discard, os.Stdin)              // until the one who started us ends
	err = server.Close()
	serving.Wait()
	return err
}

var questions32k = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 32<<10)) }}

// ServeHTTP implements [http.Handler].
func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, _ := questions32k.Get().(*bytes.Buffer)
	key.Reset()
	defer questions32k.Put(key)
	key.WriteString(r.Method + " " + r.RequestURI + "\n")
	head := key.Len()
	if r.ContentLength != 0 {
		if _, err := key.ReadFrom(r.Body); err != nil {
			return // the client went away
		}
	}
	b.mu.RLock()
	a, ok := b.kept[string(key.Bytes())]
	b.mu.RUnlock()
	if !ok {
		var err error
		if a, err = b.learn(r, key.Bytes()[head:]); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		b.mu.Lock()
		b.kept[key.String()] = a
		b.mu.Unlock()
	}
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	_, _ = w.Write(a.body) // a client that went away is no matter
}

// learn asks the backend.
func (b *bare) learn(r *http.Request, body []byte) (kept, error) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, b.of+r.RequestURI, bytes.NewReader(body))
	if err != nil {
		return kept{}, err
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return kept{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", r.Method, r.RequestURI, resp.Status)
	}
	return kept{http.Header{"Content-Type": resp.Header["Content-Type"], "Content-Length": {strconv.Itoa(len(text))}}, text}, err
}

// startBare starts a process that gives the answers of a target.
func startBare(ctx context.Context, of *target) (_ *target, stop func() error, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	listen := fmt.Sprint("127.0.0.1:", ports[0])
	cmd := exec.Command(self, bareCommand, "-listen", listen, "-of", of.url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches it through its standard input only
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
	t, err := newTarget("bare", "http://"+listen, of.token, "", strconv.Itoa(cmd.Process.Pid))
	for end := time.Now().Add(10 * time.Second); err == nil; time.Sleep(5 * time.Millisecond) {
		c, dialErr := dial(ctx, t.host)
		if dialErr == nil {
			return t, stop, c.Close()
		}
		if ctx.Err() != nil || time.Now().After(end) {
			err = dialErr
		}
	}
	return nil, nil, errors.Join(err, stop())
}

// teach asks everything once.
func (t *target) teach(ctx context.Context, requests []request) error {
	c, err := dial(ctx, t.host)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, r := range requests {
		if a, err := c.do(r, io.Discard); err != nil || a.status != http.StatusOK {
			return errors.Join(err, fmt.Errorf("the answer has the status %d to %.200s", a.status, r))
		}
	}
	return ctx.Err()
}
