package actionfilter_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/actionfilter"
	"github.com/flytower/flytower/internal/configtest"
)

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := actionfilter.Read(configtest.FromYAML(t, `
		backend:
		  actions:
		    pluginSources: [catalog, search]
		    filter:
		      include:
		        - id: catalog:*
		        - attributes: { readOnly: true, destructive: false }
		      exclude:
		        - id: catalog:delete-*
	`))
	if err != nil {
		t.Fatal(err)
	}
	want := actionfilter.Filter{
		Sources: []string{"catalog", "search"},
		Include: []actionfilter.Rule{{ID: "catalog:*"}, {Attributes: map[string]bool{"readOnly": true, "destructive": false}}},
		Exclude: []actionfilter.Rule{{ID: "catalog:delete-*"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
}

func TestReadSources(t *testing.T) {
	t.Parallel()
	if f, err := actionfilter.Read(configtest.FromYAML(t, `backend: {}`)); err != nil || !f.Shows("any", "any:x", nil) {
		t.Errorf("without configuration: %v, %v", f, err)
	}
	if f, err := actionfilter.Read(configtest.FromYAML(t, `backend: { actions: { pluginSources: [] } }`)); err != nil || f.Shows("any", "any:x", nil) {
		t.Errorf("with no sources: %v, %v", f, err)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{`backend: { actions: { filter: { include: [ { id: "[x" } ] } } }`, "is no glob"},
		{`backend: { actions: { filter: { exclude: [ { attributes: { nice: true } } ] } } }`, "is no attribute"},
		{`backend: { actions: { filter: { exclude: [ { attributes: { readOnly: maybe } } ] } } }`, "backend.actions.filter.exclude[0].attributes.readOnly"},
		{`backend: { actions: { pluginSources: catalog } }`, "backend.actions.pluginSources"},
	} {
		if _, err := actionfilter.Read(configtest.FromYAML(t, tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.text, err, tc.want)
		}
	}
}
