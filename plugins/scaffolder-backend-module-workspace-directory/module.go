// Package scaffoldermoduleworkspacedirectory keeps the workspaces of running
// tasks in a folder that all instances share, such as an NFS volume, so that
// another instance goes on with their files.
//
//	b.Add(scaffolderbackend.Plugin, scaffoldermoduleworkspacedirectory.Module)
//
// with the configuration
//
//	scaffolder:
//	  taskRecovery:
//	    enabled: true
//	    workspaceProvider: directory
//	    directory: {path: /mnt/scaffolder-workspaces}
//
// The folder belongs to one scaffolder: it removes what it does not know.
package scaffoldermoduleworkspacedirectory

import (
	"context"
	_ "embed"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-directory/internal/snapshots"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

//go:embed config.schema.json
var configSchema string

// Name is the name of the provider in the configuration.
const Name = "directory"

const pathKey = "scaffolder.taskRecovery.directory.path"

// Module adds the provider, if the configuration has a path.
var Module = backend.NewModule("scaffolder", "workspace-directory", func(env *backend.ModuleEnv) backend.InitFunc {
	config, lifecycle, workspaces := core.RootConfig.From(env), core.Lifecycle.From(env), scaffoldernode.Workspaces.From(env)
	return func(context.Context) error {
		if !config().Has(pathKey) {
			return nil
		}
		path, err := config().String(pathKey)
		if err != nil {
			return err
		}
		store, err := snapshots.New(path)
		if err != nil {
			return &core.ConfigError{Key: config().Path(pathKey), Position: config().Position(pathKey), Problem: "is no folder that can be written to", Err: err}
		}
		if err := lifecycle().OnStop("close the folder of workspaces", func(context.Context) error { return store.Close() }); err != nil {
			return err
		}
		return workspaces().AddWorkspaceProvider(Name, store)
	}
}, backend.WithDescription("Keeps workspaces of tasks in a shared folder"), core.ConfigSchema(configSchema))
