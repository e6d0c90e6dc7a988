// Package metrics is the default alpha.core.metrics: a meter for each plugin,
// named "backstage-plugin-<id>" unless the configuration says otherwise:
//
//	backend:
//	  metrics:
//	    plugin:
//	      catalog:
//	        meter: { name: my-catalog, version: "2" }
package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory is the default factory of core.Metrics.
var Factory = backend.NewServiceFactory(core.Metrics, func(env *backend.FactoryEnv) backend.MakeFunc[metric.Meter] {
	plugin, config, telemetry := core.PluginMetadata.From(env), core.RootConfig.From(env), core.Telemetry.From(env)
	return func(context.Context) (metric.Meter, error) {
		meter, err := New(plugin().ID(), config(), telemetry().Meter)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		return meter, nil
	}
})

// New returns the meter of a plugin.
func New(plugin string, config core.Config, provider metric.MeterProvider) (metric.Meter, error) {
	meter := config.Sub("backend.metrics.plugin." + plugin + ".meter")
	name, err := meter.StringOr("name", "backstage-plugin-"+plugin)
	if err != nil {
		return nil, err
	}
	version, err := meter.StringOr("version", "")
	if err != nil {
		return nil, err
	}
	schema, err := meter.StringOr("schemaUrl", "")
	if err != nil {
		return nil, err
	}
	return provider.Meter(name, metric.WithInstrumentationVersion(version), metric.WithSchemaURL(schema)), nil
}

// ConfigSchema describes the configuration of the service.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "metrics": {
          "type": "object",
          "description": "Meters of plugins.",
          "properties": {
            "plugin": {
              "type": "object",
              "description": "By the id of the plugin.",
              "additionalProperties": {
                "type": "object",
                "properties": {
                  "meter": {
                    "type": "object",
                    "description": "The meter of the plugin.",
                    "properties": {
                      "name": { "type": "string", "description": "Name of the meter. Default: backstage-plugin-<id>." },
                      "version": { "type": "string", "description": "Version of the meter. Default: none." },
                      "schemaUrl": { "type": "string", "description": "URL of the schema of its telemetry. Default: none." }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}`
