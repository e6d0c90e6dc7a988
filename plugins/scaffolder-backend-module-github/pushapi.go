package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// emptyTree names the tree without files in every repository.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// reference is a branch as the host has it.
type reference struct {
	Object struct {
		SHA string `json:"sha"`
	} `json:"object"`
}

// readBranch returns the commit of a branch. empty says that the repository
// has no commits at all.
func (r *repository) readBranch(ctx context.Context, branch string) (commit string, empty bool, err error) {
	var found reference
	err = r.get(ctx, &found, append([]string{"git", "ref", "heads"}, strings.Split(branch, "/")...)...)
	switch status(err) {
	case http.StatusNotFound:
		return "", false, nil
	case http.StatusConflict:
		return "", true, nil
	}
	return found.Object.SHA, false, err
}

// pushByAPI makes the commit that git would push, with the API for objects. It
// does not work in a repository without commits, which gets one with a file
// that nothing refers to afterwards.
func (p Parts) pushByAPI(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, branch, sourcePath string, made gitrepo.Commit) (string, error) {
	head, empty, err := r.readBranch(ctx, branch)
	if err != nil || head == made.Hash {
		return head, err
	}
	key := r.key("api", branch, made.Tree)
	// what the branch may have: the file that an earlier run or this one put
	// there, or nothing
	first, err := scaffoldernode.Checkpoint(ctx, c, key+".empty", func(context.Context) (bool, error) { return empty, nil })
	if err != nil {
		return "", err
	}
	initial := ""
	if first {
		if initial, err = p.firstCommit(ctx, c, r, key, branch); err != nil {
			return "", err
		}
	}
	commit, err := scaffoldernode.Checkpoint(ctx, c, key+".commit", func(ctx context.Context) (string, error) {
		return r.copyCommit(ctx, c, sourcePath, made)
	})
	if err != nil {
		return "", fmt.Errorf("push to %s by the API: %w", r.slug(), err)
	}
	if head, _, err = r.readBranch(ctx, branch); err != nil {
		return "", err
	}
	if head != "" && head != initial && head != commit {
		return "", &gitrepo.DivergedError{Branch: branch, Commit: gitrepo.ParseHash(head)}
	}
	return commit, r.setBranch(ctx, p, branch, commit)
}

// firstCommit puts a file into an empty repository.
func (p Parts) firstCommit(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, key, branch string) (string, error) {
	const file = ".gitkeep"
	return once(ctx, p, c, key+".initial",
		func(context.Context) (bool, error) { return true, nil },
		func(ctx context.Context, _ bool) (string, bool, error) {
			head, _, err := r.readBranch(ctx, branch)
			return head, head != "", err
		},
		func(ctx context.Context) (string, error) {
			var put struct {
				Commit struct {
					SHA string `json:"sha"`
				} `json:"commit"`
			}
			err := r.call(ctx, http.MethodPut, r.path("contents", file), map[string]any{"message": "Initial commit", "content": "", "branch": branch}, &put)
			if status(err) == http.StatusUnprocessableEntity {
				// it was sent twice, because the first answer was lost
				if head, _, reading := r.readBranch(ctx, branch); reading == nil && head != "" {
					return head, nil
				}
			}
			return put.Commit.SHA, err
		})
}

// copyCommit stores the commit and its files.
func (r *repository) copyCommit(ctx context.Context, c *scaffoldernode.ActionContext, sourcePath string, made gitrepo.Commit) (string, error) {
	folder, err := gitrepo.SourceFolder(sourcePath)
	if err != nil {
		return "", err
	}
	w := &treeWriter{repository: r, c: c}
	tree, err := w.write(ctx, "", "", folder, "", nil)
	if err != nil {
		return "", err
	}
	details, err := made.Details()
	if err != nil {
		return "", err
	}
	person := func(p gitrepo.Person) map[string]any {
		return map[string]any{"name": p.Name, "email": p.Email, "date": details.When.UTC().Format(time.RFC3339)}
	}
	body := map[string]any{
		"message": details.Message, "tree": or(tree, emptyTree), "parents": []string{},
		"author": person(details.Author), "committer": person(details.Committer),
	}
	if details.Signature != "" {
		body["signature"] = details.Signature
	}
	var commit struct {
		SHA string `json:"sha"`
	}
	err = r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.path("git", "commits"), Body: body, Repeatable: true}, &commit)
	return commit.SHA, err
}
