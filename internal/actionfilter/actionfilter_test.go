package actionfilter_test

import (
	"testing"

	"github.com/flytower/flytower/internal/actionfilter"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	reader := map[string]bool{"readOnly": true, "destructive": false, "idempotent": true}
	for _, tc := range []struct {
		name string
		rule actionfilter.Rule
		want bool
	}{
		{"everything", actionfilter.Rule{}, true},
		{"exact", actionfilter.Rule{ID: "catalog:get-entity"}, true},
		{"star crosses the colon", actionfilter.Rule{ID: "cat*"}, true},
		{"braces", actionfilter.Rule{ID: "{search,catalog}:*"}, true},
		{"other", actionfilter.Rule{ID: "search:*"}, false},
		{"negated", actionfilter.Rule{ID: "!search:*"}, true},
		{"negated match", actionfilter.Rule{ID: "!catalog:*"}, false},
		{"malformed", actionfilter.Rule{ID: "[x"}, false},
		{"attribute", actionfilter.Rule{Attributes: map[string]bool{"readOnly": true}}, true},
		{"one attribute differs", actionfilter.Rule{Attributes: map[string]bool{"readOnly": true, "destructive": true}}, false},
		{"glob and attribute", actionfilter.Rule{ID: "search:*", Attributes: map[string]bool{"readOnly": true}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.rule.Matches("catalog:get-entity", reader); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	if (actionfilter.Rule{ID: "catalog:*"}).Matches("catalog:a/b", nil) {
		t.Error("the star crossed a slash")
	}
}

func TestShows(t *testing.T) {
	t.Parallel()
	catalog, all := actionfilter.Rule{ID: "catalog:*"}, actionfilter.Rule{}
	for _, tc := range []struct {
		name   string
		filter actionfilter.Filter
		want   bool
	}{
		{"zero", actionfilter.Filter{}, true},
		{"listed source", actionfilter.Filter{Sources: []string{"catalog"}}, true},
		{"no sources", actionfilter.Filter{Sources: []string{}}, false},
		{"included", actionfilter.Filter{Include: []actionfilter.Rule{catalog}}, true},
		{"not included", actionfilter.Filter{Include: []actionfilter.Rule{{ID: "x"}}}, false},
		{"exclusion wins", actionfilter.Filter{Include: []actionfilter.Rule{all}, Exclude: []actionfilter.Rule{catalog}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.filter.Shows("catalog", "catalog:get-entity", nil); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func FuzzGlob(f *testing.F) {
	for _, glob := range []string{"*", "catalog:*", "!x", "{a,b}", "[", "**/x", "\\", "[!a]?"} {
		f.Add(glob, "catalog:get-entity")
	}
	f.Fuzz(func(t *testing.T, glob, id string) {
		rule := actionfilter.Rule{ID: glob}
		if rule.Matches(id, nil) != rule.Matches(id, map[string]bool{"readOnly": true}) {
			t.Error("attributes mattered to a rule without any")
		}
	})
}
