// Package logger is the default logger of plugins: the root logger with the
// id of the plugin in the field "plugin".
//
//	b.Add(logger.Factory)
package logger

import (
	"context"
	"log/slog"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory makes the loggers of plugins.
var Factory = backend.NewServiceFactory(core.Logger, func(env *backend.FactoryEnv) backend.MakeFunc[*slog.Logger] {
	root, plugin := core.RootLogger.From(env), core.PluginMetadata.From(env)
	return func(context.Context) (*slog.Logger, error) { return root().With("plugin", plugin().ID()), nil }
})
