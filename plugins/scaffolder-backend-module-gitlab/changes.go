package scaffoldermodulegitlab

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is how git names files
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// Actions of commits, in inputs and, but for auto and skip, in the API.
const (
	create = "create"
	update = "update"
	remove = "delete"
	skip   = "skip"
	auto   = "auto"
)

// change is what a commit does to a file.
type change struct {
	Action     string  `json:"action"`
	FilePath   string  `json:"file_path"`
	Encoding   string  `json:"encoding,omitempty"`
	Content    *string `json:"content,omitempty"`
	Executable *bool   `json:"execute_filemode,omitempty"`

	plain []byte
}

// maxContent bounds the content of a commit through the API, in bytes. It is
// in memory several times.
const maxContent = 100 << 20

// tree is what a branch has, the id of the content by path.
type tree map[string]string

// files reads the files of a branch in a folder, all of them if it is empty. A
// folder that is not there has none.
func (a *api) files(ctx context.Context, project, branch, folder string) (tree, error) {
	query := url.Values{"ref": {branch}, "recursive": {"true"}}
	if folder = inRepository(folder); folder != "" {
		query.Set("path", folder)
	}
	entries, err := list[struct{ ID, Type, Path string }](ctx, a, urlPath("projects", project, "repository", "tree"), query)
	if is(err, 404) {
		return tree{}, nil
	}
	t := tree{}
	for _, e := range entries {
		if e.Type == "blob" {
			t[e.Path] = e.ID
		}
	}
	return t, err
}

// has reports whether a file has a content. Git names contents by their hash,
// of which there are two kinds.
func (t tree) has(file string, content []byte) bool {
	id, ok := t[file]
	if !ok {
		return false
	}
	var h hash.Hash = sha1.New() //nolint:gosec // see above
	if len(id) == 2*sha256.Size {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil)) == id
}

// contains reports whether the changes are made already.
func (t tree) contains(changes []change) bool {
	for _, ch := range changes {
		if _, there := t[ch.FilePath]; ch.Action == remove && there || ch.Action != remove && !t.has(ch.FilePath, ch.plain) {
			return false
		}
	}
	return true
}

// inRepository is a folder as the API has it, "" for the root.
func inRepository(folder string) string {
	return strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(folder)), "/")
}

// changes makes changes of the files in a folder of the workspace, for a
// folder of the repository. By auto, files that the tree has in the same way
// are left out.
func changes(ctx context.Context, c *scaffoldernode.ActionContext, source, target, action string, now tree) (all []change, err error) {
	if action == skip {
		return nil, nil
	}
	folder := path.Clean(filepath.ToSlash(source))
	if !filepath.IsLocal(folder) {
		return nil, apierr.NotAllowed("Relative path is not allowed to refer to a directory outside its parent")
	}
	left := int64(maxContent)
	err = gitrepo.Walk(ctx, c.Workspace, folder, func(f gitrepo.File) error {
		ch := change{Action: action, FilePath: path.Join(inRepository(target), f.Path)}
		if action == remove {
			all = append(all, ch)
			return nil
		}
		if left -= f.Size; left < 0 {
			return apierr.Input("the files are more than %d bytes, which is too much for a commit through the API; use publish:gitlab for a new project", maxContent)
		}
		if ch.plain, err = f.Read(); err != nil {
			return err
		}
		if action == "" || action == auto {
			ch.Action = create
			if _, there := now[ch.FilePath]; there {
				ch.Action = update
			}
			if now.has(ch.FilePath, ch.plain) {
				return nil
			}
		}
		content, executable := base64.StdEncoding.EncodeToString(ch.plain), f.Mode == gitrepo.Executable
		ch.Encoding, ch.Content, ch.Executable = "base64", &content, &executable
		all = append(all, ch)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		c.Logger.WarnContext(ctx, "There is no folder "+folder+" in the workspace")
		return nil, nil
	}
	return all, err
}

// branch is what the API says of a branch.
type branch struct {
	Name   string `json:"name"`
	WebURL string `json:"web_url"`
	Commit commit `json:"commit"`
}

type commit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

// findBranch returns a branch, nil if there is none.
func (a *api) findBranch(ctx context.Context, project, name string) (*branch, error) {
	var found branch
	err := a.get(ctx, urlPath("projects", project, "repository", "branches", name), nil, &found)
	if is(err, 404) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// createBranch creates a branch, unless it is there.
func (a *api) createBranch(ctx context.Context, project, name, from string) error {
	err := a.post(ctx, urlPath("projects", project, "repository", "branches"), map[string]any{"branch": name, "ref": from}, nil)
	if isTaken(err) {
		return nil
	}
	return err
}

// commitRequest is a commit through the API. With a start it creates the
// branch with it, in one go.
type commitRequest struct {
	Branch      string   `json:"branch"`
	StartBranch string   `json:"start_branch,omitempty"`
	Message     string   `json:"commit_message"`
	Actions     []change `json:"actions"`
	AllowEmpty  bool     `json:"allow_empty,omitempty"`
}

func (a *api) commit(ctx context.Context, project string, r commitRequest) (string, error) {
	if r.Actions == nil {
		r.Actions = []change{}
	}
	var created commit
	err := a.post(ctx, urlPath("projects", project, "repository", "commits"), r, &created)
	return created.ID, err
}
