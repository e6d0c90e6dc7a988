package scaffolderbackend_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
)

// audit keeps what was recorded.
type audit struct {
	mu      sync.Mutex
	records []map[string]any
}

func (a *audit) Begin(_ context.Context, e core.AuditEvent) core.AuditRecord {
	meta := maps.Clone(e.Meta)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["event"] = e.ID
	return &record{a, meta}
}

type record struct {
	a    *audit
	meta map[string]any
}

func (r *record) Success(_ context.Context, meta map[string]any) {
	maps.Copy(r.meta, meta)
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.a.records = append(r.a.records, r.meta)
}

func (r *record) Fail(ctx context.Context, _ error, meta map[string]any) {
	r.meta["failed"] = true
	r.Success(ctx, meta)
}

func (a *audit) service() backend.Feature {
	return backend.NewServiceFactory(core.Auditor, func(*backend.FactoryEnv) backend.MakeFunc[core.AuditorService] {
		return func(context.Context) (core.AuditorService, error) { return a, nil }
	})
}

// of returns the metadata of the records about something.
func (a *audit) of(action string) (found []map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		if r["actionType"] == action {
			found = append(found, r)
		}
	}
	return found
}

// withoutSecrets hides parts of templates with the tag secret from the limited
// user.
func withoutSecrets() backend.Feature {
	return backendtest.Permissions(func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
		if who.Principal.UserEntityRef != "user:default/limited" {
			return core.Decision{Result: core.Allowed}
		}
		switch r.Permission.Name {
		case "scaffolder.template.parameter.read", "scaffolder.template.step.read":
			return core.Decision{Result: core.Conditional, PluginID: "scaffolder", ResourceType: "scaffolder-template", Conditions: &core.PermissionCriteria{
				Not: &core.PermissionCriteria{Rule: "HAS_TAG", ResourceType: "scaffolder-template", Params: json.RawMessage(`{"tag":"secret"}`)},
			}}
		}
		return core.Decision{Result: core.Allowed}
	})
}

func TestPartsThatAUserMayNotSee(t *testing.T) {
	t.Parallel()
	log := &audit{}
	c := open(t, backendtest.SQLite(t), `"parameters":[{"title":"Open"},{"title":"Secret","required":["key"],"backstage:permissions":{"tags":["secret"]}}],
		"steps":[
			{"action":"debug:log","name":"One","backstage:permissions":{"tags":["open"]}},
			{"action":"debug:log","name":"Two","backstage:permissions":{"tags":["secret"]}},
			{"action":"debug:log","name":"Three","id":"three","backstage:permissions":{"tags":["secret"]}},
			{"action":"debug:log","name":"Four"}]`, withoutSecrets(), log.service()).Client(t)
	limited := c.As(backendtest.User("user:default/limited"))
	var form struct{ Steps []struct{ Title string } }
	limited.Get("/api/scaffolder/v2/templates/default/template/t/parameter-schema").Expect(http.StatusOK).JSON(&form)
	if len(form.Steps) != 1 || form.Steps[0].Title != "Open" {
		t.Errorf("the limited user sees the pages %+v", form.Steps)
	}
	names := func(c backendtest.Client, path string) (out []string) {
		var task struct {
			Spec struct {
				Steps []struct{ ID, Name string }
			}
		}
		c.Get(path).Expect(http.StatusOK).JSON(&task)
		for _, s := range task.Spec.Steps {
			out = append(out, s.ID+" "+s.Name)
		}
		return out
	}
	path := create(limited, map[string]any{}, nil)
	follow(t, limited, path)
	if diff := cmp.Diff([]string{"step-1 One", "step-2 Four"}, names(limited, path)); diff != "" {
		t.Errorf("the steps of the limited user (-want +got):\n%s", diff)
	}
	path = create(c, map[string]any{"key": "k"}, nil)
	follow(t, c, path)
	if got := names(c, path); len(got) != 4 {
		t.Errorf("the steps of another user: %v", got)
	}
	records := log.of("create")
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	if diff := cmp.Diff([]string{"debug:log", "three"}, records[0]["droppedSteps"]); diff != "" {
		t.Errorf("what was dropped (-want +got):\n%s", diff)
	}
	if got, ok := records[1]["droppedSteps"]; ok {
		t.Errorf("something was dropped for the other user: %v", got)
	}
}

func TestWhatTheWholeTemplateIsHiddenFrom(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"parameters":{"title":"Secret","required":["key"],"backstage:permissions":{"tags":["secret"]}},"steps":[]`, withoutSecrets()).Client(t)
	limited := c.As(backendtest.User("user:default/limited"))
	if text := limited.Get("/api/scaffolder/v2/templates/default/template/t/parameter-schema").Expect(http.StatusOK).Text(); !strings.Contains(text, `"steps":[]`) {
		t.Errorf("the form is %s", text)
	}
	follow(t, limited, create(limited, map[string]any{}, nil))
	c.Post(tasksPath, map[string]any{"templateRef": "template:default/t", "values": map[string]any{}}).Expect(http.StatusBadRequest)
}

// TestEachRouteAsksForItsPermission takes one permission at a time away.
func TestEachRouteAsksForItsPermission(t *testing.T) {
	t.Parallel()
	c := open(t, backendtest.SQLite(t), `"steps":[]`, backendtest.Permissions(func(who core.Credentials, r core.AuthorizeRequest) core.Decision {
		if name, ok := strings.CutPrefix(who.Principal.UserEntityRef, "user:without/"); ok && name == r.Permission.Name {
			return core.Decision{Result: core.Denied}
		}
		return core.Decision{Result: core.Allowed}
	})).Client(t)
	path := create(c, map[string]any{}, nil)
	follow(t, c, path)
	dry := map[string]any{"template": json.RawMessage(tmpl(`"steps":[]`)), "values": map[string]any{}, "directoryContents": []any{}}
	task := map[string]any{"templateRef": "template:default/t", "values": map[string]any{}}
	for name, routes := range map[string]map[string]any{
		"scaffolder.task.create":      {"POST " + tasksPath: task, "POST /api/scaffolder/v2/dry-run": dry, "POST " + path + "/retry": map[string]any{}},
		"scaffolder.template.dry-run": {"POST /api/scaffolder/v2/dry-run": dry},
		"scaffolder.task.read":        {"GET " + tasksPath: nil, "GET " + path: nil, "GET " + path + "/events": nil, "GET " + path + "/eventstream": nil, "POST " + path + "/cancel": nil, "POST " + path + "/retry": map[string]any{}},
		"scaffolder.task.cancel":      {"POST " + path + "/cancel": nil},
	} {
		without := c.As(backendtest.User("user:without/" + name))
		for route, body := range routes {
			method, path, _ := strings.Cut(route, " ")
			r := without.Do(method, path, body).ExpectError(http.StatusForbidden, "NotAllowedError")
			if !strings.Contains(r.Text(), `"message":""`) {
				t.Errorf("%s without %s: %s", route, name, r.Text())
			}
		}
	}
	// What no permission guards is there for everybody who is signed in.
	for _, route := range []string{"/v2/actions", "/v2/templating-extensions"} {
		c.As(backendtest.User("user:without/scaffolder.task.read")).Get("/api/scaffolder" + route).Expect(http.StatusOK)
		c.As(backendtest.Nobody()).Get("/api/scaffolder"+route).ExpectError(http.StatusUnauthorized, "AuthenticationError")
	}
}
