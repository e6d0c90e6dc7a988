// Package gatewaybackend is the gateway plugin: it forwards requests below
// /api to plugins that are not in this backend, to where discovery places
// them.
//
//	b.Add(gatewaybackend.Plugin)
//
// Browsers then need to know one backend only, and plugins move between
// backends without a change of the frontend. A backend in Node behind it
// serves plugins that exist in Node only.
//
// Requests pass as they are, in both directions and as a stream: event
// streams and WebSockets, too. The gateway looks at no credentials; the
// target does. A request that comes back, because backends take each other
// for the home of a plugin, is answered with 404 where it comes back to the
// same gateway, and with 508 after three hops.
package gatewaybackend

import (
	"context"
	"net/http"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
)

// Plugin is the gateway with its defaults.
var Plugin = New()

// Option changes a part of the gateway.
type Option func(*options)

type options struct{ network http.RoundTripper }

// WithNetwork sets the transport to other backends. Default: one with limits
// for dialing and idle connections, and without one for the answer, since
// streams may be silent for long.
func WithNetwork(t http.RoundTripper) Option { return func(o *options) { o.network = t } }

// New returns the gateway plugin.
func New(opts ...Option) backend.Feature {
	return backend.NewPlugin("gateway", func(env *backend.PluginEnv) backend.InitFunc {
		root, discovery, log := core.RootHTTPRouter.From(env), core.Discovery.From(env), core.Logger.From(env)
		instance, lifecycle := core.InstanceMetadata.From(env), core.Lifecycle.From(env)
		// The gateway has no routes of its own, but the built-in ones.
		_ = core.HTTPRouter.From(env)
		return func(context.Context) error {
			var o options
			for _, opt := range opts {
				opt(&o)
			}
			g := newGateway(discovery(), root(), log(), o.network)
			for _, p := range instance().Status().Plugins {
				g.installed[p.ID] = true
			}
			if err := root().Use(mountPath, g); err != nil {
				return err
			}
			return lifecycle().OnStop("gateway", func(context.Context) error { g.close(); return nil })
		}
	}, backend.WithDescription("Forwards requests to plugins in other backends."))
}
