package authbackend

import (
	"context"
	"encoding/json"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/grants"
	"github.com/flytower/flytower/plugins/auth-backend/internal/openid"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// tokenSource issues the tokens that clients get.
type tokenSource struct {
	signIn *signin.Context
	// skipPresence lets users go on whom the catalog does not have any more.
	skipPresence bool
}

var _ openid.Users = (*tokenSource)(nil)

// Access implements [openid.Users].
func (t *tokenSource) Access(ctx context.Context, user, client string, present bool) (core.Token, time.Duration, error) {
	if present && !t.skipPresence {
		_, err := t.signIn.FindCatalogUser(ctx, authnode.UserQuery{EntityRef: user})
		if apierr.KindOf(err) == apierr.KindNotFound {
			return core.Token{}, 0, grants.ErrGone
		}
		if err != nil {
			return core.Token{}, 0, err
		}
	}
	claims, err := t.claims(ctx, user)
	if err != nil {
		return core.Token{}, 0, err
	}
	token, err := t.signIn.Issuer.IssueAccess(ctx, claims, client)
	return token, t.signIn.Issuer.Lifetime, err
}

// Identity implements [openid.Users].
func (t *tokenSource) Identity(ctx context.Context, user, client, nonce string) (core.Token, error) {
	claims, err := t.claims(ctx, user)
	if err != nil {
		return core.Token{}, err
	}
	return t.signIn.Issuer.IssueID(ctx, claims, client, nonce)
}

// claims returns who the user is and, where tokens say it, what the user owns
// by.
func (t *tokenSource) claims(ctx context.Context, user string) (authnode.TokenClaims, error) {
	claims := authnode.TokenClaims{Subject: user}
	if !t.signIn.Issuer.WithOwnership {
		return claims, nil
	}
	stored, ok, err := knownClaims(ctx, t.signIn, user)
	if err != nil || !ok {
		claims.Ownership = []string{user}
		return claims, err
	}
	var said struct {
		Ownership []string `json:"ent"`
	}
	err = json.Unmarshal(stored, &said)
	claims.Ownership = said.Ownership
	return claims, err
}
