package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/engine"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func TestARefusedMutationIsAnErrorThatIsCounted(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		migrate(t, db)
		var refused []string
		i := start(t, db.Service, &memory{}, time.Now, func(c *engine.Config) {
			c.Limits = map[string]store.Limits{"careful": {NotEmpty: true}}
			c.OnRefused = func(_ context.Context, provider string) { refused = append(refused, provider) }
		})
		careful := &provider{name: "careful"}
		if err := i.engine.Connect(t.Context(), []catalognode.EntityProvider{careful}, true); err != nil {
			t.Fatal(err)
		}
		if _, err := careful.ApplyFull(t.Context(), all(memLocation("a"))); err != nil {
			t.Fatal(err)
		}
		if _, err := careful.ApplyFull(t.Context(), all()); apierr.KindOf(err) != apierr.KindConflict {
			t.Errorf("an empty mutation: %v, want a conflict", err)
		}
		if len(refused) != 1 || refused[0] != "careful" {
			t.Errorf("counted: %v", refused)
		}
	})
}
