package openid

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
)

// tokenAnswer is what a client gets.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`

	user, client string
}

// token exchanges a code or a refresh token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	p, _, err := body(r)
	if err == nil {
		err = p.missing("grant_type")
	}
	if err != nil {
		return err
	}
	var issue func(*http.Request, parameters) (tokenAnswer, error)
	switch p["grant_type"] {
	case "authorization_code":
		issue = s.exchange
	case "refresh_token":
		issue = s.refresh
	default:
		return &problem{
			status: http.StatusBadRequest, code: "unsupported_grant_type",
			err: apierr.Input("Grant type %s is not supported", cut(p["grant_type"])),
		}
	}
	severity := core.SeverityMedium
	if p["grant_type"] == "refresh_token" {
		severity = core.SeverityLow
	}
	record := s.Auditor.Begin(r.Context(), core.AuditEvent{ID: "token-issue", Severity: severity, Request: r, Meta: map[string]any{"grantType": p["grant_type"]}})
	a, err := issue(r, p)
	if err != nil {
		s.reused(r, err)
		record.Fail(r.Context(), err, map[string]any{"clientId": cut(p["client_id"])})
		if p := (*problem)(nil); !errors.As(err, &p) && apierr.KindOf(err) == apierr.KindAuthentication {
			return &problem{status: http.StatusBadRequest, code: "invalid_grant", err: err}
		}
		return err
	}
	record.Success(r.Context(), map[string]any{"clientId": a.client, "userEntityRef": a.user, "offline": a.RefreshToken != ""})
	w.Header().Set("Cache-Control", "no-store")
	apierr.WriteJSON(w, http.StatusOK, a)
	return nil
}

// authenticate checks the credentials of a client that shows a secret. A
// client that does not only says who it is.
func (s *Server) authenticate(ctx context.Context, c credentials) (authenticated bool, err error) {
	if c.secret == "" && !c.basic {
		return false, nil
	}
	_, err = s.Clients.Authenticate(ctx, c.id, c.secret)
	if apierr.KindOf(err) == apierr.KindAuthentication {
		return false, badClient(c.basic)
	}
	return err == nil, err
}

func (s *Server) exchange(r *http.Request, p parameters) (tokenAnswer, error) {
	if p["code"] == "" || p["redirect_uri"] == "" {
		return tokenAnswer{}, invalidRequest("Missing code or redirect_uri parameters for authorization_code grant")
	}
	c, err := p.credentials(r)
	if err != nil {
		return tokenAnswer{}, err
	}
	ctx := r.Context()
	authenticated, err := s.authenticate(ctx, c)
	if err != nil {
		return tokenAnswer{}, err
	}
	g, err := s.Grants.Exchange(ctx, grants.Exchange{
		Code: p["code"], RedirectURI: p["redirect_uri"], Verifier: p["code_verifier"],
		ClientID: c.id, Authenticated: authenticated && c.secret != "",
	})
	if err != nil {
		return tokenAnswer{}, err
	}
	a, err := s.access(ctx, g, false)
	if err != nil {
		return tokenAnswer{}, err
	}
	id, err := s.Users.Identity(ctx, g.User, g.ClientID, g.Nonce)
	if err != nil {
		return tokenAnswer{}, err
	}
	a.IDToken, a.Scope, a.RefreshToken = id.Reveal(), g.Scope, g.RefreshToken
	if a.Scope == "" {
		a.Scope = "openid"
	}
	return a, nil
}

// access issues the access token of a grant.
func (s *Server) access(ctx context.Context, g grants.Grant, present bool) (tokenAnswer, error) {
	token, life, err := s.Users.Access(ctx, g.User, g.ClientID, present)
	return tokenAnswer{
		AccessToken: token.Reveal(), TokenType: "Bearer", ExpiresIn: int64(life / time.Second),
		user: g.User, client: g.ClientID,
	}, err
}

// refresh replaces a refresh token. Requests with the same token at the same
// time share one answer: a client that starts twice stays signed in.
func (s *Server) refresh(r *http.Request, p parameters) (tokenAnswer, error) {
	token := p["refresh_token"]
	if token == "" {
		return tokenAnswer{}, invalidRequest("Missing refresh_token parameter for refresh_token grant")
	}
	c, err := p.credentials(r)
	if err != nil {
		return tokenAnswer{}, err
	}
	if _, err := s.authenticate(r.Context(), c); err != nil {
		return tokenAnswer{}, err
	}
	sum := sha256.Sum256([]byte(token))
	key := base64.RawStdEncoding.EncodeToString(sum[:]) + c.id
	return s.refreshes.Do(r.Context(), key, func(ctx context.Context) (a tokenAnswer, err error) {
		g, err := s.Grants.Refresh(ctx, token, c.id, func(g grants.Grant) (err error) {
			a, err = s.access(ctx, g, true)
			return err
		})
		if err != nil {
			return tokenAnswer{}, err
		}
		a.RefreshToken = g.RefreshToken
		return a, nil
	})
}

// revoke ends what came of a refresh token (RFC 7009). Access tokens end by
// themselves.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) error {
	p, _, err := body(r)
	if err == nil {
		err = p.missing("token")
	}
	if err != nil {
		return err
	}
	record := s.Auditor.Begin(r.Context(), core.AuditEvent{ID: "token-revoke", Severity: core.SeverityMedium, Request: r})
	g, err := s.revokeToken(r, p)
	if err != nil {
		record.Fail(r.Context(), err, map[string]any{"clientId": cut(p["client_id"])})
		return err
	}
	record.Success(r.Context(), map[string]any{"clientId": g.ClientID, "userEntityRef": g.User, "found": g.ID != ""})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) revokeToken(r *http.Request, p parameters) (grants.Grant, error) {
	c, err := p.credentials(r)
	if err != nil {
		return grants.Grant{}, err
	}
	if c.id == "" {
		return grants.Grant{}, &problem{status: http.StatusUnauthorized, code: "invalid_client", err: apierr.Authentication("Client authentication required")}
	}
	if _, err := s.Clients.Authenticate(r.Context(), c.id, c.secret); err != nil {
		if apierr.KindOf(err) == apierr.KindAuthentication {
			err = badClient(c.basic)
		}
		return grants.Grant{}, err
	}
	return s.Grants.Revoke(r.Context(), p["token"], c.id)
}
