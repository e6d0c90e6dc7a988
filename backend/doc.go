// Package backend holds the building blocks of a backend system: plugins,
// modules, services, extension points and feature loaders, and the [Backend]
// that wires, starts and stops them. It needs nothing but the standard
// library.
//
// A plugin is an id and a declare function. Declare says what the plugin
// needs, and returns the function that starts it:
//
//	var Plugin = backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
//		log := core.Logger.From(env) // a need: log is a func() *slog.Logger
//
//		return func(ctx context.Context) error {
//			log().InfoContext(ctx, "hello")
//			return nil
//		}
//	})
//
//	func main() {
//		err := backend.New().Add(Plugin, LoggerFactory).Run(context.Background())
//		os.Exit(backend.ExitCode(err))
//	}
//
// Declare is pure: it runs before anything else does, possibly more than
// once, and nothing but its env tells it what to do. So the whole graph of a
// backend is known, and checked, before any code with effects runs.
package backend
