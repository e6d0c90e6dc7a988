package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long tests wait for something that should happen at once.
// It is only used up when a test fails.
const patience = time.Minute

// eventually waits until ok returns nil, and fails the test with its last
// error after a while.
func eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// setup says how to start a process.
type setup struct {
	added  string            // test plugins, with commas between them
	config string            // app-config.yaml
	files  map[string]string // more files, by name
	dir    string            // working directory; default: a new one
	args   []string          // after "run"
	env    []string
}

// process is a backend that runs, or ran.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string
	stdout lines
	stderr lines
	exited chan struct{}
	url    string
}

// lines collects what a process writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// launch starts a process. It is killed when the test ends.
func launch(t testing.TB, s setup) *process {
	t.Helper()
	return execute(t, s, append([]string{"run"}, s.args...))
}

// execute starts any command of the command line.
func execute(t testing.TB, s setup, args []string) *process {
	t.Helper()
	p := &process{t: t, dir: s.dir, exited: make(chan struct{})}
	if p.dir == "" {
		p.dir = t.TempDir()
	}
	for name, text := range s.files {
		p.write(name, text)
	}
	if s.config != "" {
		p.write("app-config.yaml", s.config)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(self, args...)
	p.cmd.Dir = p.dir
	// Nothing of the environment of the tests leaks into the configuration.
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + os.TempDir(), role + "=" + s.added}, s.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start the backend: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the state tells
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Logf("process %d in %s: %s\n--- stdout\n%s\n--- stderr\n%s", p.cmd.Process.Pid, p.dir, p.cmd.ProcessState, tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

// tail is the end of an output, without the requests that were answered.
func tail(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !strings.Contains(line, `"type":"incomingRequest"`) {
			b.WriteString(line)
		}
	}
	s = b.String()
	const most = 8000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// write puts a file into the working directory as a whole.
func (p *process) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		p.t.Fatal(err)
	}
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Signal(s) // it may end meanwhile
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("the backend still runs after %s", patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process as an operator does, and expects that it goes well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Fatalf("exit code %d after SIGTERM", code)
	}
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// entry is a line of the log.
type entry map[string]any

func (e entry) text(key string) string { s, _ := e[key].(string); return s }

// log returns the entries so far.
func (p *process) log() []entry {
	var out []entry
	for line := range strings.Lines(p.stdout.String()) {
		var e entry
		if json.Unmarshal([]byte(line), &e) == nil {
			out = append(out, e)
		}
	}
	return out
}

// logged waits for an entry that contains all texts.
func (p *process) logged(texts ...string) entry {
	p.t.Helper()
	var found entry
	eventually(p.t, fmt.Sprintf("log with %q", texts), func() error {
	entries:
		for _, e := range p.log() {
			line, _ := json.Marshal(e) //nolint:errchkjson // it was JSON
			for _, text := range texts {
				if !strings.Contains(string(line), text) {
					continue entries
				}
			}
			found = e
			return nil
		}
		return p.alive("no such entry")
	})
	return found
}

// alive returns an error with the text; it fails the test at once where the
// process has ended, so nothing more is to be expected.
func (p *process) alive(text string) error {
	p.t.Helper()
	select {
	case <-p.exited:
		p.t.Fatalf("%s: the backend ended: %s", text, p.cmd.ProcessState)
	default:
	}
	return fmt.Errorf("%s", text)
}

// listening waits until the server listens, and learns its address.
func (p *process) listening() *process {
	p.t.Helper()
	e := p.logged("Listening on ")
	scheme := "http"
	if tls, _ := e["tls"].(bool); tls {
		scheme = "https"
	}
	p.url = fmt.Sprintf("%s://127.0.0.1:%v", scheme, e["port"])
	return p
}

// ready waits until the backend is ready.
func (p *process) ready() *process {
	p.t.Helper()
	p.listening()
	eventually(p.t, "readiness", func() error {
		a, err := request(p.url+readiness, "")
		if err != nil {
			return p.alive(err.Error())
		}
		if a.status != http.StatusOK {
			return p.alive(a.String())
		}
		return nil
	})
	return p
}

const readiness = "/.backstage/health/v1/readiness"

// answer is an HTTP answer.
type answer struct {
	status int
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// network opens a connection per request, so that nothing survives a backend.
var network = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

// request sends a GET with a token, if there is one.
func request(url, token string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := network.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(body)}, err
}

// get sends a GET that must be answered.
func (p *process) get(path, token string) answer {
	p.t.Helper()
	a, err := request(p.url+path, token)
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return a
}

// decode reads the answer of a GET, which must be 200, as JSON.
func (p *process) decode(path, token string, into any) {
	p.t.Helper()
	a := p.get(path, token)
	if a.status != http.StatusOK {
		p.t.Fatalf("GET %s: %s", path, a)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		p.t.Fatalf("GET %s: %v\n%s", path, err, a.body)
	}
}
