// Package authnode is what others need of the auth plugin: the extension
// points through which modules add sign-in providers and decide on ownership,
// and the kit of which providers are made.
//
// A module that adds a provider for users whom a proxy in front of the
// backend has authenticated:
//
//	var Module = backend.NewModule("auth", "corp-proxy", func(env *backend.ModuleEnv) backend.InitFunc {
//		providers := authnode.Providers.From(env)
//		return func(context.Context) error {
//			return providers().Register("corpProxy", authnode.Proxy[corpUser]{
//				Initialize: func(_ context.Context, o authnode.ProviderOptions) (authnode.ProxyAuthenticator[corpUser], error) {
//					return readSettings(o.Config)
//				},
//				Profile:   func(_ context.Context, u corpUser) (authnode.Profile, error) { return authnode.Profile{Email: u.Mail}, nil },
//				Resolvers: map[string]authnode.SignInResolverFactory[corpUser]{"employeeNumber": byEmployeeNumber},
//			}.Factory())
//		}
//	})
//
// The provider is there if the configuration has auth.providers.corpProxy,
// whose signIn.resolvers say which users of the catalog the proxy's users are.
// Package oauth below this one is the kit of providers with a dialog.
package authnode
