package kinds_test

import (
	"fmt"
	"testing"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
)

func TestX(t *testing.T) {
	e, _ := catalogcommon.ParseEntity([]byte(`{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"a"},"spec":{"lifecycle":1,"owner":""}}`))
	for _, k := range append(kinds.Core(), kinds.Template()) {
		fmt.Println(k.Validate(e))
	}
}
