package scaffoldermodulegitlab

import (
	"context"
	"net/url"
	"strings"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type repoPushInput struct {
	target
	BranchName    string `json:"branchName" description:"The branch that gets the commit. One that is not there begins at the default branch"`
	CommitMessage string `json:"commitMessage" description:"The message of the commit"`
	SourcePath    string `json:"sourcePath,omitempty" description:"The folder of the workspace that has the files; all of it by default"`
	TargetPath    string `json:"targetPath,omitempty" description:"The folder of the repository that the files go to; its root by default"`
	CommitAction  string `json:"commitAction,omitempty" enum:"create,update,delete,auto" description:"What the commit does with the files. auto, the default, creates and updates those that differ"`
	AllowEmpty    bool   `json:"allowEmpty,omitempty" description:"Whether there is a commit even if no file differs; false by default"`
}

type repoPushOutput struct {
	ProjectID   string `json:"projectid" description:"The path of the project"`
	ProjectPath string `json:"projectPath" description:"The path of the project"`
	CommitHash  string `json:"commitHash,omitempty" description:"The commit; missing if there was nothing to commit"`
}

func (g *gitlab) pushToRepo() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:repo:push", Description: "Commits the files of the workspace to a branch of a project that exists",
		Examples: example("New manifests on a branch", `
- id: push
  name: Push
  action: gitlab:repo:push
  input:
    repoUrl: gitlab.com?owner=acme&repo=deployments
    branchName: main
    commitMessage: Deploy the shop
    sourcePath: out
    targetPath: shop
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in repoPushInput) (out repoPushOutput, err error) {
		a, repo, err := g.project(in.target)
		if err != nil {
			return out, err
		}
		p := &pushing{api: a, in: in, project: projectPath(repo)}
		this := key("push", a.base, p.project, in.BranchName, in.CommitMessage, in.SourcePath, in.TargetPath, in.CommitAction)
		was, again, err := scaffoldernode.Before(ctx, c, this, p.look)
		if err != nil {
			return out, apierr.Input("Failed to check status of branch '%s'. Please make sure that branch already exists or Backstage has permissions to create one. %w", in.BranchName, err)
		}
		hash, err := scaffoldernode.Checkpoint(ctx, c, this, func(ctx context.Context) (string, error) {
			if again {
				found, err := p.made(ctx, was)
				if err != nil || found != "" {
					return found, err
				}
			}
			return p.push(ctx, c, was)
		})
		return repoPushOutput{p.project, p.project, hash}, err
	})
}

// pushing is a commit on its way.
type pushing struct {
	api     *api
	in      repoPushInput
	project string
}

// branchState is what there was before the commit.
type branchState struct {
	Exists bool `json:"exists"`
	// From is the branch that it begins at, if it does not exist; empty in a
	// repository without commits.
	From string `json:"from"`
	// Head is the commit that the commit is made upon, or an earlier one.
	Head string `json:"head"`
}

func (p *pushing) look(ctx context.Context) (was branchState, err error) {
	found, err := p.api.findBranch(ctx, p.project, p.in.BranchName)
	if err != nil {
		return was, err
	}
	if found != nil {
		return branchState{Exists: true, Head: found.Commit.ID}, nil
	}
	var project project
	if err := p.api.get(ctx, urlPath("projects", p.project), nil, &project); err != nil || project.DefaultBranch == "" {
		return was, err
	}
	if found, err = p.api.findBranch(ctx, p.project, project.DefaultBranch); err != nil || found == nil {
		return was, err // an empty repository has the name of a branch that is not there
	}
	return branchState{From: project.DefaultBranch, Head: found.Commit.ID}, nil
}

// made finds the commit that an earlier run made.
func (p *pushing) made(ctx context.Context, was branchState) (string, error) {
	since := p.in.BranchName
	if was.Head != "" {
		since = was.Head + ".." + p.in.BranchName
	}
	found, err := list[commit](ctx, p.api, urlPath("projects", p.project, "repository", "commits"), url.Values{"ref_name": {since}})
	if is(err, 404) {
		return "", nil
	}
	hash := ""
	for _, c := range found { // from the newest on
		if strings.TrimSpace(c.Message) == strings.TrimSpace(p.in.CommitMessage) {
			hash = c.ID
		}
	}
	return hash, err
}

func (p *pushing) push(ctx context.Context, c *scaffoldernode.ActionContext, was branchState) (string, error) {
	now, base := tree{}, p.in.BranchName
	if !was.Exists {
		base = was.From
	}
	if (p.in.CommitAction == "" || p.in.CommitAction == auto) && base != "" {
		var err error
		now, err = p.api.files(ctx, p.project, base, p.in.TargetPath)
		if isRefusal(err) {
			c.Logger.WarnContext(ctx, "Could not retrieve the list of files for "+p.project+" (branch: "+base+") : "+err.Error())
		} else if err != nil {
			return "", err
		}
	}
	all, err := changes(ctx, c, p.in.SourcePath, p.in.TargetPath, p.in.CommitAction, now)
	if err != nil {
		return "", err
	}
	if len(all) == 0 && !p.in.AllowEmpty {
		if !was.Exists && was.From != "" {
			if err := p.api.createBranch(ctx, p.project, p.in.BranchName, was.From); err != nil {
				return "", apierr.Input("The branch '%s' was not found and creation failed with error. Please make sure that branch already exists or Backstage has permissions to create one. %w", p.in.BranchName, err)
			}
		}
		c.Logger.WarnContext(ctx, "No file changes to commit to "+p.project+" on branch '"+p.in.BranchName+"'; skipping commit. Set 'allowEmpty: true' to create an empty commit.")
		return "", nil
	}
	hash, err := p.api.commit(ctx, p.project, commitRequest{
		Branch: p.in.BranchName, StartBranch: was.From, Message: p.in.CommitMessage, Actions: all, AllowEmpty: p.in.AllowEmpty,
	})
	switch {
	case err == nil:
		return hash, nil
	case p.in.CommitAction == create:
		return "", apierr.Input("Committing the changes to %s failed. Please check that none of the files created by the template already exists. %w", p.in.BranchName, err)
	}
	return "", apierr.Input("Committing the changes to %s failed. Please verify that all files you're trying to modify exist in the repository. %w", p.in.BranchName, err)
}
