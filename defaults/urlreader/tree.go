package urlreader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/archive"
	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
)

// content returns a file that is in memory, which others may share.
func content(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// treeResult is an unpacked archive.
type treeResult struct {
	tree *archive.Tree
	etag string
}

func (t *treeResult) Files() []core.TreeFile {
	in := t.tree.Files()
	out := make([]core.TreeFile, len(in))
	for i, f := range in {
		out[i] = core.TreeFile{
			Path: f.Path, Size: f.Size, LastModified: f.Modified,
			Open: func() (io.ReadCloser, error) { return t.tree.Open(f) },
		}
	}
	return out
}

func (t *treeResult) ETag() string { return t.etag }

func (t *treeResult) WriteTo(ctx context.Context, dir string) error { return t.tree.WriteTo(ctx, dir) }

func (t *treeResult) Close() error { return t.tree.Close() }

// searchOne answers a search without a pattern: one file, or none.
func searchOne(ctx context.Context, s source, u *url.URL, o core.ReadOptions) (core.SearchResult, error) {
	bounded, cancel := boundedOpen(ctx, u)
	defer cancel()
	file, err := s.Read(bounded, u, o)
	if errors.Is(err, apierr.NotFound("")) {
		return core.SearchResult{}, nil
	}
	if err != nil {
		return core.SearchResult{}, err
	}
	defer file.Content.Close() //nolint:errcheck // in memory, or read only
	body, err := io.ReadAll(file.Content)
	if err != nil {
		return core.SearchResult{}, err
	}
	return core.SearchResult{ETag: file.ETag, Files: []core.FoundFile{{
		URL: u.String(), LastModified: file.LastModified,
		Open: func() (io.ReadCloser, error) { return content(body), nil },
	}}}, nil
}

// searchTree answers a search by an archive: prefix is the part of the
// pattern that has nothing to match, below which the archive was read.
func searchTree(ctx context.Context, s source, u *url.URL, o core.ReadOptions, prefix string, g *glob.Glob, found func(path string) (string, error)) (core.SearchResult, error) {
	if prefix != "" {
		prefix += "/"
	}
	perFile := o.MaxBytes
	if perFile <= 0 {
		perFile = DefaultFileBytes
	}
	o.MaxBytes = 0 // of a file, not of the tree
	tree, err := s.ReadTree(ctx, u, core.TreeOptions{
		ReadOptions: o,
		Filter:      func(p string, _ int64) bool { return g.Match(prefix + p) },
	})
	if errors.Is(err, apierr.NotFound("")) && prefix != "" {
		// The directory in front of the pattern may come and go.
		return core.SearchResult{}, nil
	}
	if err != nil {
		return core.SearchResult{}, err
	}
	defer tree.Close() //nolint:errcheck // what is found is in memory by then
	out := core.SearchResult{ETag: tree.ETag()}
	total := int64(0)
	for _, f := range tree.Files() {
		if total += f.Size; f.Size > perFile || total > maxSearchBytes {
			return core.SearchResult{}, apierr.New(apierr.KindPayloadTooLarge, "the search %s finds more than fits: a file may have %d bytes, all together %d", u, perFile, int64(maxSearchBytes))
		}
		body, err := readAll(f)
		if err != nil {
			return core.SearchResult{}, err
		}
		at, err := found(prefix + f.Path)
		if err != nil {
			return core.SearchResult{}, err
		}
		out.Files = append(out.Files, core.FoundFile{
			URL: at, LastModified: f.LastModified,
			Open: func() (io.ReadCloser, error) { return content(body), nil },
		})
	}
	return out, nil
}

func readAll(f core.TreeFile) ([]byte, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close() //nolint:errcheck // read only
	return io.ReadAll(rc)
}
