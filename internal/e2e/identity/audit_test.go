package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auditor"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	declarative "github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy"
)

// trail is what was audited.
type trail struct {
	mu    sync.Mutex
	lines []string
}

func (l *trail) add(_ context.Context, r auditor.Record) {
	if r.EventID == "entity-fetch" || r.Status == auditor.Initiated {
		return
	}
	meta, _ := json.Marshal(r.Meta) // strings and numbers encode
	text := fmt.Sprintf("%s.%s %s by %s %s %s", r.Plugin, r.EventID, r.Severity, r.Actor.ActorID, r.Status, meta)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, text)
}

func (l *trail) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.lines
	l.lines = nil
	return out
}

// Who asked for what, and was denied, can be told afterwards, and who was given
// a cookie.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	entities := filepath.Join(t.TempDir(), "entities.yaml")
	if err := os.WriteFile(entities, []byte("{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: a}, spec: {type: service, lifecycle: production, owner: others}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var audit trail
	srv := backendtest.Start(t, services(), signIn(), probe("probe"), catalogbackend.Plugin, permissionbackend.Plugin, declarative.Module,
		auditor.NewFactory(auditor.WithSink(audit.add)), backendtest.Silent(), backendtest.YAML(`
		app: {baseUrl: 'http://localhost:3000'}
		auth: {providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}}
		backend: {auth: {externalAccess: [{type: static, options: {token: `+staticToken+`, subject: ci}}]}}
		catalog: {rules: [{allow: [Component]}], locations: [{type: file, target: '`+entities+`'}]}
		permission:
		  enabled: true
		  policy:
		    roles:
		      - name: everybody
		        members: ['*']
		        rules:
		          - {allow: [catalog.location.read]}
		          - {allow: [catalog.entity.*], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}
		`))
	nobody := srv.Client(t).As(backendtest.Nobody())
	for deadline := time.Now().Add(30 * time.Second); nobody.Header("Authorization", "Bearer "+staticToken).Get("/api/catalog/entities/by-name/component/default/a").Status != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the component does not arrive")
		}
	}
	user := nobody.Header("Authorization", "Bearer "+guestToken(t, nobody))
	audit.take()
	authorize := func(refs []string, p core.Permission) {
		item := map[string]any{"id": "1", "permission": p}
		if refs != nil {
			item["resourceRef"] = refs
		}
		user.Post("/api/permission/authorize", map[string]any{"items": []any{item}}).Expect(http.StatusOK)
	}
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"a cookie", func() { user.Get("/api/probe/.backstage/auth/v1/cookie").Expect(200) }, []string{
			`probe.cookie-issue low by user:development/guest succeeded null`,
		}},
		{"a cookie for a service", func() {
			nobody.Header("Authorization", "Bearer "+staticToken).Get("/api/probe/.backstage/auth/v1/cookie").Expect(403)
		}, []string{`probe.cookie-issue low by ci failed null`}},
		{"the end of a cookie", func() { user.Delete("/api/probe/.backstage/auth/v1/cookie").Expect(204) }, []string{
			`probe.cookie-clear low by user:development/guest succeeded null`,
		}},
		{"a question of a frontend", func() {
			authorize([]string{"component:default/a", "component:default/gone"}, core.NewResourcePermission("catalog.entity.delete", "delete", "catalog-entity"))
		}, []string{
			`permission.authorize low by user:development/guest succeeded {"decisions":{"catalog.entity.delete":{"DENY":2}},"denied":{"catalog.entity.delete":["component:default/a","component:default/gone"]}}`,
		}},
		{"what is allowed", func() { authorize(nil, core.NewPermission("catalog.location.read", "read")) }, []string{
			`permission.authorize low by user:development/guest succeeded {"decisions":{"catalog.location.read":{"ALLOW":1}}}`,
		}},
		{"a list that conditions restrict", func() { user.Get("/api/catalog/entities").Expect(200) }, []string{
			`permission.authorize low by plugin:permission succeeded {"decisions":{"catalog.entity.read":{"CONDITIONAL":1}},"through":"plugin:catalog","user":"user:development/guest"}`,
		}},
		{"what is denied", func() {
			user.Post("/api/catalog/refresh", map[string]any{"entityRef": "component:default/a"}).Expect(403)
		}, []string{
			`permission.authorize low by plugin:permission succeeded {"decisions":{"catalog.entity.refresh":{"DENY":1}},"denied":{"catalog.entity.refresh":["component:default/a"]},"through":"plugin:catalog","user":"user:development/guest"}`,
			`catalog.entity-mutate medium by user:development/guest failed {"queryType":"refresh"}`,
		}},
	} {
		step.do()
		got := audit.take()
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
