package welcomebackend_test

import (
	"context"
	"path"
	"testing"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	greeterbackend "github.com/flytower/flytower/examples/greeter/plugins/greeter-backend"
	welcomebackend "github.com/flytower/flytower/examples/greeter/plugins/welcome-backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// fakeCatalog answers for the catalog. Of the client, it has the one method
// that the plugin calls.
type fakeCatalog struct {
	catalognode.Client
}

func (fakeCatalog) EntityByRef(_ context.Context, ref string, who core.Credentials) (catalogcommon.Entity, error) {
	language, ok := map[string]string{"user:default/jane": "", "user:default/kahless": "tlh"}[ref]
	if !ok || !who.IsUser() {
		return nil, nil
	}
	e := catalogcommon.Entity{"kind": "User", "metadata": map[string]any{"name": path.Base(ref)}}
	if language != "" {
		e.SetAnnotation(welcomebackend.LanguageAnnotation, language)
	}
	return e, nil
}

// catalog puts the fake in the place of the client.
var catalog = backend.NewServiceFactory(catalognode.Catalog, func(*backend.FactoryEnv) backend.MakeFunc[catalognode.Client] {
	return func(context.Context) (catalognode.Client, error) { return fakeCatalog{}, nil }
})

// The plugins are in one backend, and then in two: nothing but the
// configuration differs.
func TestWelcome(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *backendtest.Server{
		"together": func(t *testing.T) *backendtest.Server {
			return backendtest.Start(t, welcomebackend.Plugin, greeterbackend.Plugin, catalog)
		},
		"apart": func(t *testing.T) *backendtest.Server {
			elsewhere := backendtest.Start(t, greeterbackend.Plugin)
			return backendtest.Start(t, welcomebackend.Plugin, catalog, backendtest.Config(map[string]any{
				"discovery": map[string]any{"endpoints": []any{
					map[string]any{"target": elsewhere.PluginURL("greeter"), "plugins": []any{"greeter"}},
				}},
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t).Client(t).As(backendtest.User("user:default/jane"))
			var got struct{ Text string }
			client.Get("/api/welcome/users/default/jane").Expect(200).JSON(&got)
			if got.Text != "hello, jane" && got.Text != "good evening, jane" {
				t.Errorf("got %q", got.Text)
			}
			client.Get("/api/welcome/users/default/nobody").ExpectError(404, "NotFoundError")
			// The error of the other plugin passes through.
			client.Get("/api/welcome/users/default/kahless").ExpectError(404, "NotFoundError")
		})
	}
}
