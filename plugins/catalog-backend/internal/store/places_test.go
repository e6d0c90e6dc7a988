package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
)

// placed hands in a component that was read at a location and depends on keys,
// and processes it.
func placed(t *testing.T, s *store.Store, name, location, origin string, keys ...string) {
	t.Helper()
	ref := "component:default/" + name
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Component","metadata":{"name":%q,"annotations":{"backstage.io/managed-by-location":%q,"backstage.io/managed-by-origin-location":%q}}}`, name, location, origin)
	if _, err := s.ApplyDelta(t.Context(), "p", []store.Deferred{{Ref: ref, Body: text, Hash: name, LocationKey: "p"}}, nil, store.LaneNew); err != nil {
		t.Fatal(err)
	}
	for _, w := range claim(t, s) {
		if _, err := s.Save(t.Context(), []store.Result{{Work: w, Hash: "h", OK: true, Processed: text, Keys: keys}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefreshPlaces(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		s := store.New(db.Service, store.Options{})
		placed(t, s, "read-there", "url:https://Host/Acme/Shop/blob/main/a.yaml", "url:https://Host/other")
		placed(t, s, "begun-there", "url:https://host/elsewhere", "url:https://host/acme/shop/blob/main/a.yaml")
		placed(t, s, "needs-it", "url:https://host/x", "url:https://host/x", "url:https://host/acme/shop/blob/main/a.yaml")
		placed(t, s, "needs-other-case", "url:https://host/x", "url:https://host/x", "url:https://host/Acme/Shop/blob/main/a.yaml")
		placed(t, s, "neighbour", "url:https://host/acme/shop-tools/blob/main/a.yaml", "url:https://host/acme/shop-tools/a", "url:https://host/acme/shop")
		for label, tc := range map[string]struct {
			locations, prefixes []string
			want                []string
		}{
			"nothing":                {want: []string{}},
			"elsewhere":              {locations: []string{"url:https://host/acme/shop/blob/main/b.yaml"}, want: []string{}},
			"location":               {locations: []string{"url:https://host/acme/shop/blob/main/a.yaml"}, want: []string{"begun-there", "needs-it", "read-there"}},
			"any case":               {locations: []string{"url:https://HOST/Acme/Shop/blob/main/a.yaml"}, want: []string{"begun-there", "read-there"}},
			"repository":             {prefixes: []string{"url:https://host/acme/shop/"}, want: []string{"begun-there", "needs-it", "read-there"}},
			"wildcards mean nothing": {prefixes: []string{"url:https://host/%/"}, locations: []string{"url:%"}, want: []string{}},
			"both":                   {prefixes: []string{"url:https://host/acme/shop/"}, locations: []string{"url:https://host/acme/shop/blob/main/a.yaml"}, want: []string{"begun-there", "needs-it", "read-there"}},
		} {
			n, err := s.RefreshPlaces(t.Context(), tc.locations, tc.prefixes)
			if err != nil || n != len(tc.want) {
				t.Errorf("%s: refreshed %d, %v", label, n, err)
			}
			got := []string{}
			for _, w := range claim(t, s) {
				got = append(got, w.Ref[len("component:default/"):])
				if w.Lane != store.LaneInteractive {
					t.Errorf("%s: %s is in lane %d", label, w.Ref, w.Lane)
				}
				if _, err := s.Save(t.Context(), []store.Result{{Work: w, Hash: w.ResultHash, OK: true}}); err != nil {
					t.Fatal(err)
				}
			}
			slices.Sort(got)
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%s: due (-want +got):\n%s", label, d)
			}
		}
		if _, err := s.RefreshPlaces(t.Context(), nil, []string{"url:https://host"}); err == nil {
			t.Error("a prefix that does not end in a slash is taken, which would hold for other hosts, too")
		}
	})
}
