package command_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// What "new" writes builds, passes its own tests and the architecture check,
// and runs, without a change and without the network.
func TestNew(t *testing.T) {
	t.Parallel()
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	project := filepath.Join(dir, "portal")
	for _, step := range []struct {
		dir  string
		args []string
	}{
		{dir, []string{"new", "backend", "portal", "--module", "example.org/acme/portal", "--replace", checkout}},
		{project, []string{"new", "plugin", "to-do"}},
		{filepath.Join(project, "plugins"), []string{"new", "module", "to-do", "two-words"}},
		{dir, []string{"new", "module", "catalog", "team-label", "--dir", project}},
		{dir, []string{"new", "module", "scaffolder", "hello", "--dir", project}},
		{project, []string{"new", "service", "word-list"}},
	} {
		if code, _, stderr := run(t, step.dir, step.args...); code != 0 {
			t.Fatalf("%v: code %d\n%s", step.args, code, stderr)
		}
	}
	if out := inFolder(t, project, "gofmt", "-l", "."); out != "" {
		t.Errorf("not formatted: %s", out)
	}
	inFolder(t, project, "go", "test", "./...")
	inFolder(t, project, "go", "build", ".")
	portal := filepath.Join(project, "portal")
	inFolder(t, project, portal, "archcheck")
	if out := inFolder(t, project, portal, "check"); !strings.Contains(out, "4 plugins, 3 modules") {
		t.Errorf("check says\n%s", out)
	}
	useIt(t, project, portal)
}

// useIt runs the backend and calls a route of a plugin.
func useIt(t *testing.T, project, portal string) {
	t.Helper()
	local, err := os.ReadFile(filepath.Join(project, "app-config.local.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`token: (\w+)`).FindSubmatch(local)
	if token == nil {
		t.Fatalf("no token in\n%s", local)
	}
	cmd := exec.CommandContext(t.Context(), portal, "run")
	cmd.Dir = project
	cmd.Env = append(os.Environ(), "APP_CONFIG_backend_listen_port=0")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill() // the test has failed
			_ = cmd.Wait()
		}
	}()
	address := ""
	lines := bufio.NewScanner(stdout)
	for !strings.Contains(lines.Text(), "Plugin initialization complete") && lines.Scan() {
		t.Log(lines.Text())
		if m := regexp.MustCompile(`Listening on (127\.0\.0\.1:\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
	}
	request := func(method, body string) (status int, answer map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/api/to-do/items", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(token[1]))
		req.Header.Set("Content-Type", "application/json")
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	if status, answer := request("POST", `{"text": "buy milk"}`); status != 201 || answer["text"] != "buy milk" {
		t.Errorf("added: %d %v", status, answer)
	}
	if status, answer := request("POST", `{"text": "milk"}`); status != 400 || !strings.Contains(answer["error"].(map[string]any)["message"].(string), "two-words") {
		t.Errorf("the module lets pass: %d %v", status, answer)
	}
	if status, answer := request("GET", ""); status != 200 || len(answer["items"].([]any)) != 1 {
		t.Errorf("all: %d %v", status, answer)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Log(lines.Text())
	}
	ended = true
	if err := cmd.Wait(); err != nil {
		t.Errorf("the backend ended with %v", err)
	}
}

// inFolder runs a command, which must succeed, and returns its output.
func inFolder(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s in %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), filepath.Base(dir), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
