package authnode

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Providers takes sign-in providers.
var Providers = backend.NewExtensionPoint[ProviderRegistry]("auth", "providers")

// ProviderRegistry takes sign-in providers.
type ProviderRegistry interface {
	// Register adds a provider, which is made if the configuration has
	// auth.providers.<id>. The id is the first segment of the provider's
	// routes, and a letter followed by letters, digits, ".", "_" and "-". The
	// same id twice, in any case, is an error.
	Register(id string, f ProviderFactory) error
}

// Ownership decides by which entity references users own things.
var Ownership = backend.NewExtensionPoint[OwnershipRegistry]("auth", "ownershipResolution")

// OwnershipRegistry takes the resolver of ownership.
type OwnershipRegistry interface {
	// Set replaces the default resolver. It may be called once.
	Set(r OwnershipResolver) error
}

// OwnershipResolver tells by which entity references a user owns things. The
// default is the user and the groups that the user is a member of.
type OwnershipResolver interface {
	ResolveOwnership(ctx context.Context, user catalogcommon.Entity) ([]string, error)
}

// ProviderFactory makes a provider. An error fails the start of the auth
// plugin; in development mode the provider is left out instead, and a warning
// says why.
type ProviderFactory func(ctx context.Context, o ProviderOptions) (Provider, error)

// Provider has the handlers of a provider's routes below
// /api/auth/<provider id>. The URLs that they see are relative to /api/auth.
// A route whose handler is nil does not exist. An error becomes the answer,
// as package apierr gives it.
type Provider struct {
	Start   Handler // GET /start
	Frame   Handler // GET and POST /handler/frame
	Refresh Handler // GET and POST /refresh
	Logout  Handler // POST /logout

	// SignIn tells how users sign in where a page offers them the providers.
	SignIn SignInMethod
}

// SignInMethod is how users sign in with a provider. The zero value is for
// providers that a page cannot offer.
type SignInMethod struct {
	// Direct says that the route /refresh signs in without a dialog.
	Direct bool
	// Environments are those in which the route /start begins a dialog, and
	// the route /refresh then signs the user in.
	Environments []string
}

// Handler answers a request, or returns the error that does.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ProviderOptions is what a provider is made of.
type ProviderOptions struct {
	// ID is the id under which the provider was registered.
	ID string
	// BaseURL is the URL of the auth plugin that browsers use, without a slash
	// at its end.
	BaseURL string
	// AppURL is the URL of the frontend, app.baseUrl.
	AppURL string
	// OriginAllowed reports whether a page of the origin may take part in a
	// sign-in: that of the frontend, and those that
	// auth.experimentalExtraAllowedOrigins names.
	OriginAllowed func(origin string) bool
	// Development says that the backend runs on the machine of a developer:
	// NODE_ENV is "development".
	Development bool
	// Config is the level auth.providers.<id>.
	Config core.Config
	Logger *slog.Logger
	SignIn SignInContext
}
