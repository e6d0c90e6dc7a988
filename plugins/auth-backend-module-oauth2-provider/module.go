// Package authmoduleoauth2provider adds the provider "oauth2" to the
// auth plugin: users sign in at any server that speaks OAuth 2.0.
//
//	b.Add(authbackend.Plugin, authmoduleoauth2provider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    oauth2:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_OAUTH2_CLIENT_SECRET}
//	        authorizationUrl: https://login.example.com/authorize
//	        tokenUrl: https://login.example.com/token
//	        signIn:
//	          resolvers:
//	            - resolver: emailMatchingUserEntityProfileEmail
//
// OAuth 2.0 itself does not say who a user is. The profile is that of the ID
// token, where the server gives one; package authmoduleoidcprovider is for
// servers that speak OpenID Connect. A changed [Provider] can ask an API:
//
//	p := authmoduleoauth2provider.Provider()
//	p.Profile = askTheAPI
//	b.Add(authmoduleoauth2provider.New(p))
package authmoduleoauth2provider

import (
	"context"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("oauth2", "Users sign in at any server that speaks OAuth 2.0.", `{
	"authorizationUrl": {"type": "string", "description": "Where users sign in (authorization endpoint)."},
	"tokenUrl": {"type": "string", "description": "Where codes are exchanged for tokens (token endpoint)."},
	"includeBasicAuth": {"type": "boolean", "description": "Send the credentials in a header Authorization, too. Default: false, in the form only."},
	"disableRefresh": {"type": "boolean", "description": "Has no effect: a session is refreshed where the server gives a refresh token. Accepted so that a configuration that has it passes the check."}
}`, byUsername)

const byUsername = "usernameMatchingUserEntityName"

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize: initialize,
		Profile:    authcode.Profile,
		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[authcode.Person]]{
			byUsername: authcode.ByUsername(),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[authcode.Person]) backend.Feature {
	return backend.NewModule("auth", "oauth2-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("oauth2", p.Factory()) }
	}, backend.WithDescription("Users sign in at a server that speaks OAuth 2.0"), core.ConfigSchema(configSchema))
}

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	if o.Config.Has("scope") {
		return nil, &core.ConfigError{Key: o.Config.Path("scope"), Position: o.Config.Position("scope"), Problem: "is not read any more", Remedy: "name the scopes in additionalScopes"}
	}
	var endpoint oauth2.Endpoint
	for key, to := range map[string]*string{"authorizationUrl": &endpoint.AuthURL, "tokenUrl": &endpoint.TokenURL} {
		var err error
		if *to, err = authcode.Endpoint(o.Config, key); err != nil {
			return nil, err
		}
	}
	basic, err := o.Config.BoolOr("includeBasicAuth", false)
	if err != nil {
		return nil, err
	}
	client, err := authcode.FromConfig(o, endpoint)
	if err != nil {
		return nil, err
	}
	if basic {
		c := *client.HTTP
		c.Transport = withBasicAuth{next: c.Transport, id: client.Config.ClientID, secret: client.Config.ClientSecret}
		client.HTTP = &c
	}
	return &authcode.Authenticator{Client: client, Find: nobody}, nil
}

// nobody tells nothing about the user: there is no API that would.
func nobody(context.Context, oauth.Session) (authcode.Person, error) { return authcode.Person{}, nil }

// withBasicAuth adds the credentials to requests as servers read them that do
// not decode them (RFC 6749 §2.3.1 would have them encoded).
type withBasicAuth struct {
	next       http.RoundTripper
	id, secret string
}

// RoundTrip implements [http.RoundTripper].
func (t withBasicAuth) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(t.id, t.secret)
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}
