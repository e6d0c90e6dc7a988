package backend_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/flytower/flytower/backend"
)

// A plugin offers an extension point, which a module uses.
func Example() {
	type words interface{ Add(lang, word string) }
	wordsPoint := backend.NewExtensionPoint[words]("greeter", "words")

	greeter := backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
		list := wordList{"en": "hello"}
		wordsPoint.Offer(env, list)
		return func(context.Context) error { // runs after the modules
			fmt.Println(list["en"], list["it"])
			return nil
		}
	})
	italian := backend.NewModule("greeter", "italian", func(env *backend.ModuleEnv) backend.InitFunc {
		list := wordsPoint.From(env)
		return func(context.Context) error {
			list().Add("it", "ciao")
			return nil
		}
	})

	b := backend.New().Add(greeter, italian)
	if err := b.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	if err := b.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: hello ciao
}

// A service with a default can be used without adding a factory.
func ExampleServiceRef_WithDefault() {
	greeting := backend.NewServiceRef[string]("example.greeting").
		WithDefault(func(ref backend.ServiceRef[string]) backend.ServiceFactory {
			return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[string] {
				plugin := backend.PluginMetadata.From(env)
				return func(context.Context) (string, error) { return "hello, " + plugin().ID(), nil }
			})
		})

	b := backend.New().Add(backend.NewPlugin("reader", func(env *backend.PluginEnv) backend.InitFunc {
		text := greeting.From(env)
		return func(context.Context) error { fmt.Println(text()); return nil }
	}))
	if err := b.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	_ = b.Stop(context.Background())
	// Output: hello, reader
}

// A decorator changes a service, whoever implements it.
func ExampleDecorate() {
	name := backend.NewServiceRef[string]("example.name")
	factory := backend.NewServiceFactory(name, func(*backend.FactoryEnv) backend.MakeFunc[string] {
		return func(context.Context) (string, error) { return "name", nil }
	})
	loud := backend.Decorate(name, func(_ *backend.FactoryEnv, inner func() string) backend.MakeFunc[string] {
		return func(context.Context) (string, error) { return strings.ToUpper(inner()), nil }
	})
	reader := backend.NewPlugin("reader", func(env *backend.PluginEnv) backend.InitFunc {
		text := name.From(env)
		return func(context.Context) error { fmt.Println(text()); return nil }
	})

	b := backend.New().Add(reader, factory, loud)
	if err := b.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	_ = b.Stop(context.Background())
	// Output: NAME
}

// Validate finds everything that is wrong, before anything runs.
func ExampleBackend_Validate() {
	missing := backend.NewServiceRef[string]("example.missing")
	b := backend.New().Add(
		backend.NewPlugin("reader", func(env *backend.PluginEnv) backend.InitFunc {
			text := missing.From(env)
			return func(context.Context) error { fmt.Println(text()); return nil }
		}),
		backend.NewModule("writer", "fast", func(*backend.ModuleEnv) backend.InitFunc {
			return func(context.Context) error { return nil }
		}),
	)
	for i, line := range strings.Split(b.Validate().Error(), "\n") {
		if i == 0 || !strings.HasPrefix(line, " ") {
			fmt.Println(line)
		}
	}
	// Output:
	// invalid wiring: 2 problems
	// 1. module "fast" extends plugin "writer", which is not installed
	// 2. missing service "example.missing": no factory was added, and the service has no default
}

// A plugin owns its goroutines and stop hooks through its lifecycle.
func ExampleLifecycle() {
	b := backend.New().Add(backend.NewPlugin("worker", func(env *backend.PluginEnv) backend.InitFunc {
		life := backend.PluginLifecycle.From(env)
		return func(context.Context) error {
			if err := life().OnStop("close", func(context.Context) error { fmt.Println("closed"); return nil }); err != nil {
				return err
			}
			life().Go("work", func(ctx context.Context) error {
				<-ctx.Done() // the plugin stops
				fmt.Println("worker ended")
				return nil
			})
			return nil
		}
	}))
	if err := b.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	if err := b.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// worker ended
	// closed
}

// The graph of a backend is data, which can also be printed and drawn.
func ExampleBackend_Graph() {
	name := backend.NewServiceRef[string]("example.name")
	b := backend.New().Add(backend.NewPlugin("reader", func(env *backend.PluginEnv) backend.InitFunc {
		life, text := backend.PluginLifecycle.From(env), name.Optional(env)
		return func(context.Context) error { _, _ = life(), text; return nil }
	}))
	for _, e := range b.Graph().Edges {
		fmt.Println(e.From, e.Kind, e.To)
	}
	// Output:
	// plugin:reader needs service:core.lifecycle
	// plugin:reader needs service:example.name
}
