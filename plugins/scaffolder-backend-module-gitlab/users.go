package scaffoldermodulegitlab

import (
	"context"
	"net/url"
	"strconv"

	"github.com/flytower/flytower/apierr"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// user is what the API says of a user.
type user struct {
	ID          int64  `json:"id"`
	Username    string `json:"username"`
	Name        string `json:"name"`
	State       string `json:"state"`
	WebURL      string `json:"web_url"`
	Email       string `json:"email"`
	CreatedAt   string `json:"created_at"`
	PublicEmail string `json:"public_email"`
}

// me returns the user of the credential.
func (a *api) me(ctx context.Context) (u user, err error) {
	err = a.get(ctx, "/user", nil, &u)
	return u, err
}

// userNamed returns the user of a name; ok is false if there is none.
func (a *api) userNamed(ctx context.Context, name string) (u user, ok bool, err error) {
	var found []user
	if err := a.get(ctx, "/users", url.Values{"username": {name}}, &found); err != nil || len(found) == 0 {
		return user{}, false, err
	}
	return found[0], true, nil
}

func idText(id int64) string { return strconv.FormatInt(id, 10) }

type userInfoInput struct {
	target
	UserID *int64 `json:"userId,omitempty" description:"The number of the user; by default the user of the credential"`
}

type userInfoOutput struct {
	ID          int64  `json:"id" description:"The number of the user"`
	Username    string `json:"username"`
	Name        string `json:"name" description:"The name that is shown"`
	State       string `json:"state" description:"active, blocked and so on"`
	WebURL      string `json:"webUrl" description:"The page of the user"`
	Email       string `json:"email,omitempty" description:"The address, which GitLab tells of the own user, and to administrators"`
	CreatedAt   string `json:"createdAt,omitempty"`
	PublicEmail string `json:"publicEmail,omitempty"`
}

func (g *gitlab) userInfo() scaffoldernode.Action {
	return scaffoldernode.NewAction(scaffoldernode.ActionInfo{
		ID: "gitlab:user:info", Description: "Reads what GitLab knows of a user, or of the user of the credential",
		Examples: example("The user who runs the template", `
- id: user
  name: Who am I
  action: gitlab:user:info
  input:
    repoUrl: gitlab.com
    token: ${{ secrets.USER_OAUTH_TOKEN }}
`),
	}, func(ctx context.Context, _ *scaffoldernode.ActionContext, in userInfoInput) (out userInfoOutput, err error) {
		fail := func(err error) (userInfoOutput, error) {
			return out, apierr.Input("Failed to retrieve GitLab user info: %w", err)
		}
		host, err := g.hostOf(in.RepoURL)
		if err != nil {
			return fail(err)
		}
		a, err := g.connect(host, in.Token, false) // reads nothing that a user could not
		if err != nil {
			return fail(err)
		}
		var u user
		if in.UserID != nil {
			err = a.get(ctx, urlPath("users", *in.UserID), nil, &u)
		} else {
			u, err = a.me(ctx)
		}
		if err != nil {
			return fail(err)
		}
		return userInfoOutput(u), nil
	})
}
