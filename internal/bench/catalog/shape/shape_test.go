package shape_test

import (
	"testing"

	"github.com/flytower/flytower/internal/bench/catalog/shape"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

func TestEntities(t *testing.T) {
	t.Parallel()
	set := kinds.NewSet(append(kinds.Core(), kinds.Template())...)
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	for _, c := range []struct {
		catalog                    shape.Catalog
		minTerms, maxTerms         int
		minRelations, maxRelations int // ends of relations for each ten entities
	}{
		{catalog: shape.Catalog{Form: shape.Large, Entities: 3000}, minTerms: 17, maxTerms: 25, minRelations: 70, maxRelations: 90},
		{catalog: shape.Catalog{Form: shape.Regular, Entities: 1000}, minTerms: 12, maxTerms: 25, minRelations: 60, maxRelations: 90},
	} {
		t.Run(string(c.catalog.Form), func(t *testing.T) {
			t.Parallel()
			refs, terms, relations := map[string]bool{}, 0, 0
			for e := range c.catalog.All() {
				if err := policy(e); err != nil {
					t.Fatalf("%s is refused: %v", e.Ref(), err)
				}
				if known, err := set.Validate(e); err != nil || !known {
					t.Fatalf("%s is refused: known %v, %v", e.Ref(), known, err)
				}
				refs[e.Ref().String()] = true
				rows, conflicts := entitysearch.Rows(e)
				if len(conflicts) > 0 {
					t.Fatalf("%s has conflicting keys: %v", e.Ref(), conflicts)
				}
				for _, r := range rows {
					if !r.Derived {
						terms++
					}
				}
				found, err := set.Relations(e)
				if err != nil {
					t.Fatal(err)
				}
				relations += len(found)
			}
			n := c.catalog.Entities
			if len(refs) != n {
				t.Errorf("%d entities have %d refs", n, len(refs))
			}
			if per := terms / n; per < c.minTerms || per > c.maxTerms {
				t.Errorf("%d search terms per entity beside those of relations, want %d to %d", per, c.minTerms, c.maxTerms)
			}
			if per := 10 * relations / n; per < c.minRelations || per > c.maxRelations {
				t.Errorf("%d relations per ten entities, want %d to %d", per, c.minRelations, c.maxRelations)
			}
			for _, ref := range []catalogcommon.Ref{c.catalog.Component(0), c.catalog.Component(1234), c.catalog.Group(3), c.catalog.System(5)} {
				if !refs[ref.String()] {
					t.Errorf("the catalog has no %s", ref)
				}
			}
		})
	}
}

func TestRelated(t *testing.T) {
	t.Parallel()
	got, err := shape.Catalog{Form: shape.Regular, Entities: 1000}.Related()
	if err != nil {
		t.Fatal(err)
	}
	// 50 groups own; 200 systems, 188 APIs and 562 components are owned.
	if got["ownedBy"] != 950 || got["ownerOf"] != 50 || got["providesApi"] != 562 {
		t.Errorf("got %v", got)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	c := shape.Catalog{Form: shape.Regular, Entities: 450, Changed: "x"}
	n := 0
	for e := range c.All() {
		if e.Label(shape.ChangeLabel) == "x" {
			n++
		}
	}
	if n != 5 || c.ChangedEntities() != n {
		t.Errorf("%d entities are changed, and %d are said to be", n, c.ChangedEntities())
	}
}
