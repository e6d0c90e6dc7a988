package scaffoldermodulegithub

import (
	"context"
	"fmt"
	"net/url"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

// pushOptions are what is pushed to a new repository, and how it is protected.
type pushOptions struct {
	DefaultBranch        string `json:"defaultBranch,omitempty" description:"The branch to push. Default: main"`
	ProtectDefaultBranch *bool  `json:"protectDefaultBranch,omitempty" description:"Protect the branch after the push. Default: true"`
	ProtectEnforceAdmins *bool  `json:"protectEnforceAdmins,omitempty" description:"Enforce the protection for administrators, too. Default: true"`
	GitCommitMessage     string `json:"gitCommitMessage,omitempty" description:"The message of the commit. Default: scaffolder.defaultCommitMessage, or initial commit"`
	GitAuthorName        string `json:"gitAuthorName,omitempty" description:"The author of the commit. Default: scaffolder.defaultAuthor.name, or Scaffolder"`
	GitAuthorEmail       string `json:"gitAuthorEmail,omitempty" description:"The address of the author. Default: scaffolder.defaultAuthor.email, or scaffolder@backstage.io"`
	SourcePath           string `json:"sourcePath,omitempty" description:"The folder of the workspace to push. Default: all"`
	reviewRules
}

type pushInput struct {
	target
	pushOptions
}

type pushOutput struct {
	RemoteURL       string `json:"remoteUrl" description:"The address to clone from"`
	RepoContentsURL string `json:"repoContentsUrl" description:"The address of the files"`
	CommitHash      string `json:"commitHash" description:"The hash of the commit"`
}

func (p Parts) pushRepository() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:repo:push", Description: "Pushes the workspace to a repository at GitHub that has no commits, and protects the branch.",
		Examples: []scaffoldernode.ActionExample{example("Push a folder", `steps:
  - id: push
    action: github:repo:push
    input:
      repoUrl: github.com?repo=shop&owner=acme
      sourcePath: ./service
      gitCommitMessage: First commit
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in pushInput) (out pushOutput, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		found, err := r.read(ctx)
		if err != nil {
			return out, err
		}
		return p.push(ctx, c, r, found, in.pushOptions)
	})
}

type publishInput struct {
	target
	repositoryOptions
	pushOptions
}

func (p Parts) publish() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "publish:github", Description: "Creates a repository at GitHub, and pushes the workspace to it.",
		Examples: []scaffoldernode.ActionExample{example("Publish the workspace", `steps:
  - id: publish
    action: publish:github
    input:
      repoUrl: github.com?repo=shop&owner=acme
      description: The shop
      defaultBranch: main
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in publishInput) (out pushOutput, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		made, err := p.create(ctx, c, r, in.repositoryOptions, false, "")
		if err != nil {
			return out, err
		}
		return p.push(ctx, c, r, made, in.pushOptions)
	})
}

func (p Parts) push(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, to remote, in pushOptions) (out pushOutput, err error) {
	branch := or(in.DefaultBranch, "main")
	out.RemoteURL, out.RepoContentsURL = to.CloneURL, to.HTMLURL+"/blob/"+branch
	if at, err := url.Parse(to.CloneURL); err != nil || at.Host != r.host {
		return out, apierr.ServiceUnavailable("%s gave an address for git that is of another host", r.host)
	}
	token, err := r.credential(ctx)
	if err != nil {
		return out, err
	}
	out.CommitHash, err = p.Git.Publish(ctx, c, gitrepo.Publication{
		Remote: gitrepo.Remote{URL: to.CloneURL, Auth: gitrepo.Basic("x-access-token", token)},
		Branch: branch, Key: r.key("push", in.SourcePath), SourcePath: in.SourcePath,
		Message: or(in.GitCommitMessage, or(p.Git.Defaults.Message, "initial commit")),
		Author:  gitrepo.Person{Name: in.GitAuthorName, Email: in.GitAuthorEmail}, Sign: p.Git.Defaults.Key != nil,
		Fallback: func(ctx context.Context, made gitrepo.Commit) (string, error) {
			return p.pushByAPI(ctx, c, r, branch, in.SourcePath, made)
		},
	})
	if err != nil || !yes(in.ProtectDefaultBranch) {
		return out, err
	}
	err = p.protect(ctx, c, r, branch, yes(in.ProtectEnforceAdmins), false, in.reviewRules)
	return out, tolerate(ctx, c, err, fmt.Sprintf("Skipping: default branch protection on '%s'", r.name))
}
