package identity

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	declarative "github.com/flytower/flytower/plugins/permission-backend-module-declarative-policy"
)

// groups is of how many the user is a member.
const groups = 1000

// manyGroups is a catalog with a guest who is a member of many groups, whose
// names are as long as those of big companies, a component of each group, and
// one of others.
func manyGroups(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	var members []string
	for i := range groups {
		group := fmt.Sprintf("engineering-department-of-the-region-%04d", i)
		members = append(members, group)
		fmt.Fprintf(&text, "{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: %s}, spec: {type: team, children: []}}\n---\n", group)
		fmt.Fprintf(&text, "{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: c%04d}, spec: {type: service, lifecycle: production, owner: %s}}\n---\n", i, group)
	}
	text.WriteString("{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: foreign}, spec: {type: service, lifecycle: production, owner: others}}\n---\n")
	for i := range members {
		members[i] = "default/" + members[i]
	}
	fmt.Fprintf(&text, "{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: guest, namespace: development}, spec: {memberOf: [%s]}}\n", strings.Join(members, ", "))
	path := filepath.Join(t.TempDir(), "entities.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A user in a thousand groups may use every route: with the token, also where
// the token lists the groups as far as it can, and with the cookie.
func TestAUserInAThousandGroups(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, services(), signIn(), probe("probe"), probe("other"), catalogbackend.Plugin, permissionbackend.Plugin, declarative.Module,
		backendtest.Silent(), backendtest.YAML(`
		app: {baseUrl: 'http://localhost:3000'}
		auth: {providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}}
		backend: {auth: {externalAccess: [{type: static, options: {token: `+staticToken+`, subject: ci}}]}}
		catalog: {rules: [{allow: [User, Group, Component]}], locations: [{type: file, target: '`+manyGroups(t)+`'}]}
		permission:
		  enabled: true
		  policy:
		    roles:
		      - name: everybody
		        members: ['*']
		        rules:
		          - {allow: [catalog.*], actions: [read]}
		          - {deny: [catalog.entity.read], resourceType: catalog-entity, when: {not: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}}
		          - {allow: [catalog.entity.refresh], resourceType: catalog-entity, when: {rule: IS_ENTITY_OWNER, params: {claims: [$ownerRefs]}}}
		`))
	nobody := srv.Client(t).As(backendtest.Nobody())
	service := nobody.Header("Authorization", "Bearer "+staticToken)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var page struct{ TotalItems int }
		service.Get("/api/catalog/entities/by-query?limit=0&filter=kind=component,kind=user,kind=group").Expect(http.StatusOK).JSON(&page)
		var user struct{ Relations []any }
		if page.TotalItems == 2*groups+2 {
			if service.Get("/api/catalog/entities/by-name/user/development/guest").JSON(&user); len(user.Relations) == groups {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d entities, and %d relations of the user", page.TotalItems, len(user.Relations))
		}
	}
	token := guestToken(t, nobody)
	user := nobody.Header("Authorization", "Bearer "+token)
	limited := cookieOf(t, nobody, "probe", token)
	if most := 4096; len(limited) > most || len(token) > most {
		t.Errorf("the token has %d bytes and the cookie %d, and browsers keep cookies of %d", len(token), len(limited), most)
	}

	for path, want := range map[string]string{"/api/probe/default": "user:development/guest", "/api/probe/relay": "user:development/guest by plugin:probe"} {
		if got := user.Get(path).Expect(http.StatusOK).Text(); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := nobody.Header("Cookie", cookie(limited)["Cookie"]).Get("/api/probe/cookie").Expect(http.StatusOK).Text(); got != "user:development/guest" {
		t.Errorf("with the cookie: %s", got)
	}
	var info struct{ Claims struct{ Ent []string } }
	user.Get("/api/auth/v1/userinfo").Expect(http.StatusOK).JSON(&info)
	if len(info.Claims.Ent) != groups+1 {
		t.Errorf("the user owns by %d refs", len(info.Claims.Ent))
	}
	var page struct{ TotalItems int }
	user.Get("/api/catalog/entities/by-query?limit=20&filter=kind=component&orderField=metadata.name,asc").Expect(http.StatusOK).JSON(&page)
	if page.TotalItems != groups {
		t.Errorf("the user sees %d components, want %d", page.TotalItems, groups)
	}
	// The page "owned by my groups" names all of them: in the URL, as old
	// frontends do, and in a body.
	filter := "kind=component"
	for _, ref := range info.Claims.Ent {
		filter += ",relations.ownedBy=" + ref
	}
	user.Get("/api/catalog/entities/by-query?limit=0&filter=" + filter).Expect(http.StatusOK).JSON(&page)
	if page.TotalItems != groups {
		t.Errorf("a filter in the URL, of %d bytes: %d components", len(filter), page.TotalItems)
	}
	user.Post("/api/catalog/entities/by-query", map[string]any{"limit": 0, "query": map[string]any{"kind": "component", "relations.ownedBy": map[string]any{"$in": info.Claims.Ent}}}).Expect(http.StatusOK).JSON(&page)
	if page.TotalItems != groups {
		t.Errorf("a query in a body: %d components", page.TotalItems)
	}
	item := map[string]any{"id": "1", "resourceRef": []string{"component:default/c0999", "component:default/foreign"}, "permission": core.NewResourcePermission("catalog.entity.refresh", "update", "catalog-entity")}
	if got, want := user.Post("/api/permission/authorize", map[string]any{"items": []any{item}}).Expect(http.StatusOK).Text(), `{"items":[{"id":"1","result":["ALLOW","DENY"]}]}`; got != want {
		t.Errorf("decisions %s", got)
	}
	user.Post("/api/catalog/refresh", map[string]any{"entityRef": "component:default/c0500"}).Expect(http.StatusOK)
	user.Post("/api/catalog/refresh", map[string]any{"entityRef": "component:default/foreign"}).Expect(http.StatusForbidden)
	// Another product may put all groups in its own token, in a header of 60 kB.
	service.Header("X-Groups", strings.Join(info.Claims.Ent, ",")).Get("/api/catalog/entities?limit=1").Expect(http.StatusOK)
}
