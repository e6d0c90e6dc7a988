package catalogmodulegithuborg_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/fakegithub"
	"github.com/flytower/flytower/internal/providertest"
)

func publish(t *testing.T, c *providertest.Catalog, topic string, body map[string]any) {
	t.Helper()
	if err := c.Publish(t.Context(), topic, body); err != nil {
		t.Fatalf("%s %v: %v", topic, body, err)
	}
}

func about(gh *fakegithub.Server, action, org string, more map[string]any) map[string]any {
	body := map[string]any{"action": action, "organization": map[string]any{"login": org}, "sender": map[string]any{"login": "x", "html_url": gh.URL + "/x"}}
	maps.Copy(body, more)
	return body
}

func membership(gh *fakegithub.Server, action, org, team, login string) map[string]any {
	return about(gh, action, org, map[string]any{"team": map[string]any{"slug": team}, "member": map[string]any{"login": login}})
}

func memberOfOrg(gh *fakegithub.Server, action, org, login string) map[string]any {
	return about(gh, action, org, map[string]any{"membership": map[string]any{"user": map[string]any{"login": login}}})
}

func team(gh *fakegithub.Server, action, org, slug string, changes map[string]any) map[string]any {
	return about(gh, action, org, map[string]any{"team": map[string]any{"slug": slug}, "changes": changes})
}

// history changes organizations at random, as people do.
type history struct {
	*rand.Rand
	gh *fakegithub.Server
	n  int
}

// step makes one change and returns its webhooks.
func (h *history) step(w *fakegithub.World) (topic string, body map[string]any) {
	org := []string{"acme", "globex"}[h.IntN(2)]
	o := w.Organization(org)
	h.n++
	switch h.IntN(6) {
	case 0:
		u := &fakegithub.User{Login: fmt.Sprintf("new%d", h.n), ID: fmt.Sprintf("N%d", h.n)}
		o.Users = append(o.Users, u)
		return "github.organization", memberOfOrg(h.gh, "member_added", org, u.Login)
	case 1:
		i := h.IntN(len(o.Users))
		login := o.Users[i].Login
		o.Users = slices.Delete(slices.Clone(o.Users), i, i+1)
		for _, t := range o.Teams {
			t.Members = slices.DeleteFunc(t.Members, func(m string) bool { return m == login })
		}
		return "github.organization", memberOfOrg(h.gh, "member_removed", org, login)
	case 2:
		t := &fakegithub.Team{Slug: fmt.Sprintf("team%d", h.n), Name: "New", Parent: "t0"}
		o.Teams = append(o.Teams, t)
		return "github.team", team(h.gh, "created", org, t.Slug, nil)
	case 3:
		t := o.Teams[h.IntN(len(o.Teams))]
		t.Description = fmt.Sprint("described ", h.n)
		return "github.team", team(h.gh, "edited", org, t.Slug, map[string]any{"description": map[string]any{"from": ""}})
	case 4:
		t, u := o.Teams[h.IntN(len(o.Teams))], o.Users[h.IntN(len(o.Users))]
		if !slices.Contains(t.Members, u.Login) {
			t.Members = append(t.Members, u.Login)
		}
		return "github.membership", membership(h.gh, "added", org, t.Slug, u.Login)
	default:
		t := o.Teams[h.IntN(len(o.Teams))]
		if len(t.Members) == 0 {
			return "github.team", team(h.gh, "edited", org, t.Slug, nil)
		}
		login := t.Members[0]
		t.Members = slices.Clone(t.Members[1:])
		return "github.membership", membership(h.gh, "removed", org, t.Slug, login)
	}
}

// After the webhooks of any history the catalog has what a full run would
// give, where the webhook did not ask for that run.
func TestWebhooksKeepUp(t *testing.T) {
	t.Parallel()
	for _, orgs := range []string{"[acme, globex]", "[acme]"} {
		t.Run(orgs, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 12, 4); crowd(w, "globex", 8, 3) })
			text := config(gh, "orgs: "+orgs+", pageSizes: {teams: 2, teamMembers: 3}")
			c, full := start(t, gh, text), start(t, gh, text)
			mustRun(t, c)
			h := &history{Rand: rand.New(rand.NewPCG(5, 6)), gh: gh}
			for i := range 40 {
				var topic string
				var body map[string]any
				gh.Change(func(w *fakegithub.World) { topic, body = h.step(w) })
				publish(t, c, topic, body)
				if triggered := c.TakeTriggered(); len(triggered) > 0 {
					if d := cmp.Diff([]string{refresh}, triggered); d != "" {
						t.Fatalf("triggered (-want +got):\n%s", d)
					}
					mustRun(t, c)
				}
				mustRun(t, full)
				if d := cmp.Diff(full.Entities(name), c.Entities(name)); d != "" {
					t.Fatalf("step %d, %s %v (-want +got):\n%s", i, topic, body, d)
				}
			}
		})
	}
}

// A webhook that cannot be followed changes nothing, above all removes
// nothing.
func TestWebhooksInTrouble(t *testing.T) {
	t.Parallel()
	for label, f := range map[string]fakegithub.Failure{
		"502": fakegithub.BadGateway, "limit": fakegithub.SecondaryLimit, "401": fakegithub.Unauthorized, "gone": fakegithub.OwnerGone,
		"not found": {Status: 404, Body: "{}"}, "timeout": fakegithub.TimedOut,
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			gh := fakegithub.New(t)
			gh.Change(func(w *fakegithub.World) { crowd(w, "acme", 12, 4) })
			c := start(t, gh, config(gh, "orgs: [acme]"))
			mustRun(t, c)
			before := c.Entities(name)
			gh.FailFrom(1, f)
			for _, e := range []struct {
				topic string
				body  map[string]any
			}{
				{"github.membership", membership(gh, "removed", "acme", "t1", "u0")},
				{"github.team", team(gh, "deleted", "acme", "t1", nil)},
			} {
				if err := c.Publish(t.Context(), e.topic, e.body); err == nil {
					t.Errorf("%s succeeded", e.topic)
				}
			}
			if d := cmp.Diff(before, c.Entities(name)); d != "" {
				t.Errorf("the catalog changed (-had +has):\n%s", d)
			}
		})
	}
}

func TestWebhooksThatDoNotCount(t *testing.T) {
	t.Parallel()
	gh := acme(t)
	c := start(t, gh, config(gh, "orgs: [Acme]"))
	mustRun(t, c)
	before := c.Entities(name)
	gh.Change(func(w *fakegithub.World) { w.Organization("acme").Teams = nil })
	elsewhere := membership(gh, "removed", "acme", "core", "Ann")
	elsewhere["sender"] = map[string]any{"html_url": "https://github.com/x"}
	n := gh.Requests()
	for _, e := range []struct {
		topic string
		body  map[string]any
	}{
		{"github.membership", elsewhere},
		{"github.membership", membership(gh, "removed", "other", "core", "Ann")},
		{"github.membership", membership(gh, "other", "acme", "core", "Ann")},
		{"github.team", team(gh, "added_to_repository", "acme", "core", nil)},
		{"github.organization", memberOfOrg(gh, "member_invited", "acme", "Ann")},
		{"github.installation", about(gh, "created", "acme", nil)},
	} {
		publish(t, c, e.topic, e.body)
	}
	if gh.Requests() != n || c.TakeTriggered() != nil {
		t.Error("a webhook that does not count was followed")
	}
	if d := cmp.Diff(before, c.Entities(name)); d != "" {
		t.Errorf("the catalog changed (-had +has):\n%s", d)
	}
	for _, body := range []any{7, membership(gh, "added", "acme", "", "x"), membership(gh, "added", "acme", "core", "")} {
		if err := c.Publish(t.Context(), "github.membership", body); err == nil {
			t.Errorf("%v was taken for a webhook", body)
		}
	}
}

// Organizations that install the app come, and those that remove it go, with
// a full run.
func TestInstallations(t *testing.T) {
	t.Parallel()
	gh := acme(t)
	text := gh.AppIntegration("Acme") + provider(gh, "")
	c := start(t, gh, text)
	mustRun(t, c)
	if n := len(c.Entities(name)); n != 5 {
		t.Fatalf("%d entities", n)
	}
	gh.Install("Acme", "globex")
	publish(t, c, "github.installation", map[string]any{"action": "created", "installation": map[string]any{"account": map[string]any{"login": "globex", "html_url": gh.URL + "/globex"}}})
	if d := cmp.Diff([]string{refresh}, c.TakeTriggered()); d != "" {
		t.Fatalf("triggered (-want +got):\n%s", d)
	}
	mustRun(t, c)
	if n := len(c.Entities(name)); n != 6 {
		t.Errorf("%d entities, want the group of globex, too", n)
	}
	c.Busy(apierr.Conflict("it runs"))
	publish(t, c, "github.installation", map[string]any{"action": "deleted"})
	c.Busy(apierr.ServiceUnavailable("broken"))
	if err := c.Publish(t.Context(), "github.installation", map[string]any{"action": "deleted"}); err == nil {
		t.Error("a trigger that failed is not reported")
	}
}
