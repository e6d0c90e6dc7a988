// Package workspacearchive writes the workspace of a task as a tar archive, and
// reads it back.
//
//	archive := workspacearchive.Open(ctx, workspace, workspacearchive.Limits{})
//	defer archive.Close()
//	if _, err := io.Copy(store, archive); err != nil { … }
//
//	err := workspacearchive.Extract(ctx, stored, emptyWorkspace, workspacearchive.Limits{})
//
// The same tree gives the same bytes: entries are sorted, and have no times and
// no owners. What an archive has are folders, files with their permissions, and
// links that stay inside the workspace ([Confined]). Other links, sockets and
// devices are left out; hard links become files.
//
// Archives are not trusted: [Extract] refuses whatever would write outside of
// the folder, through a link, or more than the limits allow.
package workspacearchive

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Limits bound an archive. A field that is zero has its default.
type Limits struct {
	// Bytes is the size of all files together. Default 2 GiB.
	Bytes int64
	// Entries is the number of files, folders and links. Default 500,000.
	Entries int
}

const (
	defaultBytes   = 2 << 30
	defaultEntries = 500_000
	// maxDepth bounds how deep folders nest, and maxName how long a path is in
	// bytes.
	maxDepth = 200
	maxName  = 4096
)

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	return l
}

// ErrTooLarge reports that a workspace or an archive exceeds the limits.
var ErrTooLarge = errors.New("the workspace is too large to be kept")

// ErrChanged reports that a file changed while it was archived.
var ErrChanged = errors.New("a file of the workspace changed while it was read")

// RefusedError reports an entry that an archive of a workspace does not have.
type RefusedError struct {
	Entry   string
	Problem string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the archive of a workspace has the entry %q, which %s", e.Entry, e.Problem)
}

// budget counts what is left of limits.
type budget struct {
	limits  Limits
	bytes   int64
	entries int
}

func newBudget(l Limits) *budget {
	l = l.withDefaults()
	return &budget{limits: l, bytes: l.Bytes, entries: l.Entries}
}

func (b *budget) spend(bytes int64) error {
	if b.entries--; b.entries < 0 {
		return fmt.Errorf("%w: it has more than %d files and folders", ErrTooLarge, b.limits.Entries)
	}
	if b.bytes -= bytes; b.bytes < 0 {
		return fmt.Errorf("%w: its files have more than %d bytes", ErrTooLarge, b.limits.Bytes)
	}
	return nil
}

// Confined reports whether a link stays inside the workspace: it is relative,
// goes up only at its beginning, and no further than the top. A name after
// that may be a link of which the same holds, so that none leads out.
func Confined(name, target string) bool {
	if target == "" || path.IsAbs(target) || filepath.IsAbs(target) || filepath.Separator != '/' && strings.ContainsRune(target, filepath.Separator) {
		return false
	}
	depth := strings.Count(name, "/")
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; down || depth < 0 {
				return false
			}
		default:
			down = true
		}
	}
	return true
}
