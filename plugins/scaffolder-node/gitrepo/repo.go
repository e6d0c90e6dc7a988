package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Hash names an object.
type Hash = plumbing.Hash

// ParseHash reads the hexadecimal digits of a hash.
func ParseHash(digits string) Hash { return plumbing.NewHash(digits) }

// Repo is a database of git objects in a folder of its own, outside of the
// workspace: nobody but the Repo may write there.
type Repo struct {
	dir   string
	store *filesystem.Storage
}

// New makes a repository in an empty folder.
func New(dir *os.Root) (*Repo, error) {
	store := filesystem.NewStorageWithOptions(osfs.New(dir.Name(), osfs.WithBoundOS()), cache.NewObjectLRU(8*cache.MiByte), filesystem.Options{
		// contents stay on the disk: memory does not grow with the workspace
		LargeObjectThreshold: 1,
	})
	if err := store.Init(); err != nil {
		return nil, fmt.Errorf("make a git repository: %w", err)
	}
	return &Repo{dir: dir.Name(), store: store}, nil
}

// Close closes its files.
func (r *Repo) Close() error { return r.store.Close() }

// entry is a file of a tree.
type entry struct {
	mode filemode.FileMode
	hash Hash
}

// AddFolder stores the files of a folder that [Walk] visits, and returns their
// tree.
func (r *Repo) AddFolder(ctx context.Context, root *os.Root, folder string) (Hash, error) {
	files := map[string]entry{}
	if err := r.add(ctx, root, folder, ".", files); err != nil {
		return Hash{}, err
	}
	return r.writeTree(files)
}

func (r *Repo) add(ctx context.Context, root *os.Root, folder, at string, files map[string]entry) error {
	return Walk(ctx, root, folder, func(f File) error {
		hash, err := r.addFile(f)
		if err != nil {
			return fmt.Errorf("add %s: %w", f.Path, err)
		}
		files[path.Join(at, f.Path)] = entry{filemode.FileMode(f.Mode), hash}
		return nil
	})
}

func (r *Repo) addFile(f File) (hash Hash, err error) {
	content, err := f.Open()
	if err != nil {
		return hash, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return r.write(plumbing.BlobObject, f.Size, content)
}

// write stores an object without holding it in memory.
func (r *Repo) write(kind plumbing.ObjectType, size int64, content io.Reader) (Hash, error) {
	w, header, err := r.store.LazyWriter()
	if err != nil {
		return Hash{}, err
	}
	if err := header(kind, size); err != nil {
		return Hash{}, errors.Join(err, w.Close())
	}
	hasher := plumbing.NewHasher(kind, size)
	n, err := io.Copy(io.MultiWriter(w, hasher), io.LimitReader(content, size))
	if err == nil && n != size {
		err = fmt.Errorf("it has %d bytes in place of %d: it changed while it was read", n, size)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return Hash{}, err
	}
	return hasher.Sum(), nil
}

// writeTree stores the folders of the files.
func (r *Repo) writeTree(files map[string]entry) (Hash, error) {
	root := folderNode{}
	for name, e := range files {
		if err := root.insert(name, e); err != nil {
			return Hash{}, err
		}
	}
	return r.writeFolder(root)
}

// folderNode has an entry or a folderNode for each name.
type folderNode map[string]any

func (n folderNode) insert(name string, e entry) error {
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return fmt.Errorf("%q cannot be the path of a file in git", name)
		}
	}
	for _, part := range parts[:len(parts)-1] {
		if n[part] == nil {
			n[part] = folderNode{}
		}
		below, ok := n[part].(folderNode)
		if !ok {
			return fmt.Errorf("%q is below a file", name)
		}
		n = below
	}
	last := parts[len(parts)-1]
	if n[last] != nil {
		return fmt.Errorf("%q is a file and a folder", name)
	}
	n[last] = e
	return nil
}

func (r *Repo) writeFolder(n folderNode) (Hash, error) {
	tree := &object.Tree{}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		switch v := n[name].(type) {
		case entry:
			tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: v.mode, Hash: v.hash})
		case folderNode:
			hash, err := r.writeFolder(v)
			if err != nil {
				return Hash{}, err
			}
			tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: hash})
		}
	}
	slices.SortFunc(tree.Entries, func(a, b object.TreeEntry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return r.encode(tree)
}

// sortKey is how git sorts: folders as if their names ended with a slash.
func sortKey(e object.TreeEntry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

type encodable interface {
	Encode(plumbing.EncodedObject) error
}

func (r *Repo) encode(o encodable) (Hash, error) {
	out := r.store.NewEncodedObject()
	if err := o.Encode(out); err != nil {
		return Hash{}, err
	}
	return r.store.SetEncodedObject(out)
}

// Change is what a tree has that another one has not.
type Change struct {
	// Remove are paths of files and folders. What is not there is no error.
	Remove []string
	// From is the workspace whose Folder is put to At; nil adds nothing. Files
	// that are there already are replaced.
	From       *os.Root
	Folder, At string
}

// Change stores the tree of a commit with a change, and returns it.
func (r *Repo) Change(ctx context.Context, commit Hash, change Change) (Hash, error) {
	files, err := r.files(commit)
	if err != nil {
		return Hash{}, err
	}
	for _, removed := range change.Remove {
		removed = path.Clean(removed)
		maps.DeleteFunc(files, func(name string, _ entry) bool {
			return name == removed || strings.HasPrefix(name, removed+"/")
		})
	}
	if change.From != nil {
		if err := r.add(ctx, change.From, cmpOr(change.Folder, "."), cmpOr(change.At, "."), files); err != nil {
			return Hash{}, err
		}
	}
	return r.writeTree(files)
}

func cmpOr(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}

// files lists the files of a commit.
func (r *Repo) files(commit Hash) (map[string]entry, error) {
	c, err := object.GetCommit(r.store, commit)
	if err != nil {
		return nil, fmt.Errorf("read the commit %s: %w", commit, err)
	}
	tree, err := c.Tree()
	if err != nil {
		return nil, fmt.Errorf("read the files of the commit %s: %w", commit, err)
	}
	files := map[string]entry{}
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for {
		name, e, err := walker.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the files of the commit %s: %w", commit, err)
		}
		if e.Mode != filemode.Dir {
			files[name] = entry{e.Mode, e.Hash}
		}
	}
}

// Checkout writes the files of a commit below a folder of a workspace.
// Submodules are left out. Files that are there are replaced; a link that leads
// outside of the workspace is an error.
func (r *Repo) Checkout(ctx context.Context, commit Hash, root *os.Root, folder string) error {
	files, err := r.files(commit)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := r.checkout(files[name], root, path.Join(folder, name)); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (r *Repo) checkout(e entry, root *os.Root, name string) (err error) {
	if e.mode == filemode.Submodule {
		return nil
	}
	blob, err := object.GetBlob(r.store, e.hash)
	if err != nil {
		return err
	}
	content, err := blob.Reader()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if e.mode == filemode.Symlink {
		target, err := io.ReadAll(io.LimitReader(content, 1<<12))
		if err != nil {
			return err
		}
		to := string(target)
		if path.IsAbs(to) || strings.HasPrefix(path.Join(path.Dir(name), to)+"/", "../") {
			return fmt.Errorf("the link leads outside of the workspace")
		}
		return root.Symlink(to, name)
	}
	perm := os.FileMode(0o644)
	if e.mode == filemode.Executable {
		perm = 0o755
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
