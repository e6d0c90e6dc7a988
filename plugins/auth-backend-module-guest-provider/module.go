// Package authmoduleguestprovider adds the provider "guest" to the auth
// plugin: everybody signs in as the same user, without a password. It is for
// trying things out on one's own machine.
//
//	b.Add(authbackend.Plugin, authmoduleguestprovider.Module)
//
// with the configuration
//
//	auth:
//	  providers:
//	    guest: {}
//
// Outside of development mode (NODE_ENV is "development") it refuses to sign
// anybody in, unless auth.providers.guest.dangerouslyAllowOutsideDevelopment
// is set: whoever reaches the backend then has a user token.
package authmoduleguestprovider

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

//go:embed config.schema.json
var configSchema string

// Module adds the provider.
var Module = backend.NewModule("auth", "guest-provider", func(env *backend.ModuleEnv) backend.InitFunc {
	providers := authnode.Providers.From(env)
	return func(context.Context) error {
		return providers().Register("guest", authnode.Proxy[*guest]{Initialize: initialize, SignIn: signIn}.Factory())
	}
}, backend.WithDescription("Signs everybody in as a guest, for development"), core.ConfigSchema(configSchema))

// defaultUser is the guest where the configuration names none.
const defaultUser = "user:development/guest"

// guest is who everybody is. It authenticates every request.
type guest struct {
	ref       string
	ownership []string
	allowed   bool
	log       *slog.Logger
}

func initialize(ctx context.Context, o authnode.ProviderOptions) (authnode.ProxyAuthenticator[*guest], error) {
	g := &guest{log: o.Logger}
	dangerous, err := o.Config.BoolOr("dangerouslyAllowOutsideDevelopment", false)
	if err != nil {
		return nil, err
	}
	if g.ref, err = o.Config.StringOr("userEntityRef", defaultUser); err != nil {
		return nil, err
	}
	if g.ref, err = canonical(o.Config, "userEntityRef", g.ref, "user"); err != nil {
		return nil, err
	}
	refs, err := o.Config.Strings("ownershipEntityRefs")
	if err != nil {
		return nil, err
	}
	if refs == nil {
		refs = []string{g.ref}
	}
	g.ownership = make([]string, len(refs))
	for i, ref := range refs {
		if g.ownership[i], err = canonical(o.Config, "ownershipEntityRefs", ref, ""); err != nil {
			return nil, err
		}
	}
	g.allowed = o.Development || dangerous
	if dangerous && !o.Development {
		g.log.WarnContext(ctx, "everybody who reaches the backend can sign in as guest", "user", g.ref)
	}
	return g, nil
}

// canonical returns the reference in the form in which all others are
// compared with it.
func canonical(c core.Config, key, text, kind string) (string, error) {
	ref, err := catalogcommon.ParseRef(text, catalogcommon.RefDefaults{Kind: kind})
	if err != nil {
		return "", &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: fmt.Sprintf("has %q, which is no entity reference", text), Remedy: "write it like " + defaultUser, Err: err}
	}
	return ref.String(), nil
}

// Authenticate implements [authnode.ProxyAuthenticator].
func (g *guest) Authenticate(*http.Request) (result *guest, providerInfo any, err error) {
	if !g.allowed {
		return nil, nil, apierr.NotAllowed("The guest provider signs nobody in outside of development. Set NODE_ENV=development, or auth.providers.guest.dangerouslyAllowOutsideDevelopment: true, which lets everybody in who reaches the backend")
	}
	return g, nil, nil
}

// signIn signs the guest in as the user in the catalog. A catalog that has no
// such user, or does not answer, keeps nobody out.
func signIn(ctx context.Context, info authnode.SignInInfo[*guest], s authnode.SignInContext) (authnode.SignInResult, error) {
	g := info.Result
	result, err := s.SignInWithCatalogUser(ctx, authnode.UserQuery{EntityRef: g.ref}, authnode.SignInOptions{})
	if err == nil {
		return result, nil
	}
	if apierr.KindOf(err) != apierr.KindNotFound {
		g.log.WarnContext(ctx, "the guest was not found in the catalog, and signs in with what the configuration says", "error", err)
	}
	return s.IssueToken(ctx, authnode.TokenClaims{Subject: g.ref, Ownership: g.ownership})
}
