package openid

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
)

// register adds a client that describes itself (RFC 7591).
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	p, members, err := body(r)
	if err != nil {
		return err
	}
	record := s.Auditor.Begin(r.Context(), core.AuditEvent{ID: "client-register", Severity: core.SeverityMedium, Request: r})
	c, err := s.registerClient(r, p, members)
	if err != nil {
		record.Fail(r.Context(), err, nil)
		return err
	}
	record.Success(r.Context(), map[string]any{"clientId": c.ID, "clientName": c.Name, "redirectUris": c.RedirectURIs})
	answer := struct {
		ID            string   `json:"client_id"`
		RedirectURIs  []string `json:"redirect_uris"`
		Secret        string   `json:"client_secret,omitempty"`
		IssuedAt      int64    `json:"client_id_issued_at"`
		SecretExpires *int64   `json:"client_secret_expires_at,omitempty"` // 0 is never
		Name          string   `json:"client_name"`
		ResponseTypes []string `json:"response_types"`
		GrantTypes    []string `json:"grant_types"`
		AuthMethod    string   `json:"token_endpoint_auth_method"`
		Scope         string   `json:"scope,omitempty"`
	}{
		ID: c.ID, RedirectURIs: c.RedirectURIs, Secret: c.Secret, IssuedAt: c.Created.Unix(),
		Name: c.Name, ResponseTypes: c.ResponseTypes, GrantTypes: c.GrantTypes, AuthMethod: c.AuthMethod, Scope: c.Scope,
	}
	if c.Secret != "" {
		answer.SecretExpires = new(int64)
	}
	w.Header().Set("Cache-Control", "no-store")
	apierr.WriteJSON(w, http.StatusCreated, answer)
	return nil
}

func (s *Server) registerClient(r *http.Request, p parameters, members map[string]json.RawMessage) (clients.Registered, error) {
	reg := clients.Registration{Name: p["client_name"], Scope: p["scope"], AuthMethod: p["token_endpoint_auth_method"]}
	for name, to := range map[string]*[]string{"redirect_uris": &reg.RedirectURIs, "response_types": &reg.ResponseTypes, "grant_types": &reg.GrantTypes} {
		if value, ok := members[name]; ok && json.Unmarshal(value, to) != nil {
			return clients.Registered{}, validation(`Invalid input: expected array of strings at "` + name + `"`)
		}
	}
	switch _, given := members["redirect_uris"]; {
	case !given:
		return clients.Registered{}, validation(undefined("array", "redirect_uris"))
	case len(reg.RedirectURIs) == 0:
		return clients.Registered{}, validation(`Too small: expected array to have >=1 items at "redirect_uris"`)
	}
	c, err := s.Clients.Registry.Register(r.Context(), reg)
	if errors.Is(err, clients.ErrFull) {
		s.Log.WarnContext(r.Context(), "a client was not registered", "error", err)
		err = &problem{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", err: apierr.New(apierr.KindServiceUnavailable, "%s", err.Error())}
	}
	return c, err
}
