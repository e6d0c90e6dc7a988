package core

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/flytower/flytower/backend"
)

// Token is a credential in text form. It prints, logs and encodes as "***";
// Reveal gives the text to those who must send it.
type Token struct{ text string }

// NewToken keeps a text.
func NewToken(text string) Token { return Token{text} }

// Reveal returns the text.
func (t Token) Reveal() string { return t.text }

// IsZero reports whether there is no text.
func (t Token) IsZero() bool { return t.text == "" }

// String hides the text.
func (Token) String() string { return "***" }

// Format hides the text, whatever the verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// LogValue hides the text.
func (Token) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalJSON hides the text.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// PrincipalType tells what kind of caller a [Principal] is.
type PrincipalType string

const (
	// PrincipalNone is a caller without credentials.
	PrincipalNone PrincipalType = "none"
	// PrincipalUser is a signed-in user.
	PrincipalUser PrincipalType = "user"
	// PrincipalService is a plugin or an external system.
	PrincipalService PrincipalType = "service"
)

// Principal is who calls.
type Principal struct {
	Type PrincipalType `json:"type"`
	// UserEntityRef is the user, for example "user:default/jane".
	UserEntityRef string `json:"userEntityRef,omitempty"`
	// Actor is the subject of the service that calls on behalf of the user,
	// for example "plugin:catalog"; "" where the user calls directly.
	Actor string `json:"-"`
	// Subject is the service: "plugin:<id>" or as configured.
	Subject string `json:"subject,omitempty"`
	// Restrictions limit what an external service may do; nil is unlimited.
	Restrictions *AccessRestrictions `json:"accessRestrictions,omitempty"`
}

// MarshalJSON writes the form that all backends use.
func (p Principal) MarshalJSON() ([]byte, error) {
	type plain Principal
	out := struct {
		plain
		Actor *Principal `json:"actor,omitempty"`
	}{plain: plain(p)}
	if p.Actor != "" {
		out.Actor = &Principal{Type: PrincipalService, Subject: p.Actor}
	}
	return json.Marshal(out)
}

// AccessRestrictions limit a service to some permissions. An empty value
// limits nothing.
type AccessRestrictions struct {
	// PermissionNames, if not empty, are the only permissions it has.
	PermissionNames []string `json:"permissionNames,omitempty"`
	// PermissionActions, if not empty, are the only actions (create, read,
	// update, delete) that the permissions it uses may have.
	PermissionActions []string `json:"permissionActions,omitempty"`
}

// Limit reports whether they limit which permissions the service has. What no
// permission guards is then not meant for it. A nil receiver limits nothing.
func (a *AccessRestrictions) Limit() bool {
	return a != nil && (len(a.PermissionNames) > 0 || len(a.PermissionActions) > 0)
}

// Credentials are a verified principal. The zero value is a caller without
// credentials. The token that they came with is kept, and never encoded.
type Credentials struct {
	Principal Principal
	// ExpiresAt is zero where they do not expire.
	ExpiresAt time.Time

	token Token
	// targets are the only plugins to which the service may pass its call on;
	// nil is all.
	targets []string
	limited bool
}

// NoCredentials are those of a caller that presented none.
func NoCredentials() Credentials { return Credentials{Principal: Principal{Type: PrincipalNone}} }

// UserCredentials are those of a user who presented token. limited says that
// the token is the limited form of a user token. Only implementations of
// [AuthService] make them.
func UserCredentials(userEntityRef, actor string, token Token, expiresAt time.Time, limited bool) Credentials {
	return Credentials{
		Principal: Principal{Type: PrincipalUser, UserEntityRef: userEntityRef, Actor: actor},
		ExpiresAt: expiresAt, token: token, limited: limited,
	}
}

// ServiceCredentials are those of a service. targets, if not nil, are the
// only plugins to which the call may be passed on. Only implementations of
// [AuthService] make them.
func ServiceCredentials(subject string, token Token, restrictions *AccessRestrictions, targets []string) Credentials {
	return Credentials{
		Principal: Principal{Type: PrincipalService, Subject: subject, Restrictions: restrictions},
		token:     token, targets: targets,
	}
}

// Token returns the token that they came with.
func (c Credentials) Token() Token { return c.token }

// Targets returns the plugins to which a restricted service may pass its call
// on, and whether it is restricted.
func (c Credentials) Targets() (plugins []string, restricted bool) {
	return c.targets, c.targets != nil
}

// Limited reports whether they came with a limited user token.
func (c Credentials) Limited() bool { return c.limited }

// IsUser reports whether a user calls.
func (c Credentials) IsUser() bool { return c.Principal.Type == PrincipalUser }

// IsService reports whether a service calls on its own behalf.
func (c Credentials) IsService() bool { return c.Principal.Type == PrincipalService }

// IsNone reports whether there are no credentials.
func (c Credentials) IsNone() bool {
	return c.Principal.Type == PrincipalNone || c.Principal.Type == ""
}

// MarshalJSON writes the form that all backends use; the token is left out.
func (c Credentials) MarshalJSON() ([]byte, error) {
	out := map[string]any{"$$type": "@backstage/BackstageCredentials", "version": "v1", "principal": c.Principal}
	if !c.ExpiresAt.IsZero() {
		out["expiresAt"] = c.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return json.Marshal(out)
}

// String names the principal.
func (c Credentials) String() string {
	switch p := c.Principal; {
	case c.IsNone():
		return "none"
	case p.Actor != "":
		return p.UserEntityRef + " by " + p.Actor
	case c.IsUser():
		return p.UserEntityRef
	default:
		return p.Subject
	}
}

// Format names the principal, whatever the verb. Without it, printing would
// show the token, as package fmt does not ask the methods of unexported
// fields.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue names the principal.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// AuthService verifies and issues tokens for a plugin.
type AuthService interface {
	// Authenticate verifies a token that was sent to this plugin. A bad one is
	// an authentication error. The limited form of a user token is accepted
	// only if allowLimited is set.
	Authenticate(ctx context.Context, token string, allowLimited bool) (Credentials, error)
	// Own returns the credentials of the plugin itself.
	Own() Credentials
	// PluginRequestToken returns a token with which this plugin may call the
	// target plugin on behalf of who.
	PluginRequestToken(ctx context.Context, who Credentials, target string) (Token, error)
	// LimitedUserToken returns the limited form of the user's token, which is
	// good for cookies.
	LimitedUserToken(ctx context.Context, user Credentials) (Token, time.Time, error)
	// PublicKeys returns the JSON Web Keys with which others verify the tokens
	// of this plugin.
	PublicKeys(ctx context.Context) ([]json.RawMessage, error)
}

// Auth verifies and issues tokens.
var Auth = backend.NewServiceRef[AuthService]("core.auth")

// ExternalTokenHandler verifies tokens of one kind from outside, for entries
// of backend.auth.externalAccess whose type it has.
type ExternalTokenHandler struct {
	// Type is the name used in the configuration. It must not be static,
	// legacy or jwks.
	Type string
	// Initialize makes a verifier of the options of an entry.
	Initialize func(options Config) (ExternalTokenVerifier, error)
}

// ExternalTokenVerifier returns the subject of a token; ok is false for a
// token that is not its own.
type ExternalTokenVerifier func(ctx context.Context, token string) (subject string, ok bool, err error)

// ExternalTokenHandlers are all added kinds of external tokens.
var ExternalTokenHandlers = backend.NewRootMultiServiceRef[ExternalTokenHandler]("core.auth.externalTokenHandlers")

// Allow says which callers a handler accepts.
type Allow struct {
	None, User, Service bool
	// Cookie accepts the user's cookie in place of a token.
	Cookie bool
}

// HTTPAuthService finds out who sent a request.
type HTTPAuthService interface {
	// Credentials returns the verified credentials of the request. A caller
	// that allow does not name gets an authentication error if it has none,
	// and a not-allowed error otherwise. The zero Allow accepts everybody; a
	// bad token is an error in any case.
	Credentials(r *http.Request, allow Allow) (Credentials, error)
	// IssueUserCookie sets the cookie with the limited token of the user who
	// sent the request, and returns when it expires. If the request has a
	// cookie of the same user that is good for another five minutes, that one
	// stays. A caller without credentials gets the cookie removed, and the
	// zero time is returned; a service is an authentication error.
	IssueUserCookie(w http.ResponseWriter, r *http.Request) (time.Time, error)
	// IssueUserCookieFor is IssueUserCookie for credentials that did not come
	// with the Authorization header of the request.
	IssueUserCookieFor(w http.ResponseWriter, r *http.Request, who Credentials) (time.Time, error)
	// ClearUserCookie removes the cookie.
	ClearUserCookie(w http.ResponseWriter, r *http.Request) error
}

// HTTPAuth finds out who sent a request.
var HTTPAuth = backend.NewServiceRef[HTTPAuthService]("core.httpAuth")

// UserInfo tells what a user owns by.
type UserInfo struct {
	UserEntityRef       string   `json:"userEntityRef"`
	OwnershipEntityRefs []string `json:"ownershipEntityRefs"`
}

// UserInfoService looks users up.
type UserInfoService interface {
	// UserInfo returns the info of the user; other credentials are an error.
	UserInfo(ctx context.Context, user Credentials) (UserInfo, error)
}

// UserInfos looks users up.
var UserInfos = backend.NewServiceRef[UserInfoService]("core.userInfo")
