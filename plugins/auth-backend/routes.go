package authbackend

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	"github.com/flytower/flytower/plugins/auth-backend/internal/users"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// routes are those that do not belong to a provider.
type routes struct {
	base     string // external URL of the plugin
	ring     keys.Ring
	users    *users.Store
	signIn   *signin.Context
	httpAuth core.HTTPAuthService
}

func (s *routes) register(router core.Router) {
	router.HandleErr("GET /.well-known/jwks.json", s.keySet)
	router.HandleErr("GET /.well-known/openid-configuration", s.openIDConfiguration)
	router.HandleErr("GET /.well-known/oauth-client/cli.json", clientMetadata)
	router.HandleErr("GET "+userInfoPath, s.userInfo)
	router.HandleErr("/{provider}/{path...}", func(_ http.ResponseWriter, r *http.Request) error {
		return apierr.NotFound("Unknown auth provider '%s'", r.PathValue("provider"))
	})
}

// keySet answers with the keys with which tokens are verified.
func (s *routes) keySet(w http.ResponseWriter, r *http.Request) error {
	public, err := s.ring.Public(r.Context())
	if err != nil {
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"keys": public})
	return nil
}

// openIDConfiguration describes the plugin as OpenID Connect Discovery 1.0
// does, with the endpoints that all backends of the family name.
func (s *routes) openIDConfiguration(w http.ResponseWriter, _ *http.Request) error {
	algorithms := []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
	apierr.WriteJSON(w, http.StatusOK, struct {
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
	}{
		Issuer: s.base, TokenEndpoint: s.base + "/v1/token", UserInfoEndpoint: s.base + userInfoPath, JWKSURI: s.base + "/.well-known/jwks.json",
		ResponseTypes: []string{"code", "id_token"}, SubjectTypes: []string{"public"}, IDTokenAlgorithms: algorithms,
		Scopes: []string{"openid"}, TokenEndpointAuthMethods: []string{"client_secret_basic", "client_secret_post"},
		Claims: []string{"sub", "ent"}, GrantTypes: []string{"authorization_code"},
		AuthorizationEndpoint: s.base + "/v1/authorize", CodeChallengeMethods: []string{"S256", "plain"},
	})
	return nil
}

// clientMetadata tells the command line client of the family that it cannot
// sign in here by a client id metadata document.
func clientMetadata(w http.ResponseWriter, _ *http.Request) error {
	apierr.WriteJSON(w, http.StatusNotFound, map[string]string{
		"error": "not_found", "error_description": "Client ID metadata documents not enabled",
	})
	return nil
}

// userInfo answers what the user who asks owns by. The limited form of a
// token will do, and a token by which a plugin asks for the user.
func (s *routes) userInfo(w http.ResponseWriter, r *http.Request) error {
	// A cookie is sent by the browser for whatever page; the token is not.
	r = r.Clone(r.Context())
	r.Header.Del("Cookie")
	who, err := s.httpAuth.Credentials(r, core.Allow{None: true, User: true, Service: true, Cookie: true})
	switch {
	case err != nil:
		return err
	case who.IsNone():
		return apierr.Authentication("No token provided")
	case !who.IsUser():
		return apierr.Input("Userinfo endpoint must be called with a token that represents a user principal")
	}
	claims, ok, err := s.claims(r, who.Principal.UserEntityRef)
	if err != nil {
		return err
	}
	if !ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, err := io.WriteString(w, "User info not found")
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, map[string]any{"claims": claims})
	return nil
}

// claims returns what was remembered of the user's last sign-in, else what
// the catalog says now.
func (s *routes) claims(r *http.Request, ref string) (claims json.RawMessage, ok bool, err error) {
	if claims, ok, err = s.users.Get(r.Context(), ref); ok || err != nil {
		return claims, ok, err
	}
	user, err := s.signIn.FindCatalogUser(r.Context(), authnode.UserQuery{EntityRef: ref})
	if apierr.KindOf(err) == apierr.KindNotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	ownership, err := s.signIn.ResolveOwnership(r.Context(), user)
	if err != nil {
		return nil, false, err
	}
	claims, err = json.Marshal(map[string]any{"sub": ref, "ent": ownership})
	return claims, err == nil, err
}
