package archcheck_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flytower/flytower/archcheck"
	"github.com/flytower/flytower/archcheck/archtest"
)

// The architecture of this repository.
func TestThisRepository(t *testing.T) {
	t.Parallel()
	archtest.Run(t, "..")
}

// The archives are modules with violations; the file "want" lists them as
// file:line rule. Modules that are required stand for the framework.
func TestPlantedViolations(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			dir, want := unpack(t, name)
			findings, err := archcheck.Check(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range findings {
				got += fmt.Sprintf("%s:%d %s\n", f.File, f.Line, f.Rule)
				if f.Problem == "" || f.Remedy == "" || strings.Contains(f.String(), "%!") {
					t.Errorf("%s lacks words", f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
				for _, f := range findings {
					t.Log(f)
				}
			}
		})
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	dir, _ := unpack(t, "testdata/plugins.txtar")
	findings, err := archcheck.Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `plugins/a-backend/other.go:3: implementation-import: the implementation of the plugin "a" imports the implementation of the plugin "b" (example.com/portal/plugins/b-backend), which only main packages may; plugins reach each other over the wire: use the client in b-node, or core.PluginClient; types that both know belong into b-common`
	for _, f := range findings {
		if f.String() == want {
			return
		}
	}
	t.Errorf("no finding is %q, but\n%v", want, findings)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	if _, err := archcheck.Check(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("a folder without a module: %v", err)
	}
	if err := os.WriteFile(filepath.Join(empty, "go.mod"), []byte("module example.com/empty\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archcheck.Check(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "no Go packages of a module") {
		t.Errorf("an empty module: %v", err)
	}
}

// unpack writes the files of an archive and returns what is wanted of them.
func unpack(t *testing.T, name string) (dir, want string) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, want
}
