package openid

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
	"github.com/flytower/flytower/plugins/auth-backend/internal/clients"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
)

// Server has the routes of the provider.
type Server struct {
	// Base is the external URL of the plugin, which names the issuer.
	Base string
	// ConsentURL returns the page on which the user answers a request.
	ConsentURL func(id string) string
	// Browser, if not nil, returns a hash of the secret of the browser that
	// sent the request, which it gives one if it has none.
	Browser func(w http.ResponseWriter, r *http.Request) string

	Clients  clients.Known
	Grants   *grants.Store
	Users    Users
	HTTPAuth core.HTTPAuthService
	Auditor  core.AuditorService
	Log      *slog.Logger

	refreshes flight.Group[string, tokenAnswer]
}

// Users issues the tokens of users.
type Users interface {
	// Access returns the token with which the client acts for the user, and
	// how long it is good. Where present is set, a user whom the catalog does
	// not have any more is the error [grants.ErrGone].
	Access(ctx context.Context, user, client string, present bool) (token core.Token, life time.Duration, err error)
	// Identity returns the token that tells the client who the user is.
	Identity(ctx context.Context, user, client, nonce string) (core.Token, error)
}

// Register adds the routes. Those that need a kind of client exist only with
// it.
func (s *Server) Register(router core.Router) {
	router.HandleErr("GET /.well-known/openid-configuration", s.metadata)
	router.HandleErr("GET "+ownClientPath, s.ownClient)
	if !s.enabled() {
		return
	}
	router.HandleErr("GET /v1/authorize", s.authorize)
	router.HandleErr("GET /v1/sessions/{id}", answered(s.session))
	router.HandleErr("POST /v1/sessions/{id}/approve", answered(s.approve))
	router.HandleErr("POST /v1/sessions/{id}/reject", answered(s.reject))
	router.HandleErr("POST /v1/token", answered(s.token))
	router.HandleErr("POST /v1/revoke", answered(s.revoke))
	if s.Clients.Registry != nil {
		router.HandleErr("POST /v1/register", answered(s.register))
	}
}

func (s *Server) enabled() bool { return s.Clients.Registry != nil || s.Clients.Documents != nil }

// Prune removes what is of no use any more.
func (s *Server) Prune(ctx context.Context) error {
	if err := s.Grants.Prune(ctx); err != nil {
		return err
	}
	if s.Clients.Registry == nil {
		return nil
	}
	return s.Clients.Registry.Prune(ctx)
}

// metadata describes the provider as OpenID Connect Discovery 1.0 and RFC 8414
// do.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) error {
	apierr.WriteJSON(w, http.StatusOK, s.Metadata())
	return nil
}

// Metadata describes a provider.
type Metadata struct {
	Issuer                   string   `json:"issuer"`
	TokenEndpoint            string   `json:"token_endpoint"`
	UserInfoEndpoint         string   `json:"userinfo_endpoint"`
	JWKSURI                  string   `json:"jwks_uri"`
	ResponseTypes            []string `json:"response_types_supported"`
	SubjectTypes             []string `json:"subject_types_supported"`
	IDTokenAlgorithms        []string `json:"id_token_signing_alg_values_supported"`
	Scopes                   []string `json:"scopes_supported"`
	TokenEndpointAuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Claims                   []string `json:"claims_supported"`
	GrantTypes               []string `json:"grant_types_supported"`
	AuthorizationEndpoint    string   `json:"authorization_endpoint"`
	CodeChallengeMethods     []string `json:"code_challenge_methods_supported"`
	RegistrationEndpoint     string   `json:"registration_endpoint,omitempty"`
	RevocationEndpoint       string   `json:"revocation_endpoint,omitempty"`
	ClientIDDocuments        bool     `json:"client_id_metadata_document_supported,omitempty"`
	IssuerInAnswer           bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
}

// Metadata describes the provider.
func (s *Server) Metadata() Metadata {
	m := Metadata{
		Issuer: s.Base, TokenEndpoint: s.Base + "/v1/token", UserInfoEndpoint: s.Base + "/v1/userinfo", JWKSURI: s.Base + "/.well-known/jwks.json",
		ResponseTypes: []string{"code", "id_token"}, SubjectTypes: []string{"public"},
		IDTokenAlgorithms: []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"},
		Scopes:            s.Scopes(), TokenEndpointAuthMethods: []string{"client_secret_basic", "client_secret_post"},
		Claims: []string{"sub", "ent"}, GrantTypes: []string{"authorization_code"},
		AuthorizationEndpoint: s.Base + "/v1/authorize", CodeChallengeMethods: []string{"S256", "plain"},
	}
	if s.Grants.Offline.Enabled {
		m.GrantTypes = append(m.GrantTypes, "refresh_token")
	}
	if s.Clients.Registry != nil {
		m.RegistrationEndpoint = s.Base + "/v1/register"
	}
	if s.Clients.Documents != nil {
		m.TokenEndpointAuthMethods = append(m.TokenEndpointAuthMethods, "none")
		m.ClientIDDocuments = true
	}
	if s.enabled() {
		m.RevocationEndpoint = s.Base + "/v1/revoke"
		m.IssuerInAnswer = true
	}
	return m
}

// Scopes are those that clients can have.
func (s *Server) Scopes() []string {
	if s.Grants.Offline.Enabled {
		return []string{"openid", grants.ScopeOffline}
	}
	return []string{"openid"}
}

const ownClientPath = "/.well-known/oauth-client/cli.json"

// OwnClient returns the command line client of the family, whose document
// every backend serves itself.
func OwnClient(base string) clients.Client {
	return clients.Client{
		ID: base + ownClientPath, Name: "Backstage CLI", Verified: true, Public: true,
		RedirectURIs: []string{"http://127.0.0.1:8055/callback"},
	}
}

// ownClient is the document of the [OwnClient].
func (s *Server) ownClient(w http.ResponseWriter, _ *http.Request) error {
	if s.Clients.Documents == nil {
		apierr.WriteJSON(w, http.StatusNotFound, protocolError{"not_found", "Client ID metadata documents not enabled"})
		return nil
	}
	c := OwnClient(s.Base)
	apierr.WriteJSON(w, http.StatusOK, struct {
		ID            string   `json:"client_id"`
		Name          string   `json:"client_name"`
		RedirectURIs  []string `json:"redirect_uris"`
		ResponseTypes []string `json:"response_types"`
		GrantTypes    []string `json:"grant_types"`
		AuthMethod    string   `json:"token_endpoint_auth_method"`
		Scope         string   `json:"scope"`
	}{c.ID, c.Name, c.RedirectURIs, []string{"code"}, []string{"authorization_code"}, "none", "openid offline_access"})
	return nil
}
