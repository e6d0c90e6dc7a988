// Package conformance replays recorded exchanges of the reference backend
// against the standard backend, and compares the answers. The exchanges are in
// testdata, in the form of package exchange; cases that differ on purpose, or
// still, are in known.
package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/conformance/exchange"
)

// suites are the exchanges that are sent to one backend, in order.
var suites = []struct {
	name        string
	files       []string
	environment []string // of the backend
}{
	{name: "standard", files: []string{"catalog.jsonl", "permission.jsonl", "auth.jsonl"}},
	{name: "scaffolder", files: []string{"scaffolder.jsonl"}},
	{name: "policy", files: []string{"policy.jsonl"}, environment: []string{"REF_POLICY=1"}},
}

func TestReplay(t *testing.T) {
	t.Parallel()
	input, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	program, files := build(t), serveFiles(t)
	seen := map[string]bool{}
	for _, suite := range suites {
		var all []exchange.Exchange
		for _, name := range suite.files {
			all = append(all, read(t, name)...)
		}
		for _, x := range all {
			seen[x.Name] = true
		}
		t.Run(suite.name, func(t *testing.T) {
			t.Parallel()
			r := &replay{
				backend: start(t, program, input, files, suite.environment),
				vars: map[string]string{
					"staticToken": "static-token-1234567890", "restrictedToken": "restricted-token-1234567890",
					"inputDir": input, "files": files,
					"refreshToken2": "none", // where the answer that has it differs
				},
				places: exchange.Places{
					input: "{{inputDir}}", url.QueryEscape(input): "{{inputDir}}",
					files: "{{files}}", url.QueryEscape(files): "{{files}}", "127.0.0.1:7107": "{{base}}",
				},
			}
			for _, x := range all {
				t.Run(x.Name, func(t *testing.T) { r.one(t, x) })
			}
		})
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("there is no exchange %s any more; remove it from the known differences", name)
		}
	}
}

func read(t *testing.T, name string) []exchange.Exchange {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := exchange.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// replay sends exchanges in order.
type replay struct {
	backend string
	vars    map[string]string
	places  exchange.Places
}

// settle is how long an answer may take that is reached after a while.
const settle = 30 * time.Second

func (r *replay) one(t *testing.T, x exchange.Exchange) {
	reason, differs := known[x.Name]
	if missing := r.missing(t, x.Request); missing != "" {
		if !differs {
			t.Errorf("%s was not captured by an earlier exchange", missing)
		}
		return
	}
	var diff string
	for deadline := time.Now().Add(settle); ; time.Sleep(50 * time.Millisecond) {
		answer := r.send(t, x.Request)
		diff = cmp.Diff(x.Response, x.Normalise(answer, r.places))
		if !x.Poll || diff == "" || differs && answer.Status == x.Response.Status || time.Now().After(deadline) {
			if diff == "" || !differs || answer.Status == x.Response.Status {
				r.capture(t, x.Capture, answer)
			}
			break
		}
	}
	switch {
	case differs && diff == "":
		t.Errorf("the answer is that of the reference; remove the exchange from the known differences (%s)", reason)
	case !differs && diff != "":
		t.Errorf("%s %s: the answer differs from that of the reference (-reference +this):\n%s", x.Request.Method, x.Request.Path, diff)
	}
}

var variable = regexp.MustCompile(`\{\{(\w+)(\|uri)?\}\}`)

// missing returns a variable of the request that has no value yet. The token
// of the guest is fetched when it is first needed: by then the catalog knows
// what the guest owns.
func (r *replay) missing(t *testing.T, q exchange.Request) string {
	texts := []string{q.Path, string(q.Body)}
	for _, v := range q.Headers {
		texts = append(texts, v)
	}
	for _, m := range variable.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
		if _, ok := r.vars[m[1]]; ok {
			continue
		}
		if m[1] != "userToken" {
			return m[1]
		}
		a := r.send(t, exchange.Request{Method: http.MethodGet, Path: "/api/auth/guest/refresh"})
		r.capture(t, map[string]string{"userToken": "body.backstageIdentity.token"}, a)
	}
	return ""
}

func (r *replay) fill(text string) string {
	return variable.ReplaceAllStringFunc(text, func(s string) string {
		m := variable.FindStringSubmatch(s)
		if m[2] != "" {
			return url.QueryEscape(r.vars[m[1]])
		}
		return r.vars[m[1]]
	})
}

func (r *replay) send(t *testing.T, q exchange.Request) exchange.Answer {
	t.Helper()
	var body io.Reader
	if q.Body != nil {
		var text string
		if json.Unmarshal(q.Body, &text) != nil {
			text = string(q.Body)
		}
		body = strings.NewReader(r.fill(text))
	}
	req, err := http.NewRequestWithContext(t.Context(), q.Method, "http://"+r.backend, body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path, req.URL.Opaque = "", r.fill(q.Path) // as it is, byte for byte
	for name, v := range q.Headers {
		req.Header.Set(name, r.fill(v))
	}
	resp, err := network.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var from io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if from, err = gzip.NewReader(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	a := exchange.Answer{Status: resp.StatusCode, Headers: map[string]any{}}
	for name, values := range resp.Header {
		var v any = values[0]
		if len(values) > 1 {
			list := make([]any, len(values))
			for i := range values {
				list[i] = values[i]
			}
			v = list
		}
		a.Headers[strings.ToLower(name)] = v
	}
	if len(text) > 0 {
		a.Body = string(text)
		var v any
		if strings.Contains(resp.Header.Get("Content-Type"), "json") && json.Unmarshal(text, &v) == nil {
			a.Body = v
		}
	}
	return a
}

var network = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// capture keeps values of an answer for later requests.
func (r *replay) capture(t *testing.T, from map[string]string, a exchange.Answer) {
	t.Helper()
	for name, path := range from {
		if parameter, ok := strings.CutPrefix(path, "link."); ok {
			link, _ := a.Headers["link"].(string)
			u, err := url.Parse(strings.TrimPrefix(strings.SplitN(link, ">", 2)[0], "<"))
			if err != nil {
				t.Fatal(err)
			}
			r.vars[name] = u.Query().Get(parameter)
			continue
		}
		if path == "location.last" {
			location, _ := a.Headers["location"].(string)
			r.vars[name] = location[strings.LastIndex(location, "/")+1:]
			continue
		}
		if parameter, ok := strings.CutPrefix(path, "redirectUrl."); ok {
			members, _ := a.Body.(map[string]any)
			text, _ := members["redirectUrl"].(string)
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			r.vars[name] = u.Query().Get(parameter)
			continue
		}
		var v any = map[string]any{"body": a.Body}
		for part := range strings.SplitSeq(path, ".") {
			members, _ := v.(map[string]any)
			v = members[part]
		}
		text, ok := v.(string)
		if !ok {
			t.Errorf("there is no %s in the answer to capture", path)
		}
		r.vars[name] = text
	}
}

// build makes the program under test.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "backend")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./backend").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// start runs the program and returns its address.
func start(t *testing.T, program, input, files string, environment []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "--config", filepath.Join(input, "app-config.yaml"))
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "INPUT_DIR=" + input, "FILES=" + files}, environment...)
	cmd.Stderr = os.Stderr
	var complaints bytes.Buffer // of its log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(address)
		for lines := bufio.NewReader(stdout); ; {
			line, err := lines.ReadBytes('\n')
			var e struct {
				Level, Message string
				Port           int
			}
			switch {
			case json.Unmarshal(line, &e) != nil:
			case strings.HasPrefix(e.Message, "Listening on "):
				address <- fmt.Sprintf("127.0.0.1:%d", e.Port)
			case e.Level != "info":
				complaints.Write(line)
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		_ = cmd.Wait()
		if t.Failed() && complaints.Len() > 0 {
			t.Logf("the log of the backend has:\n%s", &complaints)
		}
	})
	at, ok := <-address
	if !ok {
		t.Fatal("the backend ended before it listened")
	}
	for deadline := time.Now().Add(settle); ; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/.backstage/health/v1/readiness", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := network.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close() // its content does not matter
			if resp.StatusCode == http.StatusOK {
				return at
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the backend is not ready: %v", err)
		}
	}
}

// serveFiles serves the files that were beside the recorded backend, and
// returns the address.
func serveFiles(t *testing.T) string {
	t.Helper()
	var address string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /www/{name}", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(filepath.Join("testdata", "www", filepath.Base(r.PathValue("name"))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/yaml")
		_, _ = w.Write(bytes.ReplaceAll(text, []byte("{{files}}"), []byte(address))) // the reader sees if it is cut
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	address = server.Listener.Addr().String()
	return address
}
