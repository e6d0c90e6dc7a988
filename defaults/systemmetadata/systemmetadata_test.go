package systemmetadata_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/systemmetadata"
	"github.com/flytower/flytower/internal/configtest"
)

func config(root core.ConfigRoot) backend.ServiceFactory {
	return backend.NewRootServiceFactory(core.RootConfig, func(*backend.RootEnv) backend.MakeFunc[core.ConfigRoot] {
		return func(context.Context) (core.ConfigRoot, error) { return root, nil }
	})
}

func TestPlugins(t *testing.T) {
	t.Parallel()
	root, update := configtest.Live(t, `{discovery: {endpoints: [
		{target: http://a, plugins: [catalog, search]}, {target: http://b, plugins: ["*", catalog, local]}]}}`)
	b := backend.New(backend.WithDefaults(config(root), systemmetadata.Factory))
	for _, id := range []string{"zeta", "local"} {
		b.Add(backend.NewPlugin(id, func(*backend.PluginEnv) backend.InitFunc {
			return func(context.Context) error { return nil }
		}))
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.WithoutCancel(t.Context()))
	metadata, err := backend.Get(b, core.RootSystemMetadata)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"catalog", "local", "search", "zeta"}, metadata.Plugins()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	update("discovery: {endpoints: [{target: http://a, plugins: [auth]}]}")
	if diff := cmp.Diff([]string{"auth", "local", "zeta"}, metadata.Plugins()); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	update("discovery: {endpoints: [{target: http://a, plugins: oops}, {plugins: [auth]}]}")
	if diff := cmp.Diff([]string{"auth", "local", "zeta"}, metadata.Plugins()); diff != "" {
		t.Errorf("after a broken change (-want +got):\n%s", diff)
	}
}

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	root := configtest.FromYAML(t, "discovery: {endpoints: [{plugins: oops}]}")
	b := backend.New(backend.WithDefaults(config(root), systemmetadata.Factory))
	if err := b.Start(t.Context()); err == nil {
		t.Error("the backend starts with endpoints whose plugins are no list")
		_ = b.Stop(t.Context())
	}
}
