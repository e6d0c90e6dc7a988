// Package openid is the OpenID provider of the auth plugin: it lets programs
// on the machine of a user, command lines and agents, act for the user, who
// agrees to that on a page of the portal.
//
//	s := &openid.Server{Base: "https://portal.example.com/api/auth", Clients: known, Grants: store, …}
//	s.Register(router)
//
// It speaks OAuth 2.0 with PKCE (RFC 6749, RFC 7636) and OpenID Connect Core
// 1.0, the authorization code grant and refresh tokens; RFC 7009 (revocation),
// RFC 7591 (registration), RFC 8414 and OpenID Connect Discovery 1.0
// (metadata), RFC 9207 (issuer in the answer), client id metadata documents,
// and what RFC 9700 advises. Routes, errors and shapes are those of the
// reference backend where it has them.
package openid
