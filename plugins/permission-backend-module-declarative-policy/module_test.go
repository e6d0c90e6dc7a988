package permissionmoduledeclarativepolicy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionmoduleallowallpolicy "github.com/flytower/flytower/plugins/permission-backend-module-allow-all-policy"
	permissionmoduledeclarativepolicy "github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const policy = `
permission:
  enabled: true
  policy:
    roles:
      - name: everybody
        members: ['*']
        rules:
          - allow: [catalog.entity.read]
            resourceType: catalog-entity
            when:
              anyOf:
                - {rule: IS_ENTITY_KIND, params: {kinds: [Group, User]}}
                - {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}
      - name: support
        members: [group:default/support]
        rules:
          - allow: [permission.policy.explain]
`

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logTo is a logger of the backend that writes to l.
func logTo(l *lines) backend.Feature {
	return backend.NewRootServiceFactory(core.RootLogger, func(*backend.RootEnv) backend.MakeFunc[*slog.Logger] {
		return func(context.Context) (*slog.Logger, error) { return slog.New(slog.NewJSONHandler(l, nil)), nil }
	})
}

// portal is a backend with a catalog in which jane and her team own "mine".
func portal(t *testing.T, config string, features ...backend.Feature) *backendtest.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "entities.yaml")
	text := `
{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: jane}, spec: {memberOf: [team]}}
---
{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: team}, spec: {type: team, children: []}}
---
{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: mine}, spec: {type: service, lifecycle: production, owner: team}}
---
{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: other}, spec: {type: service, lifecycle: production, owner: others}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := append([]backend.Feature{
		permissionbackend.Plugin, permissionmoduleallowallpolicy.Module, permissionmoduledeclarativepolicy.Module, catalogbackend.Plugin,
		backendtest.YAML(config + "\ncatalog: {rules: [{allow: [User, Group, Component]}], locations: [{type: file, target: '" + path + "'}]}\n"),
		backendtest.Ownership("user:default/jane", "group:default/team"), backendtest.Ownership("user:default/sue", "group:default/support"),
	}, features...)
	srv := backendtest.Start(t, all...)
	eventually(t, "entities", func() string {
		return srv.Client(t).As(backendtest.Caller("")).Get("/api/catalog/entities/by-query?limit=0&filter=kind=component,kind=user,kind=group").Text()
	}, `"totalItems":4`)
	return srv
}

// eventually waits until what it gets has the text.
func eventually(t *testing.T, what string, get func() string, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := get()
		if strings.Contains(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %s, want %s", what, got, want)
		}
	}
}

func components(t *testing.T, c backendtest.Client) string {
	t.Helper()
	var list []struct{ Metadata struct{ Name string } }
	if err := json.Unmarshal(c.Get("/api/catalog/entities?filter=kind=component&order=asc:metadata.name").Expect(200).Body, &list); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Metadata.Name
	}
	return strings.Join(out, " ")
}

func TestThePolicyDecides(t *testing.T) {
	t.Parallel()
	srv := portal(t, policy)
	for who, want := range map[string]string{"user:default/jane": "mine", "user:default/sue": ""} {
		if got := components(t, srv.Client(t).As(backendtest.User(who))); got != want {
			t.Errorf("%s sees %q, want %q", who, got, want)
		}
	}
	srv.Client(t).As(backendtest.User("user:default/jane")).Post("/api/catalog/locations", map[string]any{"type": "url", "target": "http://localhost/x"}).Expect(403)
}

func TestWithoutConfigurationItDoesNothing(t *testing.T) {
	t.Parallel()
	srv := portal(t, "permission: {enabled: true}")
	if got := components(t, srv.Client(t).As(backendtest.User("user:default/joe"))); got != "mine other" {
		t.Errorf("got %q", got)
	}
	srv.Client(t).As(backendtest.Caller("")).Post("/api/permission/policy/explain", map[string]any{}).Expect(404)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	srv := portal(t, policy)
	caller, sue := srv.Client(t).As(backendtest.Caller("")), srv.Client(t).As(backendtest.User("user:default/sue"))
	const path = "/api/permission/policy/explain"
	explain := func(c backendtest.Client, body map[string]any) map[string]any {
		t.Helper()
		var out map[string]any
		if err := json.Unmarshal(c.Post(path, body).Expect(200).Body, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	rule := func(claims string, holds any) []any {
		var conditions any
		if err := json.Unmarshal([]byte(`{"anyOf":[{"rule":"IS_ENTITY_KIND","resourceType":"catalog-entity","params":{"kinds":["Group","User"]}},`+
			`{"rule":"IS_ENTITY_OWNER","resourceType":"catalog-entity","params":{"claims":[`+claims+`]}}]}`), &conditions); err != nil {
			t.Fatal(err)
		}
		out := map[string]any{"role": "everybody", "position": "app-config.yaml:9", "effect": "ALLOW", "conditions": conditions}
		if holds != nil {
			out["holds"] = holds
		}
		return []any{out}
	}
	read := map[string]any{"type": "resource", "name": "catalog.entity.read", "attributes": map[string]any{"action": "read"}, "resourceType": "catalog-entity"}
	create := map[string]any{"type": "basic", "name": "catalog.location.create", "attributes": map[string]any{"action": "create"}}
	janes := `"user:default/jane","group:default/team"`

	for _, tt := range []struct {
		name string
		as   backendtest.Client
		ask  map[string]any
		want map[string]any
	}{
		{
			"a resource that is theirs", caller, map[string]any{"user": "jane", "permission": "catalog.entity.read", "resourceRef": "component:default/mine"},
			map[string]any{
				"user": "user:default/jane", "ownershipEntityRefs": []any{"user:default/jane", "group:default/team"}, "roles": []any{"everybody"},
				"permission": read, "resourceRef": "component:default/mine", "resourceExists": true, "result": "ALLOW", "rules": rule(janes, true),
			},
		},
		{
			"one that is not", caller, map[string]any{"user": "user:default/jane", "permission": read, "resourceRef": "component:default/other"},
			map[string]any{
				"user": "user:default/jane", "ownershipEntityRefs": []any{"user:default/jane", "group:default/team"}, "roles": []any{"everybody"},
				"permission": read, "resourceRef": "component:default/other", "resourceExists": true, "result": "DENY", "rules": rule(janes, false),
			},
		},
		{
			"one that is not there", caller, map[string]any{"user": "user:default/jane", "permission": read, "resourceRef": "component:default/gone"},
			map[string]any{
				"user": "user:default/jane", "ownershipEntityRefs": []any{"user:default/jane", "group:default/team"}, "roles": []any{"everybody"},
				"permission": read, "resourceRef": "component:default/gone", "resourceExists": false, "result": "DENY", "rules": rule(janes, nil),
			},
		},
		{
			"no resource", sue, map[string]any{"user": "user:default/nemo", "ownershipEntityRefs": []string{}, "permission": "catalog.entity.read"},
			map[string]any{
				"user": "user:default/nemo", "ownershipEntityRefs": []any{}, "roles": []any{"everybody"},
				"permission": read, "result": "CONDITIONAL", "rules": rule("", nil),
			},
		},
		{
			"by default, for oneself", sue, map[string]any{"permission": "catalog.location.create"},
			map[string]any{
				"user": "user:default/sue", "ownershipEntityRefs": []any{"user:default/sue", "group:default/support"}, "roles": []any{"everybody", "support"},
				"permission": create, "result": "DENY", "rules": []any{}, "default": "DENY",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := explain(tt.as, tt.ask)
			if got["result"] == "CONDITIONAL" || tt.ask["resourceRef"] != nil {
				if got["conditions"] == nil {
					t.Error("there are no conditions")
				}
				delete(got, "conditions")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}

	for _, tt := range []struct {
		name   string
		as     backendtest.Identity
		body   any
		status int
		says   string
	}{
		{"a user without the permission", backendtest.User("user:default/jane"), map[string]any{"permission": "catalog.entity.read"}, 403, "permission.policy.explain"},
		{"nobody", backendtest.Nobody(), map[string]any{}, 401, ""},
		{"no user", backendtest.Caller(""), map[string]any{"permission": "catalog.entity.read"}, 400, "name the user"},
		{"no permission", backendtest.Caller(""), map[string]any{"user": "jane"}, 400, "permission is missing"},
		{"a bad ref", backendtest.Caller(""), map[string]any{"user": ":", "permission": "catalog.entity.read"}, 400, "user:"},
		{"an unknown permission", backendtest.Caller(""), map[string]any{"user": "jane", "permission": "catalog.entity.eat"}, 400, "publishes no permission"},
		{"an unknown plugin", backendtest.Caller(""), map[string]any{"user": "jane", "permission": "nothing.at.all"}, 400, "does not tell"},
		{"no body", backendtest.Caller(""), nil, 400, "needs a body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if text := srv.Client(t).As(tt.as).Post(path, tt.body).Expect(tt.status).Text(); !strings.Contains(text, tt.says) {
				t.Errorf("%s does not say %s", text, tt.says)
			}
		})
	}
}

func TestShadow(t *testing.T) {
	t.Parallel()
	var log lines
	srv := portal(t, strings.Replace(policy, "policy:\n", "policy:\n    shadow: true\n", 1), logTo(&log))
	if got := components(t, srv.Client(t).As(backendtest.User("user:default/jane"))); got != "mine other" {
		t.Errorf("jane sees %q", got)
	}
	eventually(t, "the log", log.String, `"shadow":"permission.policy","user":"user:default/jane","permission":"catalog.entity.read","decision":"ALLOW","shadowDecision":"CONDITIONAL catalog catalog-entity`)
	var out struct{ Shadow bool }
	text := srv.Client(t).As(backendtest.Caller("")).Post("/api/permission/policy/explain", map[string]any{"user": "jane", "permission": "catalog.entity.read"}).Expect(200).Body
	if err := json.Unmarshal(text, &out); err != nil || !out.Shadow {
		t.Errorf("%s (%v)", text, err)
	}
}

// Conditions that no plugin knows are told in the log.
func TestConditionsAreCompared(t *testing.T) {
	t.Parallel()
	var log lines
	rule := func(resourceType, when string) string {
		return fmt.Sprintf("          - {allow: [x], resourceType: %s, when: %s}\n", resourceType, when)
	}
	portal(t, policy+rule("catalog-entity", "{rule: IS_ENTITY_OWNR}")+rule("catalog-entity", "{rule: HAS_LABEL, params: {lable: x}}")+rule("catalog-thing", "{rule: X}"), logTo(&log))
	for _, want := range []string{"did you mean IS_ENTITY_OWNER?", "the parameters are wrong: ", "no such type of resource"} {
		eventually(t, "the log", log.String, want)
	}
	if n := strings.Count(log.String(), "does not fit"); n != 3 {
		t.Errorf("%d conditions do not fit:\n%s", n, log.String())
	}
}
