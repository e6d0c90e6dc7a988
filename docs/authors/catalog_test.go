package authors_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmoduleincrementalingestion "github.com/flytower/flytower/plugins/catalog-backend-module-incremental-ingestion"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/incremental"
)

// directory is a made-up source of robots, one per page.
type directory []string

func (d directory) list(_ context.Context, cursor string) ([]catalognode.DeferredEntity, json.RawMessage, error) {
	page := 0
	if cursor != "" {
		if err := json.Unmarshal([]byte(cursor), &page); err != nil {
			return nil, nil, err
		}
	}
	robot := catalogcommon.Entity{"apiVersion": "acme.example/v1", "kind": "Robot", "metadata": map[string]any{"name": d[page]}, "spec": map[string]any{"legs": 2.0}}
	robot.SetAnnotation(catalogcommon.AnnotationLocation, "url:https://staff.example/")
	robot.SetAnnotation(catalogcommon.AnnotationOriginLocation, "url:https://staff.example/")
	var next json.RawMessage
	if page+1 < len(d) {
		next, _ = json.Marshal(page + 1) // a number encodes
	}
	return []catalognode.DeferredEntity{{Entity: robot}}, next, nil
}

type staff struct{ directory directory }

func (staff) ProviderName() string { return "staff" }

func (s staff) Burst(ctx context.Context, read incremental.ReadFunc) error {
	return read(ctx, func(ctx context.Context, cursor json.RawMessage) (incremental.Page, error) {
		people, next, err := s.directory.list(ctx, string(cursor))
		if err != nil {
			return incremental.Page{}, err // asked for again later; nothing is removed
		}
		return incremental.Page{Entities: people, Next: next}, nil
	})
}

// features collects what is added, as a backend does.
type features []backend.Feature

func (f *features) Add(all ...backend.Feature) { *f = append(*f, all...) }

func TestCatalogModules(t *testing.T) {
	t.Parallel()
	var b features
	robots := model.Layer{ID: "acme.example/robots", Ops: model.AddKind(model.Kind{
		Group: "acme.example", Kind: "Robot", Singular: "robot", Plural: "robots", Description: "A machine that moves.",
		Versions: []model.Version{{
			Names:          []string{"v1"},
			Schema:         model.MustParseSchema([]byte(`{"properties": {"spec": {"type": "object", "required": ["legs"]}}}`)),
			RelationFields: []model.RelationField{{Path: "spec.owner", Relation: "ownedBy", DefaultKind: "Group"}},
		}},
	})}
	b.Add(backendtest.Silent())
	b.Add(catalogbackend.Plugin, catalognode.ProvideStaticModel(robots))
	b.Add(catalogmoduleincrementalingestion.Module, backend.NewModule("catalog", "staff", func(env *backend.ModuleEnv) backend.InitFunc {
		providers := incremental.Providers.From(env)
		return func(context.Context) error {
			return providers().AddProvider(staff{directory{"kim", "lee"}}, incremental.Options{BurstLength: time.Minute, RestLength: time.Hour})
		}
	}))
	srv := backendtest.Start(t, b...)
	if err := srv.WaitForTask(t, "catalog", "staff"); err != nil {
		t.Fatal(err)
	}
	client := srv.Client(t).As(backendtest.User("user:default/ann"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var found []struct{ Metadata struct{ Name string } }
		client.Get("/api/catalog/entities?filter=kind=robot&fields=metadata.name").Expect(200).JSON(&found)
		if len(found) == 2 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the catalog has %v", found)
		}
	}
}
