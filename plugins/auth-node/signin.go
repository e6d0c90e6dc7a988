package authnode

import (
	"context"

	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Profile is what a provider knows about a user, for display and for finding
// the user in the catalog.
type Profile struct {
	Email       string `json:"email,omitempty"`
	Picture     string `json:"picture,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
}

// SignInInfo is what a resolver decides on. R is what the provider found out
// about the user.
type SignInInfo[R any] struct {
	Profile Profile
	Result  R
}

// SignInResolver tells which user has signed in, usually by finding the user
// in the catalog. An error of the kind NotFound lets the next resolver try.
type SignInResolver[R any] func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error)

// SignInResolverFactory makes a resolver of an entry of signIn.resolvers,
// whose members beside "resolver" are its options.
type SignInResolverFactory[R any] func(options core.Config) (SignInResolver[R], error)

// SignInResult is a user who has signed in.
type SignInResult struct {
	// Token is the user token.
	Token core.Token
	// UserEntityRef and OwnershipEntityRefs are read from the token where
	// UserEntityRef is empty.
	UserEntityRef       string
	OwnershipEntityRefs []string
}

// SignInContext is what resolvers work with. It is safe for concurrent use.
type SignInContext interface {
	// IssueToken returns a user token with the claims, and remembers them for
	// those who ask for the info of the user.
	IssueToken(ctx context.Context, claims TokenClaims) (SignInResult, error)
	// FindCatalogUser returns the one entity that the query names: an error of
	// the kind NotFound if there is none, Conflict if there are several. It
	// asks with the credentials of the auth plugin.
	FindCatalogUser(ctx context.Context, q UserQuery) (catalogcommon.Entity, error)
	// SignInWithCatalogUser finds the user and issues a token with what the
	// user owns by.
	SignInWithCatalogUser(ctx context.Context, q UserQuery, opts SignInOptions) (SignInResult, error)
	// ResolveOwnership returns by which entity references the user owns things.
	ResolveOwnership(ctx context.Context, user catalogcommon.Entity) ([]string, error)
}

// TokenClaims are what a user token says.
type TokenClaims struct {
	// Subject is the entity reference of the user, kind included.
	Subject string
	// Ownership are the entity references by which the user owns things; nil
	// is the subject alone.
	Ownership []string
	// Extra are more claims, JSON values. Those that every token has (iss,
	// sub, ent, aud, iat, nbf, exp, jti, uip) cannot be set.
	Extra map[string]any
}

// UserQuery names a user in the catalog by exactly one of EntityRef, Annotations and
// Filter.
type UserQuery struct {
	// EntityRef is a reference to an entity, by default of the kind User.
	EntityRef string
	// Annotations are those that the user has.
	Annotations map[string]string
	// MatchCase makes the values of Annotations match in case, too, where the
	// catalog alone does not tell cases apart: ids of some providers differ in
	// nothing else. An error of no particular kind says that users were found,
	// but none whose case matches.
	MatchCase bool
	// Filter is a predicate as in catalognode.EntitiesQuery, for example
	// {"spec.profile.email": "jane@example.com"}. Without a key "kind" it
	// holds for users only.
	Filter map[string]any
}

// SignInOptions are options of SignInWithCatalogUser.
type SignInOptions struct {
	// DangerousEntityRefFallback, if not empty, is who signs in where the
	// catalog has no such user. Whoever controls the names at the provider
	// then controls who that is.
	DangerousEntityRefFallback string
}
