package main

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	greeterbackend "github.com/flytower/flytower/examples/greeter/plugins/greeter-backend"
	greetermoduleitalian "github.com/flytower/flytower/examples/greeter/plugins/greeter-backend-module-italian"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
	welcomebackend "github.com/flytower/flytower/examples/greeter/plugins/welcome-backend"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
)

// features are what this backend consists of, beside the default services.
// Their order does not matter: what starts when follows from what needs what.
func features() []backend.Feature {
	return []backend.Feature{
		catalogbackend.Plugin,
		greeterbackend.Plugin,
		greetermoduleitalian.Module,
		welcomebackend.Plugin,
		zoneClock, // replaces the default clock of greeternode
	}
}

// zoneClock is a clock in the time zone that the configuration names. Adding
// the factory of a service replaces the one that the service has by default;
// this is how an installation changes a single part of a backend.
var zoneClock = backend.NewServiceFactory(greeternode.Clock, func(env *backend.FactoryEnv) backend.MakeFunc[greeternode.ClockService] {
	config := core.RootConfig.From(env) // what the service itself needs

	return func(context.Context) (greeternode.ClockService, error) {
		name, err := config().StringOr("greeter.timeZone", "UTC")
		if err != nil {
			return nil, err
		}
		zone, err := time.LoadLocation(name)
		if err != nil {
			// A ConfigError names the file and the line of the value.
			return nil, &core.ConfigError{
				Key: "greeter.timeZone", Position: config().Position("greeter.timeZone"),
				Problem: "is not a time zone", Remedy: "write one such as Europe/Rome", Err: err,
			}
		}
		return inZone{zone}, nil
	}
})

type inZone struct{ zone *time.Location }

func (c inZone) Now() time.Time { return time.Now().In(c.zone) }
