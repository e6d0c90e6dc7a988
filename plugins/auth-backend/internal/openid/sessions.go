package openid

import (
	"context"
	"errors"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/redirects"
	"github.com/flytower/flytower/plugins/auth-backend/internal/tokens"
)

// session tells the consent page of the frontend who asks for what.
func (s *Server) session(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Grants.Pending(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		ID          string `json:"id"`
		ClientID    string `json:"clientId"`
		ClientName  string `json:"clientName"`
		Scope       string `json:"scope,omitempty"`
		RedirectURI string `json:"redirectUri"`
	}{p.ID, p.ClientID, p.ClientName, p.Scope, p.RedirectURI})
	return nil
}

func (s *Server) approve(w http.ResponseWriter, r *http.Request) error { return s.consent(w, r, true) }
func (s *Server) reject(w http.ResponseWriter, r *http.Request) error  { return s.consent(w, r, false) }

// consent takes the answer of the frontend, which sends the token of the user.
// No cookie will do, so no page of another origin can answer; and no token
// that the user let a client have, so no client can answer for the user.
func (s *Server) consent(w http.ResponseWriter, r *http.Request, approved bool) error {
	who, err := s.HTTPAuth.Credentials(r, core.Allow{None: true, User: true, Service: true})
	switch {
	case err != nil:
		return err
	case !who.IsUser() || who.Principal.Actor != "":
		return apierr.NotAllowed("Authentication required")
	case tokens.AuthorizedParty(who.Token()) != "":
		return apierr.NotAllowed("The token belongs to a client; only users who have signed in can answer")
	}
	location, err := s.Answer(r, r.PathValue("id"), who.Principal.UserEntityRef, approved)
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]string{"redirectUrl": location})
	return nil
}

// Answer answers a request on behalf of the user, and returns where to send
// the browser.
func (s *Server) Answer(r *http.Request, id, user string, approved bool) (location string, err error) {
	ctx := r.Context()
	decision := map[bool]string{true: "approve", false: "reject"}[approved]
	record := s.Auditor.Begin(ctx, core.AuditEvent{
		ID: "authorization-consent", Severity: core.SeverityMedium, Request: r,
		Meta: map[string]any{"decision": decision, "userEntityRef": user},
	})
	location, p, err := s.answer(ctx, id, user, approved)
	if err != nil {
		record.Fail(ctx, err, nil)
		return "", err
	}
	record.Success(ctx, map[string]any{"clientId": p.ClientID, "scope": p.Scope})
	return location, nil
}

func (s *Server) answer(ctx context.Context, id, user string, approved bool) (string, grants.Pending, error) {
	if !approved {
		p, err := s.Grants.Reject(ctx, id, user)
		return redirects.WithOnly(p.RedirectURI, "error", "access_denied", "error_description", "User denied the request", "state", p.State, "iss", s.Base), p, err
	}
	code, p, err := s.Grants.Approve(ctx, id, user)
	if err != nil {
		return "", p, err
	}
	if s.Clients.Registry != nil {
		if err := s.Clients.Registry.Used(ctx, p.ClientID, true); err != nil {
			s.Log.WarnContext(ctx, "the use of a client was not remembered", "error", err)
		}
	}
	return redirects.With(p.RedirectURI, "code", code, "state", p.State, "iss", s.Base), p, nil
}

// reused puts a second use of a code or token on record, which says that
// somebody has what is not theirs.
func (s *Server) reused(r *http.Request, err error) {
	var reuse *grants.ReuseError
	if !errors.As(err, &reuse) {
		return
	}
	s.Log.WarnContext(r.Context(), "a code or a refresh token was used a second time; what came of it was revoked",
		"what", reuse.What, "clientId", reuse.ClientID, "user", reuse.User)
	s.Auditor.Begin(r.Context(), core.AuditEvent{ID: "token-reuse", Severity: core.SeverityHigh, Request: r, Meta: map[string]any{
		"clientId": reuse.ClientID, "userEntityRef": reuse.User, "grantId": reuse.Grant,
	}}).Fail(r.Context(), err, nil)
}
