// Package userinfo is the default implementation of [core.UserInfos]: it
// tells who a user is and by which entity references the user owns things.
//
//	b.Add(userinfo.Factory)
//
// The answer is in the token of the user, or else comes from the auth plugin.
// It is kept for five seconds by token, for all plugins of the process, so
// that the requests of one page view cost one look-up.
package userinfo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/flight"
)

const (
	keptFor  = 5 * time.Second
	keptMost = 10_000 // users
)

// Option changes a part of the service.
type Option func(*Cache)

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(c *Cache) { c.now = now } }

// WithTTL sets how long an answer is kept. Default: 5 s.
func WithTTL(d time.Duration) Option { return func(c *Cache) { c.ttl = d } }

// Factory makes the service with its defaults.
var Factory = NewFactory()

// NewFactory returns a factory of the service.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.UserInfos,
		func(*backend.RootEnv) backend.MakeFunc[*Cache] {
			return func(context.Context) (*Cache, error) { return NewCache(opts...), nil }
		},
		func(env *backend.FactoryEnv, cache func() *Cache) backend.MakeFunc[core.UserInfoService] {
			client := core.PluginClient.From(env)
			return func(context.Context) (core.UserInfoService, error) { return New(client(), cache()), nil }
		})
}

// Cache has the answers that all plugins of a process share.
type Cache struct {
	now func() time.Time
	ttl time.Duration
	// users are kept by the hash of their token, so that a dump of the memory
	// gives no token away.
	users *flight.Cache[[sha256.Size]byte, core.UserInfo]
}

// NewCache returns an empty cache.
func NewCache(opts ...Option) *Cache {
	c := &Cache{now: time.Now, ttl: keptFor}
	for _, o := range opts {
		o(c)
	}
	c.users = flight.NewCache[[sha256.Size]byte, core.UserInfo](keptMost, c.ttl, c.now)
	return c
}

// New returns the service of a plugin, which asks through client.
func New(client core.PluginClientService, cache *Cache) core.UserInfoService {
	return &service{client: client, cache: cache}
}

type service struct {
	client core.PluginClientService
	cache  *Cache
}

// UserInfo implements [core.UserInfoService].
func (s *service) UserInfo(ctx context.Context, user core.Credentials) (core.UserInfo, error) {
	if !user.IsUser() {
		return core.UserInfo{}, fmt.Errorf("user info is known of users only, not of a caller of type %q", user.Principal.Type)
	}
	if user.Token().IsZero() {
		return core.UserInfo{}, errors.New("the credentials of the user have no token, so there is no user info")
	}
	token := user.Token().Reveal()
	info, err := s.cache.users.Get(ctx, sha256.Sum256([]byte(token)), func(ctx context.Context) (core.UserInfo, error) {
		return s.load(ctx, token)
	})
	// Callers may change what they get.
	info.OwnershipEntityRefs = append([]string{}, info.OwnershipEntityRefs...)
	return info, err
}

func (s *service) load(ctx context.Context, token string) (core.UserInfo, error) {
	claims, err := tokenClaims(token)
	if err != nil {
		return core.UserInfo{}, fmt.Errorf("reading the token of the user: %w", err)
	}
	sub, ok := claims["sub"].(string)
	if !ok || sub == "" {
		return core.UserInfo{}, errors.New("the token of the user has no subject")
	}
	if ent, ok := claims["ent"]; ok && ent != nil {
		return newUserInfo(sub, ent)
	}
	var answer struct {
		Claims map[string]any `json:"claims"`
	}
	// The user asks in person: the auth plugin accepts the token that we hold.
	err = s.client.Call(ctx, core.PluginRequest{
		Plugin: "auth", Method: http.MethodGet, Path: "/v1/userinfo",
		Header: http.Header{"Authorization": {"Bearer " + token}},
	}, &answer)
	if err != nil {
		return core.UserInfo{}, fmt.Errorf("fetching the user info of %s: %w", sub, err)
	}
	return newUserInfo(sub, answer.Claims["ent"])
}

func newUserInfo(sub string, ent any) (core.UserInfo, error) {
	items, ok := ent.([]any)
	if !ok {
		return core.UserInfo{}, fmt.Errorf("the ownership references (claim ent) of %s are not a list", sub)
	}
	info := core.UserInfo{UserEntityRef: sub, OwnershipEntityRefs: make([]string, len(items))}
	for i, item := range items {
		if info.OwnershipEntityRefs[i], ok = item.(string); !ok {
			return core.UserInfo{}, fmt.Errorf("the ownership reference %d (claim ent) of %s is not a string", i, sub)
		}
	}
	return info, nil
}

// tokenClaims reads the payload of a token that was verified before.
func tokenClaims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("it does not have three parts")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("its payload is not base64url: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, fmt.Errorf("its payload is not a JSON object: %w", err)
	}
	return claims, nil
}
