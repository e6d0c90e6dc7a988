package permissionbackend_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// requestCounter counts the requests to the permission plugin.
func requestCounter(n *calls) backend.Feature {
	return backend.NewModule("permission", "request-counter", func(env *backend.ModuleEnv) backend.InitFunc {
		router := core.HTTPRouter.From(env)
		return func(context.Context) error {
			router().Use(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n.add(r.Method + " " + r.URL.Path)
					next.ServeHTTP(w, r)
				})
			})
			return nil
		}
	})
}

// reader is a plugin that asks for permission.
var reader = backend.NewPlugin("reader", func(env *backend.PluginEnv) backend.InitFunc {
	core.Permissions.From(env)
	return func(context.Context) error { return nil }
})

// Plugins of one process ask without a request, and get what they would get
// with one.
func TestPluginsOfTheProcessAskWithoutARequest(t *testing.T) {
	t.Parallel()
	var loads, requests, actors calls
	srv := backendtest.Start(t, permissionbackend.Plugin, shelf(&loads), requestCounter(&requests), reader,
		backendtest.YAML("permission: {enabled: true}"), backendtest.Ownership("user:default/jane", "group:default/editors"), backendtest.Silent(),
		policyModule(func(ctx context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
			actors.add(user.Info.UserEntityRef + " by " + user.Credentials.Principal.Actor)
			return decide(ctx, q, user)
		}))
	jane := backendtest.User("user:default/jane").Credentials()
	service := backendtest.Service(t, srv, "reader", core.Permissions)
	by := core.NewResourcePermission("by:austen", "read", "book")

	place := backendtest.RootService(t, srv, core.LocalPermissions)
	if _, ok := place.Get(); !ok {
		t.Fatal("the permission plugin is not there")
	}
	for _, here := range []bool{true, false} {
		name := "without a request"
		if !here {
			place.Set(nil)
			name = "with a request"
		}
		results, err := service.Authorize(t.Context(), jane,
			core.AuthorizeRequest{Permission: by, ResourceRef: "emma"}, core.AuthorizeRequest{Permission: by, ResourceRef: "ulysses"},
			core.AuthorizeRequest{Permission: core.NewPermission("allow", "")}, core.AuthorizeRequest{Permission: core.NewPermission("for:group:default/editors", "")})
		if diff := cmp.Diff([]core.AuthorizeResult{core.Allowed, core.Denied, core.Allowed, core.Allowed}, results); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		decisions, err := service.AuthorizeConditional(t.Context(), jane, by, core.NewPermission("deny", ""))
		want := []core.Decision{book.When(isAuthor.With(author{"austen"})), permissionnode.Deny()}
		if diff := cmp.Diff(want, decisions); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		for _, bad := range []string{"error", "odd"} {
			if results, err := service.Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: core.NewPermission(bad, "")}); err == nil || results != nil {
				t.Errorf("%s, %s: %v", name, bad, results)
			}
		}
		if _, err := service.Authorize(t.Context(), jane, core.AuthorizeRequest{Permission: by}); err == nil {
			t.Errorf("%s: a condition without a resource is no error", name)
		}
		got := requests.take()["POST /authorize"]
		if wantRequests := map[bool]int{true: 0, false: 5}[here]; got != wantRequests {
			t.Errorf("%s: %d requests, want %d", name, got, wantRequests)
		}
		for who := range actors.take() {
			if who != "user:default/jane by plugin:reader" {
				t.Errorf("%s: the policy was asked about %s", name, who)
			}
		}
	}
}

// The configuration may say that the permission plugin is elsewhere, even if
// one is in the process.
func TestElsewhereIsAsked(t *testing.T) {
	t.Parallel()
	var requests calls
	srv := backendtest.Start(t, permissionbackend.Plugin, requestCounter(&requests), reader, backendtest.Silent(), policyModule(decide),
		backendtest.YAML("{permission: {enabled: true}, discovery: {endpoints: [{target: 'http://127.0.0.1:1/api/{{pluginId}}', plugins: [permission]}]}}"))
	_, err := backendtest.Service(t, srv, "reader", core.Permissions).
		Authorize(t.Context(), backendtest.User("").Credentials(), core.AuthorizeRequest{Permission: core.NewPermission("allow", "")})
	if err == nil {
		t.Error("the permission plugin of the process decided")
	}
}

func BenchmarkCheck(b *testing.B) {
	var loads calls
	srv := backendtest.Start(b, permissionbackend.Plugin, shelf(&loads), reader,
		backendtest.YAML("permission: {enabled: true}"), policyModule(decide))
	jane := backendtest.User("user:default/jane").Credentials()
	service := backendtest.Service(b, srv, "reader", core.Permissions)
	by := core.NewResourcePermission("by:austen", "read", "book")
	place := backendtest.RootService(b, srv, core.LocalPermissions)
	decider, _ := place.Get()
	for _, bm := range []struct {
		name    string
		decider core.PermissionDecider
	}{{"without a request", decider}, {"with a request in memory", nil}} {
		b.Run(bm.name, func(b *testing.B) {
			place.Set(bm.decider)
			for b.Loop() {
				if _, err := service.AuthorizeConditional(b.Context(), jane, by); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
