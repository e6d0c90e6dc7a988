package distribution_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/command"
	"github.com/flytower/flytower/internal/distribution"
)

// TestAPluginIsSwitchedOffInTheConfiguration checks it with the command check,
// which counts plugins and modules.
func TestAPluginIsSwitchedOffInTheConfiguration(t *testing.T) {
	t.Parallel()
	summary := func(more string, args ...string) string {
		t.Helper()
		dir := t.TempDir()
		config := "app: {baseUrl: 'http://localhost:3000'}\nbackend:\n  baseUrl: http://localhost:7007\n  database: {client: better-sqlite3, connection: ':memory:'}\n" + more
		if err := os.WriteFile(filepath.Join(dir, "app-config.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := command.Main(command.App{Features: distribution.Features(), Dir: dir, Stdout: &out, Stderr: &out, Args: append([]string{"check"}, args...)}); code != 0 {
			t.Fatalf("code %d\n%s", code, &out)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return lines[len(lines)-1]
	}
	const off = "  startup: {plugins: {scaffolder: {enabled: false}, unheard-of: {enabled: false}}}\n"
	all, without, named := summary(""), summary(off), summary(off, "--plugins", "scaffolder,catalog")
	plugins := func(summary string) (n int) {
		if _, err := fmt.Sscanf(summary, "%d plugins", &n); err != nil {
			t.Fatalf("%s: %v", summary, err)
		}
		return n
	}
	if plugins(without) != plugins(all)-1 || plugins(named) != 2 {
		t.Errorf("all: %s\nwithout the scaffolder: %s\nnamed by the flag: %s", all, without, named)
	}
}
