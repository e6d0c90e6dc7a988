package scaffoldermodulegithub

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

const (
	// maxInline is the size in bytes of a text that goes into the request for
	// its folder. What is larger, or no text, is stored by a request of its own.
	maxInline = 128 << 10
	// maxBatch is how many bytes of texts one request has.
	maxBatch = 4 << 20
	// maxEntries is how many files one request has.
	maxEntries = 1000
	// maxFile is the size in bytes from which on GitHub refuses files.
	maxFile = 100 << 20
)

// treeWriter stores trees by the API. All that it stores is named by its
// content: doing it twice makes no difference.
type treeWriter struct {
	*repository
	c *scaffoldernode.ActionContext

	tree    string
	entries []map[string]any
	size    int
}

// write stores the files of a commit, which may be none, with those of a folder of the workspace,
// and without some, and returns the tree.
func (w *treeWriter) write(ctx context.Context, commit, tree, folder, targetPath string, remove []string) (string, error) {
	w.tree = tree
	at := path.Clean(strings.TrimLeft(filepath.ToSlash(targetPath), "/"))
	if !filepath.IsLocal(at) {
		return "", apierr.Input("targetPath %q leads outside of the repository", targetPath)
	}
	added := map[string]bool{}
	err := gitrepo.Walk(ctx, w.c.Workspace, folder, func(f gitrepo.File) error {
		name := path.Join(at, f.Path)
		added[name] = true
		return w.add(ctx, name, f)
	})
	if err != nil {
		return "", err
	}
	for _, file := range remove {
		name := path.Join(at, path.Clean("/"+filepath.ToSlash(file)))
		if added[name] {
			continue
		}
		err := w.call(ctx, http.MethodGet, w.contents(name, commit), nil, nil)
		if status(err) == http.StatusNotFound {
			continue
		}
		if err == nil {
			err = w.entry(ctx, map[string]any{"path": name, "mode": gitrepo.Regular.String(), "type": "blob", "sha": nil}, 0)
		}
		if err != nil {
			return "", fmt.Errorf("delete %s: %w", name, err)
		}
	}
	if err := w.flush(ctx); err != nil {
		return "", err
	}
	return w.tree, nil
}

func (w *treeWriter) contents(name, commit string) string {
	return w.path(append([]string{"contents"}, strings.Split(name, "/")...)...) + "?ref=" + url.QueryEscape(commit)
}

func (w *treeWriter) add(ctx context.Context, name string, f gitrepo.File) error {
	if f.Size > maxFile {
		return apierr.Input("%s has %d bytes, and GitHub takes no file with more than %d", name, f.Size, maxFile)
	}
	content, err := f.Read()
	if err != nil {
		return err
	}
	entry := map[string]any{"path": name, "mode": f.Mode.String(), "type": "blob"}
	if len(content) <= maxInline && utf8.Valid(content) && bytes.IndexByte(content, 0) < 0 {
		entry["content"] = string(content)
		return w.entry(ctx, entry, len(content))
	}
	var blob struct {
		SHA string `json:"sha"`
	}
	err = w.send(ctx, githubapi.Call{
		Method: http.MethodPost, Path: w.path("git", "blobs"), Repeatable: true,
		Body: map[string]any{"encoding": "base64", "content": base64.StdEncoding.EncodeToString(content)},
	}, &blob)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	entry["sha"] = blob.SHA
	return w.entry(ctx, entry, 0)
}

func (w *treeWriter) entry(ctx context.Context, entry map[string]any, size int) error {
	if len(w.entries) > 0 && (w.size+size > maxBatch || len(w.entries) == maxEntries) {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.entries = append(w.entries, entry)
	w.size += size
	return nil
}

// flush stores what was collected on top of the tree.
func (w *treeWriter) flush(ctx context.Context) error {
	if len(w.entries) == 0 {
		return nil
	}
	var made struct {
		SHA string `json:"sha"`
	}
	body := map[string]any{"tree": w.entries}
	if w.tree != "" {
		body["base_tree"] = w.tree
	}
	err := w.send(ctx, githubapi.Call{Method: http.MethodPost, Path: w.path("git", "trees"), Body: body, Repeatable: true}, &made)
	if err != nil {
		return fmt.Errorf("store the files: %w", err)
	}
	w.tree, w.entries, w.size = made.SHA, nil, 0
	return nil
}
