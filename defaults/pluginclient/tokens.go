package pluginclient

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
)

const (
	tokenReuse  = 5 * time.Minute // a token is used again for so long
	tokenMargin = time.Minute     // but not in the last part of its life
	tokensKept  = 2000
)

// localIssuer is implemented by auth services that issue cheaper tokens for
// requests that stay in this process.
type localIssuer interface {
	LocalRequestToken(ctx context.Context, who core.Credentials, target string) (core.Token, error)
}

// tokens keeps the tokens of a plugin for a while, since each costs a
// signature. A token is used again for the same target and for the same
// caller only: a user is told by the token that the user came with.
type tokens struct {
	auth core.AuthService
	now  func() time.Time
	kept *flight.Cache[tokenKey, core.Token]
}

type tokenKey struct {
	target string
	local  bool
	user   string            // "" is the plugin itself
	held   [sha256.Size]byte // hash of the token of the user
}

func newTokens(auth core.AuthService, now func() time.Time) *tokens {
	return &tokens{auth: auth, now: now, kept: flight.NewCache[tokenKey, core.Token](tokensKept, tokenReuse, now)}
}

func (t *tokens) get(ctx context.Context, who core.Credentials, target string, local bool) (core.Token, error) {
	key := tokenKey{target: target, local: local}
	_, restricted := who.Targets()
	keep := !restricted
	if who.IsUser() {
		key.user, key.held = who.Principal.UserEntityRef, sha256.Sum256([]byte(who.Token().Reveal()))
		keep = keep && key.user != "" && !who.Token().IsZero()
	}
	if keep {
		if token, ok := t.kept.Peek(key); ok {
			return token, nil
		}
	}
	issue := t.auth.PluginRequestToken
	if cheap, ok := t.auth.(localIssuer); ok && local {
		issue = cheap.LocalRequestToken
	}
	token, err := issue(ctx, who, target)
	if err != nil {
		return core.Token{}, err
	}
	if exp, ok := expiry(token.Reveal()); ok && keep {
		now := t.now()
		until := now.Add(tokenReuse)
		if last := exp.Add(-tokenMargin); last.Before(until) {
			until = last
		}
		if until.After(now) {
			t.kept.Put(key, token, until)
		}
	}
	return token, nil
}

// expiry reads when a token that we issued ends; other forms of tokens are
// not kept.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Exp <= 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
