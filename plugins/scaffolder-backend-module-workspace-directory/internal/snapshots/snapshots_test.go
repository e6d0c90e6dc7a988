package snapshots_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-directory/internal/snapshots"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/workspacetest"
)

func open(t *testing.T, dir string) *snapshots.Store {
	t.Helper()
	store, err := snapshots.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestProvider(t *testing.T) {
	t.Parallel()
	workspacetest.Run(t, open(t, t.TempDir()))
}

const task = "018f3a52-0000-4000-8000-000000000001"

// TestASaveWhoseProcessEnds leaves a file that is no snapshot.
func TestASaveWhoseProcessEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := open(t, dir)
	if err := store.Save(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a1"}, strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	half := scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a2"}
	func() {
		defer func() { _ = recover() }()
		_ = store.Save(t.Context(), half, readerFunc(func(p []byte) (int, error) {
			if _, err := os.Stat(filepath.Join(dir, task, "a2.tar.partial")); err == nil && len(p) > 0 {
				panic("the process ends here")
			}
			return copy(p, "half"), nil
		}))
	}()
	again := open(t, dir)
	if _, err := again.Open(t.Context(), half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a snapshot is opened: %v", err)
	}
	r, err := again.Open(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a1"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "whole" {
		t.Errorf("the older snapshot has %q, %v", text, err)
	}
	if err := errors.Join(r.Close(), again.Remove(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: task})); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestOtherFilesStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"lost+found", ".snapshot", "notes"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	store := open(t, dir)
	for kept, err := range store.List(t.Context()) {
		t.Errorf("the list has %v, %v", kept, err)
	}
	for _, id := range []string{"", "..", "../x", "/etc", "a/b"} {
		s := scaffoldernode.WorkspaceSnapshot{TaskID: id, ID: "a1"}
		if err := store.Save(t.Context(), s, strings.NewReader("")); err == nil {
			t.Errorf("a task %q has a workspace", id)
		}
		if err := store.Remove(t.Context(), scaffoldernode.WorkspaceSnapshot{TaskID: id}); err == nil {
			t.Errorf("a task %q was removed", id)
		}
		s = scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: id}
		if _, err := store.Open(t.Context(), s); err == nil {
			t.Errorf("a snapshot %q is opened", id)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := store.Save(stopped, scaffoldernode.WorkspaceSnapshot{TaskID: task, ID: "a1"}, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("a save that was stopped: %v", err)
	}
}

func TestAFolderThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "-that-is-not-there"} {
		if _, err := snapshots.New(dir); err == nil {
			t.Errorf("%s is used", dir)
		}
	}
}
