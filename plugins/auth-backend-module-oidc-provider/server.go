package authmoduleoidcprovider

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/auth-node/oauth"
	"github.com/flytower/flytower/plugins/auth-node/oauth/authcode"
)

// server is an OpenID Connect server, in one environment.
type server struct {
	metadataURL string
	algorithm   string
	// client has no endpoints; those of the metadata are filled in.
	client *authcode.Client
	now    func() time.Time
	log    *slog.Logger

	busy    chan struct{} // holds a value while known is in use
	known   *metadata
	knownAt time.Time
}

var (
	_ oauth.Authenticator[User] = (*server)(nil)
	_ oauth.Revoker             = (*server)(nil)
)

// AuthorizeURL implements [oauth.Authenticator].
func (s *server) AuthorizeURL(ctx context.Context, r oauth.AuthorizeRequest) (string, error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return "", err
	}
	client := *m.client
	client.Params = url.Values{"nonce": {r.Secrets.Nonce}}
	maps.Copy(client.Params, m.client.Params)
	return client.AuthorizeURL(r), nil
}

// Authenticate implements [oauth.Authenticator].
func (s *server) Authenticate(ctx context.Context, cb oauth.Callback) (oauth.Result[User], error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return oauth.Result[User]{}, err
	}
	if issuer := cb.Query.Get("iss"); issuer != m.Issuer && (issuer != "" || m.NamesIssuer) {
		return oauth.Result[User]{}, apierr.NotAllowed("The answer is not of the identity provider that was asked")
	}
	if cb.Secrets.Nonce == "" {
		return oauth.Result[User]{}, apierr.NotAllowed("Auth response is missing the secrets of the sign-in; begin again")
	}
	session, err := m.client.Exchange(ctx, cb)
	if err != nil {
		return oauth.Result[User]{}, err
	}
	if session.IDToken == "" {
		return oauth.Result[User]{}, apierr.Authentication("The identity provider sent no ID token")
	}
	return s.result(ctx, m, session, cb.Secrets.Nonce)
}

// Refresh implements [oauth.Authenticator].
func (s *server) Refresh(ctx context.Context, r oauth.RefreshRequest) (oauth.Result[User], error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return oauth.Result[User]{}, err
	}
	// Without a scope, the session keeps what it was granted.
	session, err := m.client.Refresh(ctx, r.RefreshToken, "")
	if err != nil {
		return oauth.Result[User]{}, err
	}
	return s.result(ctx, m, session, "")
}

// Revoke implements [oauth.Revoker].
func (s *server) Revoke(ctx context.Context, refreshToken string) (logoutURL string, err error) {
	if refreshToken == "" {
		return "", nil
	}
	m, err := s.metadata(ctx)
	if err != nil || m.RevocationEndpoint == "" {
		return "", err
	}
	return "", m.client.Revoke(ctx, m.RevocationEndpoint, refreshToken)
}

// result verifies the ID token, if there is one, and adds the user. A sign-in
// has a nonce; a refresh has none.
func (s *server) result(ctx context.Context, m *metadata, session oauth.Session, nonce string) (oauth.Result[User], error) {
	result := oauth.Result[User]{Session: session}
	subject := ""
	if session.IDToken != "" {
		token, err := m.verify(ctx, session, nonce)
		if err == nil {
			err = token.Claims(&result.User.IDClaims)
		}
		if err != nil {
			s.log.WarnContext(ctx, "the identity provider sent an ID token that is not valid", "error", err)
			return result, apierr.Authentication("The ID token of the identity provider is not valid; the log of the backend says why")
		}
		subject = token.Subject
	}
	if err := m.client.Get(ctx, m.UserInfoEndpoint, session.AccessToken, &result.User.UserInfo); err != nil {
		return result, err
	}
	about, _ := result.User.UserInfo["sub"].(string)
	if about == "" || subject != "" && about != subject {
		return result, apierr.Authentication("The user info of the identity provider is not about the user who signs in")
	}
	return result, nil
}

// verify verifies the ID token of a session (OpenID Connect Core 1.0 §3.1.3.7
// and §12.2).
func (m *metadata) verify(ctx context.Context, session oauth.Session, nonce string) (*oidc.IDToken, error) {
	token, err := m.verifier.Verify(ctx, session.IDToken)
	if err != nil {
		return nil, err
	}
	if nonce != "" && subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return nil, errors.New("its nonce is not that of the sign-in")
	}
	var claims struct {
		AuthorizedParty *string `json:"azp"`
	}
	if err := token.Claims(&claims); err != nil {
		return nil, err
	}
	switch azp := claims.AuthorizedParty; {
	case azp != nil && *azp != m.client.Config.ClientID:
		return nil, errors.New("it was issued to another client (azp)")
	case azp == nil && len(token.Audience) > 1:
		return nil, errors.New("it is for several clients, and does not say to which it was issued (azp)")
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(session.AccessToken); err != nil {
			return nil, err
		}
	}
	return token, nil
}
