// Package oauth is the kit of which providers are made whose users sign in
// with OAuth 2.0 (RFC 6749) at an identity provider: in a popup window, or by
// way of a redirect.
//
//	providers().Register("corp", oauth.Provider[corpUser]{
//		Initialize: func(_ context.Context, o oauth.Options) (oauth.Authenticator[corpUser], error) {
//			return readSettings(o.Config, o.CallbackURL)
//		},
//		Profile:   func(_ context.Context, r oauth.Result[corpUser]) (authnode.Profile, error) { … },
//		Required:  []string{"openid", "email"},
//		Resolvers: map[string]authnode.SignInResolverFactory[oauth.Result[corpUser]]{"employeeNumber": byEmployeeNumber},
//	}.Factory())
//
// An [Authenticator] knows how to talk to the identity provider. The kit does
// the rest: it keeps the frontend's requests and the answers of the identity
// provider together, holds the session of the browser in cookies that scripts
// cannot read, and signs the user in.
//
// # What protects a sign-in
//
// The state that travels through the identity provider is not secret and not
// signed. Its nonce must be that of a cookie of the browser, so nobody can
// make a browser accept a sign-in that it did not begin. The cookie also has the
// seed of the [Secrets] of that sign-in, a PKCE verifier and a nonce for ID
// tokens, with which an authenticator binds the code to the browser. It is good
// once. The origin that gets
// the result, and the URL of a redirect, must be those of the frontend, or be
// allowed by auth.experimentalExtraAllowedOrigins; both are checked when the
// sign-in begins and when it ends. A refresh and a logout need a header that
// pages of other origins cannot send.
//
// # Refreshes
//
// Tabs of a browser refresh their session at the same moment. One of the
// requests goes to the identity provider, and the others share what it brings.
// A refresh token that was replaced stands for its successor for 30 seconds,
// since many identity providers take its second use for theft. This is known
// to one process; replicas do not tell each other.
//
// Package authcode below this one is a client for the authorization code grant.
package oauth
