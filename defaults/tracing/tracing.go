// Package tracing is the default alpha.core.tracing: a tracer for each
// plugin, named "backstage-plugin-<id>" unless the configuration says
// otherwise:
//
//	backend:
//	  tracing:
//	    capture: { endUser: true }
//	    plugin:
//	      catalog:
//	        tracer: { name: my-catalog }
//
// Spans have the id of the plugin. Where the context says who calls (see
// core.WithSpanPrincipal) they have the type of the principal and, if
// capture.endUser is set, the user.
package tracing

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory is the default factory of core.Tracing.
var Factory = backend.NewServiceFactory(core.Tracing, func(env *backend.FactoryEnv) backend.MakeFunc[trace.Tracer] {
	plugin, config, telemetry := core.PluginMetadata.From(env), core.RootConfig.From(env), core.Telemetry.From(env)
	return func(context.Context) (trace.Tracer, error) {
		tracer, err := New(plugin().ID(), config(), telemetry().Tracer)
		if err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
		return tracer, nil
	}
})

// New returns the tracer of a plugin.
func New(plugin string, config core.Config, provider trace.TracerProvider) (trace.Tracer, error) {
	tracing := config.Sub("backend.tracing")
	endUser, err := tracing.BoolOr("capture.endUser", false)
	if err != nil {
		return nil, err
	}
	settings := tracing.Sub("plugin." + plugin + ".tracer")
	name, err := settings.StringOr("name", "backstage-plugin-"+plugin)
	if err != nil {
		return nil, err
	}
	version, err := settings.StringOr("version", "")
	if err != nil {
		return nil, err
	}
	schema, err := settings.StringOr("schemaUrl", "")
	if err != nil {
		return nil, err
	}
	return &tracer{
		inner:   provider.Tracer(name, trace.WithInstrumentationVersion(version), trace.WithSchemaURL(schema)),
		plugin:  attribute.String("backstage.plugin.id", plugin),
		endUser: endUser,
	}, nil
}

// tracer adds attributes to the spans of another.
type tracer struct {
	embedded.Tracer
	inner   trace.Tracer
	plugin  attribute.KeyValue
	endUser bool
}

// Start begins a span.
func (t *tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, span := t.inner.Start(ctx, name, opts...)
	if !span.IsRecording() {
		return ctx, span
	}
	span.SetAttributes(t.plugin)
	if who, ok := core.SpanPrincipal(ctx); ok {
		span.SetAttributes(attribute.String("backstage.principal.type", string(who.Type)))
		if t.endUser && who.Type == core.PrincipalUser {
			span.SetAttributes(attribute.String("enduser.id", who.UserEntityRef))
		}
	}
	return ctx, span
}

// ConfigSchema describes the configuration of the service.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "tracing": {
          "type": "object",
          "description": "Tracers of plugins.",
          "properties": {
            "capture": {
              "type": "object",
              "description": "What spans tell.",
              "properties": {
                "endUser": { "type": "boolean", "default": false, "description": "Whether spans name the user who calls. Default: false." }
              }
            },
            "plugin": {
              "type": "object",
              "description": "By the id of the plugin.",
              "additionalProperties": {
                "type": "object",
                "properties": {
                  "tracer": {
                    "type": "object",
                    "description": "The tracer of the plugin.",
                    "properties": {
                      "name": { "type": "string", "description": "Name of the tracer. Default: backstage-plugin-<id>." },
                      "version": { "type": "string", "description": "Version of the tracer. Default: none." },
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
