package httprouter

import (
	"context"
	"net/http"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Factory makes the default router of each plugin, before the plugin begins to
// initialise.
var Factory = NewFactory()

// Option customises a router.
type Option func(*options)

type options struct {
	pause      *time.Duration
	middleware []func(plugin string, next http.Handler) http.Handler
}

// WithStartupPause sets how long requests wait for a plugin that has not
// started, instead of backend.lifecycle.startupRequestPauseTimeout.
func WithStartupPause(d time.Duration) Option { return func(o *options) { o.pause = &d } }

// WithMiddleware puts middleware around the whole router of every plugin; of
// several, the first is the outermost. It sees every
// request, also those that the barrier turns down.
func WithMiddleware(m func(plugin string, next http.Handler) http.Handler) Option {
	return func(o *options) { o.middleware = append(o.middleware, m) }
}

// NewFactory returns a factory of customised routers.
func NewFactory(opts ...Option) backend.ServiceFactory {
	return backend.NewServiceFactory(core.HTTPRouter, func(env *backend.FactoryEnv) backend.MakeFunc[core.Router] {
		config, log := core.RootConfig.From(env), core.Logger.From(env)
		plugin, lifecycle := core.PluginMetadata.From(env), core.Lifecycle.From(env)
		instance, root := core.InstanceMetadata.From(env), core.RootHTTPRouter.From(env)
		auth, httpAuth := core.Auth.From(env), core.HTTPAuth.From(env)
		telemetry, auditor := core.Telemetry.Optional(env), core.Auditor.Optional(env)
		return func(context.Context) (core.Router, error) {
			d := Dependencies{
				Plugin: plugin().ID(), Config: config(), Log: log(), Lifecycle: lifecycle(),
				Instance: instance(), Auth: auth(), HTTPAuth: httpAuth(),
			}
			if providers, ok := telemetry(); ok {
				d.Telemetry = &providers
			}
			if a, ok := auditor(); ok {
				d.Auditor = a
			}
			r, err := New(d, opts...)
			if err != nil {
				return nil, err
			}
			if err := root().Use("/api/"+plugin().ID(), r); err != nil {
				return nil, err
			}
			return r, nil
		}
	}, backend.Eager())
}

// ConfigSchema is the JSON Schema of the configuration that routers read.
const ConfigSchema = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "properties": {
    "backend": {
      "type": "object",
      "properties": {
        "lifecycle": {
          "type": "object",
          "properties": {
            "startupRequestPauseTimeout": {
              "description": "How long a request to a plugin that has not started yet waits for it before it gets 503. A duration such as 5s, PT5S or {seconds: 5}. Default: 5 seconds.",
              "anyOf": [{"type": "string"}, {"type": "object"}]
            }
          }
        },
        "auth": {
          "type": "object",
          "properties": {
            "dangerouslyDisableDefaultAuthPolicy": {
              "description": "Lets every request reach the plugins, also without credentials. Plugins may still ask for them. Default: false.",
              "type": "boolean"
            }
          }
        }
      }
    }
  }
}`
