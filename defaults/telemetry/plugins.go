package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/backend"
)

// PluginAttribute is the attribute with the id of a plugin.
const PluginAttribute = "backstage.plugin.id"

// observePlugins shows the state of each plugin, and how often it panicked.
func observePlugins(provider metric.MeterProvider, instance backend.Instance) error {
	meter := provider.Meter("flytower")
	state, err := meter.Int64ObservableGauge("flytower.plugin.state", metric.WithDescription("1 for the state in which the plugin is"))
	if err != nil {
		return err
	}
	panics, err := meter.Int64ObservableCounter("flytower.plugin.panics", metric.WithDescription("Panics that were contained in the plugin"))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, plugin := range instance.Status().Plugins {
			id := attribute.String(PluginAttribute, plugin.ID)
			o.ObserveInt64(state, 1, metric.WithAttributes(id, attribute.String("state", string(plugin.State))))
			o.ObserveInt64(panics, plugin.Panics, metric.WithAttributes(id))
		}
		return nil
	}, state, panics)
	return err
}
