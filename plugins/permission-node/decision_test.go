package permissionnode_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

var (
	reports  = permissionnode.ResourceType{Plugin: "reports", Type: "report"}
	isAuthor = permissionnode.NewRule[author](reports, "IS_AUTHOR")
)

type author struct {
	User string `json:"user"`
}

func Example() {
	d := reports.When(permissionnode.AnyOf(
		isAuthor.With(author{"user:default/jane"}),
		permissionnode.Not(permissionnode.AllOf(isAuthor.With(author{"user:default/joe"}))),
	))
	text, _ := json.Marshal(d.Conditions)
	fmt.Println(d.Result, d.PluginID, d.ResourceType, d.Conditions.Validate())
	fmt.Println(string(text))
	// Output:
	// CONDITIONAL reports report <nil>
	// {"anyOf":[{"rule":"IS_AUTHOR","resourceType":"report","params":{"user":"user:default/jane"}},{"not":{"allOf":[{"rule":"IS_AUTHOR","resourceType":"report","params":{"user":"user:default/joe"}}]}}]}
}

func TestDefiniteDecisions(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]core.Decision{{Result: "ALLOW"}, {Result: "DENY"}}, []core.Decision{permissionnode.Allow(), permissionnode.Deny()}); diff != "" {
		t.Error(diff)
	}
}

// Conditions that make no sense are no valid ones, so that nobody takes them
// for an allowance.
func TestInvalidConditions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]core.PermissionCriteria{
		"all of nothing":                 permissionnode.AllOf(),
		"any of nothing":                 permissionnode.AnyOf(),
		"parameters that cannot be JSON": permissionnode.NewRule[any](reports, "X").With(func() {}),
		"below others":                   permissionnode.Not(permissionnode.AllOf(permissionnode.AnyOf())),
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s: valid", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a rule whose parameters cannot be JSON was made")
		}
	}()
	permissionnode.NewRule[struct{ F func() }](reports, "X")
}

// What is given to AllOf and AnyOf is not shared.
func TestListsAreCopied(t *testing.T) {
	t.Parallel()
	list := []core.PermissionCriteria{isAuthor.With(author{"a"})}
	all := permissionnode.AllOf(list...)
	list[0] = core.PermissionCriteria{}
	if all.AllOf[0].Rule != "IS_AUTHOR" {
		t.Error("the list is shared")
	}
}
