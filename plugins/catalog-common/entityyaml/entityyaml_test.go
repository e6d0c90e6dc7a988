package entityyaml_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
)

func TestEntity(t *testing.T) {
	t.Parallel()
	want := []string{`entity {"kind":"A"}`, "skip", "Expected object at root, got string", "Expected object at root, got object", "Expected object at root, got number", "Expected object at root, got boolean", "error"}
	var got []string
	for doc := range entityyaml.Documents([]byte("kind: A\n---\n---\ntext\n---\n- list\n---\n3\n---\ntrue\n---\na: [\n"), entityyaml.Options{}) {
		e, err := doc.Entity()
		var root *entityyaml.RootError
		switch {
		case errors.As(err, &root):
			got = append(got, err.Error())
		case err != nil:
			got = append(got, "error")
		case e == nil:
			got = append(got, "skip")
		default:
			got = append(got, "entity "+string(e.AppendJSON(nil)))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
