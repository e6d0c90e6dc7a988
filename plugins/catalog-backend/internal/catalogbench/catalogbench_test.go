package catalogbench_test

import (
	"maps"
	"testing"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/catalogbench"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

func TestShape(t *testing.T) {
	t.Parallel()
	const n = 3000
	refs, kinds := map[string]bool{}, map[string]int{}
	values, relations := 0, 0
	for e := range catalogbench.Entities(n) {
		rows, conflicts := entitysearch.Rows(e)
		if len(conflicts) > 0 {
			t.Fatalf("%s has conflicting keys: %v", e.Name(), conflicts)
		}
		handedIn := maps.Clone(e)
		delete(handedIn, "relations")
		if err := catalogcommon.DefaultPolicy(catalogcommon.Validators{})(handedIn); err != nil {
			t.Fatalf("%s is refused: %v", e.Name(), err)
		}
		refs[e.Kind()+":"+e.Namespace()+"/"+e.Name()] = true
		kinds[e.Kind()]++
		if e.Kind() == "Group" {
			continue
		}
		for _, r := range rows {
			switch {
			case r.Derived:
			case len(r.Key) > 10 && r.Key[:10] == "relations.":
				relations++
			default:
				values++
			}
		}
	}
	if len(refs) != n {
		t.Errorf("%d entities have %d refs", n, len(refs))
	}
	entities := n - kinds["Group"]
	if perEntity := values / entities; perEntity < 18 || perEntity > 30 {
		t.Errorf("%d values per entity", perEntity)
	}
	if perEntity := relations / entities; perEntity < 7 || perEntity > 9 {
		t.Errorf("%d relations per entity", perEntity)
	}
	if kinds["Component"] < n/2 || len(kinds) < 9 {
		t.Errorf("kinds: %v", kinds)
	}
}
