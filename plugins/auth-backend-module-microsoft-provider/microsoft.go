package authmodulemicrosoftprovider

import (
	"context"
	"encoding/base64"
	"log/slog"
	"slices"
	"strings"

	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

const (
	userURL  = "https://graph.microsoft.com/v1.0/me/"
	photoURL = "https://graph.microsoft.com/v1.0/me/photos/96x96/$value"
	// graphAudience is Microsoft Graph in access tokens.
	graphAudience = "00000003-0000-0000-c000-000000000000"
	// profileScope is what a token for Microsoft Graph is asked for with.
	profileScope = "openid email User.Read offline_access"
	maxPhoto     = 256 << 10 // bytes
)

// microsoft is a tenant.
type microsoft struct {
	client      *authcode.Client
	skipProfile bool
	log         *slog.Logger
}

// AuthorizeURL implements [oauth.Authenticator].
func (m *microsoft) AuthorizeURL(_ context.Context, r oauth.AuthorizeRequest) (string, error) {
	return m.client.AuthorizeURL(r), nil
}

// Authenticate implements [oauth.Authenticator].
func (m *microsoft) Authenticate(ctx context.Context, cb oauth.Callback) (oauth.Result[authcode.Person], error) {
	session, err := m.client.Exchange(ctx, cb)
	if err != nil {
		return oauth.Result[authcode.Person]{}, err
	}
	return m.result(ctx, session)
}

// Refresh implements [oauth.Authenticator].
func (m *microsoft) Refresh(ctx context.Context, r oauth.RefreshRequest) (oauth.Result[authcode.Person], error) {
	session, err := m.client.Refresh(ctx, r.RefreshToken, r.Scope)
	if err != nil {
		return oauth.Result[authcode.Person]{}, err
	}
	return m.result(ctx, session)
}

// result adds the user to the session. Where the access token is for another
// API, the refresh token gets one for Microsoft Graph, which is not kept.
func (m *microsoft) result(ctx context.Context, session oauth.Session) (oauth.Result[authcode.Person], error) {
	result := oauth.Result[authcode.Person]{Session: session}
	if m.skipProfile {
		return result, nil
	}
	access := session.AccessToken
	if !readsProfile(access) {
		if session.RefreshToken == "" {
			return result, nil
		}
		graph, err := m.client.Refresh(ctx, session.RefreshToken, profileScope)
		if err != nil {
			return result, err
		}
		result.Session.RefreshToken = graph.RefreshToken
		if access = graph.AccessToken; !readsProfile(access) {
			return result, nil
		}
	}
	person, err := m.find(ctx, access)
	result.User = person
	return result, err
}

// readsProfile reports whether Microsoft Graph answers to the access token who
// the user is. That is for Microsoft Graph to check; here it saves a request.
func readsProfile(accessToken string) bool {
	var claims struct {
		Audience string `json:"aud"`
		Scope    string `json:"scp"`
	}
	if err := authcode.UnverifiedClaims(accessToken, &claims); err != nil || claims.Audience != graphAudience {
		return false
	}
	return slices.ContainsFunc(strings.Fields(strings.ToLower(claims.Scope)), func(scope string) bool {
		scope = strings.TrimPrefix(scope, "https://graph.microsoft.com/")
		return scope == "user.read" || scope == "user.read.all"
	})
}

func (m *microsoft) find(ctx context.Context, accessToken string) (p authcode.Person, err error) {
	if err := m.client.Get(ctx, userURL, accessToken, &p.Claims); err != nil {
		return p, err
	}
	p.ID, p.DisplayName, p.Email = p.Text("id"), p.Text("displayName"), p.Text("mail")
	p.Username = p.Text("userPrincipalName")
	photo, err := m.client.GetBytes(ctx, photoURL, accessToken, maxPhoto)
	if err != nil {
		m.log.DebugContext(ctx, "the user has no photo", "error", err)
		return p, nil
	}
	p.Picture = "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(photo)
	return p, nil
}
