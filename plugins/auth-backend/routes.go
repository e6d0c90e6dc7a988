package authbackend

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// routes are those that do not belong to a provider.
type routes struct {
	ring     keys.Ring
	signIn   *signin.Context
	httpAuth core.HTTPAuthService
}

func (s *routes) register(router core.Router) {
	router.HandleErr("GET /.well-known/jwks.json", s.keySet)
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

// userInfo answers what the user who asks owns by. The limited form of a
// token will do, and a token by which a plugin asks for the user.
func (s *routes) userInfo(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	// A cookie is sent by the browser for whatever page; the token is not.
	r = r.Clone(ctx)
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
	ref := who.Principal.UserEntityRef
	claims, ok, err := knownClaims(ctx, s.signIn, ref)
	if err != nil {
		return err
	}
	if !ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, err := io.WriteString(w, "User info not found")
		return err
	}
	apierr.WriteJSON(w, http.StatusOK, struct {
		Claims  json.RawMessage `json:"claims"`
		Subject string          `json:"sub"` // OpenID Connect Core 1.0 §5.3.2
	}{claims, ref})
	return nil
}

// knownClaims returns what was remembered of the user's last sign-in, else
// what the catalog says now.
func knownClaims(ctx context.Context, signIn *signin.Context, ref string) (claims json.RawMessage, ok bool, err error) {
	if claims, ok, err = signIn.Users.Get(ctx, ref); ok || err != nil {
		return claims, ok, err
	}
	user, err := signIn.FindCatalogUser(ctx, authnode.UserQuery{EntityRef: ref})
	if apierr.KindOf(err) == apierr.KindNotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	ownership, err := signIn.ResolveOwnership(ctx, user)
	if err != nil {
		return nil, false, err
	}
	claims, err = json.Marshal(map[string]any{"sub": ref, "ent": ownership})
	return claims, err == nil, err
}
