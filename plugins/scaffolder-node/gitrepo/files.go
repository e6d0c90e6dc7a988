package gitrepo

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// Mode is how git keeps a file.
type Mode uint32

// The modes of files, as the API of GitHub writes them in octal, too.
const (
	Regular    Mode = 0o100644
	Executable Mode = 0o100755
	Symlink    Mode = 0o120000
)

// String returns the mode as git writes it, such as "100644".
func (m Mode) String() string { return fmt.Sprintf("%06o", uint32(m)) }

// File is a file that git would add.
type File struct {
	// Path is below the folder that was walked, with slashes.
	Path string
	Mode Mode
	// Size is in bytes.
	Size int64

	root *os.Root
	at   string
}

// Open returns the content of the file: of a link, where it leads to.
func (f File) Open() (io.ReadCloser, error) {
	if f.Mode == Symlink {
		target, err := f.root.Readlink(f.at)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(strings.NewReader(filepath.ToSlash(target))), nil
	}
	return f.root.Open(f.at)
}

// Read returns the content as a whole.
func (f File) Read() ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(r, f.Size+1))
	if closing := r.Close(); err == nil {
		err = closing
	}
	if err == nil && int64(len(content)) != f.Size {
		err = fmt.Errorf("%s changed while it was read", f.Path)
	}
	return content, err
}

// maxIgnoreFile is the size in bytes from which on a .gitignore is refused.
const maxIgnoreFile = 1 << 20

// Walk visits the files of a folder that "git add ." would add, sorted by
// path: without those that a .gitignore in the folder excludes, without what
// is named .git, and without pipes, sockets and devices. Links are visited and
// not followed.
func Walk(ctx context.Context, root *os.Root, folder string, visit func(File) error) error {
	folder = path.Clean(folder)
	w := &walker{root: root, base: folder, visit: visit}
	if err := w.folder(ctx, nil, nil); err != nil {
		return fmt.Errorf("list the files in %s: %w", folder, err)
	}
	return nil
}

type walker struct {
	root  *os.Root
	base  string
	visit func(File) error
}

func (w *walker) folder(ctx context.Context, below []string, patterns []gitignore.Pattern) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	at := path.Join(append([]string{w.base}, below...)...)
	entries, err := fs.ReadDir(w.root.FS(), at)
	if err != nil {
		return err
	}
	own, err := w.ignored(path.Join(at, ".gitignore"), below)
	if err != nil {
		return err
	}
	patterns = slices.Concat(patterns, own)
	matcher := gitignore.NewMatcher(patterns)
	for _, entry := range entries {
		name := entry.Name()
		here := slices.Concat(below, []string{name})
		if strings.EqualFold(name, ".git") || matcher.Match(here, entry.IsDir()) {
			continue
		}
		if entry.IsDir() {
			if err := w.folder(ctx, here, patterns); err != nil {
				return err
			}
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		file := File{Path: path.Join(here...), Size: info.Size(), root: w.root, at: path.Join(at, name)}
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := w.root.Readlink(file.at)
			if err != nil {
				return err
			}
			file.Mode, file.Size = Symlink, int64(len(target))
		case !info.Mode().IsRegular():
			continue
		case info.Mode()&0o100 != 0:
			file.Mode = Executable
		default:
			file.Mode = Regular
		}
		if err := w.visit(file); err != nil {
			return err
		}
	}
	return nil
}

// ignored reads a .gitignore, if there is one. Like git it does not follow one
// that is a link.
func (w *walker) ignored(at string, below []string) ([]gitignore.Pattern, error) {
	info, err := w.root.Lstat(at)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil //nolint:nilerr // there is none
	}
	if info.Size() > maxIgnoreFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", at, maxIgnoreFile)
	}
	text, err := w.root.ReadFile(at)
	if err != nil {
		return nil, err
	}
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, below))
		}
	}
	return patterns, nil
}

// SourceFolder returns the folder of a workspace that the input sourcePath of
// an action means: "." for none. What would lead outside is cut off.
func SourceFolder(sourcePath string) (string, error) {
	folder := path.Clean(filepath.ToSlash(sourcePath))
	for folder == ".." || strings.HasPrefix(folder, "../") {
		folder = path.Clean(strings.TrimPrefix(folder[2:], "/"))
	}
	folder = path.Clean(strings.TrimLeft(folder, "/"))
	if !filepath.IsLocal(folder) {
		return "", fmt.Errorf("Invalid source path") //nolint:staticcheck // the text that users know
	}
	return folder, nil
}
