// Package greetermoduleitalian is a module of the greeter plugin: it adds
// Italian.
package greetermoduleitalian

import (
	"context"

	"github.com/flytower/flytower/backend"
	greeternode "github.com/flytower/flytower/examples/greeter/plugins/greeter-node"
)

// Module adds Italian. A module extends exactly one plugin, which it names,
// through the extension points of that plugin, and starts before it.
var Module = backend.NewModule("greeter", "italian", func(env *backend.ModuleEnv) backend.InitFunc {
	languages := greeternode.Languages.From(env)

	return func(context.Context) error {
		return languages().Add("it", greeternode.Words{Day: "buongiorno", Evening: "buonasera"})
	}
}, backend.WithDescription("Greets in Italian."))
