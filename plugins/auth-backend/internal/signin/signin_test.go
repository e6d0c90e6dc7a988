package signin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/auth-backend/internal/keys"
	"github.com/flytower/flytower/plugins/auth-backend/internal/schema"
	"github.com/flytower/flytower/plugins/auth-backend/internal/signin"
	"github.com/flytower/flytower/plugins/auth-backend/internal/tokens"
	"github.com/flytower/flytower/plugins/auth-backend/internal/users"
	authnode "github.com/flytower/flytower/plugins/auth-node"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// catalog answers from a list, and remembers what it was asked.
type catalog struct {
	catalognode.Client
	entities []catalogcommon.Entity
	err      error
	asked    any
}

func (c *catalog) EntityByRef(_ context.Context, ref string, as core.Credentials) (catalogcommon.Entity, error) {
	c.asked = ref
	if as.Principal.Subject != "plugin:auth" {
		return nil, errors.New("asked as " + as.String())
	}
	for _, e := range c.entities {
		if e.Ref().String() == ref {
			return e, c.err
		}
	}
	return nil, c.err
}

func (c *catalog) Query(_ context.Context, q catalognode.EntitiesQuery, as core.Credentials) (catalognode.EntitiesPage, error) {
	c.asked = q.Query
	if as.Principal.Subject != "plugin:auth" {
		return catalognode.EntitiesPage{}, errors.New("asked as " + as.String())
	}
	return catalognode.EntitiesPage{Items: c.entities}, c.err
}

// plugin is the auth service of the auth plugin.
type plugin struct{ core.AuthService }

func (plugin) Own() core.Credentials {
	return core.ServiceCredentials("plugin:auth", core.Token{}, nil, nil)
}

func user(name string, relations ...catalogcommon.EntityRelation) catalogcommon.Entity {
	e := catalogcommon.Entity{"kind": "User", "metadata": map[string]any{"name": name, "namespace": "Default"}}
	e.SetRelations(relations)
	return e
}

func annotatedUser(name, x string) catalogcommon.Entity {
	e := user(name)
	e.SetAnnotation("x", x)
	return e
}

func newContext(t *testing.T, c catalognode.Client) *signin.Context {
	t.Helper()
	db := testdb.NewSQLite(t)
	if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
		t.Fatal(err)
	}
	return &signin.Context{
		Issuer: &tokens.Issuer{Keys: keys.NewRotating(keys.Memory(), jose.ES256, time.Hour, time.Now), URL: "http://x", Lifetime: time.Hour, Now: time.Now},
		Users:  users.NewStore(db.Service, time.Now), Catalog: c, Auth: plugin{},
	}
}

func TestFindCatalogUser(t *testing.T) {
	t.Parallel()
	jane, joe := user("Jane"), user("joe")
	for name, tt := range map[string]struct {
		query authnode.UserQuery
		has   []catalogcommon.Entity
		err   error
		asked any
		kind  apierr.Kind
	}{
		"by name":           {query: authnode.UserQuery{EntityRef: "Jane"}, has: []catalogcommon.Entity{jane, joe}, asked: "user:default/jane"},
		"by ref":            {query: authnode.UserQuery{EntityRef: "group:a/b"}, asked: "group:a/b", kind: apierr.KindNotFound},
		"malformed ref":     {query: authnode.UserQuery{EntityRef: "user:/x"}, kind: "TypeError"},
		"by annotation":     {query: authnode.UserQuery{Annotations: map[string]string{"github.com/user-id": "7"}}, has: []catalogcommon.Entity{jane}, asked: map[string]any{"kind": "User", "metadata.annotations.github.com/user-id": "7"}},
		"in that case":      {query: authnode.UserQuery{Annotations: map[string]string{"x": "Id"}, MatchCase: true}, has: []catalogcommon.Entity{annotatedUser("joe", "id"), annotatedUser("jane", "Id")}, asked: map[string]any{"kind": "User", "metadata.annotations.x": "Id"}},
		"in another case":   {query: authnode.UserQuery{Annotations: map[string]string{"x": "Id"}, MatchCase: true}, has: []catalogcommon.Entity{annotatedUser("joe", "id")}, asked: map[string]any{"kind": "User", "metadata.annotations.x": "Id"}, kind: apierr.KindError},
		"in no case":        {query: authnode.UserQuery{Annotations: map[string]string{"x": "Id"}, MatchCase: true}, asked: map[string]any{"kind": "User", "metadata.annotations.x": "Id"}, kind: apierr.KindNotFound},
		"twice in the case": {query: authnode.UserQuery{Annotations: map[string]string{"x": "Id"}, MatchCase: true}, has: []catalogcommon.Entity{annotatedUser("joe", "Id"), annotatedUser("jane", "Id")}, asked: map[string]any{"kind": "User", "metadata.annotations.x": "Id"}, kind: apierr.KindConflict},
		"by filter":         {query: authnode.UserQuery{Filter: map[string]any{"spec.x": "y"}}, has: []catalogcommon.Entity{jane}, asked: map[string]any{"kind": "User", "spec.x": "y"}},
		"by kind":           {query: authnode.UserQuery{Filter: map[string]any{"Kind": "Group"}}, has: []catalogcommon.Entity{jane}, asked: map[string]any{"Kind": "Group"}},
		"several":           {query: authnode.UserQuery{Filter: map[string]any{"spec.x": "y"}}, has: []catalogcommon.Entity{jane, joe}, asked: map[string]any{"kind": "User", "spec.x": "y"}, kind: apierr.KindConflict},
		"none":              {query: authnode.UserQuery{Filter: map[string]any{"kind": "user"}}, asked: map[string]any{"kind": "user"}, kind: apierr.KindNotFound},
		"catalog is down":   {query: authnode.UserQuery{EntityRef: "jane"}, err: errors.New("down"), asked: "user:default/jane", kind: apierr.KindError},
		"catalog is absent": {query: authnode.UserQuery{EntityRef: "jane"}, err: apierr.NotFound("no such route"), asked: "user:default/jane", kind: apierr.KindServiceUnavailable},
		"nothing asked":     {kind: apierr.KindError},
		"two questions":     {query: authnode.UserQuery{EntityRef: "jane", Filter: map[string]any{}}, kind: apierr.KindError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &catalog{entities: tt.has, err: tt.err}
			got, err := newContext(t, c).FindCatalogUser(t.Context(), tt.query)
			if apierr.KindOf(err) != tt.kind || (got == nil) != (tt.kind != "") {
				t.Errorf("got %v, error %v", got, err)
			}
			if d := cmp.Diff(tt.asked, c.asked); d != "" {
				t.Errorf("asked (-want +got):\n%s", d)
			}
		})
	}
}

// groups resolves ownership to fixed references.
type groups struct {
	refs []string
	err  error
}

func (g groups) ResolveOwnership(context.Context, catalogcommon.Entity) ([]string, error) {
	return g.refs, g.err
}

func TestSignInWithCatalogUser(t *testing.T) {
	t.Parallel()
	member := func(ref string) catalogcommon.EntityRelation {
		return catalogcommon.EntityRelation{Type: "memberOf", TargetRef: ref}
	}
	jane := user("Jane", member("group:default/b"), member("Group:default/A"), member("user:default/boss"), member("group:default/b"),
		catalogcommon.EntityRelation{Type: "ownerOf", TargetRef: "group:default/c"})
	query := authnode.UserQuery{EntityRef: "user:default/jane"}
	for name, tt := range map[string]struct {
		has       []catalogcommon.Entity
		err       error
		ownership authnode.OwnershipResolver
		opts      authnode.SignInOptions
		sub       string
		ent       []string
		kind      apierr.Kind
	}{
		"member":                                {has: []catalogcommon.Entity{jane}, sub: "user:default/jane", ent: []string{"user:default/jane", "group:default/a", "group:default/b"}},
		"own resolver":                          {has: []catalogcommon.Entity{jane}, ownership: groups{refs: []string{"group:x/y"}}, sub: "user:default/jane", ent: []string{"group:x/y"}},
		"resolver says none":                    {has: []catalogcommon.Entity{jane}, ownership: groups{refs: []string{}}, sub: "user:default/jane", ent: []string{}},
		"resolver fails":                        {has: []catalogcommon.Entity{jane}, ownership: groups{err: apierr.NotAllowed("no")}, kind: apierr.KindNotAllowed},
		"unknown":                               {kind: apierr.KindNotFound},
		"fallback":                              {opts: authnode.SignInOptions{DangerousEntityRefFallback: "Jane"}, sub: "user:default/jane", ent: []string{"user:default/jane"}},
		"malformed fallback":                    {opts: authnode.SignInOptions{DangerousEntityRefFallback: "user:/"}, kind: "TypeError"},
		"no fallback without a catalog":         {err: apierr.NotFound("no such route"), opts: authnode.SignInOptions{DangerousEntityRefFallback: "jane"}, kind: apierr.KindServiceUnavailable},
		"no fallback where the catalog is down": {err: errors.New("down"), opts: authnode.SignInOptions{DangerousEntityRefFallback: "jane"}, kind: apierr.KindError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContext(t, &catalog{entities: tt.has, err: tt.err})
			s.Ownership = tt.ownership
			got, err := s.SignInWithCatalogUser(t.Context(), query, tt.opts)
			if apierr.KindOf(err) != tt.kind {
				t.Fatalf("error %v, want %s", err, tt.kind)
			}
			if d := cmp.Diff(tt.ent, got.OwnershipEntityRefs); d != "" || got.UserEntityRef != tt.sub || got.Token.IsZero() != (tt.kind != "") {
				t.Errorf("signed in as %q, ownership (-want +got):\n%s", got.UserEntityRef, d)
			}
			if _, remembered, err := s.Users.Get(t.Context(), "user:default/jane"); err != nil || remembered != (tt.kind == "") {
				t.Errorf("remembered %t, %v", remembered, err)
			}
		})
	}
}

func TestIssuedClaimsAreRemembered(t *testing.T) {
	t.Parallel()
	s := newContext(t, &catalog{})
	extra := map[string]any{"level": 3}
	if _, err := s.IssueToken(t.Context(), authnode.TokenClaims{Subject: "user:default/joe", Extra: extra}); err != nil {
		t.Fatal(err)
	}
	claims, _, err := s.Users.Get(t.Context(), "user:default/joe")
	if want := `{"ent":["user:default/joe"],"level":3,"sub":"user:default/joe"}`; err != nil || string(claims) != want {
		t.Errorf("claims %s, error %v", claims, err)
	}
	if len(extra) != 1 {
		t.Errorf("the claims of the caller have changed: %v", extra)
	}
}
