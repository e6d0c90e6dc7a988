// Package licenceaction is an action for templates: acme:licence writes the
// licence of the company into the workspace.
package licenceaction

import (
	"context"
	"fmt"

	"github.com/flytower/flytower/backend"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

type input struct {
	Owner string `json:"owner" description:"Who has the rights"`
	Path  string `json:"path,omitempty" description:"The file to write, LICENSE by default"`
}

type output struct {
	Path string `json:"path" description:"The file that was written"`
}

var licence = scaffoldernode.NewAction(
	scaffoldernode.ActionInfo{ID: "acme:licence", Description: "Writes the licence.", SupportsDryRun: true},
	func(_ context.Context, c *scaffoldernode.ActionContext, in input) (output, error) {
		if in.Path == "" {
			in.Path = "LICENSE"
		}
		text := fmt.Sprintf("Copyright %s. All rights reserved.\n", in.Owner)
		return output{in.Path}, c.Workspace.WriteFile(in.Path, []byte(text), 0o644)
	})

// Module adds the action to the scaffolder.
var Module = backend.NewModule("scaffolder", "licence", func(env *backend.ModuleEnv) backend.InitFunc {
	actions := scaffoldernode.Actions.From(env)
	return func(context.Context) error { return actions().AddActions(licence) }
})
