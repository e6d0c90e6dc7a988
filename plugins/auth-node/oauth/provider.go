package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	authnode "github.com/flytower/flytower/plugins/auth-node"
)

// Authenticator talks to an identity provider. U is what that tells about a
// user. Errors that package apierr names are shown to the user; the text of
// others is logged only.
type Authenticator[U any] interface {
	// AuthorizeURL returns where the user signs in. The identity provider has
	// to return the scope as granted and the state as it is.
	AuthorizeURL(ctx context.Context, r AuthorizeRequest) (string, error)
	// Authenticate takes the answer with which the identity provider sent the
	// user back, other than an error, and exchanges its code.
	Authenticate(ctx context.Context, r Callback) (Result[U], error)
	// Refresh continues a session. Where the identity provider has given a new
	// refresh token before something else failed, the result beside the error
	// has it: the kit keeps it, since the old one may not be good any more.
	// Refresh goes on where the browser hangs up, for a minute at most.
	Refresh(ctx context.Context, r RefreshRequest) (Result[U], error)
}

// Revoker is implemented by authenticators that end sessions at the identity
// provider.
type Revoker interface {
	// Revoke ends the session; the token is empty where there is none. If the
	// user has to visit a page to end it, Revoke returns its URL.
	Revoke(ctx context.Context, refreshToken string) (logoutURL string, err error)
}

// AuthorizeRequest asks for the beginning of a sign-in.
type AuthorizeRequest struct {
	Scope, State string
	Secrets      Secrets
}

// Callback is the end of a sign-in.
type Callback struct {
	// Query is that of the URL to which the identity provider sent the user.
	Query url.Values
	// Secrets are those of the beginning. They are empty where the sign-in
	// began at a backend that does not keep any.
	Secrets Secrets
}

// RefreshRequest asks to continue a session.
type RefreshRequest struct {
	RefreshToken string
	Scope        string
	// ScopeGranted says that the session has been granted all of Scope, which
	// only providers with [Provider.PersistScopes] know.
	ScopeGranted bool
}

// Result is what an identity provider answers.
type Result[U any] struct {
	User    U
	Session Session
}

// Session has the tokens of the identity provider.
type Session struct {
	AccessToken string
	IDToken     string // may be empty
	Scope       string // granted, separated by spaces, bars or commas
	// ExpiresIn is the life of the access token; zero is unknown.
	ExpiresIn time.Duration
	// RefreshToken, if not empty, continues the session. The browser keeps it
	// in a cookie; scripts never see it.
	RefreshToken string
}

// Options is what an authenticator is made of: the configuration of one
// environment.
type Options struct {
	// Config is the level auth.providers.<id>.<environment>.
	Config core.Config
	// CallbackURL is where the identity provider sends the user back: that of
	// the configuration, or the route /handler/frame of the provider.
	CallbackURL string
	// Client sends the requests to the identity provider.
	Client *http.Client
	// Now is the clock.
	Now    func() time.Time
	Logger *slog.Logger
}

// Provider is a sign-in provider. Its configuration has a level for each
// environment, of which the frontend names one.
type Provider[U any] struct {
	// Initialize makes the authenticator of an environment.
	Initialize func(ctx context.Context, o Options) (Authenticator[U], error)
	// Profile makes the profile; nil is an empty one.
	Profile func(ctx context.Context, r Result[U]) (authnode.Profile, error)
	// Required are the scopes that are always asked for, and Additional those
	// that are asked for beside what additionalScopes of the configuration has.
	Required, Additional []string
	// PersistScopes keeps the granted scopes in a cookie, for identity
	// providers that forget them when a session is refreshed.
	PersistScopes bool
	// TransformScopes replaces the default, which asks for all.
	TransformScopes func(Scopes) []string
	// SignIn is the resolver where the configuration names none. Without any,
	// the provider gives access to its own API and signs nobody in.
	SignIn authnode.SignInResolver[Result[U]]
	// Resolvers are those that the configuration may name, beside
	// [authnode.CommonResolvers].
	Resolvers map[string]authnode.SignInResolverFactory[Result[U]]
	// Client sends the requests to the identity provider; nil is [NewClient].
	Client *http.Client
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
}

// defaultSession is how long a browser keeps a session that is not used.
const defaultSession = 1000 * 24 * time.Hour

// Factory returns the factory of the provider.
func (p Provider[U]) Factory() authnode.ProviderFactory {
	return func(ctx context.Context, o authnode.ProviderOptions) (authnode.Provider, error) {
		if p.Initialize == nil {
			return authnode.Provider{}, errors.New("the provider has no Initialize function")
		}
		if p.Now == nil {
			p.Now = time.Now
		}
		if p.Client == nil {
			p.Client = NewClient()
		}
		environments := map[string]*environment[U]{}
		var signsIn []string
		for _, name := range o.Config.Keys("") {
			e, err := p.environment(ctx, o, o.Config.Sub(name))
			if err != nil {
				return authnode.Provider{}, fmt.Errorf("environment %q: %w", name, err)
			}
			environments[name] = e
			if e.resolve != nil {
				signsIn = append(signsIn, name)
			}
		}
		choose := func(handle func(*environment[U], http.ResponseWriter, *http.Request, string) error) authnode.Handler {
			return func(w http.ResponseWriter, r *http.Request) error {
				name, err := environmentOf(r.URL.Query())
				if err != nil {
					return err
				}
				e, ok := environments[name]
				if !ok {
					return apierr.NotFound("No configuration available for the '%s' environment of this provider.", name)
				}
				return handle(e, w, r, name)
			}
		}
		return authnode.Provider{
			Start: choose((*environment[U]).start), Frame: choose((*environment[U]).frame),
			Refresh: choose((*environment[U]).refresh), Logout: choose((*environment[U]).logout),
			SignIn: authnode.SignInMethod{Environments: signsIn},
		}, nil
	}
}

// environmentOf returns the name of the environment that a request is about.
func environmentOf(query url.Values) (string, error) {
	if name := query.Get("env"); name != "" {
		return name, nil
	}
	if text := query.Get("state"); text != "" {
		s, err := decodeState(text)
		return s.Env, err
	}
	return "", apierr.Input("Must specify 'env' query to select environment")
}

func (p Provider[U]) environment(ctx context.Context, o authnode.ProviderOptions, cfg core.Config) (*environment[U], error) {
	callback, err := cfg.StringOr("callbackUrl", o.BaseURL+"/"+o.ID+"/handler/frame")
	if err != nil {
		return nil, err
	}
	duration, err := cfg.DurationOr("sessionDuration", defaultSession)
	if err != nil {
		return nil, err
	}
	cookies, err := newCookies(o.ID, callback, duration, p.Now)
	if err != nil {
		return nil, &core.ConfigError{Key: cfg.Path("callbackUrl"), Position: cfg.Position("callbackUrl"), Problem: "is not an http or https URL", Remedy: "use the URL that the identity provider sends users back to", Err: err}
	}
	additional, err := scopeList(cfg, "additionalScopes")
	if err != nil {
		return nil, err
	}
	factories := authnode.CommonResolvers[Result[U]]()
	maps.Copy(factories, p.Resolvers)
	resolve, err := authnode.ConfiguredResolver(cfg, factories)
	if err != nil {
		return nil, err
	}
	if resolve == nil {
		resolve = p.SignIn
	}
	authenticator, err := p.Initialize(ctx, Options{Config: cfg, CallbackURL: callback, Client: p.Client, Now: p.Now, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	app, ok := authnode.OriginOf(o.AppURL)
	if !ok {
		return nil, fmt.Errorf("the URL of the frontend, %q, has no origin", o.AppURL)
	}
	return &environment[U]{
		Provider: p, id: o.ID, app: app, allowed: o.OriginAllowed, log: o.Logger, signIn: o.SignIn,
		authenticator: authenticator, cookies: cookies, additional: slices.Concat(additional, p.Additional), resolve: resolve,
		renewals: newRenewals[U](p.Now),
	}, nil
}

// scopeList reads an array of scopes, or one text with all of them.
func scopeList(cfg core.Config, key string) ([]string, error) {
	if v, _ := cfg.Value(key); v != nil {
		if text, ok := v.(string); ok {
			return splitScope(text), nil
		}
	}
	items, err := cfg.Strings(key)
	var all []string
	for _, item := range items {
		all = append(all, splitScope(item)...)
	}
	return all, err
}

// Scopes are what the scopes of a session are made of.
type Scopes struct {
	// Requested by the frontend, Granted before, Required by the provider,
	// Additional of the configuration.
	Requested, Granted, Required, Additional []string
}

// splitScope takes the notations apart that are in use.
func splitScope(scope string) []string {
	return strings.FieldsFunc(scope, func(r rune) bool { return r == '|' || r == ',' || r == ' ' || '\t' <= r && r <= '\r' })
}

// scope returns what a session should have, given what the frontend asks and
// what was granted before.
func (e *environment[U]) scope(requested, granted string) string {
	s := Scopes{Requested: splitScope(requested), Granted: splitScope(granted), Required: e.Required, Additional: e.additional}
	var all []string
	if e.TransformScopes != nil {
		all = e.TransformScopes(s)
	} else {
		all = slices.Concat(s.Requested, s.Granted, s.Required, s.Additional)
	}
	var once []string
	for _, scope := range all {
		if !slices.Contains(once, scope) {
			once = append(once, scope)
		}
	}
	return strings.Join(once, " ")
}
