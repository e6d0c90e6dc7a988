package core_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/flytower/flytower/core"
)

func TestPermissionCriteriaValidate(t *testing.T) {
	t.Parallel()
	const leaf = `{"rule":"R","resourceType":"t"}`
	nested := func(n int) string { return strings.Repeat(`{"not":`, n) + leaf + strings.Repeat(`}`, n) }
	for _, tc := range []struct{ name, text, want string }{
		{"rule", leaf, ""},
		{"tree", `{"allOf":[` + leaf + `,{"anyOf":[{"not":` + leaf + `}]}]}`, ""},
		{"as deep as may be", nested(core.MaxCriteriaDepth - 1), ""},
		{"too deep", nested(core.MaxCriteriaDepth), "nests deeper than 64 levels"},
		{"nothing", `{}`, "criteria must be exactly one of"},
		{"two things", `{"not":` + leaf + `,"rule":"R","resourceType":"t"}`, "criteria must be exactly one of"},
		{"both lists", `{"allOf":[` + leaf + `],"anyOf":[` + leaf + `]}`, "criteria must be exactly one of"},
		{"empty list", `{"anyOf":[]}`, "criteria.anyOf must not be empty"},
		{"no type", `{"rule":"R"}`, "criteria names no resourceType"},
		{"place", `{"allOf":[` + leaf + `,{"anyOf":[` + leaf + `,{"not":{}}]}]}`, "criteria.allOf[1].anyOf[1].not must be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var c core.PermissionCriteria
			if err := json.Unmarshal([]byte(tc.text), &c); err != nil {
				t.Fatal(err)
			}
			err := c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
