// Package authmodulegitlabprovider adds the provider "gitlab" to the
// auth plugin: users sign in at GitLab.
//
//	b.Add(authbackend.Plugin, authmodulegitlabprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    gitlab:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_GITLAB_CLIENT_SECRET}
//	        signIn:
//	          resolvers:
//	            - resolver: usernameMatchingUserEntityName
//
// GitLab replaces the refresh token with every refresh.
package authmodulegitlabprovider

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("gitlab", "Users sign in at GitLab.", `{
	"audience": {"type": "string", "description": "Address of the GitLab instance. Default: https://gitlab.com."}
}`, byUsername, byUserID)

const (
	byUsername = "usernameMatchingUserEntityName"
	byUserID   = "userIdMatchingUserEntityAnnotation"
)

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize: initialize,
		Profile:    authcode.Profile,
		Required:   []string{"read_user"},
		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[authcode.Person]]{
			byUsername: authcode.ByUsername(),
			byUserID:   authnode.ByAnnotation(userID),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[authcode.Person]) backend.Feature {
	return backend.NewModule("auth", "gitlab-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("gitlab", p.Factory()) }
	}, backend.WithDescription("Users sign in at GitLab"), core.ConfigSchema(configSchema))
}

// userID finds users by the id that they have at their GitLab instance.
func userID(i authnode.SignInInfo[oauth.Result[authcode.Person]]) (authnode.Annotation, error) {
	page, err := url.Parse(i.Result.User.ProfileURL)
	if err != nil || page.Hostname() == "" || i.Result.User.ID == "" {
		return authnode.Annotation{}, apierr.New(apierr.KindError, "Login failed, user profile does not contain a user ID")
	}
	return authnode.Annotation{Name: page.Hostname() + "/user-id", Value: i.Result.User.ID, Fallback: i.Result.User.Username}, nil
}

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	web, err := authcode.BaseURL(o.Config, "audience", "https://gitlab.com")
	if err != nil {
		return nil, err
	}
	client, err := authcode.FromConfig(o, oauth2.Endpoint{AuthURL: web + "/oauth/authorize", TokenURL: web + "/oauth/token"})
	if err != nil {
		return nil, err
	}
	client.PKCE = true
	return &authcode.Authenticator{Client: client, Find: func(ctx context.Context, s oauth.Session) (p authcode.Person, err error) {
		if err := client.Get(ctx, web+"/api/v4/user", s.AccessToken, &p.Claims); err != nil {
			return p, err
		}
		p.ID, p.Username, p.DisplayName = p.Text("id"), p.Text("username"), p.Text("name")
		p.Email, p.Picture, p.ProfileURL = p.Text("email"), p.Text("avatar_url"), p.Text("web_url")
		return p, nil
	}}, nil
}
