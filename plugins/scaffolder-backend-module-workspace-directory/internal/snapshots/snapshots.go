// Package snapshots keeps archives of workspaces as files of a folder:
// <task>/<snapshot>.tar.
package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"syscall"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const (
	// suffix is that of archives; those that are being written have partial
	// behind it.
	suffix  = ".tar"
	partial = ".partial"
	// probe is a file that is written to see whether that works.
	probe = ".writable"
	// page is how many entries of the folder are read at once.
	page = 256
)

// Store is a workspace provider. Use [New].
type Store struct{ root *os.Root }

var _ scaffoldernode.WorkspaceProvider = (*Store)(nil)

// New returns the store in a folder that exists, if it can write there.
func New(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	// Another instance may remove the file of this one.
	err = root.WriteFile(probe, nil, 0o600)
	if removed := root.Remove(probe); err == nil && !errors.Is(removed, fs.ErrNotExist) {
		err = removed
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Store{root}, nil
}

// Close ends the use of the folder.
func (s *Store) Close() error { return s.root.Close() }

// valid reports whether an id may be the name of a file.
func valid(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "0123456789abcdefABCDEF-") == ""
}

func name(s scaffoldernode.WorkspaceSnapshot) (string, error) {
	if !valid(s.TaskID) || !valid(s.ID) {
		return "", fmt.Errorf("the workspace %q of the task %q has no name for a file", s.ID, s.TaskID)
	}
	return path.Join(s.TaskID, s.ID+suffix), nil
}

// Save implements [scaffoldernode.WorkspaceProvider]. The archive has its name
// only when all of it is on the disk.
func (s *Store) Save(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, archive io.Reader) (err error) {
	target, err := name(snapshot)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.root.Remove(target + partial) // or else with the task
			err = fmt.Errorf("save a workspace in the folder %s: %w", s.root.Name(), err)
		}
	}()
	if err := s.root.MkdirAll(snapshot.TaskID, 0o700); err != nil {
		return err
	}
	if err := s.write(ctx, target+partial, archive); err != nil {
		return err
	}
	if err := s.root.Rename(target+partial, target); err != nil {
		return err
	}
	return errors.Join(s.sync(snapshot.TaskID), s.sync("."))
}

func (s *Store) write(ctx context.Context, name string, archive io.Reader) (err error) {
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.CopyBuffer(struct{ io.Writer }{file}, &stoppable{ctx, archive}, make([]byte, 256<<10)); err != nil {
		return err
	}
	return file.Sync()
}

// stoppable is a reader that ends with a context.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(p)
}

// sync makes names of a folder last. Where folders cannot be synchronised,
// names last without.
func (s *Store) sync(dir string) error {
	folder, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// Open implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Open(_ context.Context, snapshot scaffoldernode.WorkspaceSnapshot) (io.ReadCloser, error) {
	file, err := name(snapshot)
	if err != nil {
		return nil, err
	}
	return s.root.Open(file)
}

// Remove implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Remove(_ context.Context, snapshot scaffoldernode.WorkspaceSnapshot) error {
	if snapshot.ID == "" {
		if !valid(snapshot.TaskID) {
			return fmt.Errorf("the task %q has no name for a folder", snapshot.TaskID)
		}
		return s.root.RemoveAll(snapshot.TaskID)
	}
	file, err := name(snapshot)
	if err != nil {
		return err
	}
	if err := s.root.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [scaffoldernode.WorkspaceProvider].
func (s *Store) List(ctx context.Context) iter.Seq2[scaffoldernode.KeptWorkspace, error] {
	return func(yield func(scaffoldernode.KeptWorkspace, error) bool) {
		if err := s.list(ctx, yield); err != nil {
			yield(scaffoldernode.KeptWorkspace{}, fmt.Errorf("list the workspaces in the folder %s: %w", s.root.Name(), err))
		}
	}
}

func (s *Store) list(ctx context.Context, yield func(scaffoldernode.KeptWorkspace, error) bool) (err error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		entries, err := dir.ReadDir(page)
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil || !entry.IsDir() || !valid(entry.Name()) || !strings.Contains(entry.Name(), "-") {
				continue // removed meanwhile, or not of the scaffolder
			}
			if !yield(scaffoldernode.KeptWorkspace{TaskID: entry.Name(), Saved: info.ModTime()}, nil) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
