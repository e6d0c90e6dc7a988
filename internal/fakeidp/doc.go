// Package fakeidp is an identity provider for tests: a server that speaks
// OAuth 2.0 and OpenID Connect over real HTTP, and is as strict as the
// standards ask. It checks the client, the redirect, PKCE and scopes, uses a
// code once, replaces refresh tokens, ends a session whose old refresh token
// comes again, and signs ID tokens.
//
//	idp := fakeidp.New(t, fakeidp.Settings{
//		ClientID: "id", ClientSecret: "secret", Callback: "https://portal.test/api/auth/corp/handler/frame",
//		Authorize: "https://idp.test/authorize", Token: "https://idp.test/token", UserInfo: "https://idp.test/userinfo",
//	})
//	idp.SignIn(fakeidp.User{Subject: "1", Claims: map[string]any{"email": "jane@example.com"}})
//
// Endpoints are at any addresses: [Server.Transport] brings requests for them
// to the server, so an authenticator is tested with those of the real
// identity provider.
package fakeidp
