package backendtest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/httpauth"
)

var noExpiry time.Time

// limitedLife is how long cookies are good.
const limitedLife = time.Hour

var authFactory = backend.NewServiceFactory(core.Auth, func(env *backend.FactoryEnv) backend.MakeFunc[core.AuthService] {
	plugin, set := core.PluginMetadata.From(env), settingsRef.From(env)
	return func(context.Context) (core.AuthService, error) {
		return mockAuth{plugin: plugin().ID(), clock: set().clock}, nil
	}
})

// mockAuth takes and gives mock tokens.
type mockAuth struct {
	plugin string
	clock  *Clock
}

func (a mockAuth) Authenticate(_ context.Context, token string, allowLimited bool) (core.Credentials, error) {
	return authenticate(token, a.plugin, allowLimited)
}

func (a mockAuth) Own() core.Credentials {
	return core.ServiceCredentials("plugin:"+a.plugin, core.Token{}, nil, nil)
}

func (a mockAuth) PluginRequestToken(_ context.Context, who core.Credentials, target string) (core.Token, error) {
	c := serviceClaims{Sub: "plugin:" + a.plugin, Target: target}
	switch {
	case who.IsUser():
		c.OBO = who.Principal.UserEntityRef
	case who.IsService():
	default:
		return core.Token{}, apierr.Authentication("there is no token for credentials of type %q", who.Principal.Type)
	}
	if targets, restricted := who.Targets(); restricted && !slices.Contains(targets, target) {
		return core.Token{}, apierr.NotAllowed("%s may not call the plugin %q", who, target)
	}
	return core.NewToken(serviceToken + ":" + encode(c)), nil
}

func (a mockAuth) LimitedUserToken(_ context.Context, user core.Credentials) (core.Token, time.Time, error) {
	if !user.IsUser() {
		return core.Token{}, time.Time{}, apierr.Authentication("there is no limited user token for credentials of type %q", user.Principal.Type)
	}
	text := limitedToken + ":" + encode(userClaims{Sub: user.Principal.UserEntityRef})
	return core.NewToken(text), a.clock.Now().Add(limitedLife), nil
}

func (mockAuth) PublicKeys(context.Context) ([]json.RawMessage, error) {
	return []json.RawMessage{}, nil
}

var httpAuthFactory = backend.NewServiceFactory(core.HTTPAuth, func(env *backend.FactoryEnv) backend.MakeFunc[core.HTTPAuthService] {
	plugin, auth, discovery := core.PluginMetadata.From(env), core.Auth.From(env), core.Discovery.From(env)
	set := settingsRef.From(env)
	return func(context.Context) (core.HTTPAuthService, error) {
		real := httpauth.New(plugin().ID(), auth(), discovery(), httpauth.WithClock(set().clock.Now))
		if set().anonymous == nil {
			return real, nil
		}
		return anonymousAuth{real, *set().anonymous}, nil
	}
})

// anonymousAuth gives requests that come without credentials an identity.
type anonymousAuth struct {
	core.HTTPAuthService
	identity Identity
}

func (a anonymousAuth) identified(r *http.Request, cookieCounts bool) *http.Request {
	if r.Header.Get("Authorization") != "" {
		return r
	}
	if _, err := r.Cookie(httpauth.CookieName); err == nil && cookieCounts {
		return r
	}
	clone := *r // the context, and what is kept in it, stays the same
	clone.Header = r.Header.Clone()
	a.identity.apply(clone.Header, true)
	return &clone
}

func (a anonymousAuth) Credentials(r *http.Request, allow core.Allow) (core.Credentials, error) {
	return a.HTTPAuthService.Credentials(a.identified(r, allow.Cookie), allow)
}

func (a anonymousAuth) IssueUserCookie(w http.ResponseWriter, r *http.Request) (time.Time, error) {
	return a.HTTPAuthService.IssueUserCookie(w, a.identified(r, false))
}

var userInfoFactory = backend.NewServiceFactory(core.UserInfos, func(env *backend.FactoryEnv) backend.MakeFunc[core.UserInfoService] {
	set := settingsRef.From(env)
	return func(context.Context) (core.UserInfoService, error) { return userInfos{set().ownership}, nil }
})

type userInfos struct{ more map[string][]string }

func (u userInfos) UserInfo(_ context.Context, user core.Credentials) (core.UserInfo, error) {
	if !user.IsUser() {
		return core.UserInfo{}, apierr.Authentication("%s is not a user", user)
	}
	ref := strings.Clone(user.Principal.UserEntityRef)
	return core.UserInfo{UserEntityRef: ref, OwnershipEntityRefs: append([]string{ref}, u.more[ref]...)}, nil
}
