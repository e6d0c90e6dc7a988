package catalogmoduleopenapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backendtest"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmoduleopenapi "github.com/flytower/flytower/plugins/catalog-backend-module-openapi"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func TestInTheCatalog(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"/repo/catalog-info.yaml": `
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: seats}
spec: {type: openapi, lifecycle: production, owner: box-office, definition: {$openapi: api/openapi.yaml}}
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: events}
spec: {type: asyncapi, lifecycle: production, owner: box-office, definition: {$asyncapi: ./api/async.json}}
`,
		"/repo/api/openapi.yaml":     "openapi: 3.1.0\npaths: {/seats: {$ref: paths/seats.yaml}}\n",
		"/repo/api/paths/seats.yaml": "get: {summary: All seats, responses: {$ref: ../responses.yaml}}\n",
		"/repo/api/responses.yaml":   "200: {description: ok}\n",
		"/repo/api/async.json":       `{"asyncapi": "3.0.0", "channels": {"a": {"address": "a"}}, "operations": {"o": {"channel": {"$ref": "#/channels/a"}}}}`,
	}
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(host.Close)
	srv := backendtest.Start(t, catalogbackend.Plugin, catalogmoduleopenapi.Module, backendtest.Silent(), backendtest.YAML(fmt.Sprintf(`
backend: {reading: {allow: [{host: %q}]}}
catalog: {locations: [{type: url, target: "%s/repo/catalog-info.yaml"}]}
`, strings.TrimPrefix(host.URL, "http://"), host.URL)))
	client := srv.Client(t).As(backendtest.User("user:default/ann"))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var entities []struct {
			Metadata struct{ Name string }
			Spec     struct{ Definition string }
		}
		client.Get("/api/catalog/entities?filter=kind=api").Expect(200).JSON(&entities)
		have := map[string]string{}
		for _, e := range entities {
			have[e.Metadata.Name] = e.Spec.Definition
		}
		want := map[string]string{
			"seats":  "openapi: 3.1.0\npaths:\n  /seats:\n    get:\n      summary: All seats\n      responses:\n        \"200\":\n          description: ok\n",
			"events": "asyncapi: 3.0.0\nchannels:\n  a:\n    address: a\noperations:\n  o:\n    channel:\n      $ref: \"#/channels/a\"\n",
		}
		d := cmp.Diff(want, have)
		if d == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
}

// point collects what the module adds.
type point struct {
	catalognode.ProcessingExtensionPoint
	resolvers map[string]catalognode.PlaceholderResolver
}

func (p point) AddPlaceholderResolver(key string, r catalognode.PlaceholderResolver) error {
	p.resolvers[key] = r
	return nil
}

// emitter collects refresh keys.
type emitter struct {
	catalognode.Emitter
	mu   sync.Mutex
	keys []string
}

func (e *emitter) Refresh(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys = append(e.keys, key)
}

func resolvers(t *testing.T) map[string]catalognode.PlaceholderResolver {
	t.Helper()
	p := point{resolvers: map[string]catalognode.PlaceholderResolver{}}
	backendtest.Start(t, catalogmoduleopenapi.Module, backendtest.Silent(), backendtest.Offer[catalognode.ProcessingExtensionPoint](catalognode.Processing, p))
	return p.resolvers
}

func TestRefreshKeysAndErrors(t *testing.T) {
	t.Parallel()
	all := resolvers(t)
	if have := slices.Sorted(maps.Keys(all)); !slices.Equal(have, []string{"asyncapi", "openapi"}) {
		t.Fatalf("placeholders are %v", have)
	}
	files := map[string]string{
		"at/root.yaml": "{a: {$ref: x.yaml}, b: {$ref: x.yaml}, c: {$ref: y.yaml}}", "at/x.yaml": "{d: {$ref: y.yaml}}", "at/y.yaml": "1",
		"at/broken.yaml": "{a: {$ref: gone.yaml}}",
	}
	for _, tc := range []struct {
		value, err any
		keys       []string
	}{
		{"root.yaml", nil, []string{"url:at/root.yaml", "url:at/x.yaml", "url:at/y.yaml"}},
		{"broken.yaml", "Placeholder $openapi unable to bundle the file at broken.yaml, at/gone.yaml, to which \"gone.yaml\" in at/broken.yaml refers, could not be read: gone",
			[]string{"url:at/broken.yaml", "url:at/gone.yaml"}}, // so that it is mended once the file is there
		{"none.yaml", "Placeholder $openapi could not read location none.yaml, gone", []string{"url:at/none.yaml"}},
		{":", "Placeholder $openapi could not form a URL out of at and :, bad", nil},
		{5.0, "Placeholder $openapi expected a string, the URL of a file or its path relative to the catalog file, found float64", nil},
	} {
		t.Run(fmt.Sprint(tc.value), func(t *testing.T) {
			t.Parallel()
			e := &emitter{}
			_, err := all["openapi"](t.Context(), catalognode.Placeholder{
				Key: "openapi", Value: tc.value, BaseURL: "at", Emit: e,
				Read: func(_ context.Context, url string) ([]byte, error) {
					if text, ok := files[url]; ok {
						return []byte(text), nil
					}
					return nil, errors.New("gone")
				},
				Resolve: func(ref, _ string) (string, error) {
					if ref == ":" {
						return "", errors.New("bad")
					}
					return "at/" + ref, nil
				},
			})
			if tc.err == nil && err != nil || tc.err != nil && (err == nil || err.Error() != tc.err) {
				t.Errorf("error is %v", err)
			}
			slices.Sort(e.keys)
			if d := cmp.Diff(tc.keys, e.keys); d != "" {
				t.Errorf("refresh keys (-want +got):\n%s", d)
			}
		})
	}
}
