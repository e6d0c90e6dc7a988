package backend_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func initNothing(context.Context) error { return nil }

func emptyPlugin(id string) backend.Feature {
	return backend.NewPlugin(id, func(*backend.PluginEnv) backend.InitFunc { return initNothing })
}

func emptyModule(plugin, id string) backend.Feature {
	return backend.NewModule(plugin, id, func(*backend.ModuleEnv) backend.InitFunc { return initNothing })
}

// needing returns a plugin that needs a service.
func needing(id string, need func(*backend.PluginEnv)) backend.Feature {
	return backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc { need(env); return initNothing })
}

// intFactory returns a factory that needs other services.
func intFactory(ref backend.ServiceRef[int], needs ...backend.ServiceRef[int]) backend.ServiceFactory {
	return backend.NewServiceFactory(ref, func(env *backend.FactoryEnv) backend.MakeFunc[int] {
		for _, n := range needs {
			_ = n.From(env)
		}
		return func(context.Context) (int, error) { return 1, nil }
	})
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range wiringCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := backend.New()
			c.build(b)
			err := b.Validate()
			var invalid *backend.ValidationError
			if !errors.As(err, &invalid) {
				t.Fatalf("Validate = %v, want a *ValidationError", err)
			}
			if !c.as(err) {
				t.Errorf("the problem has another type than expected: %v", err)
			}
			for _, p := range invalid.Problems {
				if len(p.Sites()) == 0 || p.Remedy() == "" {
					t.Errorf("problem without site or remedy: %v", p)
				}
			}
			golden(t, c.name+".golden", err.Error()+"\n")

			if got := b.Start(t.Context()); got == nil || got.Error() != err.Error() {
				t.Errorf("Start = %v, want what Validate says", got)
			}
			if backend.ExitCode(err) != 2 {
				t.Errorf("exit code %d, want 2", backend.ExitCode(err))
			}
		})
	}
}

func TestMessagesStayReadable(t *testing.T) {
	t.Parallel()
	b := backend.New()
	for i := range 100 {
		b.Add(needing(fmt.Sprintf("p%d", i), func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	}
	err := b.Validate()
	if n := strings.Count(err.Error(), "\n"); n > 15 || !strings.Contains(err.Error(), "and 90 more") {
		t.Errorf("a message of %d lines:\n%v", n, err)
	}
	var missing *backend.MissingServiceError
	if !errors.As(err, &missing) || len(missing.Consumers) != 100 {
		t.Errorf("the problem does not name all consumers: %v", missing)
	}
}

func TestValidateAcceptsLegacyIDsWithWarning(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(emptyPlugin("old_plugin"), emptyModule("old_plugin", "A1-b"))
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	warnings := b.Graph().Warnings
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "underscore") {
		t.Errorf("warnings = %v, want one about the underscore", warnings)
	}
}

func TestUnusedDefaultsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	b := backend.New(backend.WithDefaults(intFactory(serviceA, serviceB))).Add(emptyPlugin("p"))
	if err := b.Validate(); err != nil {
		t.Errorf("Validate = %v, want nil: nothing uses the default", err)
	}
	b.Add(needing("q", func(env *backend.PluginEnv) { _ = serviceA.From(env) }))
	if err := b.Validate(); !is[*backend.MissingServiceError](err) {
		t.Errorf("Validate = %v, want the missing service of the default, now that it is used", err)
	}
}

func TestOnlyLeavesOutOtherPluginsWithTheirModules(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(
		emptyPlugin("a"), emptyModule("a", "m"),
		needing("b", func(env *backend.PluginEnv) { _ = serviceA.From(env) }), emptyModule("b", "m"),
	).Only("a")
	if err := b.Validate(); err != nil {
		t.Fatalf("Validate = %v, want nil: plugin b is left out", err)
	}
	g := b.Graph()
	if len(g.Plugins) != 1 || len(g.Modules) != 1 || g.Plugins[0].ID != "a" || g.Modules[0].Plugin != "a" {
		t.Errorf("graph has plugins %v and modules %v", g.Plugins, g.Modules)
	}
}

func TestEnvUsedAfterDeclareFailsTheInit(t *testing.T) {
	t.Parallel()
	b := backend.New().Add(intFactory(serviceA), backend.NewPlugin("p", func(env *backend.PluginEnv) backend.InitFunc {
		return func(context.Context) error { serviceA.From(env); return nil }
	}))
	err := b.Start(t.Context())
	if !is[*backend.PanicError](err) || !strings.Contains(err.Error(), "after its declare function had returned") {
		t.Errorf("Start = %v, want a panic that explains itself", err)
	}
}

func FuzzPluginID(f *testing.F) {
	for _, id := range []string{"catalog", "a1-b2", "A", "old_id", "-a", "a-", "a--b", "1a", "é", "a b", ""} {
		f.Add(id)
	}
	pattern := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*(?:[-_][a-zA-Z0-9]+)*$`)
	f.Fuzz(func(t *testing.T, id string) {
		b := backend.New().Add(emptyPlugin(id))
		err := b.Validate()
		if got, want := err == nil, pattern.MatchString(id); got != want {
			t.Fatalf("%q is accepted: %v, want %v", id, got, want)
		}
		if got, want := len(b.Graph().Warnings) > 0, err == nil && strings.Contains(id, "_"); got != want {
			t.Fatalf("%q is warned about: %v, want %v", id, got, want)
		}
	})
}
