package catalogmodulebackstageopenapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmodulebackstageopenapi "github.com/flytower/flytower/plugins/catalog-backend-module-backstage-openapi"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const task = "InternalOpenApiDocumentationProvider:refresh"

// documents are what plugins answer; a number is a status.
type documents struct {
	mu   sync.Mutex
	text map[string]string
}

func (d *documents) set(plugin, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text[plugin] = text
}

// plugins are plugins with these documents.
func (d *documents) plugins() (out []backend.Feature) {
	for id := range d.text {
		out = append(out, backend.NewPlugin(id, func(env *backend.PluginEnv) backend.InitFunc {
			router := core.HTTPRouter.From(env)
			return func(context.Context) error {
				router().HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
					d.mu.Lock()
					defer d.mu.Unlock()
					status := 0
					if _, err := fmt.Sscan(d.text[id], &status); err == nil {
						w.WriteHeader(status)
						return
					}
					_, _ = io.WriteString(w, d.text[id])
				})
				return nil
			}
		}))
	}
	return out
}

// catalog keeps what is handed in.
type catalog struct {
	catalognode.ProcessingExtensionPoint
	catalognode.ProviderConnection
	provider catalognode.EntityProvider
	last     *catalognode.DeferredEntity
}

func (c *catalog) AddProvider(p ...catalognode.EntityProvider) error {
	c.provider = p[0]
	return nil
}

func (c *catalog) ApplyFull(_ context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	for e, err := range entities {
		if err != nil {
			return catalognode.MutationReport{}, err
		}
		c.last = &e
	}
	return catalognode.MutationReport{Seen: 1}, nil
}

func start(t *testing.T, d *documents, config string) (*backendtest.Server, *catalog) {
	t.Helper()
	c := &catalog{}
	srv := backendtest.Start(t, append(d.plugins(), catalogmodulebackstageopenapi.Module, backendtest.Silent(), backendtest.YAML(config),
		backendtest.Offer[catalognode.ProcessingExtensionPoint](catalognode.Processing, c))...)
	if err := c.provider.Connect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitForTask(t, "catalog", task); err != nil {
		t.Fatal(err)
	}
	return srv, c
}

func definition(t *testing.T, c *catalog) (doc map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.last.Entity.SpecString("definition")), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestMerge(t *testing.T) {
	t.Parallel()
	d := &documents{text: map[string]string{
		"alpha": `{"openapi":"3.0.3","paths":{"/api/alpha/things":{"get":{"operationId":"list","responses":{"200":{"$ref":"#/components/responses/ok"}}}}},
			"components":{"responses":{"ok":{"content":{"x":{"schema":{"$ref":"#/components/schemas/Thing"}}}}},
				"schemas":{"Thing":{"type":"string"},"Same":{"type":"integer"},"Box":{"properties":{"in":{"$ref":"#/components/schemas/Thing"}}}}}}`,
		"beta": `{"openapi":"3.1.0","security":[{"token":[]}],"tags":[{"name":"Things","description":"d"}],
			"paths":{"/things":{"get":{"operationId":"list","tags":["Things"],"responses":{"200":{"$ref":"#/components/responses/ok"}}},
				"post":{"security":[],"requestBody":{"content":{"x":{"schema":{"discriminator":{"mapping":{"t":"#/components/schemas/Thing"}},"$ref":"#/components/schemas/Box"}}}}},
				"parameters":[]}},
			"components":{"securitySchemes":{"token":{"type":"http"}},"responses":{"ok":{"content":{"x":{"schema":{"$ref":"#/components/schemas/Thing"}}}}},
				"schemas":{"Thing":{"type":"number"},"Same":{"type":"integer"},"Box":{"properties":{"in":{"$ref":"#/components/schemas/Thing"}}},"Thing1":{}}}}`,
		"gamma": `{"openapi":"3.1.0","security":[{"token":[]}],"paths":{"/api/gamma":{"get":{}},"/api/gamma/more":{"summary":"first"},"/more":{}},"components":{"securitySchemes":{"token":{"type":"apiKey"}}}}`,
		"none":  "404", "broken": "500", "strange": "[]",
	}}
	srv, c := start(t, d, "backend: {baseUrl: 'https://portal.example'}")
	want := map[string]any{}
	if err := json.Unmarshal([]byte(`{
		"openapi":"3.1.0","info":{"title":"Backstage API","version":"1"},"servers":[{"url":"https://portal.example"}],
		"tags":[{"name":"alpha"},{"name":"Things","description":"d"},{"name":"beta"},{"name":"gamma"}],
		"paths":{
			"/api/alpha/things":{"get":{"operationId":"list","tags":["alpha"],"responses":{"200":{"$ref":"#/components/responses/ok"}}}},
			"/api/beta/things":{"get":{"operationId":"list1","tags":["Things","beta"],"security":[{"token":[]}],"responses":{"200":{"$ref":"#/components/responses/ok1"}}},
				"post":{"tags":["beta"],"security":[],"requestBody":{"content":{"x":{"schema":{"discriminator":{"mapping":{"t":"#/components/schemas/Thing2"}},"$ref":"#/components/schemas/Box1"}}}}},
				"parameters":[]},
			"/api/gamma":{"get":{"tags":["gamma"],"security":[{"token1":[]}]}},
			"/api/gamma/more":{"summary":"first"}
		},
		"components":{
			"securitySchemes":{"token":{"type":"http"},"token1":{"type":"apiKey"}},
			"responses":{"ok":{"content":{"x":{"schema":{"$ref":"#/components/schemas/Thing"}}}},"ok1":{"content":{"x":{"schema":{"$ref":"#/components/schemas/Thing2"}}}}},
			"schemas":{"Thing":{"type":"string"},"Thing1":{},"Thing2":{"type":"number"},"Same":{"type":"integer"},
				"Box":{"properties":{"in":{"$ref":"#/components/schemas/Thing"}}},"Box1":{"properties":{"in":{"$ref":"#/components/schemas/Thing2"}}}}
		}}`), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, definition(t, c)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	first := c.last.Entity
	if err := srv.RunTask(t, "catalog", task); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, c.last.Entity); d != "" {
		t.Errorf("another run made another entity:\n%s", d)
	}
	first.SetSpec("definition", "")
	if d := cmp.Diff(`{"apiVersion":"backstage.io/v1beta1","kind":"API","metadata":{"annotations":{`+
		`"backstage.io/managed-by-location":"internal-package:@backstage/plugin-catalog-backend-module-backstage-openapi",`+
		`"backstage.io/managed-by-origin-location":"internal-package:@backstage/plugin-catalog-backend-module-backstage-openapi"},`+
		`"name":"internal_backstage_openapi_doc","title":"Backstage API"},"spec":{"definition":"","lifecycle":"production","owner":"backstage","type":"openapi"}}`,
		string(first.AppendJSON(nil))); d != "" || c.last.LocationKey != "internal-api-doc" {
		t.Errorf("with the key %s (-want +got):\n%s", c.last.LocationKey, d)
	}
}

func TestPluginInTrouble(t *testing.T) {
	t.Parallel()
	const one = `{"openapi":"3.1.0","paths":{"/one":{}}}`
	d := &documents{text: map[string]string{"alpha": one, "beta": one}}
	srv, c := start(t, d, "{}")
	wantPaths := func(want ...string) {
		t.Helper()
		if have := slices.Sorted(maps.Keys(definition(t, c)["paths"].(map[string]any))); !slices.Equal(have, want) {
			t.Errorf("paths are %v, want %v", have, want)
		}
	}
	run := func() {
		t.Helper()
		if err := srv.RunTask(t, "catalog", task); err != nil {
			t.Fatal(err)
		}
	}
	wantPaths("/api/alpha/one", "/api/beta/one")
	d.set("alpha", "503")
	run()
	run()
	wantPaths("/api/alpha/one", "/api/beta/one") // what it said before counts
	d.set("alpha", "404")
	run()
	wantPaths("/api/beta/one")
	d.set("beta", "404")
	run()
	wantPaths("/api/beta/one") // rather than nothing at all
}

func TestSettings(t *testing.T) {
	t.Parallel()
	d := &documents{text: map[string]string{"alpha": `{"openapi":"3.1.0","info":{},"paths":{"/yes":{"get":{"summary":"no"}}}}`, "beta": `{"openapi":"3.1.0","paths":{"/b":{}}}`}}
	_, c := start(t, d, `
catalog:
  providers:
    backstageOpenapi:
      plugins: [alpha, alpha]
      definitionFormat: yaml
      entityOverrides: {kind: Ghost, metadata: {name: docs, tags: [x]}, spec: {owner: platform, type: other, definition: none, extra: {a: 1}}}
`)
	e := c.last.Entity
	if e.Kind() != "API" || e.Name() != "docs" || e.Title() != "Backstage API" || e.SpecString("owner") != "platform" || e.Type() != "openapi" || !slices.Equal(e.Tags(), []string{"x"}) {
		t.Errorf("entity is %s", e.AppendJSON(nil))
	}
	for doc := range entityyaml.Documents([]byte(e.SpecString("definition")), entityyaml.Options{}) {
		if doc.Err != nil {
			t.Fatal(doc.Err)
		}
		want := map[string]any{"/api/alpha/yes": map[string]any{"get": map[string]any{"summary": "no", "tags": []any{"alpha"}}}}
		if d := cmp.Diff(want, doc.Value.(map[string]any)["paths"]); d != "" {
			t.Errorf("paths (-want +got):\n%s", d)
		}
	}
}

func TestInTheCatalog(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, catalogbackend.Plugin, catalogmodulebackstageopenapi.Module, backendtest.Silent())
	client := srv.Client(t).As(backendtest.User("user:default/ann"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var found []struct{ Spec struct{ Definition string } }
		client.Get("/api/catalog/entities?filter=kind=api,metadata.name=internal_backstage_openapi_doc").Expect(200).JSON(&found)
		if len(found) == 1 {
			if !strings.Contains(found[0].Spec.Definition, `"/api/catalog/entities/by-query": {`) {
				t.Error("the definition lacks the routes of the catalog")
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the entity is not there")
		}
	}
}
