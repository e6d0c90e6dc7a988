package catalogmoduleunprocessed_test

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmoduleunprocessed "github.com/flytower/flytower/plugins/catalog-backend-module-unprocessed"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// shelf is a provider with fixed entities.
type shelf struct {
	name     string
	entities []catalognode.DeferredEntity
}

func (s shelf) ProviderName() string { return s.name }

func (s shelf) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	_, err := c.ApplyFull(ctx, func(yield func(catalognode.DeferredEntity, error) bool) {
		for _, e := range s.entities {
			if !yield(e, nil) {
				return
			}
		}
	})
	return err
}

// shelves is a module with providers.
func shelves(all ...shelf) backend.Feature {
	return backend.NewModule("catalog", "shelves", func(env *backend.ModuleEnv) backend.InitFunc {
		processing := catalognode.Processing.From(env)
		return func(context.Context) error {
			for _, s := range all {
				if err := processing().AddProvider(s); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func item(t *testing.T, key, text string) catalognode.DeferredEntity {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return catalognode.DeferredEntity{Entity: e, LocationKey: key}
}

const annotations = `"annotations":{"backstage.io/managed-by-location":"url:https://x/y","backstage.io/managed-by-origin-location":"url:https://x/y"}`

func component(t *testing.T, key, name, spec string) catalognode.DeferredEntity {
	t.Helper()
	return item(t, key, `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"`+name+`",`+annotations+`},"spec":`+spec+`}`)
}

type row struct {
	ID          string  `json:"entity_id"`
	Ref         string  `json:"entity_ref"`
	Key         *string `json:"location_key"`
	Hash        *string `json:"unprocessed_hash"`
	Discovered  *string `json:"last_discovery_at"`
	Errors      any     `json:"errors"`
	Processed   any     `json:"processed_entity"`
	Unprocessed struct {
		Spec map[string]any `json:"spec"`
	} `json:"unprocessed_entity"`
}

type listing struct {
	Type     string `json:"type"`
	Entities []row  `json:"entities"`
}

func (l listing) refs() []string {
	refs := make([]string, 0, len(l.Entities))
	for _, e := range l.Entities {
		refs = append(refs, e.Ref)
	}
	slices.Sort(refs)
	return refs
}

func TestInTheCatalog(t *testing.T) {
	t.Parallel()
	backendtest.EachDatabase(t, func(t *testing.T, database backend.Feature) {
		srv := backendtest.Start(t, catalogbackend.Plugin, catalogmoduleunprocessed.Module, database, backendtest.Silent(),
			shelves(
				shelf{"first", []catalognode.DeferredEntity{
					component(t, "one", "good", `{"type":"service","lifecycle":"production","owner":"team-a"}`),
					component(t, "one", "broken", `{"type":"<service>","owner":"team-a"}`),
					component(t, "one", "hopeless", `{"owner":"group:default/team-b"}`),
				}},
				shelf{"second", []catalognode.DeferredEntity{
					component(t, "two", "good", `{"type":"other","lifecycle":"production","owner":"team-b"}`),
				}},
			))
		client := srv.Client(t).As(backendtest.User("user:default/ann"))
		get := func(path string) (l listing) {
			t.Helper()
			client.Get("/api/catalog/entities/unprocessed/" + path).Expect(200).JSON(&l)
			return l
		}
		failed := await(t, func() (listing, bool) { l := get("failed"); return l, len(l.Entities) == 2 })
		if d := cmp.Diff([]string{"component:default/broken", "component:default/hopeless"}, failed.refs()); d != "" || failed.Type != "failed" {
			t.Errorf("failed, of type %q (-want +got):\n%s", failed.Type, d)
		}
		broken := failed.Entities[slices.IndexFunc(failed.Entities, func(r row) bool { return strings.HasSuffix(r.Ref, "broken") })]
		problems, _ := broken.Errors.([]any)
		if len(problems) != 1 || !strings.Contains(problems[0].(map[string]any)["message"].(string), "lifecycle") {
			t.Errorf("errors are %v", broken.Errors)
		}
		if broken.Unprocessed.Spec["type"] != "<service>" || broken.Processed != nil || broken.Key == nil || *broken.Key != "one" || broken.Hash == nil {
			t.Errorf("row is %+v", broken)
		}
		if _, err := time.Parse(time.RFC3339, *broken.Discovered); err != nil {
			t.Error(err)
		}
		await(t, func() (listing, bool) { l := get("pending"); return l, len(l.Entities) == 2 }) // the good one is served by now
		for query, want := range map[string][]string{
			"?owner=team-a": {"component:default/broken"}, "?owner=team-b": {"component:default/hopeless"},
			"?owner=nobody": {}, "?owner=team-a&owner=team-b": {"component:default/broken", "component:default/hopeless"},
		} {
			if d := cmp.Diff(want, get("failed"+query).refs()); d != "" {
				t.Errorf("%s (-want +got):\n%s", query, d)
			}
		}

		var refused struct {
			Type     string
			Entities []map[string]any
		}
		client.Get("/api/catalog/entities/unprocessed/conflicts").Expect(200).JSON(&refused)
		if refused.Type != "conflicts" || len(refused.Entities) != 1 {
			t.Fatalf("conflicts are %v", refused)
		}
		c := refused.Entities[0]
		holder, loser := "one", "two"
		if c["new_location_key"] == "one" { // the providers connect in any order
			holder, loser = loser, holder
		}
		name := map[string]string{"one": "first", "two": "second"}
		if d := cmp.Diff(map[string]any{
			"entity_ref": "component:default/good", "new_location_key": loser, "existing_location_key": holder,
			"source": map[string]any{"provider": name[loser]}, "existing_sources": []any{map[string]any{"provider": name[holder]}},
			"unprocessed_entity": c["unprocessed_entity"], "since": c["since"],
			"reason":   "the provider " + name[holder] + " holds the entity under the location key " + holder + ", and keeps it until it lets go of it; remove or rename one of the two",
			"location": "url:https://x/y", "document": nil, "line": nil, "existing_document": nil,
		}, c); d != "" {
			t.Errorf("conflict (-want +got):\n%s", d)
		}

		client.Delete("/api/catalog/entities/unprocessed/delete/" + broken.ID).Expect(204)
		client.Delete("/api/catalog/entities/unprocessed/delete/" + broken.ID).Expect(204)
		client.Delete("/api/catalog/entities/unprocessed/delete/no-id").Expect(204)
		if d := cmp.Diff([]string{"component:default/hopeless"}, get("pending").refs()); d != "" {
			t.Errorf("after the deletion (-want +got):\n%s", d)
		}
	})
}

// await asks until what it gets is good.
func await[T any](t *testing.T, ask func() (T, bool)) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		have, ok := ask()
		if ok {
			return have
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still %+v", have)
		}
	}
}

// state is a catalog that fails, or has entities.
type state struct {
	catalognode.UnprocessedExtensionPoint
	entities []catalognode.UnprocessedEntity
	err      error
}

func (s state) Pending(context.Context, string) iter.Seq2[catalognode.UnprocessedEntity, error] {
	return func(yield func(catalognode.UnprocessedEntity, error) bool) {
		for _, e := range s.entities {
			if !yield(e, nil) {
				return
			}
		}
		if s.err != nil {
			yield(catalognode.UnprocessedEntity{}, s.err)
		}
	}
}

func (s state) Delete(context.Context, string) (bool, error) { return false, s.err }

func start(t *testing.T, s state, more ...backend.Feature) backendtest.Client {
	t.Helper()
	features := append([]backend.Feature{
		catalogmoduleunprocessed.Module, backendtest.Silent(),
		backendtest.Offer[catalognode.UnprocessedExtensionPoint](catalognode.Unprocessed, s),
	}, more...)
	return backendtest.Start(t, features...).Client(t).As(backendtest.User("user:default/ann"))
}

func TestRowOfWhatWasNeverProcessed(t *testing.T) {
	t.Parallel()
	client := start(t, state{entities: []catalognode.UnprocessedEntity{{
		ID: "1", Ref: "a:b/c", Unprocessed: []byte(`{"kind":"<A>"}`), UnprocessedHash: "h",
		Next: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Discovered: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}, {ID: "2"}}})
	const want = `{"type":"pending","entities":[{"entity_id":"1","entity_ref":"a:b/c","unprocessed_entity":{"kind":"<A>"},"unprocessed_hash":"h",` +
		`"processed_entity":null,"result_hash":null,"cache":null,"errors":"","location_key":null,` +
		`"next_update_at":"2026-01-02T03:04:05.006Z","last_discovery_at":"2026-01-02T03:04:05.000Z"}` + "\n" +
		`,{"entity_id":"2","entity_ref":"","unprocessed_entity":null,"unprocessed_hash":null,"processed_entity":null,"result_hash":null,"cache":null,` +
		`"errors":"","location_key":null,"next_update_at":null,"last_discovery_at":null}` + "\n]}"
	if d := cmp.Diff(want, client.Get("/api/catalog/entities/unprocessed/pending").Expect(200).Text()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	// Fewer than the router keeps back: the answer is an error, not half a list.
	client := start(t, state{entities: make([]catalognode.UnprocessedEntity, 3), err: errors.New("the database is gone")})
	client.Get("/api/catalog/entities/unprocessed/pending").ExpectError(500, "Error")
	client.Delete("/api/catalog/entities/unprocessed/delete/1").ExpectError(500, "Error")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		denied       string
		read, delete int
	}{
		{"catalog.entities.unprocessed.read", http.StatusForbidden, http.StatusNoContent},
		{"catalog.entities.unprocessed.delete", http.StatusOK, http.StatusForbidden},
	} {
		t.Run(tc.denied, func(t *testing.T) {
			t.Parallel()
			srv := backendtest.Start(t, catalogbackend.Plugin, catalogmoduleunprocessed.Module, backendtest.Silent(),
				backendtest.Permissions(func(_ core.Credentials, r core.AuthorizeRequest) core.Decision {
					if r.Permission.Name == tc.denied {
						return core.Decision{Result: core.Denied}
					}
					return core.Decision{Result: core.Allowed}
				}))
			client := srv.Client(t).As(backendtest.User("user:default/ann"))
			for _, path := range []string{"failed", "pending", "conflicts"} {
				answer := client.Get("/api/catalog/entities/unprocessed/" + path).Expect(tc.read)
				if tc.read != http.StatusOK {
					answer.ExpectError(tc.read, "NotAllowedError")
				}
			}
			client.Delete("/api/catalog/entities/unprocessed/delete/x").Expect(tc.delete)
			srv.Client(t).As(backendtest.Nobody()).Get("/api/catalog/entities/unprocessed/failed").Expect(http.StatusUnauthorized)

			var published struct {
				Permissions []struct{ Name, Type string }
			}
			client.Get("/api/catalog/.well-known/backstage/permissions/metadata").Expect(200).JSON(&published)
			if !slices.ContainsFunc(published.Permissions, func(p struct{ Name, Type string }) bool { return p.Name == tc.denied && p.Type == "basic" }) {
				t.Errorf("%s is not published: %v", tc.denied, published.Permissions)
			}
		})
	}
}
