package scaffoldermodulegitlab

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// issuance is how tokens of a kind are issued.
type issuance struct {
	existing func(context.Context) ([]int64, error) // those with the same name
	revoke   func(context.Context, int64) error
	create   func(context.Context) (core.Token, error)
}

// issueToken creates a token once per step. Its value is told only in the answer
// that creates it, so what an earlier run left without having kept the value
// is revoked.
func issueToken(ctx context.Context, c *scaffoldernode.ActionContext, key string, o issuance) (core.Token, error) {
	self := func(id int64) int64 { return id }
	known, again, err := scaffoldernode.Before(ctx, c, key, o.existing)
	if err != nil {
		return core.Token{}, err
	}
	return scaffoldernode.SecretCheckpoint(ctx, c, key, func(ctx context.Context) (core.Token, error) {
		if again {
			found, err := o.existing(ctx)
			if err != nil {
				return core.Token{}, err
			}
			for _, id := range unknown(found, self, known) {
				c.Logger.InfoContext(ctx, "Revoking the token of an attempt whose answer was lost")
				if err := o.revoke(ctx, id); err != nil && !is(err, 404) {
					return core.Token{}, err
				}
			}
		}
		return o.create(ctx)
	})
}

type projectAccessTokenInput struct {
	target
	ProjectID   json.RawMessage `json:"projectId" description:"The number of the project, or its whole path"`
	Name        string          `json:"name,omitempty" description:"The name of the token, tokenname by default"`
	AccessLevel *int            `json:"accessLevel,omitempty" description:"What the token may do: 10 (guest), 20 (reporter), 30 (developer), 40 (maintainer, the default), 50 (owner)"`
	Scopes      []string        `json:"scopes,omitempty" description:"The scopes of the token, read_repository by default"`
	ExpiresAt   string          `json:"expiresAt,omitempty" description:"The day on which it ends, YYYY-MM-DD; in 365 days by default"`
}

type projectAccessTokenOutput struct {
	AccessToken string `json:"access_token" description:"The token, which is hidden in logs"`
}

func (g *gitlab) createProjectAccessToken() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:projectAccessToken:create", Description: "Creates an access token of a project",
		Examples: example("A token that reads and writes the repository", `
- id: token
  name: Create a project access token
  action: gitlab:projectAccessToken:create
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    projectId: ${{ steps.publish.output.projectId }}
    name: deployment
    accessLevel: 40
    scopes: [read_repository, write_repository]
    expiresAt: "2030-01-01"
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in projectAccessTokenInput) (out projectAccessTokenOutput, err error) {
		a, err := g.at(in.target)
		if err != nil {
			return out, err
		}
		c.Logger.InfoContext(ctx, "Creating a token for the project "+ref(in.ProjectID))
		name, level, scopes := in.Name, 40, in.Scopes
		if name == "" {
			name = "tokenname"
		}
		if in.AccessLevel != nil {
			level = *in.AccessLevel
		}
		if scopes == nil {
			scopes = []string{"read_repository"}
		}
		tokens := urlPath("projects", ref(in.ProjectID), "access_tokens")
		token, err := issueToken(ctx, c, key("project.access.token", a.base, ref(in.ProjectID), name, level, scopes, in.ExpiresAt), issuance{
			existing: func(ctx context.Context) ([]int64, error) {
				found, err := list[named](ctx, a, tokens, url.Values{"state": {"active"}})
				return withName(found, name), err
			},
			revoke: func(ctx context.Context, id int64) error { return a.remove(ctx, tokens+urlPath(id)) },
			create: func(ctx context.Context) (core.Token, error) {
				expires := in.ExpiresAt
				if expires == "" {
					expires = g.now().UTC().Add(365 * 24 * time.Hour).Format(time.DateOnly)
				}
				var created struct{ Token string }
				if err := a.post(ctx, tokens, map[string]any{"name": name, "scopes": scopes, "access_level": level, "expires_at": expires}, &created); err != nil {
					return core.Token{}, err
				}
				if created.Token == "" {
					return core.Token{}, apierr.ServiceUnavailable("Could not create project access token: the answer of GitLab has none")
				}
				return core.NewToken(created.Token), nil
			},
		})
		return projectAccessTokenOutput{token.Reveal()}, err
	}), map[string]string{"projectId": numberOrText})
}

type projectDeployTokenInput struct {
	target
	ProjectID json.RawMessage `json:"projectId" description:"The number of the project, or its whole path"`
	Name      string          `json:"name" description:"The name of the token"`
	Username  string          `json:"username,omitempty" description:"The name of the user of the token; GitLab makes one by default"`
	Scopes    []string        `json:"scopes" description:"The scopes of the token, such as read_registry; one at least"`
}

type projectDeployTokenOutput struct {
	DeployToken string `json:"deploy_token" description:"The token, which is hidden in logs"`
	User        string `json:"user" description:"The name of the user of the token"`
}

func (g *gitlab) createProjectDeployToken() scaffoldernode.Action {
	return refine(scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:projectDeployToken:create", Description: "Creates a deploy token of a project",
		Examples: example("A token that reads the registry", `
- id: token
  name: Create a deploy token
  action: gitlab:projectDeployToken:create
  input:
    repoUrl: gitlab.com?owner=acme&repo=shop
    projectId: ${{ steps.publish.output.projectId }}
    name: cluster
    scopes: [read_registry]
`),
	}, func(ctx context.Context, c *scaffoldernode.ActionContext, in projectDeployTokenInput) (out projectDeployTokenOutput, err error) {
		if len(in.Scopes) == 0 {
			return out, apierr.Input(`Could not create token for project "%s": scopes cannot be empty.`, ref(in.ProjectID))
		}
		a, err := g.at(in.target)
		if err != nil {
			return out, err
		}
		c.Logger.InfoContext(ctx, "Creating a token for the project "+ref(in.ProjectID))
		tokens := urlPath("projects", ref(in.ProjectID), "deploy_tokens")
		this := key("deploy.token", a.base, ref(in.ProjectID), in.Name, in.Username, in.Scopes)
		username := ""
		token, err := issueToken(ctx, c, this, issuance{
			existing: func(ctx context.Context) ([]int64, error) {
				found, err := list[named](ctx, a, tokens, url.Values{"active": {"true"}})
				return withName(found, in.Name), err
			},
			revoke: func(ctx context.Context, id int64) error { return a.remove(ctx, tokens+urlPath(id)) },
			create: func(ctx context.Context) (core.Token, error) {
				request := map[string]any{"name": in.Name, "scopes": in.Scopes}
				if in.Username != "" {
					request["username"] = in.Username
				}
				var created struct{ Token, Username string }
				if err := a.post(ctx, tokens, request, &created); err != nil {
					return core.Token{}, err
				}
				if created.Token == "" {
					return core.Token{}, apierr.Input("No deploy_token given from gitlab instance")
				}
				username = created.Username
				return core.NewToken(created.Token), nil
			},
		})
		if err != nil {
			return out, err
		}
		user, err := scaffoldernode.Checkpoint(ctx, c, this+".user", func(ctx context.Context) (string, error) {
			if username != "" {
				return username, nil
			}
			// an earlier run ended in between; the newest of the name is ours
			found, err := list[named](ctx, a, tokens, url.Values{"active": {"true"}})
			newest := named{}
			for _, t := range found {
				if t.Name == in.Name && t.ID > newest.ID {
					newest = t
				}
			}
			return newest.Username, err
		})
		return projectDeployTokenOutput{token.Reveal(), user}, err
	}), map[string]string{"projectId": numberOrText})
}

// named is what lists say of tokens.
type named struct {
	ID       int64
	Name     string
	Username string
	Revoked  bool
}

func withName(found []named, name string) []int64 {
	var ids []int64
	for _, t := range found {
		if t.Name == name && !t.Revoked {
			ids = append(ids, t.ID)
		}
	}
	return ids
}
