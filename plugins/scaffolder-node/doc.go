// Package scaffoldernode is what modules, other plugins and the scaffolder
// itself share: actions, the extension points that take them and more, what a
// repository URL of a template means, and the filters of templates.
//
// An action is a function with typed input and output:
//
//	var greeting = scaffoldernode.NewAction(
//		scaffoldernode.ActionInfo{ID: "acme:greeting", Description: "Writes a greeting"},
//		func(ctx context.Context, c *scaffoldernode.ActionContext, in greetingInput) (greetingOutput, error) {
//			return greetingOutput{in.Path}, c.Workspace.WriteFile(in.Path, []byte("Hello "+in.Name), 0o644)
//		},
//	)
//
// A module brings it in:
//
//	var Module = backend.NewModule("scaffolder", "acme", func(env *backend.ModuleEnv) backend.InitFunc {
//		actions := scaffoldernode.Actions.From(env)
//		return func(context.Context) error { return actions().AddActions(greeting) }
//	})
//
// Subpackage actiontest runs actions in tests; subpackage template is the
// language of templates.
package scaffoldernode
