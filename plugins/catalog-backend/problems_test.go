package catalogbackend

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

func TestLimitsOfProviders(t *testing.T) {
	t.Parallel()
	percent := 12.5
	for _, c := range []struct {
		name, config string
		want         store.Limits
		err          string
	}{
		{name: "none", config: "catalog: {providerOptions: {p: {disabled: false}}}"},
		{name: "both", config: "catalog: {providerOptions: {p: {rejectRemovalsAbovePercentage: 12.5, rejectEmptySourceCollections: true}}}", want: store.Limits{Removals: &percent, NotEmpty: true}},
		{name: "more than all", config: "catalog: {providerOptions: {p: {rejectRemovalsAbovePercentage: 101}}}", err: "rejectRemovalsAbovePercentage"},
		{name: "no number", config: "catalog: {providerOptions: {p: {rejectRemovalsAbovePercentage: [1]}}}", err: "rejectRemovalsAbovePercentage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := readSettings(configtest.FromYAML(t, c.config))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one that names %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.limits["p"]); diff != "" {
				t.Errorf("limits (-want +have):\n%s", diff)
			}
		})
	}
}

func TestProblemsOfTheCatalog(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		ctx := t.Context()
		p := &problems{}
		for _, err := range p.Pending(ctx, "") {
			if apierr.KindOf(err) != apierr.KindServiceUnavailable {
				t.Errorf("before the start: %v", err)
			}
		}
		if err := db.Service.Migrate(ctx, schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		state := store.New(db.Service, store.Options{})
		p.open(state)
		body := func(owner string) string {
			return `{"kind":"Component","metadata":{"name":"a","namespace":"ops"},"spec":{"owner":"` + owner + `"}}`
		}
		for _, d := range []struct{ provider, ref, owner, key string }{
			{"p", "component:ops/a", "night-shift", "p"}, {"p", "component:ops/b", "group:default/day-shift", "p"}, {"q", "component:ops/a", "x", "q"},
		} {
			if _, err := state.ApplyDelta(ctx, d.provider, []store.Deferred{{Ref: d.ref, Body: body(d.owner), Hash: d.owner, LocationKey: d.key}}, nil, store.LaneNew); err != nil {
				t.Fatal(err)
			}
		}
		for owner, want := range map[string][]string{
			"":                      {"component:ops/a", "component:ops/b"},
			"night-shift":           {"component:ops/a"},
			"group:ops/Night-Shift": {"component:ops/a"},
			"day-shift":             {"component:ops/b"},
			"nobody":                nil,
		} {
			var refs []string
			var first catalognode.UnprocessedEntity
			for u, err := range p.Pending(ctx, owner) {
				if err != nil {
					t.Fatal(err)
				}
				if refs = append(refs, u.Ref); first.Ref == "" {
					first = u
				}
			}
			if diff := cmp.Diff(want, refs); diff != "" {
				t.Errorf("of %q (-want +have):\n%s", owner, diff)
			}
			if want != nil && (first.ID == "" || len(first.Unprocessed) == 0 || first.Errors != nil) {
				t.Errorf("of %q: %+v", owner, first)
			}
		}
		for c, err := range p.Conflicts(ctx) {
			if err != nil || c.Ref != "component:ops/a" || c.Source.Provider != "q" || c.Wanted != "q" || c.Holder != "p" || len(c.Holders) != 1 {
				t.Errorf("conflict %+v, %v", c, err)
			}
		}
	})
}
