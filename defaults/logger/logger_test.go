package logger_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/logger"
)

func TestPluginField(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := backend.New(backend.WithDefaults(logger.Factory, backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		return func(context.Context) (*slog.Logger, error) { return slog.New(slog.NewTextHandler(&out, nil)), nil }
	})))
	b.Add(backend.NewPlugin("greeter", func(env *backend.PluginEnv) backend.InitFunc {
		log := core.Logger.From(env)
		return func(ctx context.Context) error {
			log().InfoContext(ctx, "hello")
			return nil
		}
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "msg=hello plugin=greeter") {
		t.Errorf("log:\n%s", out.String())
	}
}
