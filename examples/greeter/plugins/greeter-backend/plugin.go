// Package greeterbackend is the greeter plugin: it greets in the languages
// that its modules add.
//
//	GET /api/greeter/greetings             all languages
//	GET /api/greeter/greetings/{language}  a greeting
package greeterbackend

import (
	"context"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// Plugin is the greeter plugin.
var Plugin = backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
	// First, what the plugin needs. Each reference gives a function that
	// returns the service later. The backend knows by these lines, before
	// anything runs, who needs what; a service that nobody provides is an error
	// with this file and line.
	log, router := core.Logger.From(env), core.HTTPRouter.From(env)
	config, clock := core.RootConfig.From(env), greeternode.Clock.From(env)

	// Then, what it offers to its modules.
	words := newDictionary()
	greeternode.Languages.Offer(env, words)

	// The returned function starts the plugin. All modules have run when it is
	// called.
	return func(ctx context.Context) error {
		evening, err := config().IntOr("greeter.evening", 18)
		if err != nil {
			return err // names the file and the line of the value
		}
		addRoutes(router(), &greeter{words: words, clock: clock(), evening: evening})
		log().InfoContext(ctx, "ready to greet", "languages", words.languages())
		return nil
	}
}, backend.WithDescription("Greets in many languages."), core.ConfigSchema(configSchema))

// configSchema describes the configuration. "check" and the start report what
// violates it, with file and line, and "config docs" prints the descriptions.
const configSchema = `{
  "type": "object",
  "properties": {
    "greeter": {
      "type": "object",
      "description": "The greeter plugin.",
      "properties": {
        "evening": {"type": "integer", "minimum": 0, "maximum": 24, "default": 18, "description": "The hour at which the evening begins. Default: 18."},
        "timeZone": {"type": "string", "description": "The time zone to greet in, where the backend has a clock that knows it: Europe/Rome. Default: UTC."}
      }
    }
  }
}`
