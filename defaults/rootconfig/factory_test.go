package rootconfig_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

// reporter is a root logger that becomes the logger of the configuration.
func reporter(out *logs) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootLogger, func(env *backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		config := core.RootConfig.From(env)
		return func(context.Context) (*slog.Logger, error) {
			log := slog.New(slog.NewJSONHandler(out, nil))
			config().(*rootconfig.Root).SetLogger(log)
			return log, nil
		}
	})
}

func catalog() backend.Feature {
	return backend.NewPlugin("catalog", func(env *backend.PluginEnv) backend.InitFunc {
		config := core.RootConfig.From(env)
		return func(context.Context) error {
			_, err := config().String("catalog.token")
			return err
		}
	}, core.ConfigSchema(catalogSchema))
}

func TestFactory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": "backend: {baseUrl: http://x}\ncatalog: {token: hush, rulse: []}\nproxy: {}\n"})
	out := &logs{got: make(chan string, 1000)}
	// The plugin comes from a feature loader, so its schema is known late.
	loader := backend.NewFeatureLoader("late", func(env *backend.RootEnv) backend.LoadFunc {
		config := core.RootConfig.From(env)
		return func(context.Context) ([]backend.Feature, error) {
			_ = config()
			return []backend.Feature{catalog()}, nil
		}
	})
	b := backend.New(backend.WithDefaults(
		rootconfig.NewFactory(rootconfig.Options{Dir: dir, Args: []string{}, Env: []string{}}), reporter(out),
	)).Add(loader)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"Loaded the configuration from " + dir + "/app-config.yaml":                       true,
		`app-config.yaml:2: config key "catalog.rulse" is unknown; did you mean "rules"?`: true,
		`app-config.yaml:3: config key "proxy" is not read by anything that is installed`: true,
	}
	for len(want) > 0 {
		select {
		case got := <-out.got:
			delete(want, got)
		case <-time.After(30 * time.Second):
			t.Fatalf("not logged: %v", want)
		}
	}
	config, err := backend.Get(b, core.RootConfig)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(config.Secrets(), " "); got != "hush" {
		t.Errorf("secrets = %q", got)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestContradictingSchemas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": "backend: {baseUrl: http://x}\ncatalog: {token: hush}\nv: {}\n"})
	odd := backend.NewPlugin("odd", func(*backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error { return nil }
	}, core.ConfigSchema(`{"properties":{"backend":{"type":"string"}}}`))
	for _, strict := range []bool{false, true} {
		out := &logs{got: make(chan string, 1000)}
		b := backend.New(backend.WithDefaults(
			rootconfig.NewFactory(rootconfig.Options{Dir: dir, Args: []string{}, Env: []string{}, Strict: strict}), reporter(out),
		)).Add(odd, catalog())
		err := b.Start(t.Context())
		const contradiction = `configuration schemas contradict each other: plugin odd asks for string at "backend", another one for object`
		if strict {
			if err == nil || !strings.Contains(err.Error(), contradiction) {
				t.Errorf("error = %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		config, err := backend.Get(b, core.RootConfig)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(config.Secrets(), " "); got != "hush" {
			t.Errorf("secrets = %q", got)
		}
		for logged := ""; logged != "The keys of some plugins are not checked, because their configuration schemas cannot be used"; {
			select {
			case logged = <-out.got:
			case <-time.After(30 * time.Second):
				t.Fatal("the contradiction was not logged")
			}
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		out.mu.Lock()
		if !strings.Contains(out.text.String(), "plugin odd asks for string") {
			t.Errorf("the contradiction was not logged:\n%s", out.text.String())
		}
		out.mu.Unlock()
	}
}

func TestStrictFactory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": "backend: {baseURL: http://x}\n"})
	b := backend.New(backend.WithDefaults(
		rootconfig.NewFactory(rootconfig.Options{Dir: dir, Args: []string{}, Env: []string{}, Strict: true}),
	)).Add(catalog())
	err := b.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), `app-config.yaml:1: config key "backend.baseUrl" is missing`) {
		t.Errorf("error = %v", err)
	}
}

func TestStaticFactory(t *testing.T) {
	t.Parallel()
	b := backend.New(backend.WithDefaults(rootconfig.NewStaticFactory(map[string]any{
		"backend": map[string]any{"auth": map[string]any{"keys": []any{map[string]any{"secret": "k"}}}},
	})))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	config, err := backend.Get(b, core.RootConfig)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(config.Secrets(), " "); got != "k" {
		t.Errorf("secrets = %q", got)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfigSchemaIsValid(t *testing.T) {
	t.Parallel()
	if !json.Valid([]byte(rootconfig.ConfigSchema)) {
		t.Error("the schema is no JSON")
	}
}
