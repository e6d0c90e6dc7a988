package permissionbackend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/auth"
	"github.com/flytower/flytower/defaults/httpauth"
	"github.com/flytower/flytower/defaults/userinfo"
	authbackend "github.com/flytower/flytower/plugins/auth-backend"
	guest "github.com/flytower/flytower/plugins/auth-backend-module-guest-provider"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/conditions"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

const (
	fullToken       = "full-token-1234567890"
	restrictedToken = "restricted-token-1234567890"
)

// portal is a backend with real tokens, the catalog, and a policy that tests
// change.
type portal struct {
	client backendtest.Client
	guest  backendtest.Identity
	// decision is what the policy decides on the permission that is named,
	// and allowed for others.
	decision atomic.Pointer[ruling]
	mine     string // uid of an entity that the guest owns
	other    string // uid of one that the guest does not own
}

type ruling struct {
	permission string
	decide     func(user *permissionnode.User) core.Decision
}

// newPortal starts one, with more components that the guest owns.
func newPortal(t testing.TB, more ...string) *portal {
	t.Helper()
	path := filepath.Join(t.TempDir(), "entities.yaml")
	var text strings.Builder
	text.WriteString("{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: guest, namespace: development}, spec: {memberOf: [guests]}}\n---\n" +
		"{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: guests, namespace: development}, spec: {type: team, children: []}}\n")
	owners := map[string]string{"mine": "group:development/guests", "other": "group:default/others"}
	for _, name := range more {
		owners[name] = "group:development/guests"
	}
	for name, owner := range owners {
		fmt.Fprintf(&text, "---\n{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: %s}, spec: {type: service, lifecycle: production, owner: %q}}\n", name, owner)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &portal{}
	srv := backendtest.Start(t,
		auth.Factory, httpauth.Factory, userinfo.Factory, authbackend.Plugin, guest.Module, catalogbackend.Plugin, permissionbackend.Plugin,
		policyModule(func(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
			if d := p.decision.Load(); d != nil && d.permission == q.Permission.Name {
				return d.decide(user), nil
			}
			return permissionnode.Allow(), nil
		}),
		backendtest.Silent(),
		backendtest.YAML(`
			app: {baseUrl: 'http://localhost:3000'}
			permission: {enabled: true}
			backend:
			  auth:
			    externalAccess:
			      - {type: static, options: {token: `+fullToken+`, subject: full}}
			      - type: static
			        options: {token: `+restrictedToken+`, subject: restricted}
			        accessRestrictions: [{plugin: catalog, permissionAttribute: {action: read}}]
			auth: {providers: {guest: {dangerouslyAllowOutsideDevelopment: true}}}
			catalog:
			  rules: [{allow: [Component, User, Group]}]
			  locations: [{type: file, target: '`+path+`'}]
		`))
	p.client = srv.Client(t)
	full := p.client.As(backendtest.Token(fullToken))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		count := func(filter string) int {
			var page struct{ TotalItems int }
			decode(t, full.Get("/api/catalog/entities/by-query?limit=0&filter="+filter).Expect(200).Body, &page)
			return page.TotalItems
		}
		// What the guest owns is found at sign-in, by the groups that the user has.
		components, members := count("kind=component,relations.ownedBy"), count("kind=user,relations.memberOf")
		if components == len(owners) && members == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d components with owners, %d members of groups", components, members)
		}
	}
	for name, uid := range map[string]*string{"mine": &p.mine, "other": &p.other} {
		var e struct{ Metadata struct{ UID string } }
		decode(t, full.Get("/api/catalog/entities/by-name/component/default/"+name).Expect(200).Body, &e)
		*uid = e.Metadata.UID
	}
	var session struct{ BackstageIdentity struct{ Token string } }
	decode(t, p.client.As(backendtest.Nobody()).Get("/api/auth/guest/refresh").Expect(200).Body, &session)
	p.guest = backendtest.Token(session.BackstageIdentity.Token)
	return p
}

func decode(t testing.TB, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// names are the names of components in a list, sorted by the server.
func names(t testing.TB, text []byte) string {
	t.Helper()
	var list []struct{ Metadata struct{ Name string } }
	decode(t, text, &list)
	var out []string
	for _, e := range list {
		out = append(out, e.Metadata.Name)
	}
	return strings.Join(out, " ")
}

// use exercises a permission; its answer is the status, and what tells apart
// answers with the same status.
type use struct {
	name       string
	permission core.Permission
	do         func(t *testing.T, p *portal, c backendtest.Client) string
	// What the answers are for a user who is allowed and denied, for a user
	// who is allowed what is theirs, and for a service that may only read.
	allowed, denied, conditional, reader string
}

func status(method, path string, body any) func(*testing.T, *portal, backendtest.Client) string {
	return func(_ *testing.T, p *portal, c backendtest.Client) string {
		path := strings.NewReplacer("MINE", p.mine, "OTHER", p.other).Replace(path)
		return strconv.Itoa(c.Do(method, path, body).Status)
	}
}

func list(t *testing.T, _ *portal, c backendtest.Client) string {
	r := c.Get("/api/catalog/entities?filter=kind=component&order=asc:metadata.name")
	if r.Status != http.StatusOK {
		return strconv.Itoa(r.Status)
	}
	return names(t, r.Body)
}

func byRefs(t *testing.T, _ *portal, c backendtest.Client) string {
	r := c.Post("/api/catalog/entities/by-refs", map[string]any{"entityRefs": []string{"component:default/mine", "component:default/other"}})
	if r.Status != http.StatusOK {
		return strconv.Itoa(r.Status)
	}
	var answer struct{ Items []*struct{} }
	decode(t, r.Body, &answer)
	var out []string
	for _, e := range answer.Items {
		out = append(out, map[bool]string{true: "yes", false: "no"}[e != nil])
	}
	return strings.Join(out, " ")
}

// uses are those of the catalog. A decision on a basic permission cannot be
// conditional: a policy that does so is broken.
var uses = []use{
	{"list", catalognode.PermissionEntityRead, list, "mine other", "", "mine", "mine other"},
	{"by refs", catalognode.PermissionEntityRead, byRefs, "yes yes", "no no", "yes no", "yes yes"},
	{"by name, mine", catalognode.PermissionEntityRead, status("GET", "/api/catalog/entities/by-name/component/default/mine", nil), "200", "404", "200", "200"},
	{"by name, other", catalognode.PermissionEntityRead, status("GET", "/api/catalog/entities/by-name/component/default/other", nil), "200", "404", "404", "200"},
	{"by uid", catalognode.PermissionEntityRead, status("GET", "/api/catalog/entities/by-uid/OTHER", nil), "200", "404", "404", "200"},
	{"ancestry, mine", catalognode.PermissionEntityRead, status("GET", "/api/catalog/entities/by-name/component/default/mine/ancestry", nil), "200", "403", "200", "200"},
	{"ancestry, other", catalognode.PermissionEntityRead, status("GET", "/api/catalog/entities/by-name/component/default/other/ancestry", nil), "200", "403", "403", "200"},
	{"refresh, mine", catalognode.PermissionEntityRefresh, status("POST", "/api/catalog/refresh", map[string]any{"entityRef": "component:default/mine"}), "200", "403", "200", "403"},
	{"refresh, other", catalognode.PermissionEntityRefresh, status("POST", "/api/catalog/refresh", map[string]any{"entityRef": "component:default/other"}), "200", "403", "403", "403"},
	{"validate", catalognode.PermissionEntityValidate, status("POST", "/api/catalog/validate-entity", map[string]any{
		"location": "url:http://localhost/x", "entity": map[string]any{
			"apiVersion": "backstage.io/v1alpha1", "kind": "Component", "metadata": map[string]any{"name": "x"},
			"spec": map[string]any{"type": "service", "lifecycle": "production", "owner": "x"},
		},
	}), "200", "403", "500", "403"},
	{"locations", catalognode.PermissionLocationRead, status("GET", "/api/catalog/locations", nil), "200", "200", "500", "200"},
	{"one location", catalognode.PermissionLocationRead, status("GET", "/api/catalog/locations/5d8e5ba4-0000-4000-8000-000000000000", nil), "404", "404", "500", "404"},
	{"register", catalognode.PermissionLocationCreate, status("POST", "/api/catalog/locations", map[string]any{"type": "other", "target": "x"}), "400", "403", "500", "403"},
	{"unregister", catalognode.PermissionLocationDelete, status("DELETE", "/api/catalog/locations/5d8e5ba4-0000-4000-8000-000000000000", nil), "404", "403", "500", "403"},
	{"analyze", catalognode.PermissionLocationAnalyze, status("POST", "/api/catalog/analyze-location", map[string]any{"location": map[string]any{"type": "other", "target": "x"}}), "400", "403", "500", "403"},
	// At the end: what they delete is gone for a while.
	{"delete, other", catalognode.PermissionEntityDelete, status("DELETE", "/api/catalog/entities/by-uid/OTHER", nil), "204", "403", "403", "403"},
	{"delete, mine", catalognode.PermissionEntityDelete, status("DELETE", "/api/catalog/entities/by-uid/MINE", nil), "204", "403", "204", "403"},
}

func TestMatrixOfTheCatalog(t *testing.T) {
	t.Parallel()
	p := newPortal(t)
	allow := func(*permissionnode.User) core.Decision { return permissionnode.Allow() }
	deny := func(*permissionnode.User) core.Decision { return permissionnode.Deny() }
	own := func(u *permissionnode.User) core.Decision {
		return conditions.Entity.When(conditions.IsEntityOwner(u.Info.OwnershipEntityRefs...))
	}
	for _, u := range uses {
		cells := []struct {
			name   string
			as     backendtest.Identity
			decide func(*permissionnode.User) core.Decision
			want   string
		}{
			{"nobody", backendtest.Nobody(), allow, "401"},
			{"a bad token", backendtest.Token(fullToken + "x"), allow, "401"},
			{"restricted service", backendtest.Token(restrictedToken), allow, u.reader},
			// A policy is about users: a service may what its token may.
			{"restricted service, denied by the policy", backendtest.Token(restrictedToken), deny, u.reader},
			{"user, denied", p.guest, deny, u.denied},
			{"user, conditional", p.guest, own, u.conditional},
			{"user, allowed", p.guest, allow, u.allowed},
			{"service", backendtest.Token(fullToken), deny, u.allowed},
		}
		for _, cell := range cells {
			t.Run(u.name+"/"+cell.name, func(t *testing.T) {
				p.decision.Store(&ruling{u.permission.Name, cell.decide})
				if got := u.do(t, p, p.client.As(cell.as)); got != cell.want {
					t.Errorf("got %q, want %q", got, cell.want)
				}
			})
		}
	}
}

// catalogPermissions are all that the catalog publishes.
var catalogPermissions = []core.Permission{
	catalognode.PermissionEntityRead, catalognode.PermissionEntityCreate, catalognode.PermissionEntityDelete,
	catalognode.PermissionEntityRefresh, catalognode.PermissionEntityValidate,
	catalognode.PermissionLocationRead, catalognode.PermissionLocationCreate, catalognode.PermissionLocationDelete, catalognode.PermissionLocationAnalyze,
	catalognode.PermissionIngestionRead, catalognode.PermissionIngestionManage,
}

// Frontends ask about all permissions of the catalog directly.
func TestMatrixOfAuthorize(t *testing.T) {
	t.Parallel()
	p := newPortal(t)
	var published struct{ Permissions []core.Permission }
	decode(t, p.client.As(p.guest).Get("/api/catalog/.well-known/backstage/permissions/metadata").Expect(200).Body, &published)
	if len(published.Permissions) != len(catalogPermissions) {
		t.Fatalf("the catalog publishes %d permissions, this test knows %d", len(published.Permissions), len(catalogPermissions))
	}
	for _, permission := range catalogPermissions {
		item := map[string]any{"id": "1", "permission": permission}
		wantOwn, resource := `500`, permission.ResourceType != ""
		if resource {
			item["resourceRef"] = []string{"component:default/other", "component:default/mine", "component:default/gone"}
			wantOwn = `["DENY","ALLOW","DENY"]`
		}
		for _, cell := range []struct {
			name string
			as   backendtest.Identity
			d    func(u *permissionnode.User) core.Decision
			want string
		}{
			{"nobody", backendtest.Nobody(), func(*permissionnode.User) core.Decision { return permissionnode.Allow() }, "401"},
			{"service", backendtest.Token(fullToken), func(*permissionnode.User) core.Decision { return permissionnode.Allow() }, "403"},
			{"restricted service", backendtest.Token(restrictedToken), func(*permissionnode.User) core.Decision { return permissionnode.Allow() }, "403"},
			{"allowed", p.guest, func(*permissionnode.User) core.Decision { return permissionnode.Allow() }, `"ALLOW"`},
			{"denied", p.guest, func(*permissionnode.User) core.Decision { return permissionnode.Deny() }, `"DENY"`},
			{"conditional", p.guest, func(u *permissionnode.User) core.Decision {
				return conditions.Entity.When(conditions.IsEntityOwner(u.Info.OwnershipEntityRefs...))
			}, wantOwn},
		} {
			t.Run(permission.Name+"/"+cell.name, func(t *testing.T) {
				p.decision.Store(&ruling{permission.Name, cell.d})
				r := p.client.As(cell.as).Post("/api/permission/authorize", map[string]any{"items": []any{item}})
				got := strconv.Itoa(r.Status)
				if r.Status == http.StatusOK {
					var answer struct {
						Items []struct{ Result json.RawMessage }
					}
					decode(t, r.Body, &answer)
					got = string(answer.Items[0].Result)
				}
				if got != cell.want {
					t.Errorf("got %s, want %s", got, cell.want)
				}
			})
		}
	}
}
