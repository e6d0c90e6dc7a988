package catalogmodulegithuborg_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/integration/githubapi"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/providertest"
	catalogmodulegithuborg "github.com/flytower/flytower/plugins/catalog-backend-module-github-org"
)

// What is handed in is what the host has: whatever a webhook says, it changes
// nothing that is up to date.
func FuzzWebhook(f *testing.F) {
	gh := fakegithub.New(f)
	gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 6, 2) })
	c := providertest.Start(f, config(gh, "orgs: [acme]"), catalogmodulegithuborg.Module, githubapi.NewFactory(gh.Options()))
	if err := c.Run(f.Context(), refresh); err != nil {
		f.Fatal(err)
	}
	before := c.Entities(name)
	for _, seed := range []any{
		membership(gh, "removed", "acme", "t1", "u0"), memberOfOrg(gh, "member_removed", "acme", "u1"), memberOfOrg(gh, "member_added", "acme", "nobody"),
		team(gh, "deleted", "acme", "t0", nil), team(gh, "created", "acme", "none", nil), about(gh, "created", "acme", nil), nil, 7,
	} {
		text, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, topic := range []string{"github.installation", "github.membership", "github.organization", "github.team"} {
			_ = c.Publish(t.Context(), topic, body) // malformed ones are errors
		}
		c.TakeTriggered()
		if d := cmp.Diff(before, c.Entities(name)); d != "" {
			t.Errorf("the catalog changed (-had +has):\n%s", d)
		}
	})
}
