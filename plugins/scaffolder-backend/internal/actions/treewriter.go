package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// treeWriter renders a tree into the workspace. What is written where is
// decided first, in order, so that the outcome is the same whatever renders
// first: the files are then rendered side by side, and the log tells of them in
// order.
type treeWriter struct {
	*renderer
	source, workspace *os.Root
	logger            *slog.Logger
	target            string
	verbatim          map[string]bool
	extension         string
	replace           bool
}

// batchSize is how many files of a folder are rendered by one goroutine after
// the other.
const batchSize = 16

// batch is consecutive files of a folder that go into one folder.
type batch struct {
	from, to string // folders
	files    []*item
	done     chan struct{}
	panicked any
}

// item is a file, link or folder of the tree.
type item struct {
	found
	target     string
	isTemplate bool
	lines      []string // of the log
	err        error
}

func (w *treeWriter) write(ctx context.Context, all []found) error {
	batches, err := w.plan(ctx, all)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop() // before the wait
	todo := make(chan *batch)
	workers.Go(func() {
		defer close(todo)
		for _, b := range batches {
			select {
			case todo <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(runtime.GOMAXPROCS(0), len(batches)) {
		workers.Go(func() {
			worker := &fileWriter{treeWriter: w, exact: map[fs.FileMode]bool{}}
			for b := range todo {
				worker.batch(ctx, b)
			}
		})
	}
	for _, b := range batches {
		select {
		case <-b.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if b.panicked != nil {
			panic(b.panicked) // whoever runs actions guards against that
		}
		for _, f := range b.files {
			for _, line := range f.lines {
				w.logger.Info(line)
			}
			if f.err != nil {
				return f.err
			}
		}
	}
	return nil
}

// plan renders the names, and makes the folders. Of several files with the
// same target the one stays that would if they were written in turn.
func (w *treeWriter) plan(ctx context.Context, all []found) (batches []*batch, err error) {
	folders, byTarget := map[string]bool{}, map[string]*item{}
	var last *batch
	for _, f := range all {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		it, err := w.item(ctx, f)
		if err != nil {
			return nil, err
		}
		if it == nil {
			continue
		}
		folder := it.target
		if f.kind != fs.ModeDir {
			folder = path.Dir(it.target)
		}
		if !folders[folder] {
			if err := w.workspace.MkdirAll(filepath.FromSlash(folder), 0o755); err != nil {
				return nil, err
			}
			folders[folder] = true
		}
		if f.kind == fs.ModeDir {
			it.lines = append(it.lines, "Writing directory "+f.name+"/ to template output path.")
		} else if earlier := byTarget[it.target]; earlier == nil {
			byTarget[it.target] = it
		} else if w.replace {
			earlier.target, byTarget[it.target] = "", it
		} else {
			continue
		}
		from := path.Dir(f.name)
		if last == nil || last.from != from || last.to != folder && f.kind != fs.ModeDir || len(last.files) == batchSize {
			last = &batch{from: from, to: folder, done: make(chan struct{})}
			batches = append(batches, last)
		}
		last.files = append(last.files, it)
	}
	return batches, nil
}

// item says what becomes of something in the tree; nil for nothing.
func (w *treeWriter) item(ctx context.Context, f found) (*item, error) {
	written := f.name
	if f.kind == fs.ModeDir {
		written += "/"
	}
	it := &item{found: f, isTemplate: !w.verbatim[f.name] || f.kind == fs.ModeDir}
	name := written
	if w.extension != "" {
		if it.isTemplate = path.Ext(name) == w.extension; it.isTemplate {
			name = strings.TrimSuffix(name, w.extension)
		}
	}
	rendered, err := w.render(ctx, written, name)
	if err != nil {
		return nil, err
	}
	if rendered == "" || strings.HasPrefix(rendered, "/") || strings.Contains(rendered, "//") {
		return nil, nil // a condition in the name is false
	}
	target, err := inside(w.workspace, path.Join(w.target, rendered))
	if err != nil {
		return nil, err
	}
	it.target = filepath.ToSlash(target)
	if !it.isTemplate {
		it.lines = append(it.lines, "Copying file/directory "+written+" without processing.")
	}
	return it, nil
}

// fileWriter renders files, one after the other.
type fileWriter struct {
	*treeWriter
	from, to *os.Root // the folders of the batch
	buffer   []byte
	// exact are the permissions that new files get as they are asked for.
	exact map[fs.FileMode]bool
}

func (w *fileWriter) batch(ctx context.Context, b *batch) {
	defer close(b.done)
	defer func() { b.panicked = recover() }()
	fail := func(err error) { b.files[0].err = err }
	var err error
	if w.from, err = w.source.OpenRoot(filepath.FromSlash(b.from)); err != nil {
		fail(err)
		return
	}
	defer w.from.Close()
	if w.to, err = w.workspace.OpenRoot(filepath.FromSlash(b.to)); err != nil {
		fail(err)
		return
	}
	defer w.to.Close()
	for _, it := range b.files {
		if ctx.Err() != nil {
			it.err = context.Cause(ctx)
			return
		}
		if it.kind == fs.ModeDir || it.target == "" {
			continue
		}
		if it.err = w.item(ctx, it); it.err != nil {
			return
		}
	}
}

func (w *fileWriter) item(ctx context.Context, it *item) error {
	base := path.Base(it.target)
	there, err := w.to.Lstat(base)
	switch {
	case err == nil && !w.replace:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	isNew := err != nil
	if it.kind == fs.ModeSymlink {
		it.lines = append(it.lines, "Copying file binary or symbolic link at "+it.name+", to template output path.")
		info, err := w.source.Lstat(it.name)
		if err != nil {
			return err
		}
		return copyEntry(w.source, it.name, fs.FileInfoToDirEntry(info), w.workspace, it.target)
	}
	text, mode, err := w.read(path.Base(it.name))
	if err != nil {
		return err
	}
	if it.isTemplate && isBinary(text) {
		it.lines = append(it.lines, "Copying file binary or symbolic link at "+it.name+", to template output path.")
	} else if it.isTemplate {
		it.lines = append(it.lines, fmt.Sprintf("Writing file %s to template output path with mode %d.", it.name, 0o100000|mode))
		rendered, err := w.render(ctx, it.name, strings.ToValidUTF8(string(text), "\uFFFD"))
		if err != nil {
			return err
		}
		text = append(w.buffer[:0], rendered...)
		w.buffer = text
	}
	if !isNew && !there.Mode().IsRegular() {
		if err := w.to.Remove(base); err != nil {
			return err
		}
		isNew = true
	}
	return w.save(base, text, mode, isNew)
}

// read reads a file into the buffer.
func (w *fileWriter) read(name string) (text []byte, mode fs.FileMode, err error) {
	file, err := w.from.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no file", name)
	}
	if need := int(info.Size()) + 1; cap(w.buffer) < need { // one more to see the end
		w.buffer = make([]byte, 0, need)
	}
	text = w.buffer[:0]
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := file.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			w.buffer = text
			return text, info.Mode().Perm(), nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

// save writes a file that is new, or replaces one.
func (w *fileWriter) save(name string, text []byte, mode fs.FileMode, isNew bool) (err error) {
	flags := os.O_WRONLY | os.O_CREATE
	if isNew {
		flags |= os.O_EXCL
	} else {
		flags |= os.O_TRUNC
	}
	out, err := w.to.OpenFile(name, flags, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(text); err != nil {
		return err
	}
	if isNew && w.exact[mode] {
		return nil
	}
	info, err := out.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm() != mode {
		return out.Chmod(mode)
	}
	if isNew {
		w.exact[mode] = true
	}
	return nil
}
