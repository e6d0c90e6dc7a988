package scaffoldermodulegithub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

type pullInput struct {
	target
	BranchName          string   `json:"branchName" description:"The branch to make"`
	TargetBranchName    string   `json:"targetBranchName,omitempty" description:"The branch to merge into. Default: the default branch of the repository"`
	Title               string   `json:"title" description:"The title of the pull request"`
	Description         string   `json:"description" description:"The text of the pull request"`
	FilesToDelete       []string `json:"filesToDelete,omitempty" description:"Files of the repository to delete, below targetPath"`
	Draft               bool     `json:"draft,omitempty" description:"Make a draft"`
	SourcePath          string   `json:"sourcePath,omitempty" description:"The folder of the workspace with the changes. Default: all"`
	TargetPath          string   `json:"targetPath,omitempty" description:"The folder of the repository to change. Default: the root"`
	Reviewers           []string `json:"reviewers,omitempty" description:"Users to ask for a review"`
	TeamReviewers       []string `json:"teamReviewers,omitempty" description:"Teams to ask for a review"`
	Assignees           []string `json:"assignees,omitempty" description:"Users to assign"`
	CommitMessage       string   `json:"commitMessage,omitempty" description:"The message of the commit. Default: scaffolder.defaultCommitMessage, or the title"`
	Update              bool     `json:"update,omitempty" description:"Update the pull request of the branch if there is one. Default: false, which fails then"`
	ForceFork           bool     `json:"forceFork,omitempty" description:"Make the branch in a fork. Default: only where the token may not push"`
	GitAuthorName       string   `json:"gitAuthorName,omitempty" description:"The author of the commit. Default: scaffolder.defaultAuthor.name, or whom the token belongs to"`
	GitAuthorEmail      string   `json:"gitAuthorEmail,omitempty" description:"The address of the author. Default: scaffolder.defaultAuthor.email"`
	ForceEmptyGitAuthor bool     `json:"forceEmptyGitAuthor,omitempty" description:"Let GitHub choose the author, which signs commits of GitHub Apps. Default: false"`
	CreateWhenEmpty     *bool    `json:"createWhenEmpty,omitempty" description:"Make a pull request even if nothing changes. Default: true"`
}

type pullOutput struct {
	TargetBranchName  string `json:"targetBranchName,omitempty" description:"The branch to merge into"`
	RemoteURL         string `json:"remoteUrl,omitempty" description:"The address of the pull request"`
	PullRequestNumber int64  `json:"pullRequestNumber,omitempty" description:"The number of the pull request"`
}

func (p Parts) pullRequest() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "publish:github:pull-request", Description: "Makes a pull request with the files of the workspace.", SupportsDryRun: true,
		Examples: []scaffoldernode.ActionExample{example("Change a folder of a repository", `steps:
  - id: propose
    action: publish:github:pull-request
    input:
      repoUrl: github.com?repo=shop&owner=acme
      branchName: add-docs
      title: Add docs
      description: Docs, made from a template
      sourcePath: ./docs
      targetPath: docs
`)},
	}, p.openPull)
}

func (p Parts) openPull(ctx context.Context, c *scaffoldernode.ActionContext, in pullInput) (out pullOutput, err error) {
	if c.DryRun {
		if _, err := scaffoldernode.ParseRepoURL(p.Hosts, in.RepoURL); err != nil {
			return out, err
		}
		c.Logger.Info("This is a dry run: no pull request is made")
		return pullOutput{in.BranchName, in.RepoURL, 43}, nil
	}
	r, err := p.repository(ctx, in.target)
	if err != nil {
		return out, err
	}
	folder, err := gitrepo.SourceFolder(in.SourcePath)
	if err != nil {
		return out, err
	}
	pull, err := p.pull(ctx, c, r, in, folder)
	switch {
	case errors.Is(err, errNothing):
		c.Logger.Info("Nothing changes, so no pull request is made")
		return out, nil
	case err != nil && ctx.Err() != nil:
		return out, err
	case err != nil:
		return out, fmt.Errorf("Pull request creation failed; caused by %w", err) //nolint:staticcheck // the text that users know
	}
	r.askReviewers(ctx, c, pull.Number, in)
	r.assign(ctx, c, pull.Number, in.Assignees)
	return pullOutput{pull.Base.Ref, pull.HTMLURL, pull.Number}, context.Cause(ctx)
}

// pull is a pull request.
type pull struct {
	Number  int64  `json:"number"`
	HTMLURL string `json:"html_url"`
	State   string `json:"state"`
	Base    struct {
		Ref string `json:"ref"`
	} `json:"base"`
	Head struct {
		SHA string `json:"sha"`
	} `json:"head"`
}

// proposal is the commit of a pull request, decided on once per step.
type proposal struct {
	// Base is the branch to merge into, Fork where the branch is made: the
	// repository itself, in general.
	Base  string `json:"base"`
	Owner string `json:"owner"`
	Repo  string `json:"repo"`
	// Commit is the hash of the commit.
	Commit string `json:"commit"`
}

var errNothing = errors.New("nothing changes")

func (p Parts) pull(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in pullInput, folder string) (pull, error) {
	asked := in
	asked.Token = "" // another one asks for the same
	text, err := json.Marshal(asked)
	if err != nil {
		return pull{}, fmt.Errorf("name the pull request: %w", err)
	}
	key := r.key("pull", in.BranchName, digest(string(text)))
	return scaffoldernode.Checkpoint(ctx, c, key, func(ctx context.Context) (pull, error) {
		made, err := scaffoldernode.Checkpoint(ctx, c, key+".commit", func(ctx context.Context) (proposal, error) {
			return p.propose(ctx, c, r, in, folder)
		})
		if err != nil {
			return pull{}, err
		}
		return p.open(ctx, r, in, made)
	})
}

// propose makes the commit, which nothing refers to yet. What an earlier run
// made of it stays unseen.
func (p Parts) propose(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in pullInput, folder string) (proposal, error) {
	found, err := r.read(ctx)
	if err != nil {
		return proposal{}, err
	}
	out := proposal{Base: or(in.TargetBranchName, found.DefaultBranch), Owner: r.owner, Repo: r.name}
	if out.Base == in.BranchName && !in.ForceFork {
		return out, apierr.Input("the pull request would merge the branch %s into itself; choose another branchName", in.BranchName)
	}
	if mayPush, told := found.Permissions["push"]; in.ForceFork || told && !mayPush {
		fork, err := r.fork(ctx, p)
		if err != nil {
			return out, err
		}
		out.Owner, out.Repo = fork.Owner.Login, fork.Name
	}
	var base struct {
		SHA    string `json:"sha"`
		Commit struct {
			Tree struct {
				SHA string `json:"sha"`
			} `json:"tree"`
		} `json:"commit"`
	}
	if err := r.get(ctx, &base, "commits", out.Base); err != nil {
		return out, fmt.Errorf("read the branch %s: %w", out.Base, err)
	}
	w := &treeWriter{repository: r.at(out), c: c}
	tree, err := w.write(ctx, base.SHA, base.Commit.Tree.SHA, folder, in.TargetPath, in.FilesToDelete)
	if err != nil {
		return out, err
	}
	if tree == base.Commit.Tree.SHA && !yes(in.CreateWhenEmpty) {
		return out, errNothing
	}
	body := map[string]any{
		"message": or(in.CommitMessage, or(p.Git.Defaults.Message, in.Title)), "tree": tree, "parents": []string{base.SHA},
	}
	author := gitrepo.Person{Name: or(in.GitAuthorName, p.Git.Defaults.Author.Name), Email: or(in.GitAuthorEmail, p.Git.Defaults.Author.Email)}
	if author != (gitrepo.Person{}) && !in.ForceEmptyGitAuthor {
		body["author"] = map[string]any{"name": or(author.Name, gitrepo.DefaultName), "email": or(author.Email, gitrepo.DefaultEmail)}
	}
	var commit struct {
		SHA string `json:"sha"`
	}
	err = r.at(out).send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.at(out).path("git", "commits"), Body: body, Repeatable: true}, &commit)
	out.Commit = commit.SHA
	if err != nil {
		err = fmt.Errorf("make the commit: %w", err)
	}
	return out, err
}

// at returns the repository where the branch is made.
func (r *repository) at(made proposal) *repository {
	fork := *r
	fork.owner, fork.name = made.Owner, made.Repo
	return &fork
}

const forkTries = 10

// fork returns the fork of whom the token belongs to. Asking for it again
// gives the same one.
func (r *repository) fork(ctx context.Context, p Parts) (fork remote, err error) {
	if err := r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.path("forks"), Repeatable: true}, &fork); err != nil {
		return fork, fmt.Errorf("fork the repository: %w", err)
	}
	at := r.at(proposal{Owner: fork.Owner.Login, Repo: fork.Name})
	for try := 1; ; try++ { // forks are made in the background
		err := at.get(ctx, nil, "commits", fork.DefaultBranch)
		if err == nil || try == forkTries || status(err) != http.StatusNotFound && status(err) != http.StatusConflict {
			return fork, err
		}
		if err := p.sleep(ctx, creationPause); err != nil {
			return fork, err
		}
	}
}

// open makes branch and pull request, or finds those that an earlier run made.
func (p Parts) open(ctx context.Context, r *repository, in pullInput, made proposal) (pull, error) {
	existing, ok, err := r.findPull(ctx, in.BranchName, made)
	switch {
	case err != nil:
		return pull{}, err
	case ok && existing.Head.SHA == made.Commit:
		if in.Update {
			return r.updatePull(ctx, in, existing)
		}
		return existing, nil
	case ok && !in.Update:
		return pull{}, apierr.Conflict("Pull request already exists: %s. Set update=true to enable updating", existing.HTMLURL)
	}
	if err := r.at(made).setBranch(ctx, p, in.BranchName, made.Commit); err != nil {
		return pull{}, err
	}
	if ok {
		return r.updatePull(ctx, in, existing)
	}
	return ensureFrom(ctx, p, false, func(ctx context.Context) (pull, bool, error) { return r.findPull(ctx, in.BranchName, made) },
		func(ctx context.Context) (opened pull, err error) {
			err = r.post(ctx, map[string]any{
				"title": in.Title, "body": in.Description, "head": r.head(in.BranchName, made), "base": made.Base, "draft": in.Draft,
			}, &opened, "pulls")
			return opened, err
		})
}

func (r *repository) updatePull(ctx context.Context, in pullInput, existing pull) (updated pull, err error) {
	body := map[string]any{"title": in.Title, "body": in.Description}
	err = r.send(ctx, githubapi.Call{Method: http.MethodPatch, Path: r.path("pulls", fmt.Sprint(existing.Number)), Body: body, Repeatable: true}, &updated)
	return updated, err
}

func (r *repository) head(branch string, made proposal) string { return made.Owner + ":" + branch }

// findPull returns the pull request of the branch: an open one, or one with
// the commit that has been merged or closed since.
func (r *repository) findPull(ctx context.Context, branch string, made proposal) (found pull, ok bool, err error) {
	query := url.Values{"head": {r.head(branch, made)}, "base": {made.Base}, "state": {"all"}, "sort": {"created"}, "direction": {"desc"}}
	err = each(ctx, r, r.path("pulls"), query, func(page *[]pull) bool {
		for _, one := range *page {
			if one.Head.SHA == made.Commit || one.State == "open" && !ok {
				found, ok = one, true
			}
			if ok && found.Head.SHA == made.Commit {
				return false
			}
		}
		return true
	})
	return found, ok, err
}

// setBranch makes the branch, or moves it to the commit.
func (r *repository) setBranch(ctx context.Context, p Parts, branch, commit string) error {
	path := append([]string{"git", "refs", "heads"}, strings.Split(branch, "/")...)
	is, err := ensure(ctx, p, func(ctx context.Context) (string, bool, error) {
		head, _, err := r.readBranch(ctx, branch)
		return head, head != "", err
	}, func(ctx context.Context) (string, error) {
		return commit, r.post(ctx, map[string]any{"ref": "refs/heads/" + branch, "sha": commit}, nil, "git", "refs")
	})
	if err == nil && is != commit {
		err = r.send(ctx, githubapi.Call{Method: http.MethodPatch, Path: r.path(path...), Body: map[string]any{"sha": commit, "force": true}, Repeatable: true}, nil)
	}
	if err != nil {
		return fmt.Errorf("make the branch %s: %w", branch, err)
	}
	return nil
}

// askReviewers asks for reviews. A refusal is only logged: there is a pull
// request.
func (r *repository) askReviewers(ctx context.Context, c *scaffoldernode.ActionContext, number int64, in pullInput) {
	if in.Reviewers == nil && in.TeamReviewers == nil {
		return
	}
	body := map[string]any{}
	if in.Reviewers != nil {
		body["reviewers"] = unique(in.Reviewers)
	}
	if in.TeamReviewers != nil {
		body["team_reviewers"] = unique(in.TeamReviewers)
	}
	err := r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.path("pulls", fmt.Sprint(number), "requested_reviewers"), Body: body, Repeatable: true}, nil)
	if err != nil {
		c.Logger.Error(fmt.Sprintf("Failure when adding reviewers to Pull request %v: %s", number, message(err)))
		return
	}
	c.Logger.Info(fmt.Sprintf("Added users [%s] and teams [%s] as reviewers to Pull request %v", strings.Join(in.Reviewers, ", "), strings.Join(in.TeamReviewers, ", "), number))
}

func (r *repository) assign(ctx context.Context, c *scaffoldernode.ActionContext, number int64, assignees []string) {
	if len(assignees) == 0 {
		return
	}
	err := r.send(ctx, githubapi.Call{Method: http.MethodPost, Path: r.path("issues", fmt.Sprint(number), "assignees"), Body: map[string]any{"assignees": assignees}, Repeatable: true}, nil)
	if err != nil {
		c.Logger.Error(fmt.Sprintf("Failure when adding assignees to Pull request %v: %s", number, message(err)))
		return
	}
	c.Logger.Info(fmt.Sprintf("Added assignees [%s] to Pull request %v", strings.Join(assignees, ", "), number))
}

func unique(names []string) []string {
	out := []string{}
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
