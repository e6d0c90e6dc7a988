package command_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/archcheck"
	"github.com/flytower/flytower/command"
)

// run runs a command line in a folder.
func run(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = command.Main(command.App{Args: args, Dir: dir, Stdout: &out, Stderr: &err})
	return code, out.String(), err.String()
}

func TestArchcheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/p\n\ngo 1.26\n")
	write("plugins/a-node/a.go", "package anode\n")
	if code, out, _ := run(t, dir, "archcheck"); code != 0 || out != "0 findings\n" {
		t.Errorf("code %d\n%s", code, out)
	}
	if code, out, _ := run(t, dir, "archcheck", "--format", "json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("code %d\n%s", code, out)
	}

	write("plugins/a-node/b.go", "package anode\n\nfunc f() { go f() }\n")
	if code, out, _ := run(t, filepath.Dir(dir), "archcheck", filepath.Base(dir)); code != 1 || !strings.HasPrefix(out, "plugins/a-node/b.go:3: goroutine-owner: ") || !strings.HasSuffix(out, "\n1 finding\n") {
		t.Errorf("code %d\n%s", code, out)
	}
	code, out, _ := run(t, dir, "archcheck", "--format", "json")
	var findings []archcheck.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 || len(findings) != 1 || findings[0].Rule != archcheck.RuleGoroutine || findings[0].Line != 3 {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	if code, _, stderr := run(t, t.TempDir(), "archcheck"); code != 1 || !strings.Contains(stderr, "no Go packages of a module") {
		t.Errorf("code %d\n%s", code, stderr)
	}
}

func TestNewRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"bad name":      {[]string{"new", "backend", "My Portal"}, 1, "try my-portal"},
		"no module":     {[]string{"new", "plugin", "todo"}, 1, "is not in a Go module"},
		"nothing":       {[]string{"new"}, 64, "expected one of"},
		"missing id":    {[]string{"new", "module", "todo"}, 64, "<id>"},
		"not a release": {[]string{"new", "backend", "portal"}, 1, "--replace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if code, _, stderr := run(t, dir, test.args...); code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("code %d\n%s", code, stderr)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("wrote %v, %v", left, err)
			}
		})
	}
}
