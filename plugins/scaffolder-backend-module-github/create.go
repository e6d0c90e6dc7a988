package scaffoldermodulegithub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/integration/githubapi"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// repositoryOptions are how a new repository is.
type repositoryOptions struct {
	Access                   string            `json:"access,omitempty" description:"Who administers the repository besides its owner: a user, or a team as owner/team"`
	RepoVisibility           string            `json:"repoVisibility,omitempty" enum:"private,public,internal" description:"Who may see the repository. Default: private"`
	Description              string            `json:"description,omitempty" description:"What the repository is for"`
	Homepage                 string            `json:"homepage,omitempty" description:"The website of the repository"`
	DeleteBranchOnMerge      bool              `json:"deleteBranchOnMerge,omitempty" description:"Delete branches when their pull requests are merged. Default: false"`
	AllowMergeCommit         *bool             `json:"allowMergeCommit,omitempty" description:"Allow merge commits. Default: true"`
	AllowSquashMerge         *bool             `json:"allowSquashMerge,omitempty" description:"Allow to squash. Default: true"`
	AllowRebaseMerge         *bool             `json:"allowRebaseMerge,omitempty" description:"Allow to rebase. Default: true"`
	AllowAutoMerge           bool              `json:"allowAutoMerge,omitempty" description:"Allow to merge automatically. Default: false"`
	AllowUpdateBranch        bool              `json:"allowUpdateBranch,omitempty" description:"Offer to update branches of pull requests. Default: false"`
	SquashMergeCommitTitle   string            `json:"squashMergeCommitTitle,omitempty" enum:"PR_TITLE,COMMIT_OR_PR_TITLE" description:"Title of squashed commits. Default: COMMIT_OR_PR_TITLE"`
	SquashMergeCommitMessage string            `json:"squashMergeCommitMessage,omitempty" enum:"PR_BODY,COMMIT_MESSAGES,BLANK" description:"Message of squashed commits. Default: COMMIT_MESSAGES"`
	Collaborators            []collaborator    `json:"collaborators,omitempty" description:"Who else gets access; of whom GitHub does not know the log tells"`
	HasProjects              *bool             `json:"hasProjects,omitempty" description:"Whether there are projects. Default: that of GitHub"`
	HasWiki                  *bool             `json:"hasWiki,omitempty" description:"Whether there is a wiki. Default: that of GitHub"`
	HasIssues                *bool             `json:"hasIssues,omitempty" description:"Whether there are issues. Default: that of GitHub"`
	Topics                   []string          `json:"topics,omitempty" description:"Topics, which become lower case"`
	RepoVariables            map[string]string `json:"repoVariables,omitempty" description:"Variables for workflows"`
	Secrets                  map[string]string `json:"secrets,omitempty" description:"Secrets for workflows"`
	OIDC                     *oidc             `json:"oidcCustomization,omitempty" description:"The subject claim of OpenID Connect tokens of workflows"`
	CustomProperties         map[string]any    `json:"customProperties,omitempty" description:"Custom properties, texts or lists of texts, of repositories of organizations"`
	Subscribe                bool              `json:"subscribe,omitempty" description:"Watch the repository"`
}

type collaborator struct {
	Access   string `json:"access" description:"The permission: pull, triage, push, maintain, admin or a role of the organization"`
	User     string `json:"user,omitempty" description:"A user, also as an entity reference"`
	Team     string `json:"team,omitempty" description:"A team, also as an entity reference"`
	Username string `json:"username,omitempty" description:"Has no effect; use team"`
}

type oidc struct {
	UseDefault       *bool    `json:"useDefault,omitempty" description:"Whether the claim is the usual one"`
	IncludeClaimKeys []string `json:"includeClaimKeys,omitempty" description:"The keys that the claim has"`
}

type createInput struct {
	target
	repositoryOptions
	AutoInit       bool   `json:"autoInit,omitempty" description:"Begin with an empty README"`
	WorkflowAccess string `json:"workflowAccess,omitempty" enum:"none,organization,user" description:"Who outside of the repository may use its workflows"`
}

type createOutput struct {
	RemoteURL       string `json:"remoteUrl" description:"The address to clone from"`
	RepoContentsURL string `json:"repoContentsUrl,omitempty" description:"The address of the files"`
}

func (p Parts) createRepository() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "github:repo:create", Description: "Creates a repository at GitHub.",
		Examples: []scaffoldernode.ActionExample{example("An internal repository with a team", `steps:
  - id: create
    action: github:repo:create
    input:
      repoUrl: github.com?repo=shop&owner=acme
      repoVisibility: internal
      access: acme/shop-team
`)},
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in createInput) (out createOutput, err error) {
		r, err := p.repository(ctx, in.target)
		if err != nil {
			return out, err
		}
		made, err := p.create(ctx, c, r, in.repositoryOptions, in.AutoInit, in.WorkflowAccess)
		out.RemoteURL = made.CloneURL
		return out, err
	})
}

// create creates the repository and sets it up. All but the creation itself
// can be done twice.
func (p Parts) create(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, in repositoryOptions, autoInit bool, workflowAccess string) (remote, error) {
	made, err := scaffoldernode.Checkpoint(ctx, c, "create.github.repo."+r.owner+"."+r.name, func(ctx context.Context) (remote, error) {
		owner, err := r.readOwner(ctx)
		if err != nil {
			return remote{}, err
		}
		if team, ok := strings.CutPrefix(in.Access, r.owner+"/"); ok {
			if err := r.checkTeam(ctx, team); err != nil {
				return remote{}, err
			}
		}
		made, err := p.createBare(ctx, c, r, owner, r.payload(in, owner, autoInit))
		if err == nil || ctx.Err() != nil {
			return made, err
		}
		if message(err) == "Resource not accessible by integration" {
			c.Logger.Warn(fmt.Sprintf("The GitHub App or token lacks permissions to create the %s repository %s", owner.Type, r.slug()))
		}
		return made, fmt.Errorf("Failed to create the %s repository %s, %w", owner.Type, r.slug(), err) //nolint:staticcheck // the text that users know
	})
	if err != nil {
		return made, err
	}
	return made, r.setUp(ctx, c, in, workflowAccess)
}

func (r *repository) readOwner(ctx context.Context) (owner account, err error) {
	if err = r.call(ctx, http.MethodGet, "/users/"+url.PathEscape(r.owner), nil, &owner); err != nil {
		return owner, fmt.Errorf("read the owner %s: %w", r.owner, err)
	}
	return owner, nil
}

func (r *repository) checkTeam(ctx context.Context, team string) error {
	err := r.call(ctx, http.MethodGet, "/orgs/"+url.PathEscape(r.owner)+"/teams/"+url.PathEscape(team), nil, nil)
	if status(err) == http.StatusNotFound {
		return apierr.NotFound("Received 'Not Found' from the API; one of org: %s or team: %s was not found within GitHub.", r.owner, team)
	}
	return err
}

// createBare creates the repository. Before the first try it makes sure that
// there is none: one that is there in a later run, after a crash, is ours.
func (p Parts) createBare(ctx context.Context, c *scaffoldernode.ActionContext, r *repository, owner account, body map[string]any) (remote, error) {
	const taken = `{"resource":"Repository","code":"custom","field":"name","message":"name already exists on this account"}`
	exists := &githubapi.ResponseError{Status: http.StatusUnprocessableEntity, Message: "Repository creation failed.", Errors: []string{taken}}
	find := func(ctx context.Context) (remote, bool, error) {
		found, err := r.read(ctx)
		// what was renamed is found by its old name, too, which is free
		renamed := err == nil && (!strings.EqualFold(found.Name, r.name) || !strings.EqualFold(found.Owner.Login, r.owner))
		if renamed || status(err) == http.StatusNotFound {
			return remote{}, false, nil
		}
		return found, err == nil, err
	}
	refusedKey := r.key("repo", "refused")
	return once(ctx, p, c, r.key("repo"),
		func(ctx context.Context) (bool, error) {
			_, ok, err := find(ctx)
			if err == nil && ok {
				err = exists
			}
			return true, err
		},
		func(ctx context.Context, _ bool) (found remote, ok bool, err error) {
			if found, ok, err = find(ctx); err != nil || !ok {
				return found, ok, err
			}
			// the host told an earlier run that somebody else has the name
			_, err = scaffoldernode.Checkpoint(ctx, c, refusedKey, func(context.Context) (bool, error) { return false, errNotRefused })
			if errors.Is(err, errNotRefused) {
				c.Logger.Info("Going on with the repository " + r.slug() + ", which an earlier run created")
				return found, true, nil
			}
			return remote{}, false, errors.Join(exists, err)
		},
		func(ctx context.Context) (made remote, err error) {
			path := "/user/repos"
			if owner.Type == "Organization" {
				path = "/orgs/" + url.PathEscape(r.owner) + "/repos"
			} else if err := r.checkSelf(ctx); err != nil {
				return made, err
			}
			err = r.call(ctx, http.MethodPost, path, body, &made)
			if status(err) == http.StatusUnprocessableEntity {
				if _, kept := scaffoldernode.Checkpoint(ctx, c, refusedKey, func(context.Context) (bool, error) { return true, nil }); kept != nil {
					return made, kept
				}
			}
			return made, err
		})
}

var errNotRefused = errors.New("no creation was refused")

// checkSelf makes sure that the repository of a user becomes one of the owner:
// the API creates it for whoever has the token.
func (r *repository) checkSelf(ctx context.Context) error {
	var self account
	if err := r.call(ctx, http.MethodGet, "/user", nil, &self); err != nil {
		return err
	}
	if !strings.EqualFold(self.Login, r.owner) {
		return apierr.Input("the token is that of %s, which cannot create repositories of the user %s", self.Login, r.owner)
	}
	return nil
}

func (r *repository) payload(in repositoryOptions, owner account, autoInit bool) map[string]any {
	visibility := or(in.RepoVisibility, "private")
	body := map[string]any{
		"name": r.name, "private": visibility == "private",
		"delete_branch_on_merge": in.DeleteBranchOnMerge,
		"allow_merge_commit":     yes(in.AllowMergeCommit), "allow_squash_merge": yes(in.AllowSquashMerge), "allow_rebase_merge": yes(in.AllowRebaseMerge),
		"allow_auto_merge": in.AllowAutoMerge, "allow_update_branch": in.AllowUpdateBranch,
		"squash_merge_commit_title":   or(in.SquashMergeCommitTitle, "COMMIT_OR_PR_TITLE"),
		"squash_merge_commit_message": or(in.SquashMergeCommitMessage, "COMMIT_MESSAGES"),
	}
	for name, value := range map[string]string{"description": in.Description, "homepage": in.Homepage} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range map[string]*bool{"has_projects": in.HasProjects, "has_wiki": in.HasWiki, "has_issues": in.HasIssues} {
		if value != nil {
			body[name] = *value
		}
	}
	if autoInit {
		body["auto_init"] = true
	}
	if owner.Type == "Organization" {
		body["visibility"] = visibility
		if len(in.CustomProperties) > 0 {
			body["custom_properties"] = in.CustomProperties
		}
	}
	return body
}

// setUp does all that belongs to a new repository, in the order that authors
// of templates know.
func (r *repository) setUp(ctx context.Context, c *scaffoldernode.ActionContext, in repositoryOptions, workflowAccess string) error {
	if team, ok := strings.CutPrefix(in.Access, r.owner+"/"); ok {
		if err := r.allowTeam(ctx, team, "admin"); err != nil {
			return fmt.Errorf("give the team %s access: %w", in.Access, err)
		}
	} else if in.Access != "" && in.Access != r.owner {
		if err := r.allowUser(ctx, in.Access, "admin"); err != nil {
			return fmt.Errorf("give the user %s access: %w", in.Access, err)
		}
	}
	for _, who := range in.Collaborators {
		var err error
		name := who.User
		switch {
		case who.User != "":
			err = r.allowUser(ctx, entityName(who.User), who.Access)
		case who.Team != "":
			name = who.Team
			err = r.allowTeam(ctx, entityName(who.Team), who.Access)
		}
		if err := tolerate(ctx, c, err, fmt.Sprintf("Skipping %s access for %s", who.Access, name)); err != nil {
			return err
		}
	}
	if in.Topics != nil {
		names := make([]string, len(in.Topics))
		for i, topic := range in.Topics {
			names[i] = strings.ToLower(topic)
		}
		err := r.put(ctx, map[string]any{"names": names}, "topics")
		if err := tolerate(ctx, c, err, "Skipping topics "+strings.Join(in.Topics, " ")); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.RepoVariables)) {
		if err := r.setVariable(ctx, r.path("actions", "variables"), name, in.RepoVariables[name]); err != nil {
			return err
		}
	}
	if err := r.setSecrets(ctx, r.path("actions", "secrets"), in.Secrets); err != nil {
		return err
	}
	if o := in.OIDC; o != nil {
		body := map[string]any{}
		if o.UseDefault != nil {
			body["use_default"] = *o.UseDefault
		}
		if o.IncludeClaimKeys != nil {
			body["include_claim_keys"] = o.IncludeClaimKeys
		}
		if err := r.put(ctx, body, "actions", "oidc", "customization", "sub"); err != nil {
			return fmt.Errorf("set the subject claim of workflows: %w", err)
		}
	}
	if in.Subscribe {
		if err := r.put(ctx, map[string]any{"subscribed": true, "ignored": false}, "subscription"); err != nil {
			return fmt.Errorf("watch the repository: %w", err)
		}
	}
	if workflowAccess != "" {
		if err := r.put(ctx, map[string]any{"access_level": workflowAccess}, "actions", "permissions", "access"); err != nil {
			return fmt.Errorf("set who may use the workflows: %w", err)
		}
	}
	return nil
}

func (r *repository) allowTeam(ctx context.Context, team, permission string) error {
	path := "/orgs/" + url.PathEscape(r.owner) + "/teams/" + url.PathEscape(team) + r.path()
	return r.call(ctx, http.MethodPut, path, map[string]any{"permission": permission}, nil)
}

func (r *repository) allowUser(ctx context.Context, user, permission string) error {
	return r.put(ctx, map[string]any{"permission": permission}, "collaborators", user)
}

// tolerate logs a refusal of the host, and returns errors that are none.
func tolerate(ctx context.Context, c *scaffoldernode.ActionContext, err error, skipped string) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	c.Logger.Warn(skipped + ", " + message(err))
	return nil
}

// entityName returns the name in an entity reference.
func entityName(ref string) string {
	return ref[strings.LastIndexAny(ref, ":/")+1:]
}

func yes(b *bool) bool { return b == nil || *b }

func or(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}
