package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

// Providers that hand the same entities in and take them back at the same
// time: the text of an entity is always that of who holds it, whoever still
// wants it has it, and nobody is left behind as its second holder.
func TestProvidersThatContend(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w, ctx := leafWorld(t, db), t.Context()
		providers, refs := []string{"p", "q", "r"}, []string{refOf("a"), refOf("b")}
		const rounds = 40
		for round := range rounds {
			var all sync.WaitGroup
			for i, provider := range providers {
				all.Go(func() {
					for turn := range 4 {
						added, removed := []store.Deferred(nil), refs
						if (round+i+turn)%3 != 0 {
							removed = nil
							for _, ref := range refs {
								added = append(added, item{ref: ref, key: provider, version: 1000*(i+1) + round}.deferred())
							}
						}
						if _, err := w.store.ApplyDelta(ctx, provider, added, removed, store.LaneNew); err != nil {
							t.Errorf("ApplyDelta of %s: %v", provider, err)
						}
					}
				})
			}
			all.Wait()
			if w.contended(t, ctx, round, providers, refs); t.Failed() {
				return
			}
		}
	})
}

// contended checks the entities after a round: the last turn of a provider
// says whether it wants them.
func (w *world) contended(t *testing.T, ctx context.Context, round int, providers, refs []string) {
	t.Helper()
	wanted := map[string]bool{}
	for i, provider := range providers {
		wanted[provider] = (round+i+3)%3 != 0
	}
	for _, ref := range refs {
		var holder, body string
		if err := w.db.DB.QueryRowContext(ctx, "SELECT COALESCE(location_key, ''), unprocessed FROM entity WHERE ref = '"+ref+"'").Scan(&holder, &body); err != nil {
			t.Errorf("round %d: nobody has %s, which %v want: %v", round, ref, wanted, err)
			continue
		}
		i := strings.Index("pqr", holder)
		if want := fmt.Sprintf(`"v%d"`, 1000*(i+1)+round); !wanted[holder] || !strings.Contains(body, want) {
			t.Errorf("round %d: %s is held by %s, of %v, with %s", round, ref, holder, wanted, body)
		}
		rows, err := w.db.DB.QueryContext(ctx, "SELECT p.provider FROM provider_edge p JOIN entity e ON e.id = p.target_id WHERE e.ref = '"+ref+"'")
		if err != nil {
			t.Fatal(err)
		}
		var edges []string
		for rows.Next() {
			var provider string
			if err := rows.Scan(&provider); err != nil {
				t.Fatal(err)
			}
			edges = append(edges, provider)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{holder}, edges); diff != "" {
			t.Errorf("round %d: %s is handed in by (-want +got):\n%s", round, ref, diff)
		}
	}
}
