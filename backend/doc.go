// Package backend holds the building blocks of a backend system, and the
// [Backend] that wires, starts and stops them. It needs nothing but the
// standard library.
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
//		if err != nil {
//			fmt.Fprintln(os.Stderr, err)
//		}
//		os.Exit(backend.ExitCode(err))
//	}
//
// # The blocks
//
//   - A plugin ([NewPlugin]) is a feature of the product. It is independent of
//     every other plugin.
//   - A service ([ServiceRef], [RootServiceRef] and the multitons
//     [MultiServiceRef], [RootMultiServiceRef]) is what plugins depend on. A
//     plugin scoped service has one instance per plugin, a root scoped one per
//     backend. A factory ([NewServiceFactory], [NewRootServiceFactory]) makes
//     it, a decorator ([Decorate]) changes it.
//   - An extension point ([NewExtensionPoint]) is an API that a plugin offers
//     to its modules.
//   - A module ([NewModule]) extends one plugin through its extension points.
//     It shares the services of the plugin and starts before it.
//   - A feature loader ([NewFeatureLoader]) yields features that code chooses.
//
// # Declaring
//
// Declare functions are pure: they run before anything else does, more than
// once, and nothing but their env tells them what to do. So the whole graph of
// a backend is known before any code with effects runs. [Backend.Validate]
// reports everything that is wrong with it at once, each problem with the
// files and lines involved and the remedy, and is a unit test of a program:
//
//	func TestWiring(t *testing.T) {
//		if err := newBackend().Validate(); err != nil {
//			t.Fatal(err)
//		}
//	}
//
// Much does not even compile: a root service that needs a plugin scoped one, a
// plugin that needs an extension point, an offer of the wrong type, a need
// that is declared and not used.
//
// A declare function runs anew for each instance that it makes, so variables
// that it declares belong to that instance. The getter of a need may be called
// in the function that declare returns, and by whatever that function starts.
//
// # Which factory makes a service
//
// The one that was added explicitly; else the one that a feature loader
// yielded; else a default of the backend ([WithDefaults]); else the default of
// the reference (WithDefault). Two of one rank are an error, except for
// multitons, which take them all in the order of adding, defaults first.
// Instances are made once, when they are first needed, or with [Eager] when the
// backend or the plugin starts. A failure is kept like an instance: it fails
// all who need the service.
//
// # Life
//
// [Backend.Start] runs the feature loaders, makes the eager root services, and
// then starts all plugins at once. Of a plugin, first eager services are made,
// then its modules start, then the plugin. Whatever is independent happens at
// the same time. [StartupPolicy] says what the backend can do without, and how
// long each step may take. If something fails that must not, what had started
// is stopped again.
//
// [Backend.Stop] runs the before-stop hooks, stops all plugins at once, each in
// reverse order of registration ([Lifecycle]), and then the root services, in
// reverse order of dependency ([RootLifecycle]).
//
// A panic in a declare, init or make function, in a hook, in a goroutine of
// [Lifecycle], or in what its Guard runs is an error there, and leaves
// everything else alone.
package backend
