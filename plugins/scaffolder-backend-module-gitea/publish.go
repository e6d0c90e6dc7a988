package scaffoldermodulegitea

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

type publishInput struct {
	RepoURL          string `json:"repoUrl" description:"The repository in the form gitea.example.com?owner=organization&repo=name"`
	Description      string `json:"description" description:"The description of the repository"`
	DefaultBranch    string `json:"defaultBranch,omitempty" description:"The branch that is pushed; main by default"`
	RepoVisibility   string `json:"repoVisibility,omitempty" enum:"private,public" description:"Who sees the repository; public by default"`
	GitCommitMessage string `json:"gitCommitMessage,omitempty" description:"The message of the commit, initial commit by default; scaffolder.defaultCommitMessage goes first"`
	GitAuthorName    string `json:"gitAuthorName,omitempty" description:"The author of the commit; by default scaffolder.defaultAuthor.name, or else Scaffolder"`
	GitAuthorEmail   string `json:"gitAuthorEmail,omitempty" description:"The address of the author; by default scaffolder.defaultAuthor.email"`
	SourcePath       string `json:"sourcePath,omitempty" description:"The folder of the workspace that becomes the repository; all of it by default"`
	SignCommit       bool   `json:"signCommit,omitempty" description:"Whether the commit is signed with the OpenPGP key of the configuration; false by default"`
}

type publishOutput struct {
	RemoteURL       string `json:"remoteUrl,omitempty" description:"The address for cloning"`
	RepoContentsURL string `json:"repoContentsUrl,omitempty" description:"The address of the files in the default branch"`
	CommitHash      string `json:"commitHash,omitempty" description:"The commit that was pushed"`
}

func (g *gitea) publish() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "publish:gitea", Description: "Creates a repository in Gitea and pushes the files of the workspace to it",
		Examples: []scaffoldernode.ActionExample{{Description: "A private repository", Example: `steps:
  - id: publish
    name: Publish
    action: publish:gitea
    input:
      repoUrl: gitea.example.com?owner=acme&repo=shop
      description: The shop
      repoVisibility: private
`}},
	}, g.runPublish)
}

func (g *gitea) runPublish(ctx context.Context, c *scaffoldernode.ActionContext, in publishInput) (out publishOutput, err error) {
	repo, err := scaffoldernode.ParseRepoURL(g.hosts, in.RepoURL)
	if err != nil {
		return out, err
	}
	i := slices.IndexFunc(g.hosts.Gitea, func(h integration.Gitea) bool { return h.Host == strings.ToLower(repo.Host) })
	if i < 0 {
		return out, apierr.Input("No matching integration configuration for host %s, please check your integrations config", repo.Host)
	}
	host := g.hosts.Gitea[i]
	if host.Username == "" || host.Password.IsZero() {
		return out, apierr.Input("Credentials for the gitea %s required.", repo.Host)
	}
	if repo.Owner == "" {
		repo.Owner = host.Username
	}
	publisher, err := g.publisher(host)
	if err != nil {
		return out, err
	}
	if in.SignCommit && publisher.Defaults.Key == nil {
		return out, gitrepo.ErrNoSigningKey // before anything is created
	}
	a := api{g.client, host}
	if err := a.createRepository(ctx, c, repo, in); err != nil {
		return out, err
	}
	branch := cmp.Or(in.DefaultBranch, "main")
	base := host.BaseURL + "/" + repo.Owner + "/" + repo.Repo
	out = publishOutput{RemoteURL: base + ".git", RepoContentsURL: base + "/src/branch/" + branch + "/"}
	out.CommitHash, err = publisher.Publish(ctx, c, gitrepo.Publication{
		Remote: gitrepo.Remote{URL: out.RemoteURL, Auth: gitrepo.Basic(host.Username, host.Password)},
		Branch: branch, Key: repo.Host + "/" + repo.Owner + "/" + repo.Repo, SourcePath: in.SourcePath, Sign: in.SignCommit,
		Message: cmp.Or(g.defaults.Message, in.GitCommitMessage, "initial commit") + "\n\nChange-Id: I" + changeID(),
		Author:  gitrepo.Person{Name: in.GitAuthorName, Email: in.GitAuthorEmail},
	})
	if err != nil {
		return publishOutput{}, err
	}
	return out, g.await(ctx, c, a, repo, branch)
}

// changeID is for the commit message. The commit is kept, so that one that is
// made when the step runs again does not count.
func changeID() string {
	var id [20]byte
	_, _ = rand.Read(id[:]) // which never fails
	return hex.EncodeToString(id[:])
}

// publisher is what pushes to a host, with its signing key if it has one.
func (g *gitea) publisher(host integration.Gitea) (*gitrepo.Publisher, error) {
	p := &gitrepo.Publisher{Client: g.git, Defaults: g.defaults, Now: g.now}
	if host.CommitSigningKey.IsZero() {
		return p, nil
	}
	signing, err := gitrepo.ParseSigningKey(host.CommitSigningKey)
	if err != nil {
		return nil, fmt.Errorf("integrations.gitea, commitSigningKey of %s: %w", host.Host, err)
	}
	p.Defaults.Key = signing
	return p, nil
}

// createRepository creates the repository once per step. One that was there
// before is an error.
func (a api) createRepository(ctx context.Context, c *scaffoldernode.ActionContext, repo scaffoldernode.RepoURL, in publishInput) error {
	at := []string{"orgs", repo.Owner, "repos"}
	if strings.EqualFold(repo.Owner, a.host.Username) {
		at = []string{"user", "repos"}
	} else if is, err := a.exists(ctx, "orgs", repo.Owner); err != nil {
		return fmt.Errorf("Unable to get the Organization: %s; Error cause: %w", repo.Owner, err) //nolint:staticcheck // users know it
	} else if !is {
		return apierr.Input("Organization %s do not exist. Please create it first !", repo.Owner)
	}
	look := func(ctx context.Context) (bool, error) { return a.exists(ctx, "repos", repo.Owner, repo.Repo) }
	key := "repository." + repo.Host + "/" + repo.Owner + "/" + repo.Repo
	existed, again, err := scaffoldernode.Before(ctx, c, key, look)
	if err != nil {
		return fmt.Errorf("Unable to get the repository: %s/%s metadata , %w", repo.Owner, repo.Repo, err) //nolint:staticcheck // users know it
	}
	_, err = scaffoldernode.Checkpoint(ctx, c, key, func(ctx context.Context) (bool, error) {
		if again && !existed {
			if is, err := look(ctx); err != nil || is {
				return is, err
			}
		}
		answer, err := a.send(ctx, http.MethodPost, map[string]any{
			"name": repo.Repo, "description": in.Description, "private": in.RepoVisibility == "private",
		}, at...)
		if err != nil {
			return false, fmt.Errorf("Unable to create repository, %w", err) //nolint:staticcheck // users know it
		}
		if answer.Status != http.StatusCreated {
			return false, apierr.Input("Unable to create repository, %w", refused(answer))
		}
		return true, nil
	})
	return err
}

// It takes Gitea a moment until it shows what was pushed.
const (
	awaitPause = time.Second
	awaitTries = 20
)

// await waits until Gitea shows the branch, for a while.
func (g *gitea) await(ctx context.Context, c *scaffoldernode.ActionContext, a api, repo scaffoldernode.RepoURL, branch string) error {
	for range awaitTries {
		is, err := a.exists(ctx, "repos", repo.Owner, repo.Repo, "branches", branch)
		if is || err != nil {
			return err
		}
		if err := g.sleep(ctx, awaitPause); err != nil {
			return err
		}
	}
	c.Logger.WarnContext(ctx, "Gitea does not show the branch "+branch+" of "+repo.Owner+"/"+repo.Repo+" yet")
	return nil
}
