package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// Tree holds the files of an archive on disk until Close. It is safe for
// concurrent use.
type Tree struct {
	spool *os.File
	files []File

	once sync.Once
	err  error
}

// Files returns the files, sorted by path. The caller must not change them.
func (t *Tree) Files() []File { return t.files }

// Open returns the content of a file. It fails after Close.
func (t *Tree) Open(f File) (io.ReadCloser, error) {
	// Reading nothing tells whether the file is still there.
	if _, err := t.spool.Stat(); err != nil {
		return nil, fmt.Errorf("opening %q: the tree is closed: %w", f.Path, err)
	}
	return io.NopCloser(io.NewSectionReader(t.spool, f.at, f.Size)), nil
}

// Close removes what is on disk. Files that are open fail from then on.
func (t *Tree) Close() error {
	t.once.Do(func() {
		t.err = errors.Join(t.spool.Close(), os.Remove(t.spool.Name()))
	})
	return t.err
}

// WriteTo writes the files below an existing directory, from which it cannot
// break out, also where the directory holds symbolic links already. Existing
// files are replaced.
func (t *Tree) WriteTo(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("writing a tree: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing is written through it any more
	made := map[string]bool{".": true}
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		parent := path.Dir(f.Path)
		if !made[parent] {
			if err := root.MkdirAll(filepath.FromSlash(parent), 0o755); err != nil {
				return fmt.Errorf("writing a tree: making the directory %q: %w", parent, err)
			}
			made[parent] = true
		}
		if err := t.writeFile(root, f); err != nil {
			return fmt.Errorf("writing a tree: the file %q: %w", f.Path, err)
		}
	}
	return nil
}

func (t *Tree) writeFile(root *os.Root, f File) (err error) {
	src, err := t.Open(f)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	dst, err := root.OpenFile(filepath.FromSlash(f.Path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
