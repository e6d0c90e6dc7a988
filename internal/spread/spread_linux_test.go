package spread_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/flytower/flytower/internal/spread"
)

func TestSubfolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // the second time it is so already
		switch err := spread.Subfolders(dir); {
		case errors.Is(err, errors.ErrUnsupported):
			t.Skip(err)
		case err != nil:
			t.Fatal(err)
		}
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	flags, err := unix.IoctlGetUint32(int(folder.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&0x20000 == 0 {
		t.Errorf("the attributes are %#x, %v", flags, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

func TestSubfoldersLeavesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := spread.Subfolders(shared); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a folder of everybody: %v", err)
	}
	if err := spread.Subfolders(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestTempDir(t *testing.T) {
	all := t.TempDir()
	t.Setenv("TMPDIR", all)
	own := filepath.Join(all, fmt.Sprint("x-", os.Geteuid()))
	for range 2 {
		if have := spread.TempDir("x"); have != own {
			t.Fatalf("it is %s", have)
		}
	}
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, take := range map[string]func(path string) error{
		"link":     func(path string) error { return os.Symlink(own, path) },
		"file":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"writable": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777)) },
	} {
		if err := take(filepath.Join(all, fmt.Sprint(name, "-", os.Geteuid()))); err != nil {
			t.Fatal(err)
		}
		if have := spread.TempDir(name); have != all {
			t.Errorf("%s: it is %s", name, have)
		}
	}
}
