package permissions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/permissionsregistry"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/permissions"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/schema"
	"github.com/flytower/flytower/plugins/scaffolder-backend/internal/tasks"
	"github.com/flytower/flytower/plugins/scaffolder-node/template"
)

func parse(t testing.TB, text string) template.Value {
	t.Helper()
	v, err := template.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func registry(t testing.TB) *permissionsregistry.Registry {
	t.Helper()
	r := permissionsregistry.New("scaffolder")
	if err := permissions.Register(r, func(context.Context, string) (tasks.Task, error) { return tasks.Task{}, nil }); err != nil {
		t.Fatal(err)
	}
	return r
}

// leaf is a condition on a type of resource.
func leaf(resource, rule, params string) core.PermissionCriteria {
	return core.PermissionCriteria{Rule: rule, ResourceType: resource, Params: json.RawMessage(params)}
}

func TestRules(t *testing.T) {
	t.Parallel()
	r := registry(t)
	use := func(action, input string) permissions.Use {
		return permissions.Use{Action: action, Input: parse(t, input)}
	}
	step := func(text string) any { return parse(t, text) }
	const tmpl, act, task = permissions.TemplateResource, permissions.ActionResource, permissions.TaskResource
	for _, c := range []struct {
		condition core.PermissionCriteria
		resource  any
		want      bool
	}{
		{leaf(tmpl, "HAS_TAG", `{"tag":"secret"}`), step(`{"backstage:permissions":{"tags":["a","secret"]}}`), true},
		{leaf(tmpl, "HAS_TAG", `{"tag":"secret"}`), step(`{"backstage:permissions":{"tags":["Secret"]}}`), false},
		{leaf(tmpl, "HAS_TAG", `{"tag":"secret"}`), step(`{"backstage:permissions":{"tags":"secret"}}`), false},
		{leaf(tmpl, "HAS_TAG", `{"tag":"secret"}`), step(`{"backstage:permissions":null}`), false},
		{leaf(tmpl, "HAS_TAG", `{"tag":"secret"}`), step(`{}`), false},

		{leaf(act, "HAS_ACTION_ID", `{"actionId":"debug:log"}`), use("debug:log", `{}`), true},
		{leaf(act, "HAS_ACTION_ID", `{"actionId":"debug:log"}`), use("DEBUG:log", `{}`), false},

		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a.b"}`), use("x", `{"a":{"b":false}}`), true},
		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a.b","value":true}`), use("x", `{"a":{"b":false}}`), false},
		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a.b","value":false}`), use("x", `{"a":{"b":false}}`), true},
		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a"}`), use("x", `{"a":"true"}`), false},
		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a"}`), use("x", `{"a":null}`), false},
		{leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a"}`), use("x", `{}`), false},
		{leaf(act, "HAS_NUMBER_PROPERTY", `{"key":"list[1].n","value":2}`), use("x", `{"list":[0,{"n":2}]}`), true},
		{leaf(act, "HAS_NUMBER_PROPERTY", `{"key":"n","value":2}`), use("x", `{"n":"2"}`), false},
		{leaf(act, "HAS_NUMBER_PROPERTY", `{"key":"n","value":0}`), use("x", `{"n":0}`), true},
		{leaf(act, "HAS_NUMBER_PROPERTY", `{"key":"n"}`), use("x", `{"n":0}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"s"}`), use("x", `{"s":""}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"s","value":""}`), use("x", `{"s":"a"}`), false},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"s","value":"a"}`), use("x", `{"s":"a"}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"s"}`), use("x", `{"s":1}`), false},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"a.b","value":"v"}`), use("x", `{"a.b":"v"}`), true},

		// Hosts do not tell names apart by their case.
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"owner","value":"Acme"}`), use("publish:github", `{"owner":"aCME"}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"['owner']","value":"Acme"}`), use("publish:github", `{"owner":"aCME"}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"repoUrl","value":"X"}`), use("bitbucketServer:x", `{"repoUrl":"x"}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"owner","value":"Acme"}`), use("publish:githubx", `{"owner":"acme"}`), false},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"title","value":"Acme"}`), use("publish:github", `{"title":"acme"}`), false},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"path","value":"A/B"}`), use("gitlab:group:access", `{"path":"a/b"}`), true},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"path","value":"A/B"}`), use("gitlab:repo:push", `{"path":"a/b"}`), false},
		{leaf(act, "HAS_STRING_PROPERTY", `{"key":"path","value":"A/B"}`), use("acme:group:access", `{"path":"a/b"}`), false},

		{leaf(task, "IS_TASK_OWNER", `{"createdBy":["user:default/a","user:default/b"]}`), tasks.Task{CreatedBy: "user:default/b"}, true},
		{leaf(task, "IS_TASK_OWNER", `{"createdBy":["user:default/a"]}`), tasks.Task{CreatedBy: "user:default/A"}, false},
		{leaf(task, "IS_TASK_OWNER", `{"createdBy":["",""]}`), tasks.Task{}, false},
		{leaf(task, "IS_TASK_OWNER", `{"createdBy":[]}`), tasks.Task{CreatedBy: "user:default/a"}, false},
	} {
		if got, err := r.Apply(c.condition, c.resource); err != nil || got != c.want {
			t.Errorf("%s %s of %+v: %t, %v", c.condition.Rule, c.condition.Params, c.resource, got, err)
		}
	}
	for _, bad := range []core.PermissionCriteria{
		leaf(tmpl, "HAS_TAG", `{}`), leaf(act, "HAS_ACTION_ID", `{"actionId":1}`), leaf(act, "HAS_BOOLEAN_PROPERTY", `{"key":"a","value":"x"}`),
		leaf(act, "HAS_STRING_PROPERTY", `{"key":"a","value":null}`), leaf(task, "IS_TASK_OWNER", `{"createdBy":"x"}`), leaf(task, "HAS_TAG", `{"tag":"x"}`),
	} {
		if _, err := r.Apply(bad, tasks.Task{}); err == nil {
			t.Errorf("%s %s was applied", bad.Rule, bad.Params)
		}
	}
}

// decided is a policy that decides always the same.
type decided struct {
	core.PermissionsService
	decision core.Decision
	asked    int
}

func (d *decided) AuthorizeConditional(_ context.Context, _ core.Credentials, all ...core.Permission) ([]core.Decision, error) {
	d.asked++
	return slices.Repeat([]core.Decision{d.decision}, len(all)), nil
}

func conditional(c core.PermissionCriteria) core.Decision {
	return core.Decision{Result: core.Conditional, PluginID: "scaffolder", ResourceType: c.ResourceType, Conditions: &c}
}

func TestTheNumberOfAGroupIsNoWayAroundItsPath(t *testing.T) {
	t.Parallel()
	path := func(value string) core.PermissionCriteria {
		return leaf(permissions.ActionResource, "HAS_STRING_PROPERTY", `{"key":"path","value":"`+value+`"}`)
	}
	notSecret := core.PermissionCriteria{Not: new(path("acme/secret"))}
	quoted := core.PermissionCriteria{Not: new(leaf(permissions.ActionResource, "HAS_STRING_PROPERTY", `{"key":"[\"path\"]","value":"acme/secret"}`))}
	onlyOpen := core.PermissionCriteria{AnyOf: []core.PermissionCriteria{path("acme/open"), leaf(permissions.ActionResource, "HAS_NUMBER_PROPERTY", `{"key":"path"}`)}}
	byID := leaf(permissions.ActionResource, "HAS_ACTION_ID", `{"actionId":"gitlab:group:access"}`)
	for _, c := range []struct {
		name     string
		decision core.Decision
		action   string
		input    string
		want     bool
	}{
		{"another path", conditional(notSecret), "gitlab:group:access", `{"path":"acme/open"}`, true},
		{"the path", conditional(notSecret), "gitlab:group:access", `{"path":"ACME/secret"}`, false},
		{"a number", conditional(notSecret), "gitlab:group:access", `{"path":42}`, false},
		{"a number as text", conditional(notSecret), "gitlab:group:access", `{"path":"42"}`, false},
		{"a number, and the rule in another spelling", conditional(quoted), "gitlab:group:access", `{"path":42}`, false},
		{"a number of something else", conditional(notSecret), "gitlab:issue:edit", `{"path":42}`, true},
		{"a number where the rules allow it, whatever the path", conditional(onlyOpen), "gitlab:group:access", `{"path":42}`, true},
		{"a number where no rule is about the path", conditional(byID), "gitlab:group:access", `{"path":42}`, true},
		{"allowed", core.Decision{Result: core.Allowed}, "gitlab:group:access", `{"path":42}`, true},
		{"denied", core.Decision{Result: core.Denied}, "gitlab:group:access", `{"path":42}`, false},
	} {
		policy := &decided{decision: c.decision}
		decide, err := permissions.Asker{Permissions: policy, Rules: registry(t)}.Actions(t.Context(), core.Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decide(c.action, parse(t, c.input)); err != nil || got != c.want {
			t.Errorf("%s: %t, %v", c.name, got, err)
		}
		if policy.asked != 1 {
			t.Errorf("%s: the policy was asked %d times", c.name, policy.asked)
		}
	}
}

func TestPartsOfTemplatesAreFilteredByTheirTags(t *testing.T) {
	t.Parallel()
	policy := &decided{decision: conditional(core.PermissionCriteria{Not: new(leaf(permissions.TemplateResource, "HAS_TAG", `{"tag":"secret"}`))})}
	parameter, step, err := permissions.Asker{Permissions: policy, Rules: registry(t)}.Parts(t.Context(), core.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{`{}`: true, `{"backstage:permissions":{"tags":["open"]}}`: true, `{"backstage:permissions":{"tags":["open","secret"]}}`: false} {
		for name, allowed := range map[string]func(template.Value) (bool, error){"parameter": parameter, "step": step} {
			if got, err := allowed(parse(t, text)); err != nil || got != want {
				t.Errorf("%s %s: %t, %v", name, text, got, err)
			}
		}
	}
	if policy.asked != 1 {
		t.Errorf("the policy was asked %d times", policy.asked)
	}
}

// creators of the tasks in the database; the empty one is a service.
var creators = []string{"", "user:default/a", "user:default/b", "user:default/B", "user:default/c%", "user:default/a"}

// TestListsAreWhatTheConditionsHoldFor compares the filter in SQL with the
// rules, one task at a time.
func TestListsAreWhatTheConditionsHoldFor(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		if err := db.Service.Migrate(t.Context(), schema.Migrations()); err != nil {
			t.Fatal(err)
		}
		store := tasks.NewStore(db.Service)
		for _, by := range creators {
			if err := store.Create(t.Context(), tasks.New{ID: tasks.NewID(), Spec: json.RawMessage(`{}`), CreatedBy: by}); err != nil {
				t.Fatal(err)
			}
		}
		rules := registry(t)
		all, total, err := store.List(t.Context(), tasks.Filter{})
		if err != nil || total != len(creators) || len(all) != total {
			t.Fatalf("%d of %d tasks, %v", len(all), total, err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			criteria := drawCriteria(rt, 3)
			asker := permissions.Asker{Permissions: &decided{decision: conditional(criteria)}, Rules: rules}
			condition, err := asker.Visible(context.Background(), core.Credentials{})
			if err != nil {
				rt.Fatal(err)
			}
			filter := tasks.Filter{Condition: condition, CreatedBy: rapid.SliceOfN(rapid.SampledFrom(creators[1:]), 0, 2).Draw(rt, "createdBy")}
			page, total, err := store.List(context.Background(), filter)
			if err != nil {
				rt.Fatal(err)
			}
			var want []string
			for _, one := range all {
				holds, err := rules.Apply(criteria, one)
				if err != nil {
					rt.Fatal(err)
				}
				if holds && (len(filter.CreatedBy) == 0 || slices.Contains(filter.CreatedBy, one.CreatedBy)) {
					want = append(want, one.ID)
				}
				err = asker.AllowedOn(context.Background(), core.Credentials{}, one, permissions.ReadTask)
				if (err == nil) != holds {
					rt.Fatalf("the task of %q alone: %v, although the rules say %t", one.CreatedBy, err, holds)
				}
			}
			var got []string
			for _, one := range page {
				got = append(got, one.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" || total != len(want) {
				rt.Fatalf("%s: %d tasks (-want +got):\n%s", show(criteria), total, diff)
			}
		})
	})
}

// drawCriteria draws conditions on tasks; lists of none are among them.
func drawCriteria(rt *rapid.T, depth int) core.PermissionCriteria {
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 3).Draw(rt, "kind")
	}
	many := func() []core.PermissionCriteria {
		parts := []core.PermissionCriteria{}
		for range rapid.IntRange(1, 3).Draw(rt, "parts") {
			parts = append(parts, drawCriteria(rt, depth-1))
		}
		return parts
	}
	switch kind {
	case 1:
		return core.PermissionCriteria{AllOf: many()}
	case 2:
		return core.PermissionCriteria{AnyOf: many()}
	case 3:
		return core.PermissionCriteria{Not: new(drawCriteria(rt, depth-1))}
	}
	refs := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(creators), "user:default/none")), 0, 3).Draw(rt, "refs")
	text, err := json.Marshal(map[string]any{"createdBy": refs})
	if err != nil {
		rt.Fatal(err)
	}
	return leaf(permissions.TaskResource, "IS_TASK_OWNER", string(text))
}

func show(c core.PermissionCriteria) string {
	text, err := json.Marshal(c)
	return fmt.Sprint(string(text), err)
}

// TestDecisionsWithoutConditionsDeny guards against a policy that says
// conditional and means nothing.
func TestDecisionsWithoutConditionsDeny(t *testing.T) {
	t.Parallel()
	asker := permissions.Asker{Permissions: &decided{decision: core.Decision{Result: core.Conditional}}, Rules: registry(t)}
	if _, err := asker.Visible(t.Context(), core.Credentials{}); err == nil {
		t.Error("all tasks are visible")
	}
	if err := asker.AllowedOn(t.Context(), core.Credentials{}, tasks.Task{CreatedAt: time.Now()}, permissions.ReadTask); err == nil || strings.TrimSpace(err.Error()) != "" {
		t.Errorf("the task may be read: %v", err)
	}
	decide, err := asker.Actions(t.Context(), core.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := decide("debug:log", parse(t, `{}`)); ok || err != nil {
		t.Errorf("the action may run: %t, %v", ok, err)
	}
}
