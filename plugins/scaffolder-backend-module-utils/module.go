package scaffoldermoduleutils

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

// Module adds the actions.
var Module = backend.NewModule("scaffolder", "utils", func(env *backend.ModuleEnv) backend.InitFunc {
	actions, peers := scaffoldernode.Actions.From(env), core.PluginClient.From(env)
	return func(context.Context) error { return actions().AddActions(Actions(peers())...) }
}, backend.WithDescription("Actions for files of the workspace and requests to the backend"))

// Actions returns the actions, for tests and for those who want only some.
func Actions(peers core.PluginClientService) []scaffoldernode.Action {
	return []scaffoldernode.Action{
		writeFile(), appendFile(), parseFile(), replaceInFiles(),
		mergeJSON(), merge(), serializeJSON(), serializeYAML(),
		zipFiles(), sleep(),
		request("http:backstage:request", peers), request("http:backend:request", peers),
	}
}

// nothing is the output of actions that have none.
type nothing struct{}

// written is the output of actions that write a file.
type written struct {
	Path string `json:"path" description:"The absolute path of the file"`
}

func example(description, yaml string) []scaffoldernode.ActionExample {
	return []scaffoldernode.ActionExample{{Description: description, Example: yaml}}
}
