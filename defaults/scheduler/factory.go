package scheduler

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory is the default implementation of core.Scheduler.
var Factory = NewFactory()

// NewFactory returns the default implementation with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactory(core.Scheduler, func(env *backend.FactoryEnv) backend.MakeFunc[core.SchedulerService] {
		plugin, log, lifecycle := core.PluginMetadata.From(env), core.Logger.From(env), core.Lifecycle.From(env)
		db, router := core.Database.From(env), core.HTTPRouter.From(env)
		auth := core.HTTPAuth.Optional(env)
		meter, tracer := core.Metrics.Optional(env), core.Tracing.Optional(env)
		return func(context.Context) (core.SchedulerService, error) {
			d := Dependencies{Plugin: plugin().ID(), Database: db(), Logger: log(), Lifecycle: lifecycle(), Router: router()}
			d.HTTPAuth, _ = auth()
			d.Meter, _ = meter()
			d.Tracer, _ = tracer()
			return New(d, opts...)
		}
	})
}
