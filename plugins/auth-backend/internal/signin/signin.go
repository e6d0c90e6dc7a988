// Package signin is what sign-in resolvers work with: it finds users in the
// catalog, decides by what they own things, and issues their tokens.
package signin

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/auth-backend/internal/tokens"
	"github.com/flytower/flytower/plugins/auth-backend/internal/users"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// Context implements [authnode.SignInContext].
type Context struct {
	Issuer  *tokens.Issuer
	Users   *users.Store
	Catalog catalognode.Client
	// Auth gives the credentials with which the catalog is asked.
	Auth core.AuthService
	// Ownership is nil for the default.
	Ownership authnode.OwnershipResolver
}

var _ authnode.SignInContext = (*Context)(nil)

// IssueToken implements [authnode.SignInContext].
func (c *Context) IssueToken(ctx context.Context, claims authnode.TokenClaims) (authnode.SignInResult, error) {
	if claims.Ownership == nil {
		claims.Ownership = []string{claims.Subject}
	}
	token, err := c.Issuer.Issue(ctx, claims)
	if err != nil {
		return authnode.SignInResult{}, err
	}
	info := maps.Clone(claims.Extra)
	if info == nil {
		info = map[string]any{}
	}
	info["sub"], info["ent"] = claims.Subject, claims.Ownership
	if err := c.Users.Put(ctx, claims.Subject, info); err != nil {
		return authnode.SignInResult{}, err
	}
	authnode.SignedIn(ctx, claims.Subject)
	return authnode.SignInResult{Token: token, UserEntityRef: claims.Subject, OwnershipEntityRefs: claims.Ownership}, nil
}

// FindCatalogUser implements [authnode.SignInContext].
func (c *Context) FindCatalogUser(ctx context.Context, q authnode.UserQuery) (catalogcommon.Entity, error) {
	var found []catalogcommon.Entity
	switch {
	case !one(q.EntityRef != "", q.Annotations != nil, q.Filter != nil):
		return nil, apierr.New(apierr.KindError, "a query for a user needs exactly one of EntityRef, Annotations and Filter")
	case q.EntityRef != "":
		ref, err := catalogcommon.ParseRef(q.EntityRef, catalogcommon.RefDefaults{Kind: "User"})
		if err != nil {
			return nil, err
		}
		entity, err := c.Catalog.EntityByRef(ctx, ref.String(), c.Auth.Own())
		if err != nil {
			return nil, noAnswer(err)
		}
		if entity != nil {
			found = append(found, entity)
		}
	default:
		limit := 2
		if q.MatchCase {
			limit = maxCases
		}
		page, err := c.Catalog.Query(ctx, catalognode.EntitiesQuery{Query: predicate(q), Limit: limit}, c.Auth.Own())
		if err != nil {
			return nil, noAnswer(err)
		}
		if found = page.Items; q.MatchCase && len(found) > 0 {
			found = slices.DeleteFunc(found, func(e catalogcommon.Entity) bool { return !annotated(e, q.Annotations) })
			if len(found) == 0 {
				return nil, apierr.New(apierr.KindError, "The users in the catalog have this annotation in another case")
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, apierr.NotFound("User not found")
	case 1:
		return found[0], nil
	default:
		return nil, apierr.Conflict("User lookup resulted in multiple matches")
	}
}

// maxCases bounds the users whose annotations differ in case only.
const maxCases = 100

// annotated reports whether the entity has exactly these annotations.
func annotated(e catalogcommon.Entity, want map[string]string) bool {
	for name, value := range want {
		if e.Annotation(name) != value {
			return false
		}
	}
	return true
}

// noAnswer keeps a catalog that is not there from looking like a user who is
// not there.
func noAnswer(err error) error {
	if apierr.KindOf(err) != apierr.KindNotFound {
		return err
	}
	return apierr.Wrap(apierr.KindServiceUnavailable, err, "The catalog cannot be asked for the user")
}

func one(conditions ...bool) bool {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n == 1
}

func predicate(q authnode.UserQuery) map[string]any {
	if q.Filter != nil {
		p := maps.Clone(q.Filter)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(p)), func(k string) bool { return strings.EqualFold(k, "kind") }) {
			p["kind"] = "User"
		}
		return p
	}
	p := map[string]any{"kind": "User"}
	for name, value := range q.Annotations {
		p["metadata.annotations."+name] = value
	}
	return p
}

// SignInWithCatalogUser implements [authnode.SignInContext].
func (c *Context) SignInWithCatalogUser(ctx context.Context, q authnode.UserQuery, opts authnode.SignInOptions) (authnode.SignInResult, error) {
	user, err := c.FindCatalogUser(ctx, q)
	if apierr.KindOf(err) == apierr.KindNotFound && opts.DangerousEntityRefFallback != "" {
		ref, err := catalogcommon.ParseRef(opts.DangerousEntityRefFallback, catalogcommon.RefDefaults{Kind: "User"})
		if err != nil {
			return authnode.SignInResult{}, err
		}
		return c.IssueToken(ctx, authnode.TokenClaims{Subject: ref.String()})
	}
	if err != nil {
		return authnode.SignInResult{}, err
	}
	ownership, err := c.ResolveOwnership(ctx, user)
	if err != nil {
		return authnode.SignInResult{}, err
	}
	return c.IssueToken(ctx, authnode.TokenClaims{Subject: user.Ref().String(), Ownership: ownership})
}

// ResolveOwnership implements [authnode.SignInContext].
func (c *Context) ResolveOwnership(ctx context.Context, user catalogcommon.Entity) ([]string, error) {
	if c.Ownership != nil {
		return c.Ownership.ResolveOwnership(ctx, user)
	}
	refs := []string{user.Ref().String()}
	for _, group := range user.RelatedTo("memberOf", "group") {
		if ref := group.String(); !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}
