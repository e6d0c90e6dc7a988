package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
)

// service is the auth service of a plugin.
type service struct {
	shared    *Shared
	plugin    string
	discovery core.DiscoveryService
	store     *keyStore // nil where nothing needs to be published
	log       *slog.Logger
}

var _ core.AuthService = (*service)(nil)

func (s *service) Own() core.Credentials {
	return core.ServiceCredentials("plugin:"+s.plugin, core.Token{}, nil, nil)
}

func (s *service) Authenticate(ctx context.Context, token string, allowLimited bool) (core.Credentials, error) {
	t, err := s.shared.known.parse(token)
	if err == nil {
		if t.typ == typPlugin {
			return s.authenticatePlugin(ctx, t)
		}
		if want, ok := userExpectation(t); ok {
			c, err := s.authenticateUser(ctx, t, want, "")
			if err != nil {
				return core.NoCredentials(), s.refuse(ctx, err, "Failed user token verification")
			}
			if c.Limited() && !allowLimited {
				return core.NoCredentials(), apierr.Authentication("Illegal limited user token")
			}
			return c, nil
		}
	}
	if len(token) <= maxTokenLength {
		for _, x := range s.shared.externals() {
			subject, ok, err := x.verify(ctx, token)
			if err != nil {
				return core.NoCredentials(), s.refuse(ctx, err, "Illegal token")
			}
			if ok {
				own, targets, err := x.restrictions.at(s.plugin)
				if err != nil {
					return core.NoCredentials(), err
				}
				return core.ServiceCredentials(subject, core.NewToken(token), own, targets), nil
			}
		}
	}
	return core.NoCredentials(), apierr.Authentication("Illegal token")
}

// refuse keeps the reason in the log, where it does not help an attacker. An
// error that has a name already is passed on.
func (s *service) refuse(ctx context.Context, err error, message string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if named := (*apierr.Error)(nil); errors.As(err, &named) {
		return err
	}
	s.log.WarnContext(ctx, message, "reason", err.Error())
	return apierr.Authentication("%s", message)
}

// userExpectation returns what a user token must fulfil; ok is false for
// other tokens.
func userExpectation(t *jwt) (want expectation, ok bool) {
	switch {
	case t.typ == typUser || t.typ == typLimited:
		return expectation{algorithms: asymmetric, typ: t.typ, required: []string{"iat", "exp", "sub"}}, true
	case t.claims["aud"] == userAudience:
		return expectation{algorithms: asymmetric, audience: []string{userAudience}, required: []string{"sub"}}, true
	}
	return expectation{}, false
}

func (s *service) authenticateUser(ctx context.Context, t *jwt, want expectation, actor string) (core.Credentials, error) {
	if err := t.verify(ctx, s.userKeys, s.shared.known, want, s.shared.now()); err != nil {
		return core.Credentials{}, err
	}
	sub, ok := t.str("sub")
	if !ok {
		return core.Credentials{}, errors.New("its subject is not a user")
	}
	expires, _ := t.expires()
	return core.UserCredentials(sub, actor, core.NewToken(t.text), expires, t.typ == typLimited), nil
}

// userKeys finds the keys of the plugin that signs users in.
func (s *service) userKeys(ctx context.Context, kid string, hasKid bool, alg string) (any, error) {
	const signIn, path = "auth", "/.well-known/jwks.json"
	if fetch, ok := s.shared.fetchInMemory(s.discovery, signIn, path); ok {
		return s.shared.sets.finder("local users", fetch)(ctx, kid, hasKid, alg)
	}
	base, err := s.discovery.BaseURL(ctx, signIn)
	if err != nil {
		return nil, err
	}
	return s.shared.sets.finder(base+path, fetchHTTP(s.shared.client, base+path))(ctx, kid, hasKid, alg)
}

var pluginID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (s *service) authenticatePlugin(ctx context.Context, t *jwt) (core.Credentials, error) {
	const message = "Failed plugin token verification"
	sub, _ := t.str("sub")
	if !pluginID.MatchString(sub) {
		return core.NoCredentials(), s.refuse(ctx, errors.New("its subject is no plugin id"), message)
	}
	want := expectation{
		algorithms: asymmetric, typ: typPlugin, audience: []string{s.plugin},
		required: []string{"iat", "exp", "sub", "aud"},
	}
	if err := t.verify(ctx, s.pluginKeys(sub), s.shared.known, want, s.shared.now()); err != nil {
		return core.NoCredentials(), s.refuse(ctx, err, message)
	}
	obo, on := t.claims["obo"]
	if !on {
		return core.ServiceCredentials("plugin:"+sub, core.NewToken(t.text), nil, nil), nil
	}
	c, err := s.onBehalfOf(ctx, obo, "plugin:"+sub)
	if err != nil {
		return core.NoCredentials(), s.refuse(ctx, err, "Failed user token verification")
	}
	return c, nil
}

func (s *service) onBehalfOf(ctx context.Context, obo any, actor string) (core.Credentials, error) {
	text, _ := obo.(string)
	user, err := s.shared.known.parse(text)
	if err != nil {
		return core.Credentials{}, err
	}
	want, ok := userExpectation(user)
	if !ok {
		return core.Credentials{}, errNotUser
	}
	return s.authenticateUser(ctx, user, want, actor)
}

// pluginKeys finds the keys with which a plugin signs: those of this process
// at once, those of its replicas where they are published, and those of other
// backends where discovery says.
func (s *service) pluginKeys(plugin string) keyFinder {
	return func(ctx context.Context, kid string, hasKid bool, alg string) (any, error) {
		if peer := s.shared.peer(plugin); peer != nil {
			if k := s.shared.ring.find(kid); k != nil && hasKid && string(k.alg) == alg {
				return k.public, nil
			}
			if !slices.Contains(s.discovery.Elsewhere(), plugin) {
				return s.shared.sets.finder("local plugin "+plugin, peer.PublicKeys)(ctx, kid, hasKid, alg)
			}
		}
		base, err := s.discovery.BaseURL(ctx, plugin)
		if err != nil {
			return nil, err
		}
		address := base + "/.backstage/auth/v1/jwks.json"
		return s.shared.sets.finder(address, fetchHTTP(s.shared.client, address))(ctx, kid, hasKid, alg)
	}
}

// pluginClaims are the claims of a plugin token.
type pluginClaims struct {
	Sub string `json:"sub"`
	Aud string `json:"aud"`
	Iat int64  `json:"iat"`
	Exp int64  `json:"exp"`
	Obo string `json:"obo,omitempty"`
}

func (s *service) PluginRequestToken(ctx context.Context, who core.Credentials, target string) (core.Token, error) {
	return s.issue(ctx, who, target, s.publish)
}

// LocalRequestToken is PluginRequestToken for a request that stays in this
// process: the key need not be published, so a plugin that talks to its
// neighbours only opens no database for it.
func (s *service) LocalRequestToken(ctx context.Context, who core.Credentials, target string) (core.Token, error) {
	return s.issue(ctx, who, target, func(context.Context, *key) error { return nil })
}

func (s *service) issue(ctx context.Context, who core.Credentials, target string, publish func(context.Context, *key) error) (core.Token, error) {
	now := s.shared.now()
	claims := pluginClaims{Sub: s.plugin, Aud: target, Iat: now.Unix(), Exp: now.Add(tokenLifetime).Unix()}
	switch {
	case who.IsNone():
		if s.shared.policyDisabled {
			return core.Token{}, nil
		}
		return core.Token{}, apierr.Authentication("Refused to issue service token for credential type 'none'")
	case who.IsUser():
		user, limited, err := limitedToken(who)
		if err != nil {
			return core.Token{}, err
		}
		if exp, ok := user.expires(); ok {
			if !now.Before(exp) {
				return core.Token{}, apierr.Authentication("The token of the user has expired")
			}
			claims.Exp = min(claims.Exp, exp.Unix())
		}
		claims.Obo = limited
	default:
		if targets, restricted := who.Targets(); restricted && !slices.Contains(targets, target) {
			return core.Token{}, apierr.NotAllowed("The access of %s is restricted and cannot be delegated to plugin '%s'", who.Principal.Subject, target)
		}
	}
	k, err := s.shared.ring.current()
	if err != nil {
		return core.Token{}, err
	}
	if err := publish(ctx, k); err != nil {
		return core.Token{}, err
	}
	token, err := k.sign(claims)
	return core.NewToken(token), err
}

func (s *service) publish(ctx context.Context, k *key) error {
	if s.store == nil {
		return nil
	}
	return s.store.publish(ctx, k)
}

func (s *service) LimitedUserToken(_ context.Context, user core.Credentials) (core.Token, time.Time, error) {
	t, limited, err := limitedToken(user)
	if err != nil {
		return core.Token{}, time.Time{}, err
	}
	expires, ok := t.expires()
	if !ok {
		return core.Token{}, time.Time{}, apierr.Authentication("Failed to create limited user token, it has no expiry")
	}
	return core.NewToken(limited), expires, nil
}

func limitedToken(user core.Credentials) (*jwt, string, error) {
	if !user.IsUser() || user.Token().IsZero() {
		return nil, "", apierr.Authentication("Refused to issue limited user token for credential type '%s'", cmp.Or(string(user.Principal.Type), "none"))
	}
	t, err := parse(user.Token().Reveal())
	if err != nil {
		return nil, "", apierr.Authentication("Failed to create limited user token, %s", err)
	}
	limited, err := t.limited()
	switch {
	case errors.Is(err, errNoProof):
		return nil, "", apierr.Authentication("Failed to create limited user token, missing user identity proof")
	case err != nil:
		return nil, "", apierr.Authentication("Failed to create limited user token, %s", err)
	}
	return t, limited, nil
}

// PublicKeys returns the keys of this process, and those that the replicas of
// the plugin have published. Where the latter cannot be read it fails rather
// than answer a part: peers keep what they have instead of forgetting keys.
func (s *service) PublicKeys(ctx context.Context) ([]json.RawMessage, error) {
	keys := []json.RawMessage{}
	own := s.shared.ring.published()
	for _, k := range own {
		keys = append(keys, k.jwk)
	}
	if s.store == nil {
		return keys, nil
	}
	rows, err := s.store.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if findKey(own, row.kid) == nil {
			keys = append(keys, row.jwk)
		}
	}
	return keys, nil
}
