package authnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/flytower/flytower/apierr"
)

// ProxyAuthenticator tells who sent a request that something in front of the
// backend has authenticated, or that needs no authentication. R is what it
// finds out.
type ProxyAuthenticator[R any] interface {
	// Authenticate returns the user, and what the frontend may use for calls
	// to the provider: a JSON value, or nil. A request without a user is an
	// error, usually apierr.Authentication.
	Authenticate(r *http.Request) (result R, providerInfo any, err error)
}

// Proxy is a provider whose users sign in without a dialog: the frontend asks
// the route /refresh for a token, with GET or POST, as often as it needs one.
// Its configuration is not divided by environment.
type Proxy[R any] struct {
	// Initialize reads the configuration.
	Initialize func(ctx context.Context, o ProviderOptions) (ProxyAuthenticator[R], error)
	// Profile makes the profile; nil is an empty one.
	Profile func(ctx context.Context, result R) (Profile, error)
	// SignIn is the resolver where the configuration names none.
	SignIn SignInResolver[R]
	// Resolvers are those that the configuration may name, beside
	// [CommonResolvers].
	Resolvers map[string]SignInResolverFactory[R]
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
}

// Factory returns the factory of the provider. The provider needs a resolver,
// of the configuration or of the code.
func (p Proxy[R]) Factory() ProviderFactory {
	return func(ctx context.Context, o ProviderOptions) (Provider, error) {
		if p.Initialize == nil {
			return Provider{}, errors.New("the provider has no Initialize function")
		}
		factories := CommonResolvers[R]()
		maps.Copy(factories, p.Resolvers)
		resolve, err := ConfiguredResolver(o.Config, factories)
		if err != nil {
			return Provider{}, err
		}
		if resolve == nil {
			resolve = p.SignIn
		}
		if resolve == nil {
			return Provider{}, fmt.Errorf("No sign-in resolver configured for proxy auth provider '%s'; name one in auth.providers.%[1]s.signIn.resolvers", o.ID) //nolint:revive,staticcheck // operators search for this wording
		}
		authenticator, err := p.Initialize(ctx, o)
		if err != nil {
			return Provider{}, err
		}
		h := &proxyHandlers[R]{Proxy: p, authenticator: authenticator, resolve: resolve, signIn: o.SignIn}
		if h.Now == nil {
			h.Now = time.Now
		}
		return Provider{Start: absent, Frame: absent, Refresh: h.refresh, SignIn: SignInMethod{Direct: true}}, nil
	}
}

// absent answers for the dialog that these providers do not have.
func absent(http.ResponseWriter, *http.Request) error {
	return apierr.NotImplemented("Not implemented")
}

type proxyHandlers[R any] struct {
	Proxy[R]
	authenticator ProxyAuthenticator[R]
	resolve       SignInResolver[R]
	signIn        SignInContext
}

func (h *proxyHandlers[R]) refresh(w http.ResponseWriter, r *http.Request) error {
	result, providerInfo, err := h.authenticator.Authenticate(r)
	if err != nil {
		return err
	}
	info := SignInInfo[R]{Result: result}
	if h.Profile != nil {
		if info.Profile, err = h.Profile(r.Context(), result); err != nil {
			return err
		}
	}
	user, err := h.resolve(r.Context(), info, h.signIn)
	if err != nil {
		return err
	}
	return Answer{Profile: info.Profile, ProviderInfo: providerInfo, SignIn: &user}.Write(w, h.Now())
}
