package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const shutdownDelay = `  lifecycle: {serverShutdownDelay: {seconds: 3}}
`

// balancer is a client that honours readiness, as a load balancer does.
type balancer struct {
	mu    sync.Mutex
	ready []string // URLs of backends that are ready
}

func (b *balancer) set(urls ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = urls
}

func (b *balancer) pick(n int) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return "", false
	}
	return b.ready[n%len(b.ready)], true
}

// SIGTERM while requests are under way: readiness ends at once, the server
// goes on for the delay, no request of a client that honours readiness fails,
// and the exit code is 0.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	p := launch(t, setup{added: "slow", config: settings(inMemory + shutdownDelay)}).ready()
	var lb balancer
	lb.set(p.url)
	var served atomic.Int64
	var workers sync.WaitGroup
	for n := range 8 {
		workers.Go(func() {
			for {
				base, ok := lb.pick(n)
				if !ok {
					return
				}
				a, err := request(base+"/api/slow/?for=100ms", "")
				if err != nil || a.status != http.StatusOK {
					t.Errorf("a request failed: %v %s", err, a)
					return
				}
				served.Add(1)
			}
		})
	}
	eventually(t, "load", func() error {
		if served.Load() < 16 {
			return p.alive("no load")
		}
		return nil
	})
	// One request lasts beyond the delay.
	workers.Go(func() {
		if a, err := request(p.url+"/api/slow/?for=5s", ""); err != nil || a.status != http.StatusOK {
			t.Errorf("the request that was under way failed: %v %s", err, a)
		}
	})
	p.signal(syscall.SIGTERM)
	p.logged(`"stopping"`)
	eventually(t, "readiness ends", func() error {
		if a := p.get(readiness, ""); a.status != http.StatusServiceUnavailable {
			return p.alive(a.String())
		}
		return nil
	})
	// It serves on for those who have not noticed yet.
	if a := p.get("/api/slow/?for=1ms", ""); a.status != http.StatusOK {
		t.Errorf("the server stopped serving with readiness: %s", a)
	}
	lb.set()
	workers.Wait()
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := p.stderr.String(); text != "" {
		t.Errorf("stderr: %s", text)
	}
}

// A second signal ends a stop that takes too long for somebody.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := launch(t, setup{added: "slow", config: settings(inMemory + `  lifecycle: {serverShutdownDelay: {minutes: 10}}
`)}).ready()
			p.signal(syscall.SIGTERM)
			p.logged(`"stopping"`)
			p.signal(signal)
			if got := p.wait(); got != code {
				t.Errorf("exit code %d, want %d", got, code)
			}
			if text := p.stderr.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, "goroutine") {
				t.Errorf("stderr: %s", text)
			}
		})
	}
}

// A start that fails ends the process and frees the port, though the server
// listened already.
func TestFailedStartClosesThePort(t *testing.T) {
	t.Parallel()
	p := launch(t, setup{added: "stillborn", config: settings(inMemory)})
	if code := p.wait(); code == 0 {
		t.Error("exit code 0")
	}
	p.url = ""
	for _, e := range p.log() {
		if strings.HasPrefix(e.text("message"), "Listening on ") {
			p.url = fmt.Sprintf("http://127.0.0.1:%v", e["port"])
		}
	}
	if p.url == "" {
		t.Fatal("the server never listened")
	}
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
		_ = c.Close() // it should not be there
		t.Error("the port is still open")
	}
}
