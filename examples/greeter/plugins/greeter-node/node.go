// Package greeternode is what others need of the greeter plugin: the extension
// point for its modules, a service that installations may replace, and the
// client with which other plugins ask it.
//
// It has no implementation, so everybody may import it. The implementation is
// in package greeterbackend, which only main packages import.
package greeternode

import (
	"context"
	"time"

	"github.com/flytower/flytower/backend"
)

// Words are a way to greet, by day and in the evening.
type Words struct {
	Day, Evening string
}

// Dictionary takes the words of languages. It is the type of an extension
// point: the plugin implements it, its modules call it.
type Dictionary interface {
	// Add adds a language, for example "it". It may be called in the init
	// function of a module; a language that is there is an error.
	Add(language string, w Words) error
}

// Languages is the extension point through which modules add languages. Its
// owner is part of it: a module of another plugin that asks for it is refused
// before the backend starts.
var Languages = backend.NewExtensionPoint[Dictionary]("greeter", "languages")

// ClockService tells the time.
type ClockService interface {
	Now() time.Time
}

// Clock is a service. The reference has a default factory, so a backend needs
// to add none; one that is added replaces the default.
var Clock = backend.NewServiceRef[ClockService]("greeter.clock").WithDefault(
	func(ref backend.ServiceRef[ClockService]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(*backend.FactoryEnv) backend.MakeFunc[ClockService] {
			return func(context.Context) (ClockService, error) { return systemClock{}, nil }
		})
	})

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }
