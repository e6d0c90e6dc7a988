// Package scaffoldermoduleworkspacedatabase keeps the workspaces of running
// tasks in the database of the scaffolder, so that another instance goes on
// with their files.
//
//	b.Add(scaffolderbackend.Plugin, scaffoldermoduleworkspacedatabase.Module)
//
// with the configuration
//
//	scaffolder:
//	  taskRecovery: {enabled: true, workspaceProvider: database}
//
// It needs nothing else, and suits workspaces of some megabytes: larger ones
// than scaffolder.taskRecovery.database.maxWorkspaceBytes make their task fail.
package scaffoldermoduleworkspacedatabase

import (
	"context"
	_ "embed"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-database/internal/snapshots"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

//go:embed config.schema.json
var configSchema string

// Name is the name of the provider in the configuration.
const Name = "database"

// defaultMaxBytes bounds a workspace.
const defaultMaxBytes = 50 << 20

const maxBytesKey = "scaffolder.taskRecovery.database.maxWorkspaceBytes"

// Module adds the provider.
var Module = backend.NewModule("scaffolder", "workspace-database", func(env *backend.ModuleEnv) backend.InitFunc {
	config, database, workspaces := core.RootConfig.From(env), core.Database.From(env), scaffoldernode.Workspaces.From(env)
	return func(ctx context.Context) error {
		limit, err := config().IntOr(maxBytesKey, defaultMaxBytes)
		if err != nil {
			return err
		}
		if limit <= 0 {
			return &core.ConfigError{Key: config().Path(maxBytesKey), Position: config().Position(maxBytesKey), Problem: "must be positive"}
		}
		provider, err := NewProvider(ctx, database(), int64(limit))
		if err != nil {
			return err
		}
		return workspaces().AddWorkspaceProvider(Name, provider)
	}
}, backend.WithDescription("Keeps workspaces of tasks in the database"), core.ConfigSchema(configSchema))

// NewProvider returns a provider in a database of your choice, whose tables it
// makes. maxBytes bounds the archive of a workspace; 0 is 50 MiB.
func NewProvider(ctx context.Context, database core.DatabaseService, maxBytes int64) (scaffoldernode.WorkspaceProvider, error) {
	if maxBytes == 0 {
		maxBytes = defaultMaxBytes
	}
	return snapshots.New(ctx, database, maxBytes)
}
