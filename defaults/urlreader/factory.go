package urlreader

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/integration/hostclient"
)

// Factory is the default factory of core.URLReader.
var Factory = NewFactory(Options{})

// NewFactory returns a factory with options. All plugins share one [Reader],
// which follows changes of the configuration and closes with the backend.
func NewFactory(o Options) backend.ServiceFactory {
	return backend.NewServiceFactoryWithRoot(core.URLReader,
		func(env *backend.RootEnv) backend.MakeFunc[*Reader] {
			config := core.RootConfig.From(env)
			logger := core.RootLogger.From(env)
			lifecycle := core.RootLifecycle.From(env)
			factories := core.URLReaderFactories.From(env)
			telemetry := core.Telemetry.Optional(env)
			return func(ctx context.Context) (*Reader, error) {
				o := o
				log := logger().With("service", core.URLReader.ID())
				if o.Logger == nil {
					o.Logger = log
				}
				for _, added := range factories() {
					entries, err := added(ctx, config())
					if err != nil {
						return nil, fmt.Errorf("making an added URL reader: %w", err)
					}
					o.Entries = append(o.Entries[:len(o.Entries):len(o.Entries)], entries...)
				}
				r, err := New(config(), o)
				if err != nil {
					return nil, err
				}
				stop := config().Subscribe(func() {
					if err := r.Reload(config()); err != nil {
						o.Logger.Error("the changed configuration of URL readers is wrong; the last good one stays", "error", err)
					}
				})
				var observed metric.Registration
				if t, ok := telemetry(); ok && t.Meter != nil {
					if observed, err = observe(t.Meter.Meter("flytower.urlreader"), r.client); err != nil {
						stop()
						return nil, errors.Join(err, r.Close())
					}
				}
				err = lifecycle().OnStop("close URL readers", func(context.Context) error {
					stop()
					var err error
					if observed != nil {
						err = observed.Unregister()
					}
					return errors.Join(err, r.Close())
				})
				if err != nil {
					stop()
					return nil, errors.Join(err, r.Close())
				}
				return r, nil
			}
		},
		func(_ *backend.FactoryEnv, root func() *Reader) backend.MakeFunc[core.URLReaderService] {
			return func(context.Context) (core.URLReaderService, error) { return root(), nil }
		})
}

// observe publishes what is known about the rate limits of hosts.
func observe(m metric.Meter, c *hostclient.Client) (metric.Registration, error) {
	remaining, err1 := m.Int64ObservableGauge("flytower.integration.quota.remaining",
		metric.WithDescription("Requests that are left in the window of the host"), metric.WithUnit("{request}"))
	limit, err2 := m.Int64ObservableGauge("flytower.integration.quota.limit",
		metric.WithDescription("Requests per window of the host"), metric.WithUnit("{request}"))
	waiting, err3 := m.Int64ObservableGauge("flytower.integration.requests.waiting",
		metric.WithDescription("Requests that wait for their turn"), metric.WithUnit("{request}"))
	blocked, err4 := m.Int64ObservableGauge("flytower.integration.blocked",
		metric.WithDescription("1 while the host asked for no requests"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("making the metrics of rate limits: %w", err)
	}
	return m.RegisterCallback(func(_ context.Context, obs metric.Observer) error {
		for _, q := range c.Quotas() {
			at := metric.WithAttributes(
				attribute.String("host", q.Host), attribute.String("credential", q.Credential), attribute.String("resource", q.Resource))
			if q.Limit > 0 {
				obs.ObserveInt64(remaining, int64(q.Remaining), at)
				obs.ObserveInt64(limit, int64(q.Limit), at)
			}
			obs.ObserveInt64(waiting, int64(q.Waiting), at)
			var isBlocked int64
			if !q.BlockedUntil.IsZero() {
				isBlocked = 1
			}
			obs.ObserveInt64(blocked, isBlocked, at)
		}
		return nil
	}, remaining, limit, waiting, blocked)
}
