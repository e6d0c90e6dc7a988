package backend_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/flytower/flytower/backend"
)

// words is the extension point of the greeter in these tests.
type words interface{ Add(lang, word string) }

type wordList map[string]string

func (w wordList) Add(lang, word string) { w[lang] = word }

var (
	logger     = backend.NewServiceRef[*slog.Logger]("core.logger")
	wordsPoint = backend.NewExtensionPoint[words]("greeter", "words")
)

func discardLogger() backend.ServiceFactory {
	return backend.NewServiceFactory(logger, func(env *backend.FactoryEnv) backend.MakeFunc[*slog.Logger] {
		meta := backend.PluginMetadata.From(env)
		return func(context.Context) (*slog.Logger, error) {
			return slog.New(slog.DiscardHandler).With("plugin", meta().ID()), nil
		}
	})
}

func TestPluginWithModule(t *testing.T) {
	t.Parallel()
	var got wordList
	var stops []string
	greeter := backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
		log, life := logger.From(env), backend.PluginLifecycle.From(env)
		list := wordList{"en": "hello"}
		wordsPoint.Offer(env, list)
		return func(ctx context.Context) error {
			log().InfoContext(ctx, "ready")
			got = list
			return life().OnStop("greeter", func(context.Context) error { stops = append(stops, "greeter"); return nil })
		}
	})
	italian := backend.NewModule("greeter", "italian", func(env *backend.ModuleEnv) backend.InitFunc {
		list := wordsPoint.From(env)
		return func(context.Context) error { list().Add("it", "ciao"); return nil }
	})
	b := backend.New(backend.WithDefaults(discardLogger())).Add(greeter, italian)
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got["it"] != "ciao" || got["en"] != "hello" {
		t.Errorf("words = %v", got)
	}
	if l, err := backend.GetFor(b, "greeter", logger); err != nil || l == nil {
		t.Errorf("GetFor = %v, %v", l, err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(stops) != 1 {
		t.Errorf("stop hooks: %v", stops)
	}
}
