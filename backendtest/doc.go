// Package backendtest starts plugins, modules and services in a test: in a
// whole backend, on a free port of the loopback interface, in milliseconds.
//
//	func TestGreeting(t *testing.T) {
//		t.Parallel()
//		srv := backendtest.Start(t, greeterbackend.Plugin)
//		got := srv.Client(t).As(backendtest.User("user:default/jane")).Get("/api/greeter/en").Expect(200).Text()
//		if got != "hello" {
//			t.Errorf("got %q", got)
//		}
//	}
//
// The backend has every core service. Most are the real ones: the HTTP server
// and the routers with their authentication barrier, the configuration, the
// database (SQLite in memory), the cache, events, calls between plugins,
// permissions and their registry. What would make a test slow or uncertain is
// replaced:
//
//   - Tokens are mock tokens, in the form that all backends of the family use
//     in tests; see [Identity].
//   - Time is that of a [Clock] for the scheduler and for what expires. It
//     stands still until the test advances it.
//   - The scheduler runs each task once when its plugin has started, except
//     those that are triggered manually or have an initial delay. After that,
//     tasks run when the clock is advanced, or at once with [Server.RunTask].
//   - Users own things by their own ref only, unless [Ownership] says more.
//   - The log goes to the log of the test, from warnings upwards; see
//     [LogLevel].
//
// When the test ends, the backend stops. The test fails if that is not clean:
// if a goroutine of the lifecycle does not end, a stop hook fails, or a plugin
// has panicked, which a backend survives ([AllowPanics]).
//
// # Changing the backend
//
// Everything that Start takes is a feature. The factory of a service replaces
// what was said above, a decorator wraps it, and this package has more:
//
//	srv := backendtest.Start(t, greeterbackend.Plugin,
//		backendtest.YAML("greeter: {language: it}"),      // configuration
//		backendtest.LogLevel(slog.LevelDebug),            // all of the log
//		backend.NewServiceFactory(greeternode.Clock, …),  // another service
//	)
//
// A module can be tested without its plugin: an empty plugin is added, and
// [Offer] stands in for the extension points that the module uses.
//
// # Databases
//
// [EachDatabase] runs a test on SQLite and on PostgreSQL. PostgreSQL is
// started by the test binary itself, if its programs (initdb, postgres) are
// installed, listening on a socket in a temporary folder only; or
// FLYTOWER_TEST_POSTGRES names a running server, as a URL whose user may
// create databases. Without either the PostgreSQL part fails and says so. To
// leave it out on a machine: go test -skip /postgres.
//
// # Services alone
//
// [MakeService] and [MakeRootService] return an instance of a service, made by
// the factory under test in the midst of the services above. [Service] returns
// a service of a plugin that runs.
package backendtest
