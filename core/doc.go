// Package core holds the contracts of the core services: for each an
// interface (or a type) and the reference by which plugins, modules and
// factories ask for it. It implements none of them; the default
// implementations live one folder each below defaults, and every one can be
// replaced or wrapped in an installation.
//
//	var Plugin = backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
//		log, router := core.Logger.From(env), core.HTTPRouter.From(env)
//		return func(ctx context.Context) error {
//			router().HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
//				fmt.Fprintln(w, "hello")
//			})
//			log().InfoContext(ctx, "ready")
//			return nil
//		}
//	})
//
// A service of root scope exists once per backend, one of plugin scope once
// per plugin. Unless its comment says otherwise, an implementation is safe
// for concurrent use.
package core
