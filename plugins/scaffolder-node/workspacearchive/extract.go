package workspacearchive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Extract writes what an archive has into an empty folder. The archive may be
// compressed with gzip. What is refused is a [*RefusedError], what exceeds the
// limits is [ErrTooLarge]; after an error the folder has a part of it.
func Extract(ctx context.Context, from io.Reader, root *os.Root, limits Limits) error {
	if err := empty(root); err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(from, bufferSize)
	var plain io.Reader = buffered
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("read the archive of a workspace: %w", err)
		}
		plain = unpacked
	}
	e := &extractor{root: root, budget: newBudget(limits), seen: map[string]kind{}, buffer: make([]byte, bufferSize)}
	defer e.leave()
	archive := tar.NewReader(plain)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive of a workspace: %w", err)
		}
		if err := e.entry(header, archive); err != nil {
			return err
		}
	}
	// Now that nothing is written any more, folders may become read-only.
	for i := len(e.folders) - 1; i >= 0; i-- {
		if f := e.folders[i]; f.mode != newFolder {
			if err := root.Chmod(f.name, f.mode); err != nil {
				return fmt.Errorf("restore the permissions of a folder of the workspace: %w", err)
			}
		}
	}
	return nil
}

func empty(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open the workspace: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	if len(names) > 0 {
		return errors.New("a workspace can be restored into an empty folder only")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the workspace: %w", err)
	}
	return nil
}

// kind is what the archive said of a name.
type kind int

const (
	implied kind = iota + 1 // a folder, because it contains something
	folder
	other
)

// newFolder are the permissions of folders while they are written to.
const newFolder fs.FileMode = 0o700

type extractor struct {
	root    *os.Root
	budget  *budget
	buffer  []byte
	seen    map[string]kind
	folders []struct {
		name string
		mode fs.FileMode
	}
	// inside is the folder written to last, which the next entry mostly is in.
	inside     *os.Root
	insideName string
}

func (e *extractor) entry(h *tar.Header, content io.Reader) error {
	refuse := func(problem string) error { return &RefusedError{h.Name, problem} }
	if h.Typeflag == tar.TypeXGlobalHeader {
		return e.budget.spend(0)
	}
	name, problem := clean(h.Name)
	if problem != "" {
		return refuse(problem)
	}
	if h.Size < 0 {
		return refuse("has a negative size")
	}
	if err := e.budget.spend(h.Size); err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return refuse("takes the place of the workspace")
		}
		return nil
	}
	was := e.seen[name]
	if was != 0 && (was != implied || h.Typeflag != tar.TypeDir) {
		return refuse("is there twice")
	}
	dir, err := e.enter(path.Dir(name))
	if err != nil {
		return err
	}
	mode := h.FileInfo().Mode().Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if was == 0 {
			if err := dir.Mkdir(path.Base(name), newFolder); err != nil {
				return fmt.Errorf("restore a folder of the workspace: %w", err)
			}
		}
		e.seen[name] = folder
		e.folders = append(e.folders, struct {
			name string
			mode fs.FileMode
		}{name, mode})
		return nil
	case tar.TypeReg:
		e.seen[name] = other
		return e.file(dir, path.Base(name), mode, h.Size, content)
	case tar.TypeSymlink:
		if !Confined(name, h.Linkname) {
			return refuse("is a link that may lead outside of it")
		}
		e.seen[name] = other
		if err := dir.Symlink(h.Linkname, path.Base(name)); err != nil {
			return fmt.Errorf("restore a link of the workspace: %w", err)
		}
		return nil
	}
	return refuse("is neither a file, a folder nor a symbolic link")
}

// clean returns a name without what means nothing in it, or what is wrong with
// it.
func clean(name string) (cleaned, problem string) {
	cleaned = path.Clean(name)
	switch {
	case name == "" || strings.Contains(name, "\x00") || filepath.Separator != '/' && strings.ContainsRune(name, filepath.Separator):
		return "", "has no usable name"
	case len(name) > maxName || strings.Count(cleaned, "/") > maxDepth:
		return "", "has too long a name"
	case path.IsAbs(name) || !filepath.IsLocal(cleaned):
		return "", "lies outside of it"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "lies outside of it"
		}
	}
	return cleaned, ""
}

// enter returns a folder, and makes it where the archive has not named it. All
// that is there was made by the extractor: a name that is no folder of it is a
// file or a link, through which nothing is written.
func (e *extractor) enter(name string) (*os.Root, error) {
	if name == "." {
		return e.root, nil
	}
	if e.inside != nil && e.insideName == name {
		return e.inside, nil
	}
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		switch part := name[:i]; e.seen[part] {
		case implied, folder:
		case other:
			return nil, &RefusedError{part, "is no folder, but other entries are in it"}
		default:
			if err := e.budget.spend(0); err != nil {
				return nil, err
			}
			if err := e.root.Mkdir(part, 0o755); err != nil {
				return nil, fmt.Errorf("restore a folder of the workspace: %w", err)
			}
			e.seen[part] = implied
		}
	}
	inside, err := e.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open a folder of the workspace: %w", err)
	}
	e.leave()
	e.inside, e.insideName = inside, name
	return inside, nil
}

func (e *extractor) leave() {
	if e.inside != nil {
		_ = e.inside.Close() // nothing was written through it
		e.inside = nil
	}
}

func (e *extractor) file(dir *os.Root, name string, mode fs.FileMode, size int64, content io.Reader) (err error) {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("restore a file of the workspace: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	n, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{io.LimitReader(content, size)}, e.buffer)
	if err != nil {
		return fmt.Errorf("restore the file %q of the workspace: %w", name, err)
	}
	if n < size {
		return fmt.Errorf("restore the file %q of the workspace: %w", name, io.ErrUnexpectedEOF)
	}
	return file.Chmod(mode)
}
