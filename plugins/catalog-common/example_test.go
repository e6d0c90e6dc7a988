package catalogcommon_test

import (
	"fmt"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

// A file on its way into the catalog: read, held to the policy, validated,
// related, indexed.
func Example() {
	text := []byte("apiVersion: backstage.io/v1alpha1\nkind: Domain\nmetadata:\n  name: Shop\nspec:\n  owner: retail\n")
	policy := catalogcommon.DefaultPolicy(catalogcommon.Validators{})
	known := kinds.NewSet(kinds.Core()...)

	for doc := range entityyaml.Documents(text, entityyaml.Options{}) {
		entity, err := doc.Entity()
		if err == nil {
			err = catalogcommon.ValidateEnvelope(entity)
		}
		if err == nil {
			err = policy(entity)
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		if ok, err := known.Validate(entity); !ok || err != nil {
			fmt.Println("not valid:", err)
			continue
		}
		relations, _ := known.Relations(entity)
		rows, _ := entitysearch.Rows(entity)
		fmt.Println(entity.Ref(), relations[0].Type, relations[0].Target, len(rows))
		fmt.Println(string(entity.AppendJSON(nil)))
	}
	// Output:
	// domain:default/shop ownedBy group:default/retail 6
	// {"apiVersion":"backstage.io/v1alpha1","kind":"Domain","metadata":{"name":"Shop","namespace":"default"},"spec":{"owner":"retail"}}
}
