// Package authmodulemicrosoftprovider adds the provider "microsoft" to the
// auth plugin: users sign in with their account of Microsoft Entra ID.
//
//	b.Add(authbackend.Plugin, authmodulemicrosoftprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    microsoft:
//	      development:
//	        clientId: ...
//	        clientSecret: ${AUTH_MICROSOFT_CLIENT_SECRET}
//	        tenantId: ...
//	        signIn:
//	          resolvers:
//	            - resolver: userIdMatchingUserEntityAnnotation
//
// Administrators of a tenant decide on the e-mail addresses of its users. With
// a tenantId that lets several tenants in, such as "organizations", resolvers
// of addresses therefore let strangers sign in as anybody; the log warns.
package authmodulemicrosoftprovider

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

var configSchema = oauth.ConfigSchema("microsoft", "Users sign in with their account of Microsoft Entra ID.", `{
	"tenantId": {"type": "string", "description": "The tenant whose users may sign in."},
	"domainHint": {"type": "string", "description": "The domain of the users, which spares them the choice of an account. Default: none."},
	"skipUserProfile": {"type": "boolean", "description": "Do not ask Microsoft Graph about the user; the profile is that of the ID token. Default: false."}
}`, byEmail, byUserID)

const (
	byEmail  = "emailMatchingUserEntityAnnotation"
	byUserID = "userIdMatchingUserEntityAnnotation"
)

// Provider returns the provider as the module registers it.
func Provider() oauth.Provider[authcode.Person] {
	return oauth.Provider[authcode.Person]{
		Initialize:      initialize,
		Profile:         authcode.Profile,
		Required:        []string{"email", "openid", "offline_access", "user.read"},
		TransformScopes: scopes,
		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[authcode.Person]]{
			byEmail:  authcode.ByEmail("microsoft.com/email"),
			byUserID: authnode.ByAnnotation(userID),
		},
	}
}

// Module adds the provider.
var Module = New(Provider())

// New returns the module with a provider that was changed: with a resolver
// that is code, for example, or another profile.
func New(p oauth.Provider[authcode.Person]) backend.Feature {
	return backend.NewModule("auth", "microsoft-provider", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := authnode.Providers.From(env)
		return func(context.Context) error { return providers().Register("microsoft", p.Factory()) }
	}, backend.WithDescription("Users sign in with their account of Microsoft Entra ID"), core.ConfigSchema(configSchema))
}

// scopes asks for those of one API only where the frontend names the API: an
// access token is good for one.
func scopes(s oauth.Scopes) []string {
	if slices.ContainsFunc(s.Requested, func(scope string) bool { return strings.Contains(scope, "/") }) {
		return append(slices.Clone(s.Requested), "offline_access")
	}
	return slices.Concat(s.Requested, s.Granted, s.Required, s.Additional)
}

// userID finds users by the id that they have at Microsoft Graph.
func userID(i authnode.SignInInfo[oauth.Result[authcode.Person]]) (authnode.Annotation, error) {
	id := i.Result.User.ID
	if id == "" {
		return authnode.Annotation{}, apierr.New(apierr.KindError, "Login failed, user profile does not contain a user ID")
	}
	return authnode.Annotation{Name: "graph.microsoft.com/user-id", Value: id, Fallback: id}, nil
}

func initialize(ctx context.Context, o oauth.Options) (oauth.Authenticator[authcode.Person], error) {
	tenant, err := o.Config.String("tenantId")
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(tenant) {
	case "common", "organizations", "consumers":
		o.Logger.WarnContext(ctx, "tenantId lets users of any tenant sign in, whose e-mail addresses others decide on; do not find users by e-mail address",
			"tenantId", tenant, "position", o.Config.Position("tenantId").String())
	}
	hint, err := o.Config.StringOr("domainHint", "")
	if err != nil {
		return nil, err
	}
	skip, err := o.Config.BoolOr("skipUserProfile", false)
	if err != nil {
		return nil, err
	}
	base := "https://login.microsoftonline.com/" + url.PathEscape(tenant) + "/oauth2/v2.0/"
	client, err := authcode.FromConfig(o, oauth2.Endpoint{AuthURL: base + "authorize", TokenURL: base + "token"})
	if err != nil {
		return nil, err
	}
	client.PKCE = true
	if hint != "" {
		client.Params = url.Values{"domain_hint": {hint}}
	}
	return &microsoft{client: client, skipProfile: skip, log: o.Logger}, nil
}
