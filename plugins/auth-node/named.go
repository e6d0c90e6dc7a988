package authnode

import (
	"context"

	"github.com/flytower/flytower/core"
)

// ByName returns the factory of a resolver that signs in as the user in the
// default namespace with the name that a sign-in is about. Its option is
// dangerouslyAllowSignInWithoutUserInCatalog.
//
//	"usernameMatchingUserEntityName": authnode.ByName(func(i authnode.SignInInfo[corpUser]) (string, error) {
//		return i.Result.Login, nil
//	})
func ByName[R any](name func(SignInInfo[R]) (string, error)) SignInResolverFactory[R] {
	return func(options core.Config) (SignInResolver[R], error) {
		fallback, err := options.BoolOr(fallbackOption, false)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error) {
			user, err := name(info)
			if err != nil {
				return SignInResult{}, err
			}
			var opts SignInOptions
			if fallback {
				opts.DangerousEntityRefFallback = userRef(user)
			}
			return s.SignInWithCatalogUser(ctx, UserQuery{EntityRef: userRef(user)}, opts)
		}, nil
	}
}

// Annotation is one by which a user is found.
type Annotation struct {
	Name, Value string
	// MatchCase makes the value match in case, too.
	MatchCase bool
	// Fallback is the name of who signs in where the catalog has no such user
	// and the operator allows that.
	Fallback string
}

// ByAnnotation returns the factory of a resolver that signs in as the user
// with an annotation. Its option is dangerouslyAllowSignInWithoutUserInCatalog.
func ByAnnotation[R any](annotation func(SignInInfo[R]) (Annotation, error)) SignInResolverFactory[R] {
	return func(options core.Config) (SignInResolver[R], error) {
		fallback, err := options.BoolOr(fallbackOption, false)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error) {
			a, err := annotation(info)
			if err != nil {
				return SignInResult{}, err
			}
			var opts SignInOptions
			if fallback && a.Fallback != "" {
				opts.DangerousEntityRefFallback = userRef(a.Fallback)
			}
			return s.SignInWithCatalogUser(ctx, UserQuery{Annotations: map[string]string{a.Name: a.Value}, MatchCase: a.MatchCase}, opts)
		}, nil
	}
}
