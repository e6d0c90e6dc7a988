// Package authmoduleoktaprovider adds the provider "okta" to the
// auth plugin: users sign in at Okta.
//
//	b.Add(authbackend.Plugin, authmoduleoktaprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    okta:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_OKTA_CLIENT_SECRET}
//	        audience: https://example.okta.com
//	        signIn:
//	          resolvers:
//	            - resolver: emailMatchingUserEntityProfileEmail
//
// Okta replaces refresh tokens where the application says so.
package authmoduleoktaprovider

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

var configSchema = oauth.ConfigSchema("okta", "Users sign in at Okta.", `{
	"audience": {"type": "string", "description": "Address of the Okta organisation. Default: https://okta.com."},
	"authServerId": {"type": "string", "description": "The authorization server, for example default. Default: that of the organisation."},
	"idp": {"type": "string", "description": "Id of the identity provider to which Okta passes users on. Default: none."}
}`, byEmail)

const byEmail = "emailMatchingUserEntityAnnotation"

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize: initialize,
		Profile:    authcode.Profile,
		Required:   []string{"openid", "email", "profile", "offline_access"},
		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[authcode.Person]]{
			byEmail: authcode.ByEmail("okta.com/email"),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[authcode.Person]) backend.Feature {
	return backend.NewModule("auth", "okta-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("okta", p.Factory()) }
	}, backend.WithDescription("Users sign in at Okta"), core.ConfigSchema(configSchema))
}

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	server, err := authcode.BaseURL(o.Config, "audience", "https://okta.com")
	if err != nil {
		return nil, err
	}
	server += "/oauth2"
	id, err := o.Config.StringOr("authServerId", "")
	if err != nil {
		return nil, err
	}
	if id != "" {
		server += "/" + url.PathEscape(id)
	}
	idp, err := o.Config.StringOr("idp", "")
	if err != nil {
		return nil, err
	}
	client, err := authcode.FromConfig(o, oauth2.Endpoint{AuthURL: server + "/v1/authorize", TokenURL: server + "/v1/token", AuthStyle: oauth2.AuthStyleInHeader})
	if err != nil {
		return nil, err
	}
	client.PKCE = true
	if idp != "" {
		client.Params = url.Values{"idp": {idp}}
	}
	return &authcode.Authenticator{Client: client, Find: func(ctx context.Context, s oauth.Session) (p authcode.Person, err error) {
		if err := client.Post(ctx, server+"/v1/userinfo", s.AccessToken, &p.Claims); err != nil {
			return p, err
		}
		p.ID, p.Username, p.DisplayName = p.Text("sub"), p.Text("preferred_username"), p.Text("name")
		p.Email, p.Picture = p.Text("email"), p.Text("picture")
		p.EmailUnverified = p.Claims["email_verified"] != nil && !authcode.Verified(p.Claims["email_verified"])
		return p, nil
	}}, nil
}
