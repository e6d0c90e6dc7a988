// Package authmodulegoogleprovider adds the provider "google" to the
// auth plugin: users sign in with their Google account.
//
//	b.Add(authbackend.Plugin, authmodulegoogleprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    google:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_GOOGLE_CLIENT_SECRET}
//	        signIn:
//	          resolvers:
//	            - resolver: emailMatchingUserEntityProfileEmail
//	              allowedDomains: [example.com]
//
// Everybody can have a Google account. allowedDomains, or a client that is
// internal to an organisation, keeps others out.
package authmodulegoogleprovider

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("google", "Users sign in with their Google account.", "", byEmail)

const (
	byEmail = "emailMatchingUserEntityAnnotation"

	authorizeURL = "https://accounts.google.com/o/oauth2/v2/auth"
	tokenURL     = "https://www.googleapis.com/oauth2/v4/token"
	userURL      = "https://www.googleapis.com/oauth2/v3/userinfo"
	revokeURL    = "https://oauth2.googleapis.com/revoke"
)

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize: initialize,
		Profile:    authcode.Profile,
		Required:   []string{"openid", "https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/userinfo.profile"},
		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[authcode.Person]]{
			byEmail: authcode.ByEmail("google.com/email"),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[authcode.Person]) backend.Feature {
	return backend.NewModule("auth", "google-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("google", p.Factory()) }
	}, backend.WithDescription("Users sign in with their Google account"), core.ConfigSchema(configSchema))
}

// google is the account service of Google.
type google struct{ authcode.Authenticator }

var _ oauth.Revoker = (*google)(nil)

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	client, err := authcode.FromConfig(o, oauth2.Endpoint{AuthURL: authorizeURL, TokenURL: tokenURL})
	if err != nil {
		return nil, err
	}
	client.PKCE = true
	// Google gives a refresh token only together with the consent of the user.
	client.Params = url.Values{"access_type": {"offline"}, "prompt": {"consent"}, "include_granted_scopes": {"true"}}
	return &google{authcode.Authenticator{Client: client, Find: func(ctx context.Context, s oauth.Session) (p authcode.Person, err error) {
		if err := client.Get(ctx, userURL, s.AccessToken, &p.Claims); err != nil {
			return p, err
		}
		p.ID, p.DisplayName, p.Email, p.Picture = p.Text("sub"), p.Text("name"), p.Text("email"), p.Text("picture")
		p.EmailUnverified = !authcode.Verified(p.Claims["email_verified"])
		return p, nil
	}}}, nil
}

// Revoke implements [oauth.Revoker].
func (g *google) Revoke(ctx context.Context, refreshToken string) (logoutURL string, err error) {
	if refreshToken == "" {
		return "", nil
	}
	return "", g.Client.PostForm(ctx, revokeURL, url.Values{"token": {refreshToken}})
}
