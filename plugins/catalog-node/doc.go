// Package catalognode is what others need of the catalog plugin: the
// extension points through which modules extend it, the permissions that
// policies decide on, and the client with which any plugin asks it.
//
// A module that adds a processor:
//
//	var Module = backend.NewModule("catalog", "team-label", func(env *backend.ModuleEnv) backend.InitFunc {
//		processing := catalognode.Processing.From(env)
//		return func(context.Context) error {
//			return processing().AddProcessor(teamLabel{})
//		}
//	})
//
// A plugin that asks the catalog:
//
//	catalog := catalognode.Catalog.From(env)
//	…
//	entity, err := catalog().EntityByRef(ctx, "component:default/web", who)
package catalognode
