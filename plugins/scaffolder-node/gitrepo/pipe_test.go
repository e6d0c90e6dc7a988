//go:build unix

package gitrepo_test

import (
	"path/filepath"
	"syscall"
	"testing"
)

func TestPipesAreLeftOut(t *testing.T) {
	t.Parallel()
	root := open(t, t.TempDir())
	write(t, root, map[string]string{"a": "1"})
	repo := newRepo(t)
	before, err := repo.AddFolder(t.Context(), root, ".")
	must(t, err)
	must(t, syscall.Mkfifo(filepath.Join(root.Name(), "pipe"), 0o644))
	after, err := repo.AddFolder(t.Context(), root, ".")
	must(t, err)
	if before != after {
		t.Error("a pipe was added")
	}
}
