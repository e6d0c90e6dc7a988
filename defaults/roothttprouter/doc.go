// Package roothttprouter is the default implementation of
// [core.RootHTTPRouter]: the HTTP server of a backend. It listens as soon as
// it is made; from then on the liveness route answers, and the routes of each
// plugin from the moment that the plugin mounts them.
//
// A request passes, in this order,
//
//  1. the headers that harden browsers (backend.csp, backend.referrer),
//  2. CORS (backend.cors),
//  3. compression and entity tags,
//  4. the request log,
//  5. the health routes, /.backstage/health/v1/{liveness,readiness,detail},
//  6. the rate limit (backend.rateLimit),
//  7. what is mounted with Use; a path outside of /api that nothing is mounted
//     at goes to the index: the plugin "app", or else the status page, also
//     where the plugin passes it on because it has no frontend to serve.
//
// The headers of 1 are added when an answer is sent. A handler that sets one of
// them has its own way; one that sets it to nil leaves it out.
//
// # Entity tags and buffering
//
// An answer that is written in one piece of at most 1 MiB gets an entity tag
// of its content and its length, and a GET or HEAD that names the tag in
// If-None-Match gets 304. To that end the first piece is held back until the
// handler returns, writes more, or flushes. Everything else passes through as
// it is written, and a flush reaches the client also through compression.
//
// # Stop
//
// When the backend stops, the server goes on for
// backend.lifecycle.serverShutdownDelay while readiness answers 503. Then it
// accepts no more connections, ends event streams and web sockets by their
// context, and waits for the other requests, but not longer than the drain
// timeout (10 s by default).
//
// To customise, give [NewFactory] options:
//
//	b.Add(roothttprouter.NewFactory(roothttprouter.WithIndex("")))
package roothttprouter
