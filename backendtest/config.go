package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/configtest"
)

// layers are the configurations that features of a test add, lowest
// precedence first.
var layers = backend.NewRootMultiServiceRef[rootconfig.Layer]("backendtest.config")

// Config adds values to the configuration: maps, slices of any, strings,
// float64 and bool, as JSON has them. Of several features that add
// configuration, later ones win. The backend's own address is configured
// already.
func Config(values map[string]any) backend.Feature {
	return addLayer(func() (rootconfig.Layer, error) { return rootconfig.Map("backendtest.Config", values), nil })
}

// YAML is [Config] for the text of an app-config.yaml. It may be indented with
// tabs as a whole, as Go source is. References to files and to the environment
// stay as they are.
func YAML(text string) backend.Feature {
	return addLayer(func() (rootconfig.Layer, error) { return parse(text) })
}

func addLayer(layer func() (rootconfig.Layer, error)) backend.Feature {
	return backend.NewRootServiceFactory(layers, func(*backend.RootEnv) backend.MakeFunc[rootconfig.Layer] {
		return func(context.Context) (rootconfig.Layer, error) { return layer() }
	})
}

func parse(text string) (rootconfig.Layer, error) {
	return rootconfig.Parse("app-config.yaml", configtest.Outdent(text))
}

// testConfig is the configuration of a backend under test.
type testConfig struct {
	base  rootconfig.Layer
	added []rootconfig.Layer
	root  *rootconfig.Root
}

func newTestConfig(addr string) *testConfig {
	host, port, _ := strings.Cut(addr, ":")
	url := "http://" + addr
	return &testConfig{base: rootconfig.Map("backendtest", map[string]any{
		"app": map[string]any{"baseUrl": url},
		"backend": map[string]any{
			"baseUrl": url,
			"listen":  map[string]any{"host": host, "port": port},
		},
	})}
}

func (c *testConfig) factory() backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootConfig, func(env *backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
		added, instance := layers.From(env), core.InstanceMetadata.From(env)
		return func(context.Context) (core.ConfigRoot, error) {
			c.added = added()
			c.root = rootconfig.New(append([]rootconfig.Layer{c.base}, c.added...)...)
			sources := rootconfig.InstalledSchemas(instance())
			if len(sources) == 0 {
				return c.root, nil
			}
			schema, err := rootconfig.MergeSchemas(sources...)
			if err != nil {
				return nil, err
			}
			c.root.SetSchema(schema)
			if v := rootconfig.Check(c.root, schema).Violations; len(v) > 0 {
				return nil, fmt.Errorf("the configuration violates the schema of a plugin: %w", v[0])
			}
			return c.root, nil
		}
	})
}

// SetConfig puts the YAML text on top of the configuration that the backend
// was started with, in place of what an earlier call put there, as an operator
// does who edits the file. It returns when everything that follows the
// configuration has been told.
func (s *Server) SetConfig(t testing.TB, text string) {
	t.Helper()
	if s.config.root == nil {
		t.Fatal("backendtest: SetConfig changes the configuration of backendtest, and the test has replaced that by a factory of its own")
	}
	layer, err := parse(text)
	if err != nil {
		t.Fatalf("backendtest: %v", err)
	}
	s.config.root.Set(slices.Concat([]rootconfig.Layer{s.config.base}, s.config.added, []rootconfig.Layer{layer})...)
}
