package urlreader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
)

// maxTreeFiles bounds a local tree.
const maxTreeFiles = 200_000

// files reads below directories that the embedding code opened, and cannot
// leave them: links are followed only within.
type files struct{ roots []openRoot }

type openRoot struct {
	dir  string // absolute and clean
	root *os.Root
}

func openFiles(dirs []string) (*files, error) {
	f := &files{}
	for _, d := range dirs {
		abs, err := filepath.Abs(d)
		if err == nil {
			var root *os.Root
			if root, err = os.OpenRoot(abs); err == nil {
				f.roots = append(f.roots, openRoot{abs, root})
				continue
			}
		}
		return nil, errors.Join(fmt.Errorf("opening a directory for reading: %w", err), f.Close())
	}
	return f, nil
}

// Close closes the directories.
func (f *files) Close() error {
	var errs []error
	for _, r := range f.roots {
		errs = append(errs, r.root.Close())
	}
	return errors.Join(errs...)
}

// isFile reports whether a target is a file: URL or an absolute path.
func isFile(raw string) bool {
	return len(raw) >= 5 && strings.EqualFold(raw[:5], "file:") || filepath.IsAbs(raw)
}

func fileURL(raw string) (*url.URL, error) {
	if filepath.IsAbs(raw) {
		return &url.URL{Scheme: "file", Path: filepath.ToSlash(raw)}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Opaque != "" || u.User != nil || !path.IsAbs(u.Path) {
		return nil, apierr.Input("%q is not the URL of a local file; write file:///directory/file", raw)
	}
	u.Host = ""
	return u, nil
}

// locate returns the directory that holds the file, and the path in it.
func (f *files) locate(u *url.URL) (*os.Root, string, error) {
	name := filepath.Clean(filepath.FromSlash(u.Path))
	for _, r := range f.roots {
		rel, err := filepath.Rel(r.dir, name)
		if err == nil && filepath.IsLocal(rel) {
			return r.root, filepath.ToSlash(rel), nil
		}
	}
	return nil, "", apierr.NotAllowed("reading the local file %s is not allowed: its directory is not opened for reading, and backend.reading.allow opens none", u.Path)
}

func fileError(u *url.URL, err error) error {
	var known *apierr.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return apierr.NotFound("%s was not found", u.Path)
	default:
		return fmt.Errorf("reading %s: %w", u.Path, err)
	}
}

func fileETag(i fs.FileInfo) string {
	return fmt.Sprintf(`W/"%x-%x"`, i.ModTime().UnixNano(), i.Size())
}

// Read reads a file.
func (f *files) Read(_ context.Context, u *url.URL, o core.ReadOptions) (_ core.ReadResult, err error) {
	root, name, err := f.locate(u)
	if err != nil {
		return core.ReadResult{}, err
	}
	file, err := root.Open(name)
	if err != nil {
		return core.ReadResult{}, fileError(u, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return core.ReadResult{}, fileError(u, err)
	}
	limit := o.MaxBytes
	if limit <= 0 {
		limit = DefaultFileBytes
	}
	etag := fileETag(info)
	switch {
	case !info.Mode().IsRegular():
		return core.ReadResult{}, apierr.Input("%s is no file", u.Path)
	case o.ETag == etag, !o.LastModifiedAfter.IsZero() && !info.ModTime().Truncate(time.Second).After(o.LastModifiedAfter):
		return core.ReadResult{}, apierr.NotModified("%s did not change", u.Path)
	case info.Size() > limit:
		return core.ReadResult{}, apierr.New(apierr.KindPayloadTooLarge, "%s has more than %d bytes", u.Path, limit)
	}
	return core.ReadResult{Content: limited{io.LimitReader(file, limit), file}, ETag: etag, LastModified: info.ModTime()}, nil
}

type limited struct {
	io.Reader
	io.Closer
}

// ReadTree lists a directory; its files are read when they are opened.
func (f *files) ReadTree(ctx context.Context, u *url.URL, o core.TreeOptions) (core.TreeResult, error) {
	root, name, err := f.locate(u)
	if err != nil {
		return nil, err
	}
	limit := o.MaxBytes
	if limit <= 0 {
		limit = DefaultTreeBytes
	}
	t := &localTree{root: root}
	hash, total := sha256.New(), int64(0)
	err = fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, name), "/")
		if name == "." {
			rel = p
		}
		if rel == "" {
			return apierr.Input("%s is no directory", u.Path)
		}
		if o.Filter != nil && !o.Filter(rel, info.Size()) {
			return nil
		}
		if total += info.Size(); total > limit || len(t.files) >= maxTreeFiles {
			return apierr.New(apierr.KindPayloadTooLarge, "%s has more than %d bytes or %d files", u.Path, limit, maxTreeFiles)
		}
		fmt.Fprintf(hash, "%s\x00%s\x00", rel, fileETag(info))
		t.files = append(t.files, core.TreeFile{
			Path: rel, Size: info.Size(), LastModified: info.ModTime(),
			Open: func() (io.ReadCloser, error) { return root.Open(p) },
		})
		return nil
	})
	if err != nil {
		return nil, fileError(u, err)
	}
	t.etag = hex.EncodeToString(hash.Sum(nil)[:16])
	if o.ETag == t.etag {
		return nil, apierr.NotModified("%s did not change", u.Path)
	}
	return t, nil
}

// Search matches the files below the directory in front of the pattern.
func (f *files) Search(ctx context.Context, u *url.URL, o core.ReadOptions) (core.SearchResult, error) {
	if !glob.IsPattern(u.Path) {
		return searchOne(ctx, f, u, o)
	}
	match, err := glob.Compile(u.Path)
	if err != nil {
		return core.SearchResult{}, apierr.Input("searching %s: %w", u.Path, err)
	}
	prefix := "/" + glob.StaticPrefix(u.Path)
	tree, err := f.ReadTree(ctx, &url.URL{Scheme: "file", Path: prefix}, core.TreeOptions{
		ReadOptions: core.ReadOptions{ETag: o.ETag},
		Filter:      func(p string, _ int64) bool { return match.Match(path.Join(prefix, p)) },
	})
	if errors.Is(err, apierr.NotFound("")) {
		return core.SearchResult{}, nil
	}
	if err != nil {
		return core.SearchResult{}, err
	}
	out := core.SearchResult{ETag: tree.ETag()}
	for _, t := range tree.Files() {
		at := (&url.URL{Scheme: "file", Path: path.Join(prefix, t.Path)}).String()
		out.Files = append(out.Files, core.FoundFile{URL: at, LastModified: t.LastModified, Open: t.Open})
	}
	return out, nil
}

// localTree is a directory, read where it lies.
type localTree struct {
	root  *os.Root
	files []core.TreeFile
	etag  string
}

func (t *localTree) Files() []core.TreeFile { return slices.Clone(t.files) }
func (t *localTree) ETag() string           { return t.etag }
func (t *localTree) Close() error           { return nil }

// WriteTo copies the files below dir, which they cannot leave.
func (t *localTree) WriteTo(ctx context.Context, dir string) error {
	to, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("writing a tree: %w", err)
	}
	defer to.Close() //nolint:errcheck // nothing is written through it any more
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := copyFile(to, f); err != nil {
			return fmt.Errorf("writing a tree: the file %q: %w", f.Path, err)
		}
	}
	return nil
}

func copyFile(to *os.Root, f core.TreeFile) (err error) {
	if err := to.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o755); err != nil {
		return err
	}
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	dst, err := to.Create(filepath.FromSlash(f.Path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
