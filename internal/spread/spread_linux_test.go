package spread_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/flytower/flytower/internal/spread"
)

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "b", "deep/c"} {
		made := filepath.Join(dir, name)
		if err := spread.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(made); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if err := os.WriteFile(filepath.Join(made, "file"), []byte(name), 0o600); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "b", "file")); err != nil || string(text) != "b" {
		t.Errorf("a folder that was there: %q, %v", text, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestMkdirAllAtTheSameTime: nobody fails since somebody else makes a folder.
func TestMkdirAllAtTheSameTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var making sync.WaitGroup
	for i := range 8 {
		making.Go(func() {
			for n := range 50 {
				made := filepath.Join(dir, fmt.Sprint(i, "-", n))
				if err := spread.MkdirAll(made, 0o700); err != nil {
					t.Error(err)
				} else if err := os.WriteFile(filepath.Join(made, "file"), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	making.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 400 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// TestMkdirAllInTheFolderOfEverybody: what somebody else has put where folders
// are to be made is not used.
func TestMkdirAllInTheFolderOfEverybody(t *testing.T) {
	t.Parallel()
	for name, trap := range map[string]func(path string) error{
		"link":     func(path string) error { return os.Symlink(os.TempDir(), path) },
		"file":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"readable": func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		dir := t.TempDir()
		if err := trap(filepath.Join(dir, fmt.Sprint(".flytower-spread-", os.Geteuid()))); err != nil {
			t.Fatal(err)
		}
		made := filepath.Join(dir, "made")
		if err := spread.MkdirAll(made, 0o700); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(made); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
