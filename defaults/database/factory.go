package database

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory is the default implementation of core.Database.
var Factory = NewFactory()

// NewFactory returns the default implementation with options.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.Database,
		func(env *backend.RootEnv) backend.MakeFunc[*Manager] {
			config, log, lifecycle := core.RootConfig.From(env), core.RootLogger.From(env), core.RootLifecycle.From(env)
			telemetry := core.Telemetry.Optional(env)
			return func(context.Context) (*Manager, error) {
				var observe observers
				m, err := NewManager(config(), log(), append([]Option{WithWaitObserver(observe.wait)}, opts...)...)
				if err != nil {
					return nil, err
				}
				if t, ok := telemetry(); ok {
					if err := observe.register(t.Meter.Meter("flytower-database"), m.limiter); err != nil {
						return nil, err
					}
				}
				return m, lifecycle().OnStop("close the databases", m.Close)
			}
		},
		func(env *backend.FactoryEnv, manager func() *Manager) backend.MakeFunc[core.DatabaseService] {
			plugin, log := core.PluginMetadata.From(env), core.Logger.From(env)
			return func(context.Context) (core.DatabaseService, error) {
				return manager().For(plugin().ID(), log())
			}
		})
}

// observers measure what OpenTelemetry's conventions call
// db.client.connection.*. They are set before the first connection is made.
type observers struct{ waits metric.Float64Histogram }

func (o *observers) wait(d time.Duration) {
	if o.waits != nil {
		o.waits.Record(context.Background(), d.Seconds())
	}
}

func (o *observers) register(meter metric.Meter, l *limiter) error {
	waits, err := meter.Float64Histogram("db.client.connection.wait_time", metric.WithUnit("s"),
		metric.WithDescription("Time that the use of a database connection waited in line."),
		metric.WithExplicitBucketBoundaries(0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60))
	if err != nil {
		return fmt.Errorf("create a metric: %w", err)
	}
	count, err := meter.Int64ObservableGauge("db.client.connection.count",
		metric.WithDescription("Database connections by state."))
	if err != nil {
		return fmt.Errorf("create a metric: %w", err)
	}
	pending, err := meter.Int64ObservableGauge("db.client.connection.pending_requests",
		metric.WithDescription("Uses of database connections that wait in line."))
	if err != nil {
		return fmt.Errorf("create a metric: %w", err)
	}
	used, idle := metric.WithAttributes(attribute.String("state", "used")), metric.WithAttributes(attribute.String("state", "idle"))
	_, err = meter.RegisterCallback(func(_ context.Context, ob metric.Observer) error {
		now := l.occupancy()
		ob.ObserveInt64(count, int64(now.used), used)
		ob.ObserveInt64(count, int64(now.idle), idle)
		ob.ObserveInt64(pending, int64(now.waiting))
		return nil
	}, count, pending)
	if err != nil {
		return fmt.Errorf("register the metrics of connections: %w", err)
	}
	o.waits = waits
	return nil
}
