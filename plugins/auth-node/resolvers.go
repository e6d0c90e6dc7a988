package authnode

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// fallbackOption lets users sign in whom the catalog does not have.
const fallbackOption = "dangerouslyAllowSignInWithoutUserInCatalog"

// ConfiguredResolver returns the resolver that signIn.resolvers of the level
// describes: each entry names a factory, and the resolvers are tried in order
// until one finds a user. It returns nil where nothing is configured.
func ConfiguredResolver[R any](cfg core.Config, factories map[string]SignInResolverFactory[R]) (SignInResolver[R], error) {
	const key = "signIn.resolvers"
	entries, err := cfg.List(key)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	resolvers := make([]SignInResolver[R], len(entries))
	for i, entry := range entries {
		name, err := entry.String("resolver")
		if err != nil {
			return nil, err
		}
		factory, ok := factories[name]
		if !ok {
			return nil, &core.ConfigError{
				Key: entry.Path("resolver"), Position: entry.Position("resolver"),
				Problem: fmt.Sprintf("names the sign-in resolver %q, which this provider does not have", name),
				Remedy:  "use one of " + strings.Join(slices.Sorted(maps.Keys(factories)), ", "),
			}
		}
		if resolvers[i], err = factory(entry); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error) {
		for _, resolve := range resolvers {
			result, err := resolve(ctx, info, s)
			if apierr.KindOf(err) == apierr.KindNotFound {
				continue
			}
			return result, err
		}
		return SignInResult{}, apierr.New(apierr.KindError, "Failed to sign-in, unable to resolve user identity. Please verify that your catalog contains the expected User entities that would match your configured sign-in resolver.")
	}, nil
}

// CommonResolvers returns the resolvers that every provider has, by the names
// that the configuration uses:
//
//   - emailMatchingUserEntityProfileEmail: the user whose spec.profile.email
//     is the e-mail address of the profile, also without a "+tag"
//   - emailLocalPartMatchingUserEntityName: the user in the default namespace
//     whose name is what stands before the "@"
//
// Both take the option allowedDomains, a list of the domains that the address
// may have, and dangerouslyAllowSignInWithoutUserInCatalog.
func CommonResolvers[R any]() map[string]SignInResolverFactory[R] {
	return map[string]SignInResolverFactory[R]{
		"emailMatchingUserEntityProfileEmail":  byEmail[R],
		"emailLocalPartMatchingUserEntityName": byLocalPart[R],
	}
}

// emailOptions are those of the common resolvers.
type emailOptions struct {
	domains  []string
	fallback bool
}

func readEmailOptions(cfg core.Config) (o emailOptions, err error) {
	if o.domains, err = cfg.Strings("allowedDomains"); err != nil {
		return o, err
	}
	o.fallback, err = cfg.BoolOr(fallbackOption, false)
	return o, err
}

// email returns the address of the profile in its parts.
func (o emailOptions) email(p Profile) (local, domain string, err error) {
	at := strings.LastIndexByte(p.Email, '@')
	if at <= 0 || at == len(p.Email)-1 {
		return "", "", apierr.New(apierr.KindError, "Login failed, user profile does not contain an email")
	}
	local, domain = p.Email[:at], p.Email[at+1:]
	if o.domains != nil && !slices.ContainsFunc(o.domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return "", "", apierr.NotAllowed("Sign-in user email is not from an allowed domain")
	}
	return local, domain, nil
}

func (o emailOptions) signIn(name string) SignInOptions {
	if !o.fallback {
		return SignInOptions{}
	}
	return SignInOptions{DangerousEntityRefFallback: userRef(name)}
}

func userRef(name string) string { return catalogcommon.Ref{Kind: "user", Name: name}.String() }

func byEmail[R any](cfg core.Config) (SignInResolver[R], error) {
	o, err := readEmailOptions(cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error) {
		local, domain, err := o.email(info.Profile)
		if err != nil {
			return SignInResult{}, err
		}
		query := func(email string) UserQuery {
			return UserQuery{Filter: map[string]any{"kind": "User", "spec.profile.email": email}}
		}
		plain, _, tagged := strings.Cut(local, "+")
		untagged := plain + "@" + domain
		if tagged && plain != "" {
			result, err := s.SignInWithCatalogUser(ctx, query(info.Profile.Email), SignInOptions{})
			if apierr.KindOf(err) != apierr.KindNotFound {
				return result, err
			}
		} else {
			untagged = info.Profile.Email
		}
		return s.SignInWithCatalogUser(ctx, query(untagged), o.signIn(untagged))
	}, nil
}

func byLocalPart[R any](cfg core.Config) (SignInResolver[R], error) {
	o, err := readEmailOptions(cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, info SignInInfo[R], s SignInContext) (SignInResult, error) {
		local, _, err := o.email(info.Profile)
		if err != nil {
			return SignInResult{}, err
		}
		return s.SignInWithCatalogUser(ctx, UserQuery{EntityRef: userRef(local)}, o.signIn(local))
	}, nil
}
