// Package authbackend is the auth plugin: it signs users in through the
// providers that modules add, and issues the tokens that tell every other
// plugin who a user is, under /api/auth.
//
//	b := flytower.New()
//	b.Add(authbackend.Plugin, authmoduleguestprovider.Module)
//
// Modules extend it through the extension points of package authnode.
//
// # Public routes
//
// Nobody has credentials before the sign-in, so all routes are public. A
// client address may send 6000 requests a minute to them, which is more than
// a company behind one address needs, and addresses of this machine may send
// any number; auth.rateLimit has limits for kinds of routes. With
// backend.rateLimit.plugin.auth in the configuration, that alone decides.
//
// # OpenID provider
//
// Command lines and agents act for users who let them, where the configuration
// lets clients in (auth.clientIdMetadataDocuments,
// auth.experimentalDynamicClientRegistration). Users agree on a page of the
// frontend or, without one, of this plugin.
package authbackend

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/origins"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	"github.com/flytower/flytower/plugins/auth-backend/internal/tokens"
	"github.com/flytower/flytower/plugins/auth-backend/internal/users"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Plugin is the auth plugin with its defaults.
var Plugin = New()

// Option changes a part of the plugin.
type Option func(*options)

type options struct {
	now    func() time.Time
	getenv func(string) string
	fetch  http.RoundTripper
}

// WithClock sets the clock. Default: [time.Now].
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithEnvironment sets where NODE_ENV is read, which is "development" on the
// machine of a developer. Default: [os.Getenv].
func WithEnvironment(getenv func(name string) string) Option {
	return func(o *options) { o.getenv = getenv }
}

// WithNetwork sets the transport with which the documents of clients are
// fetched. Default: one that reaches public addresses only.
func WithNetwork(t http.RoundTripper) Option { return func(o *options) { o.fetch = t } }

// New returns the auth plugin.
func New(opts ...Option) backend.Feature {
	o := options{now: time.Now, getenv: os.Getenv}
	for _, opt := range opts {
		opt(&o)
	}
	return backend.NewPlugin("auth", o.declare,
		backend.WithDescription("Signs users in and issues their tokens"),
		core.ConfigSchema(configSchema),
	)
}

func (o options) declare(env *backend.PluginEnv) backend.InitFunc {
	var (
		log       = core.Logger.From(env)
		config    = core.RootConfig.From(env)
		database  = core.Database.From(env)
		discovery = core.Discovery.From(env)
		router    = core.HTTPRouter.From(env)
		lifecycle = core.Lifecycle.From(env)
		auth      = core.Auth.From(env)
		httpAuth  = core.HTTPAuth.From(env)
		userInfo  = core.UserInfos.From(env)
		actions   = core.ActionsRegistry.From(env)
		auditor   = core.Auditor.From(env)
		root      = core.RootHTTPRouter.From(env)
		instance  = core.InstanceMetadata.From(env)
		catalog   = catalognode.Catalog.From(env)
	)
	extensions := newExtensions()
	authnode.Providers.Offer(env, extensions)
	authnode.Ownership.Offer(env, extensions)

	return func(ctx context.Context) error {
		extensions.freeze()
		settings, err := readSettings(config(), log())
		if err != nil {
			return err
		}
		allowed, err := origins.FromConfig(config())
		if err != nil {
			return err
		}
		base, err := discovery().ExternalBaseURL(ctx, "auth")
		if err != nil {
			return fmt.Errorf("finding the URL that names the issuer of tokens: %w", err)
		}
		ring, err := settings.ring(config(), database(), o.now)
		if err != nil {
			return err
		}
		if err := database().Migrate(ctx, schema.Migrations()); err != nil {
			return err
		}
		limited, err := newLimits(config(), log()) //nolint:contextcheck // their store lives as long as the plugin
		if err != nil {
			return err
		}
		if err := lifecycle().OnStop("limits of public routes", func(context.Context) error { limited.close(); return nil }); err != nil {
			return err
		}
		remembered := users.NewStore(database(), o.now)
		signIn := &signin.Context{
			Issuer: &tokens.Issuer{Keys: ring, URL: base, Lifetime: settings.lifetime, WithOwnership: settings.withOwnership, Now: o.now},
			Users:  remembered, Catalog: catalog(), Auth: auth(), Ownership: extensions.ownership,
		}
		development := o.getenv("NODE_ENV") == "development"
		provider := newOpenIDProvider(openIDParts{
			settings: settings.openID, base: base, development: development, fetch: o.fetch, database: database(), signIn: signIn,
			httpAuth: httpAuth(), auditor: auditor(), instance: instance(), config: config(), log: log(), now: o.now,
		})
		r := &routes{ring: ring, signIn: signIn, httpAuth: httpAuth()}
		r.register(router())
		provider.server.Register(router())
		agentsURL, err := discovery().ExternalBaseURL(ctx, agents)
		if err != nil {
			return fmt.Errorf("finding the URL of the plugin %s: %w", agents, err)
		}
		if err := provider.mount(root(), func(h http.Handler) http.Handler { return limited.one("consent", h) }, protected(config(), agentsURL)); err != nil {
			return err
		}
		router().Use(publicLimit(config(), log()))
		router().Use(limited.wrap)
		router().AddAuthPolicy(core.AuthPolicy{Path: "/", Allow: core.AllowUnauthenticated})

		bound := &providers{
			config: config(), log: log(), development: development, auditor: auditor(), openID: provider,
			options: authnode.ProviderOptions{BaseURL: base, AppURL: settings.appURL, SignIn: signIn, OriginAllowed: func(origin string) bool {
				return allowed.Allows(origin) || provider.isOwn(origin)
			}},
		}
		if err := bound.bind(ctx, router(), extensions.providers); err != nil {
			return err
		}
		provider.sortOffered()
		if err := lifecycle().OnStop("connections to documents of clients", func(context.Context) error { provider.close(); return nil }); err != nil {
			return err
		}
		if err := actions().Register(whoAmI(catalog(), userInfo())); err != nil {
			return err
		}
		return lifecycle().OnStart("begin cleaning up", func(context.Context) error {
			lifecycle().Go("cleanup", func(ctx context.Context) error {
				return cleanUp(ctx, log(), ring.Prune, remembered.Prune, provider.server.Prune)
			})
			return nil
		})
	}
}

// cleanUpEvery is how often expired rows are removed. Every instance does it:
// it is cheap, and works where the others are down.
const cleanUpEvery = time.Hour

func cleanUp(ctx context.Context, log *slog.Logger, prunes ...func(context.Context) error) error {
	ticker := time.NewTicker(cleanUpEvery)
	defer ticker.Stop()
	for {
		for _, prune := range prunes {
			if err := prune(ctx); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "what has expired was not removed; it will be tried again in an hour", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
