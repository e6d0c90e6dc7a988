package locations_test

import (
	"context"
	"iter"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/configtest"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/locations"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// applied keeps the location keys of each full mutation.
type applied struct {
	catalognode.ProviderConnection
	keys [][]string
}

func (a *applied) ApplyFull(_ context.Context, entities iter.Seq2[catalognode.DeferredEntity, error]) (catalognode.MutationReport, error) {
	var keys []string
	for d, err := range entities {
		if err != nil {
			return catalognode.MutationReport{}, err
		}
		keys = append(keys, d.LocationKey)
	}
	a.keys = append(a.keys, keys)
	return catalognode.MutationReport{}, nil
}

func TestConfiguredFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	config, update := configtest.Live(t, "catalog: {locations: [{type: url, target: https://x/a.yaml}, {type: file, target: b.yaml}]}")
	var failures []error
	p := locations.NewConfigured(config, func(_ context.Context, err error) { failures = append(failures, err) })
	var a applied
	if err := p.Connect(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	update("catalog: {locations: [{type: url, target: https://x/c.yaml}]}")
	update("catalog: {locations: [{type: url}]}")
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	update("catalog: {locations: []}")
	b, err := filepath.Abs("b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"url:https://x/a.yaml", "file:" + b}, {"url:https://x/c.yaml"}}
	if diff := cmp.Diff(want, a.keys); diff != "" {
		t.Errorf("handed in (-want +have):\n%s", diff)
	}
	if len(failures) != 1 || slices.Contains(failures, nil) {
		t.Errorf("failures: %v, want one", failures)
	}
}
