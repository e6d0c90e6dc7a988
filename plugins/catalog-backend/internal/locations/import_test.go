package locations_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/api"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/locations"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// TestImport begins with a database as Backstage leaves it.
func TestImport(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		ctx := t.Context()
		const id = "0e3b9f8e-6f0a-4a39-8d06-1df0c8bb5f2a"
		for _, statement := range []string{
			"CREATE TABLE locations (id uuid PRIMARY KEY, type varchar(255) NOT NULL, target text NOT NULL)",
			"CREATE TABLE search (entity_id varchar(255), key varchar(255), value text)",
			"CREATE TABLE relations (originating_entity_id varchar(255))",
			"CREATE TABLE refresh_keys (entity_id varchar(255), key varchar(255))",
			"INSERT INTO locations VALUES ('" + id + "', 'url', 'https://x/a.yaml'), ('1e3b9f8e-6f0a-4a39-8d06-1df0c8bb5f2a', 'bootstrap', 'bootstrap')",
		} {
			if _, err := db.DB.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Service.Migrate(ctx, schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} { // the second time nothing is left to do
			if n, err := locations.Import(ctx, db.Service); err != nil || n != want {
				t.Fatalf("Import = %d, %v; want %d", n, err, want)
			}
		}
		registered := locations.NewRegistered(db.Service, func(context.Context, string) error { return nil }, nil)
		have, err := registered.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		name := catalogcommon.LocationRef{Type: "url", Target: "https://x/a.yaml"}.EntityName()
		want := []api.Location{{ID: id, Type: "url", Target: "https://x/a.yaml", EntityRef: "location:default/" + name}}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("locations (-want +have):\n%s", diff)
		}
	})
}

func TestNothingToImport(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		if n, err := locations.Import(t.Context(), db.Service); err != nil || n != 0 {
			t.Errorf("Import = %d, %v", n, err)
		}
	})
}
