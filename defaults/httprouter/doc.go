// Package httprouter is the default implementation of [core.HTTPRouter]: the
// router of a plugin, mounted at /api/<plugin id> as soon as the plugin begins
// to initialise.
//
// A request passes, in this order,
//
//  1. the rate limit of the plugin (backend.rateLimit.plugin.<id>),
//  2. GET /.backstage/auth/v1/jwks.json, the public keys of the plugin, open to
//     everybody and at any time,
//  3. the gate: until the plugin has started, requests wait for it
//     (backend.lifecycle.startupRequestPauseTimeout, 5 s) and then get 503; so
//     do all requests to a plugin that failed or stops,
//  4. the barrier: credentials of a user or a service are required, unless an
//     [core.AuthPolicy] matches,
//  5. GET and DELETE /.backstage/auth/v1/cookie, which set and clear the cookie
//     of the user,
//  6. the middleware and the routes of the plugin.
//
// An error that a route returns, and a panic, become an answer whose
// request.url is relative to the plugin. What no route matches gets 404 with
// an empty body.
//
// To customise, give [NewFactory] options:
//
//	b.Add(httprouter.NewFactory(httprouter.WithStartupPause(time.Second)))
package httprouter
