package exampledata_test

import (
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"

	"github.com/flytower/flytower/internal/exampledata"
)

// What a newcomer sees first must be right: every entity is valid, and every
// relation leads to one that is there.
func TestEntities(t *testing.T) {
	t.Parallel()
	entities, err := exampledata.Entities()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, e := range entities {
		there[e.Entity.Ref().String()] = true
	}
	set := kinds.NewSet(append(kinds.Core(), kinds.Template())...)
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	for _, handed := range entities {
		e := handed.Entity
		ref := e.Ref().String()
		if err := policy(e); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		if known, err := set.Validate(e); err != nil || !known {
			t.Errorf("%s: known %v, %v", ref, known, err)
		}
		relations, err := set.Relations(e)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		for _, r := range relations {
			for _, end := range []string{r.Source.String(), r.Target.String()} {
				if !there[end] {
					t.Errorf("%s: relation %s leads to %s, which is not there", ref, r.Type, end)
				}
			}
		}
	}
	if len(entities) < 20 {
		t.Errorf("only %d entities", len(entities))
	}
}
