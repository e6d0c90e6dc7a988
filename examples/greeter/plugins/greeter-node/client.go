package greeternode

import (
	"context"
	"net/url"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Greeting is an answer of the plugin, as it is on the wire.
type Greeting struct {
	Language string `json:"language"`
	Text     string `json:"text"`
}

// Client asks the greeter plugin, wherever it runs.
type Client interface {
	// Greeting returns the greeting in a language, on behalf of who. A language
	// that nobody added is a not-found error.
	Greeting(ctx context.Context, language string, who core.Credentials) (Greeting, error)
}

// Greetings is the client as a service, so that tests can replace it. It is
// made of core.PluginClient, which finds the plugin: in this process a request
// goes to its handler in memory, and elsewhere over the network, to where the
// configuration (discovery.endpoints) says.
var Greetings = backend.NewServiceRef[Client]("greeter.client").WithDefault(
	func(ref backend.ServiceRef[Client]) backend.ServiceFactory {
		return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[Client] {
			peers := core.PluginClient.From(env)
			return func(context.Context) (Client, error) { return client{peers()}, nil }
		})
	})

type client struct{ peers core.PluginClientService }

func (c client) Greeting(ctx context.Context, language string, who core.Credentials) (g Greeting, err error) {
	err = c.peers.Call(ctx, core.PluginRequest{
		Plugin: "greeter", Path: "/greetings/" + url.PathEscape(language), As: who,
	}, &g)
	return g, err
}
