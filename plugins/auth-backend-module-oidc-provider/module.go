// Package authmoduleoidcprovider adds the provider "oidc" to the auth plugin:
// users sign in at any server that speaks OpenID Connect.
//
//	b.Add(authbackend.Plugin, authmoduleoidcprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    oidc:
//	      development:
//	        metadataUrl: https://login.example.com/.well-known/openid-configuration
//	        clientId: ...
//	        clientSecret: ${AUTH_OIDC_CLIENT_SECRET}
//	        prompt: auto
//	        signIn:
//	          resolvers:
//	            - resolver: emailMatchingUserEntityProfileEmail
//
// # What is checked
//
// The code is bound to the browser with PKCE (RFC 7636) where the server does
// not say that it lacks it. The ID token must be signed with
// tokenSignedResponseAlg by a key that the server publishes, be for this
// client, be of the server, have the nonce of the sign-in, not have expired, and
// belong to the access token. The user info must be about the same subject, and
// an e-mail address counts if the server has verified it. The answer must name
// the server where it says that it does (RFC 9207).
//
// The server is asked for its metadata at the first sign-in, so that the
// backend starts also while the server is down.
package authmoduleoidcprovider

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("oidc", "Users sign in at any server that speaks OpenID Connect.", `{
	"metadataUrl": {"type": "string", "description": "Address of the server's metadata, or the issuer, to which /.well-known/openid-configuration is added."},
	"prompt": {"type": "string", "description": "What the server asks users: none (nothing; those who have no session there cannot sign in), login, consent, select_account, or auto, which leaves it to the server. Default: none."},
	"tokenEndpointAuthMethod": {"type": "string", "enum": ["client_secret_basic", "client_secret_post", "none"], "description": "How the backend proves who it is: with the secret in a header (client_secret_basic) or in the form (client_secret_post), or not at all (none). Default: client_secret_basic."},
	"tokenSignedResponseAlg": {"type": "string", "description": "Algorithm that signs ID tokens, one with a public key. Default: RS256."},
	"timeout": {"anyOf": [{"type": "string"}, {"type": "object"}], "description": "How long a request to the server may take, a duration. Default: 10 seconds."},
	"startUrlSearchParams": {"type": "object", "additionalProperties": {"type": "string", "description": "The value of the parameter."}, "description": "More parameters of the page where users sign in. Default: none."}
}`)

// User is whom the server has signed in.
type User struct {
	// IDClaims are those of the ID token; nil after a refresh where the server
	// gave none.
	IDClaims map[string]any
	// UserInfo is what the user info endpoint says.
	UserInfo map[string]any
}

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[User] {
	return oauth.Provider[User]{
		Initialize:    initialize,
		Profile:       profile,
		Required:      []string{"openid", "profile", "email"},
		PersistScopes: true,
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[User]) backend.Feature {
	return backend.NewModule("auth", "oidc-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("oidc", p.Factory()) }
	}, backend.WithDescription("Users sign in at a server that speaks OpenID Connect"), core.ConfigSchema(configSchema))
}

func profile(_ context.Context, r oauth.Result[User]) (p authnode.Profile, err error) {
	text := func(name string) string {
		v, _ := r.User.UserInfo[name].(string)
		return v
	}
	if r.User.UserInfo["email_verified"] == true {
		p.Email = text("email")
	}
	p.Picture, p.DisplayName = text("picture"), text("name")
	return p, nil
}

// algorithms are those with a public key.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// reserved are the parameters that belong to the sign-in.
var reserved = []string{"client_id", "response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "response_mode", "request", "request_uri"}

func initialize(_ context.Context, o oauth.Options) (oauth.Authenticator[User], error) {
	s := &server{now: o.Now, log: o.Logger, busy: make(chan struct{}, 1)}
	if o.Config.Has("scope") {
		return nil, problem(o.Config, "scope", "is not read any more", "name the scopes in additionalScopes")
	}
	var err error
	if s.metadataURL, err = authcode.Endpoint(o.Config, "metadataUrl"); err != nil {
		return nil, err
	}
	if !strings.Contains(s.metadataURL, "/.well-known/") {
		s.metadataURL = strings.TrimRight(s.metadataURL, "/") + "/.well-known/openid-configuration"
	}
	if s.algorithm, err = o.Config.StringOr("tokenSignedResponseAlg", "RS256"); err != nil {
		return nil, err
	}
	if !slices.Contains(algorithms, s.algorithm) {
		return nil, problem(o.Config, "tokenSignedResponseAlg", fmt.Sprintf("is %q, which is no known algorithm with a public key", s.algorithm), "use one of "+strings.Join(algorithms, ", "))
	}
	method, err := o.Config.StringOr("tokenEndpointAuthMethod", "client_secret_basic")
	if err != nil {
		return nil, err
	}
	style, ok := map[string]oauth2.AuthStyle{"client_secret_basic": oauth2.AuthStyleInHeader, "client_secret_post": oauth2.AuthStyleInParams, "none": authcode.Public}[method]
	if !ok {
		return nil, problem(o.Config, "tokenEndpointAuthMethod", fmt.Sprintf("is %q, which this provider cannot do", method), "use client_secret_basic, client_secret_post or none")
	}
	timeout, err := o.Config.DurationOr("timeout", 10*time.Second)
	if err != nil {
		return nil, err
	}
	o.Client = withTimeout(o.Client, timeout)
	if s.client, err = authcode.FromConfig(o, oauth2.Endpoint{AuthStyle: style}); err != nil {
		return nil, err
	}
	s.client.Params, err = startParams(o.Config)
	return s, err
}

// startParams returns what is added to the address where users sign in.
func startParams(cfg core.Config) (url.Values, error) {
	prompt, err := cfg.StringOr("prompt", "none")
	if err != nil {
		return nil, err
	}
	params := url.Values{}
	const key = "startUrlSearchParams"
	more := map[string]string{}
	if err := cfg.Decode(key, &more); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if slices.Contains(reserved, strings.ToLower(name)) {
			return nil, problem(cfg, key+"."+name, "is a parameter that the sign-in sets itself", "remove it")
		}
		params.Set(name, more[name])
	}
	if prompt != "auto" {
		params.Set("prompt", prompt)
	}
	return params, nil
}

func problem(c core.Config, key, problem, remedy string) error {
	return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: problem, Remedy: remedy}
}

func withTimeout(c *http.Client, timeout time.Duration) *http.Client {
	with := *c
	with.Timeout = timeout
	return &with
}
