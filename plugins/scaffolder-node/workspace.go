package scaffoldernode

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flytower/flytower/apierr"
)

// InWorkspace returns a path of a template relative to the workspace. Absolute
// paths have to be in it. One that leads outside is a not-allowed error; links
// that do so are refused by the workspace itself.
func InWorkspace(root *os.Root, name string) (string, error) {
	clean := filepath.Clean(name)
	if filepath.IsAbs(clean) {
		if rel, err := filepath.Rel(root.Name(), clean); err == nil {
			clean = rel
		}
	}
	if name == "" || !filepath.IsLocal(clean) {
		return "", apierr.NotAllowed("Relative path is not allowed to refer to a directory outside its parent")
	}
	return clean, nil
}

// WriteFile writes a file of the workspace in one go: after a crash it is as it
// was, or as it is to be. It makes the folders above it, and keeps the mode of
// a file that is there. A link that is there is replaced, not followed.
func WriteFile(root *os.Root, name string, content []byte) (err error) {
	mode := fs.FileMode(0o644)
	switch info, err := root.Lstat(name); {
	case err == nil && info.IsDir():
		return fmt.Errorf("write %s: it is a folder", name)
	case err == nil && info.Mode().IsRegular():
		mode = info.Mode().Perm()
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(name), ".write-"+rand.Text())
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(root.Remove(beside)))
		}
	}()
	if err := root.WriteFile(beside, content, mode); err != nil {
		return err
	}
	if err := root.Chmod(beside, mode); err != nil {
		return err
	}
	return root.Rename(beside, name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
