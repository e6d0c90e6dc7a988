package workspacearchive

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
)

// bufferSize is what is read and written at once, in bytes.
const bufferSize = 128 << 10

// Write writes the archive of a folder.
func Write(ctx context.Context, to io.Writer, root *os.Root, limits Limits) error {
	buffered := bufio.NewWriterSize(to, bufferSize)
	w := &writer{tar: tar.NewWriter(buffered), budget: newBudget(limits), buffer: make([]byte, bufferSize)}
	if err := w.folder(ctx, root, "", 0); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("end the archive of the workspace: %w", err)
	}
	return buffered.Flush()
}

// Digest returns the SHA-256 of the archive of a folder, in hexadecimal: equal
// folders have equal digests.
func Digest(ctx context.Context, root *os.Root, limits Limits) (string, error) {
	sum := sha256.New()
	if err := Write(ctx, sum, root, limits); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

type writer struct {
	tar    *tar.Writer
	budget *budget
	buffer []byte
}

func (w *writer) folder(ctx context.Context, root *os.Root, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: its folders nest deeper than %d levels", ErrTooLarge, maxDepth)
	}
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("read the folder %q of the workspace: %w", prefix, err)
	}
	entries, err := dir.ReadDir(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("read the folder %q of the workspace: %w", prefix, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := path.Join(prefix, entry.Name())
		var err error
		switch {
		case entry.IsDir():
			err = w.subfolder(ctx, root, entry, name, depth)
		case entry.Type() == fs.ModeSymlink:
			err = w.link(root, entry, name)
		case entry.Type().IsRegular():
			err = w.file(root, entry, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s was removed", ErrChanged, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) header(kind byte, name string, mode fs.FileMode, size int64, target string) error {
	if err := w.budget.spend(size); err != nil {
		return err
	}
	if len(name) > maxName {
		return fmt.Errorf("%w: it has a path of more than %d bytes", ErrTooLarge, maxName)
	}
	return w.tar.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Mode: int64(mode.Perm()), Size: size, Linkname: target})
}

func (w *writer) subfolder(ctx context.Context, root *os.Root, entry fs.DirEntry, name string, depth int) (err error) {
	sub, err := root.OpenRoot(entry.Name())
	if err != nil {
		return fmt.Errorf("read the folder %q of the workspace: %w", name, err)
	}
	defer func() { err = errors.Join(err, sub.Close()) }()
	info, err := sub.Stat(".")
	if err != nil {
		return err
	}
	if err := w.header(tar.TypeDir, name+"/", info.Mode(), 0, ""); err != nil {
		return err
	}
	return w.folder(ctx, sub, name, depth+1)
}

func (w *writer) link(root *os.Root, entry fs.DirEntry, name string) error {
	target, err := root.Readlink(entry.Name())
	if err != nil {
		return fmt.Errorf("read the link %q of the workspace: %w", name, err)
	}
	if !Confined(name, target) {
		return nil
	}
	return w.header(tar.TypeSymlink, name, 0o777, 0, target)
}

func (w *writer) file(root *os.Root, entry fs.DirEntry, name string) (err error) {
	file, err := root.Open(entry.Name())
	if err != nil {
		return fmt.Errorf("read the file %q of the workspace: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no file any more", ErrChanged, name)
	}
	if err := w.header(tar.TypeReg, name, info.Mode(), info.Size(), ""); err != nil {
		return err
	}
	// Without the wrappers every file would get a buffer of its own.
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, struct{ io.Reader }{io.LimitReader(file, info.Size())}, w.buffer)
	if err != nil {
		return fmt.Errorf("read the file %q of the workspace: %w", name, err)
	}
	if n < info.Size() {
		return fmt.Errorf("%w: %s became shorter", ErrChanged, name)
	}
	return nil
}

// Archive is the archive of a folder as it is read.
type Archive struct {
	*io.PipeReader
	sum     hash.Hash
	writing sync.WaitGroup
}

// Open returns the archive of a folder for reading. A read fails where the
// folder cannot be read or is too large. Close it, also after an error.
func Open(ctx context.Context, root *os.Root, limits Limits) *Archive {
	r, w := io.Pipe()
	a := &Archive{PipeReader: r, sum: sha256.New()}
	a.writing.Go(func() { w.CloseWithError(Write(ctx, io.MultiWriter(a.sum, w), root, limits)) })
	return a
}

// Close ends reading and waits until nothing reads the folder any more.
func (a *Archive) Close() error {
	err := a.PipeReader.Close()
	a.writing.Wait()
	return err
}

// Digest is that of the archive, as [Digest] gives it, after it was read to its
// end and closed.
func (a *Archive) Digest() string {
	a.writing.Wait()
	return hex.EncodeToString(a.sum.Sum(nil))
}
