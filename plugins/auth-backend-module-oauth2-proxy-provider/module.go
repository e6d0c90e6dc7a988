// Package authmoduleoauth2proxyprovider adds the provider "oauth2Proxy" to the
// auth plugin: an OAuth2 Proxy in front of the backend has signed users in, and
// tells in headers who they are.
//
//	b.Add(authbackend.Plugin, authmoduleoauth2proxyprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    oauth2Proxy:
//	      signIn:
//	        resolvers:
//	          - resolver: forwardedUserMatchingUserEntityName
//
// The headers are believed, and the token in them is not verified: whoever
// reaches the backend other than through the proxy can sign in as anybody. Let
// only the proxy reach it, and have the proxy remove these headers from the
// requests of browsers.
package authmoduleoauth2proxyprovider

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

const (
	tokenHeader = "X-OAUTH2-PROXY-ID-TOKEN"
	userHeader  = "X-Forwarded-User"
	nameHeader  = "X-Forwarded-Preferred-Username"
	emailHeader = "X-Forwarded-Email"

	byUser = "forwardedUserMatchingUserEntityName"
	byName = "forwardedPreferredUsernameMatchingUserEntityName"
)

var configSchema = schema()

func schema() string {
	level := map[string]any{
		"type": "object", "description": "An OAuth2 Proxy in front of the backend signs users in. Whoever reaches the backend without it can sign in as anybody.",
		"properties": map[string]any{"signIn": oauth.SignInSchema(byUser, byName)},
	}
	for _, above := range []struct{ member, description string }{{"oauth2Proxy", "The sign-in providers by id."}, {"providers", "How users sign in."}, {"auth", "The configuration."}} {
		level = map[string]any{"type": "object", "description": above.description, "properties": map[string]any{above.member: level}}
	}
	text, err := json.Marshal(level)
	if err != nil {
		panic(err) // maps and texts are JSON
	}
	return string(text)
}

// User is whom the proxy has signed in.
type User struct {
	// Claims are those of the ID token, which nobody has verified here.
	Claims map[string]any
	// AccessToken is the ID token as it came.
	AccessToken string
	// Header are the headers of the request.
	Header http.Header
}

// Provider returns the provider as the module registers it.
func Provider() authnode.Proxy[User] {
	return authnode.Proxy[User]{
		Initialize: func(context.Context, authnode.ProviderOptions) (authnode.ProxyAuthenticator[User], error) {
			return authenticator{}, nil
		},
		Profile: profile,
		Resolvers: map[string]authnode.SignInResolverFactory[User]{
			byUser: authnode.ByName(header(userHeader)),
			byName: authnode.ByName(header(nameHeader)),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p authnode.Proxy[User]) backend.Feature {
	return backend.NewModule("auth", "oauth2-proxy-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("oauth2Proxy", p.Factory()) }
	}, backend.WithDescription("An OAuth2 Proxy signs users in"), core.ConfigSchema(configSchema))
}

func header(name string) func(authnode.SignInInfo[User]) (string, error) {
	return func(i authnode.SignInInfo[User]) (string, error) {
		if value := i.Result.Header.Get(name); value != "" {
			return value, nil
		}
		return "", apierr.New(apierr.KindError, "Request did not contain the header %s", name)
	}
}

func profile(_ context.Context, u User) (authnode.Profile, error) {
	p := authnode.Profile{Email: u.Header.Get(emailHeader), DisplayName: u.Header.Get(nameHeader)}
	if p.DisplayName == "" {
		p.DisplayName = u.Header.Get(userHeader)
	}
	return p, nil
}

type authenticator struct{}

type providerInfo struct {
	AccessToken string `json:"accessToken"`
}

// Authenticate implements [authnode.ProxyAuthenticator].
func (authenticator) Authenticate(r *http.Request) (User, any, error) {
	// Two values of a header are one that somebody else has added.
	for _, name := range []string{tokenHeader, userHeader, nameHeader, emailHeader} {
		if len(r.Header.Values(name)) > 1 {
			return User{}, nil, apierr.Authentication("The request has the header %s more than once", name)
		}
	}
	u := User{Claims: map[string]any{}, Header: r.Header.Clone()}
	scheme, token, _ := strings.Cut(r.Header.Get(tokenHeader), " ")
	if strings.EqualFold(scheme, "Bearer") {
		u.AccessToken = strings.TrimSpace(token)
	}
	if u.AccessToken != "" {
		if err := authcode.UnverifiedClaims(u.AccessToken, &u.Claims); err != nil {
			return User{}, nil, apierr.Authentication("The ID token in the header %s cannot be read: %v", tokenHeader, err)
		}
	}
	return u, providerInfo{u.AccessToken}, nil
}
