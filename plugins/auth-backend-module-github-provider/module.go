// Package authmodulegithubprovider adds the provider "github" to the
// auth plugin: users sign in at GitHub, or GitHub Enterprise Server.
//
//	b.Add(authbackend.Plugin, authmodulegithubprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    github:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_GITHUB_CLIENT_SECRET}
//	        signIn:
//	          resolvers:
//	            - resolver: usernameMatchingUserEntityName
//
// The tokens of OAuth apps do not end. Their sessions last as long as the
// cookie, see sessionDuration; those of GitHub apps are refreshed.
package authmodulegithubprovider

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("github", "Users sign in at GitHub.", `{
	"enterpriseInstanceUrl": {"type": "string", "description": "Address of a GitHub Enterprise Server. Default: https://github.com."}
}`, byUsername, byUserID)

const (
	byUsername = "usernameMatchingUserEntityName"
	byUserID   = "userIdMatchingUserEntityAnnotation"
)

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize:    initialize,
		Profile:       authcode.Profile,
		Required:      []string{"read:user"},
		PersistScopes: true, // GitHub does not tell them again
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
	return backend.NewModule("auth", "github-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("github", p.Factory()) }
	}, backend.WithDescription("Users sign in at GitHub"), core.ConfigSchema(configSchema))
}

// userID finds users by the id that GitHub's GraphQL API gives them. Two ids
// may differ in case only.
func userID(i authnode.SignInInfo[oauth.Result[authcode.Person]]) (authnode.Annotation, error) {
	id, _ := i.Result.User.Claims["node_id"].(string)
	if id == "" {
		return authnode.Annotation{}, apierr.New(apierr.KindError, "Login failed, user profile does not contain a user ID")
	}
	return authnode.Annotation{Name: "github.com/user-id", Value: id, MatchCase: true, Fallback: i.Result.User.Username}, nil
}

// tokenPrefix marks a refresh token that is an access token: OAuth apps have
// no others.
const tokenPrefix = "access-token-v2."

// github is an installation of GitHub.
type github struct {
	authcode.Authenticator
	userURL string
}

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	web, err := authcode.BaseURL(o.Config, "enterpriseInstanceUrl", "https://github.com")
	if err != nil {
		return nil, err
	}
	g := &github{userURL: "https://api.github.com/user"}
	if o.Config.Has("enterpriseInstanceUrl") {
		g.userURL = web + "/api/v3/user"
	}
	g.Client, err = authcode.FromConfig(o, oauth2.Endpoint{AuthURL: web + "/login/oauth/authorize", TokenURL: web + "/login/oauth/access_token"})
	if err != nil {
		return nil, err
	}
	g.Client.PKCE = true
	g.Find = g.find
	return g, nil
}

// Authenticate implements [oauth.Authenticator].
func (g *github) Authenticate(ctx context.Context, cb oauth.Callback) (oauth.Result[authcode.Person], error) {
	result, err := g.Authenticator.Authenticate(ctx, cb)
	if s := &result.Session; err == nil && s.RefreshToken == "" && s.ExpiresIn == 0 {
		s.RefreshToken = tokenPrefix + s.AccessToken
	}
	return result, err
}

// Refresh implements [oauth.Authenticator].
func (g *github) Refresh(ctx context.Context, r oauth.RefreshRequest) (oauth.Result[authcode.Person], error) {
	token, ok := strings.CutPrefix(r.RefreshToken, tokenPrefix)
	if !ok {
		return g.Authenticator.Refresh(ctx, r)
	}
	if !r.ScopeGranted {
		return oauth.Result[authcode.Person]{}, apierr.New(apierr.KindError, "Refresh failed, session has not been granted the requested scope")
	}
	result, err := g.Result(ctx, oauth.Session{AccessToken: token, Scope: r.Scope, RefreshToken: r.RefreshToken})
	if status := (*authcode.StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusUnauthorized {
		return result, apierr.New(apierr.KindError, "Invalid access token")
	}
	return result, err
}

func (g *github) find(ctx context.Context, s oauth.Session) (p authcode.Person, err error) {
	if err := g.Client.Get(ctx, g.userURL, s.AccessToken, &p.Claims); err != nil {
		return p, err
	}
	p.ID, p.Username, p.DisplayName = p.Text("id"), p.Text("login"), p.Text("name")
	p.Email, p.Picture, p.ProfileURL = p.Text("email"), p.Text("avatar_url"), p.Text("html_url")
	return p, nil
}
