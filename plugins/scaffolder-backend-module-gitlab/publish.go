package scaffoldermodulegitlab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/gitrepo"
)

type publishInput struct {
	target
	AllowedHosts     []string          `json:"allowedHosts,omitempty" description:"Accepted for templates that give it, and without effect: the form chooses the host"`
	RepoVisibility   string            `json:"repoVisibility,omitempty" enum:"private,public,internal" description:"Who sees the project; private by default. settings.visibility goes first"`
	DefaultBranch    string            `json:"defaultBranch,omitempty" description:"The branch that is pushed; master by default"`
	GitCommitMessage string            `json:"gitCommitMessage,omitempty" description:"The message of the commit; by default scaffolder.defaultCommitMessage, or else initial commit"`
	GitAuthorName    string            `json:"gitAuthorName,omitempty" description:"The author of the commit; by default scaffolder.defaultAuthor.name, or else Scaffolder"`
	GitAuthorEmail   string            `json:"gitAuthorEmail,omitempty" description:"The address of the author; by default scaffolder.defaultAuthor.email"`
	SignCommit       bool              `json:"signCommit,omitempty" description:"Whether the commit is signed with the OpenPGP key of the configuration; false by default"`
	SourcePath       json.RawMessage   `json:"sourcePath,omitempty" description:"The folder of the workspace that becomes the repository; all of it by default, and nothing if it is false"`
	SkipExisting     bool              `json:"skipExisting,omitempty" description:"Whether a project that exists already is left as it is, instead of being an error; false by default"`
	SetUserAsOwner   bool              `json:"setUserAsOwner,omitempty" description:"Whether the user of the token becomes an owner of the project, by the token of the integration; false by default"`
	OwnerUsername    string            `json:"ownerUsername,omitempty" description:"The name of a user who becomes an owner of the project, by the token of the integration"`
	Topics           []string          `json:"topics,omitempty" description:"Topics of the project. settings.topics goes first"`
	Settings         *projectSettings  `json:"settings,omitempty" description:"Settings of the project"`
	Branches         []branchSettings  `json:"branches,omitempty" description:"Further branches, and which ones are protected"`
	ProjectVariables []projectVariable `json:"projectVariables,omitempty" description:"CI/CD variables of the project"`
}

// projectSettings are passed on to the API as they are.
type projectSettings struct {
	Name                         string    `json:"name,omitempty" description:"The name that is shown; that of the repository by default"`
	Path                         string    `json:"path,omitempty" description:"The name of the repository, in place of that of repoUrl"`
	AutoDevopsEnabled            *bool     `json:"auto_devops_enabled,omitempty" description:"Whether Auto DevOps is on"`
	CIConfigPath                 *string   `json:"ci_config_path,omitempty" description:"Where the configuration of pipelines is"`
	Description                  *string   `json:"description,omitempty"`
	MergeMethod                  string    `json:"merge_method,omitempty" enum:"merge,rebase_merge,ff" description:"How branches are merged"`
	SquashOption                 string    `json:"squash_option,omitempty" enum:"default_off,default_on,never,always" description:"Whether commits are squashed"`
	Topics                       *[]string `json:"topics,omitempty"`
	Visibility                   string    `json:"visibility,omitempty" enum:"private,public,internal" description:"Who sees the project"`
	AllDiscussionsResolved       *bool     `json:"only_allow_merge_if_all_discussions_are_resolved,omitempty" description:"Whether all discussions have to be resolved before a merge"`
	PipelineSucceeds             *bool     `json:"only_allow_merge_if_pipeline_succeeds,omitempty" description:"Whether the pipeline has to succeed before a merge"`
	AllowMergeOnSkippedPipelines *bool     `json:"allow_merge_on_skipped_pipeline,omitempty" description:"Whether a pipeline that was skipped counts as one that succeeded"`
}

type branchSettings struct {
	Name    string `json:"name"`
	Protect bool   `json:"protect,omitempty" description:"false by default"`
	Create  bool   `json:"create,omitempty" description:"false by default"`
	Ref     string `json:"ref,omitempty" description:"Where the branch begins; at the default branch by default"`
}

type publishOutput struct {
	RemoteURL       string `json:"remoteUrl" description:"The address of the project"`
	RepoContentsURL string `json:"repoContentsUrl" description:"The address of the files in the default branch"`
	ProjectID       int64  `json:"projectId" description:"The number of the project"`
	CommitHash      string `json:"commitHash,omitempty" description:"The commit that was pushed"`
	Created         bool   `json:"created" description:"Whether the project was created, or existed"`
}

// project is what the API says of a project.
type project struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	Path          string `json:"path"`
	FullPath      string `json:"path_with_namespace"`
	HTTPURL       string `json:"http_url_to_repo"`
	DefaultBranch string `json:"default_branch"`
	Namespace     struct {
		ID int64 `json:"id"`
	} `json:"namespace"`
}

// findProject returns the project of a number or a whole path, nil if there is
// none. Projects that moved are not found where they were.
func (a *api) findProject(ctx context.Context, id string) (*project, error) {
	var found project
	err := a.get(ctx, urlPath("projects", id), nil, &found)
	if is(err, 404) || err == nil && strings.Contains(id, "/") && !strings.EqualFold(found.FullPath, id) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

func (g *gitlab) publish() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "publish:gitlab", Description: "Creates a project in GitLab and pushes the files of the workspace to it",
		Examples: example("A project with a protected branch and a variable", `
- id: publish
  name: Publish
  action: publish:gitlab
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    defaultBranch: main
    settings:
      visibility: internal
      topics: [backstage]
    branches:
      - name: staging
        create: true
        protect: true
    projectVariables:
      - key: REGION
        value: eu
`),
	}, g.runPublish), map[string]string{"sourcePath": `"type":["string","boolean"]`})
}

func (g *gitlab) runPublish(ctx context.Context, c *scaffoldernode.ActionContext, in publishInput) (out publishOutput, err error) {
	repo, err := scaffoldernode.ParseRepoURL(g.hosts, in.RepoURL)
	if err != nil {
		return out, err
	}
	if repo.Owner == "" {
		return out, apierr.Input("No owner provided for host: %s, and repo %s", repo.Host, repo.Repo)
	}
	host, err := g.integration(repo.Host)
	if err != nil {
		return out, err
	}
	a, err := g.connect(repo.Host, in.Token, g.settings.userTokens)
	if err != nil {
		return out, err
	}
	if g.settings.userTokens && (in.SetUserAsOwner || in.OwnerUsername != "") {
		return out, apierr.Input("The setUserAsOwner and ownerUsername inputs cannot be used when scaffolder.requireScmUserCredentials is enabled because they require credentials from the GitLab integration")
	}
	publisher, err := g.publisher(host)
	if err != nil {
		return out, err
	}
	if in.SignCommit && publisher.Defaults.Key == nil {
		return out, gitrepo.ErrNoSigningKey // before anything is created
	}
	created, existed, err := a.createProject(ctx, c, repo, in)
	if err != nil {
		return out, err
	}
	remote := strings.TrimSuffix(created.HTTPURL, ".git")
	if existed {
		c.Logger.InfoContext(ctx, "Repo "+repo.Repo+" already exists in namespace "+repo.Owner+".")
		return publishOutput{RemoteURL: remote, RepoContentsURL: remote + "/-/blob/" + created.DefaultBranch, ProjectID: created.ID}, nil
	}
	if err := g.addOwners(ctx, c, a, host, created.ID, in); err != nil {
		return out, err
	}
	branch := cmp.Or(in.DefaultBranch, gitrepo.DefaultBranch)
	if source, push := sourcePath(in.SourcePath); push {
		password := host.Token
		if in.Token != "" {
			password = core.NewToken(in.Token)
		}
		out.CommitHash, err = publisher.Publish(ctx, c, gitrepo.Publication{
			Remote: gitrepo.Remote{URL: created.HTTPURL, Auth: gitrepo.Basic("oauth2", password)},
			Branch: branch, Key: repo.Host + "/" + created.FullPath, SourcePath: source, Sign: in.SignCommit,
			Message: cmp.Or(in.GitCommitMessage, publisher.Defaults.Message, "initial commit"),
			Author:  gitrepo.Person{Name: in.GitAuthorName, Email: in.GitAuthorEmail},
		})
		if err != nil {
			return out, err
		}
		if err := a.addBranches(ctx, c, created.ID, branch, in.Branches); err != nil {
			return out, err
		}
	}
	if err := g.addVariables(ctx, a, created.ID, in.ProjectVariables); err != nil {
		return out, err
	}
	out.RemoteURL, out.RepoContentsURL, out.ProjectID, out.Created = remote, remote+"/-/blob/"+branch, created.ID, true
	return out, nil
}

// sourcePath reads the input of that name; push is false if nothing is pushed.
func sourcePath(v json.RawMessage) (folder string, push bool) {
	if json.Unmarshal(v, &push) == nil && v != nil {
		return "", push
	}
	_ = json.Unmarshal(v, &folder) // its schema has no third type
	return folder, true
}

// publisher is what pushes to a host, with its signing key if it has one.
func (g *gitlab) publisher(host integration.GitLab) (*gitrepo.Publisher, error) {
	p := &gitrepo.Publisher{Client: g.git, Defaults: g.settings.commits, Now: g.now}
	if host.CommitSigningKey.IsZero() {
		return p, nil
	}
	signing, err := gitrepo.ParseSigningKey(host.CommitSigningKey)
	if err != nil {
		return nil, errors.Join(errors.New("integrations.gitlab, commitSigningKey of "+host.Host), err)
	}
	p.Defaults.Key = signing
	return p, nil
}

// createProject creates the project; existed tells that it was there before,
// and may be left as it is.
func (a *api) createProject(ctx context.Context, c *scaffoldernode.ActionContext, repo scaffoldernode.RepoURL, in publishInput) (p project, existed bool, err error) {
	var namespace struct{ ID int64 }
	err = a.get(ctx, urlPath("namespaces", repo.Owner), nil, &namespace)
	if is(err, 404) {
		return p, false, apierr.Input("The namespace %s is not found or the user doesn't have permissions to access it", repo.Owner)
	}
	if err != nil {
		return p, false, err
	}
	settings := projectSettings{}
	if in.Settings != nil {
		settings = *in.Settings
	}
	settings.Name, settings.Path = cmp.Or(settings.Name, repo.Repo), cmp.Or(settings.Path, repo.Repo)
	settings.Visibility = cmp.Or(settings.Visibility, in.RepoVisibility, "private")
	if settings.Topics == nil && len(in.Topics) > 0 {
		settings.Topics = &in.Topics
	}
	full := repo.Owner + "/" + settings.Path
	this := key("project", a.base, full)
	was, again, err := scaffoldernode.Before(ctx, c, this, func(ctx context.Context) (*project, error) { return a.findProject(ctx, full) })
	if err != nil {
		return p, false, err
	}
	if was != nil && in.SkipExisting {
		return *was, true, nil
	}
	p, err = scaffoldernode.Checkpoint(ctx, c, this, func(ctx context.Context) (project, error) {
		if again && was == nil {
			// an earlier run of the step may have created it
			if found, err := a.findProject(ctx, full); err != nil || found != nil {
				return *cmp.Or(found, &project{}), err
			}
		}
		c.Logger.InfoContext(ctx, "Creating repo "+settings.Path+" in namespace "+repo.Owner+".")
		var created project
		err := a.post(ctx, "/projects", struct {
			projectSettings
			NamespaceID int64 `json:"namespace_id"`
		}{settings, namespace.ID}, &created)
		return created, err
	})
	return p, false, err
}

// addOwners makes users owners of the project, with the token of the
// integration.
func (g *gitlab) addOwners(ctx context.Context, c *scaffoldernode.ActionContext, a *api, host integration.GitLab, id int64, in publishInput) error {
	if host.Token.IsZero() {
		return nil
	}
	admin, err := g.connect(host.Host, "", false)
	if err != nil {
		return err
	}
	if in.SetUserAsOwner {
		me, err := a.me(ctx)
		if err != nil {
			return err
		}
		if err := admin.addOwner(ctx, id, me.ID); err != nil {
			return err
		}
	}
	if in.OwnerUsername == "" {
		return nil
	}
	owner, ok, err := admin.userNamed(ctx, in.OwnerUsername)
	if err == nil && !ok {
		c.Logger.WarnContext(ctx, "Could not find GitLab user with username '"+in.OwnerUsername+"'. Skipping owner assignment.")
		return nil
	}
	if err == nil {
		err = admin.addOwner(ctx, id, owner.ID)
	}
	if isRefusal(err) {
		c.Logger.WarnContext(ctx, "Failed to add user '"+in.OwnerUsername+"' as owner: "+err.Error()+". Proceeding without owner assignment.")
		return nil
	}
	return err
}

const ownerLevel = 50

func (a *api) addOwner(ctx context.Context, id, user int64) error {
	err := a.post(ctx, urlPath("projects", id, "members"), map[string]any{"user_id": user, "access_level": ownerLevel}, nil)
	if is(err, 409) {
		return a.put(ctx, urlPath("projects", id, "members", user), map[string]any{"access_level": ownerLevel}, nil)
	}
	return err
}

// addBranches creates and protects branches of a project that is new: those
// that are there are ours.
func (a *api) addBranches(ctx context.Context, c *scaffoldernode.ActionContext, id int64, from string, branches []branchSettings) error {
	for _, b := range branches {
		if b.Create {
			ref := cmp.Or(b.Ref, from)
			err := a.post(ctx, urlPath("projects", id, "repository", "branches"), map[string]any{"branch": b.Name, "ref": ref}, nil)
			if err != nil && !isTaken(err) {
				return apierr.Input("Branch creation failed for %s. %w", b.Name, err)
			}
			c.Logger.InfoContext(ctx, "Branch "+b.Name+" created for "+idText(id)+" with ref "+ref)
		}
		if b.Protect {
			err := a.post(ctx, urlPath("projects", id, "protected_branches"), map[string]any{"name": b.Name}, nil)
			if err != nil && !is(err, 409) && !isTaken(err) {
				return apierr.Input("Branch protection failed for %s. %w", b.Name, err)
			}
			c.Logger.InfoContext(ctx, "Branch "+b.Name+" protected for "+idText(id))
		}
	}
	return nil
}
