package authors_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
	"github.com/flytower/flytower/plugins/catalog-node/conditions"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

// A made-up plugin with reports, and a policy.

type report struct{ author string }

var stored = map[string]report{"spring": {"user:default/jane"}}

type authorParams struct {
	User string `json:"user"`
}

var (
	reports    = permissionnode.ResourceType{Plugin: "reports", Type: "reports-report"}
	isAuthor   = permissionnode.NewRule[authorParams](reports, "IS_AUTHOR")
	readReport = core.NewResourcePermission("reports.report.read", "read", reports.Type)
)

var reportsPlugin = backend.NewPlugin("reports", func(env *backend.PluginEnv) backend.InitFunc {
	registry, router := core.PermissionsRegistry.From(env), core.HTTPRouter.From(env)
	auth, permissions := core.HTTPAuth.From(env), core.Permissions.From(env)
	return func(context.Context) error {
		router().HandleErr("GET /{name}", func(w http.ResponseWriter, r *http.Request) error {
			who, err := auth().Credentials(r, core.Allow{User: true, Service: true})
			if err != nil {
				return err
			}
			results, err := permissions().Authorize(r.Context(), who, core.AuthorizeRequest{Permission: readReport, ResourceRef: r.PathValue("name")})
			if err != nil {
				return err
			}
			if results[0] != core.Allowed {
				return apierr.NotAllowed("you may not read this report")
			}
			apierr.WriteJSON(w, http.StatusOK, "It rained.")
			return nil
		})
		return registry().AddResourceType(core.ResourceType{
			Type:        reports.Type,
			Permissions: []core.Permission{readReport},
			Rules: []core.PermissionRule{{
				Name: "IS_AUTHOR", Description: "Allow reports of an author",
				ParamsSchema: json.RawMessage(`{"type":"object","properties":{"user":{"type":"string"}},"required":["user"]}`),
				Apply: func(resource any, raw json.RawMessage) (bool, error) {
					var params authorParams
					err := json.Unmarshal(raw, &params)
					return resource.(report).author == params.User, err
				},
			}},
			GetResources: func(_ context.Context, refs []string) ([]any, error) {
				out := make([]any, len(refs))
				for i, ref := range refs {
					if r, ok := stored[ref]; ok {
						out[i] = r
					}
				}
				return out, nil
			},
		})
	}
})

func authorsAndOwners(_ context.Context, q permissionnode.Query, user *permissionnode.User) (core.Decision, error) {
	switch {
	case user == nil:
		return permissionnode.Deny(), nil
	case q.Permission.Name == readReport.Name:
		return reports.When(isAuthor.With(authorParams{User: user.Info.UserEntityRef})), nil
	case q.Permission.Name == catalognode.PermissionEntityRead.Name:
		return conditions.Entity.When(permissionnode.AnyOf(
			conditions.IsEntityOwner(user.Info.OwnershipEntityRefs...),
			conditions.IsEntityKind("User", "Group"),
		)), nil
	case q.Permission.Attributes.Action == "read":
		return permissionnode.Allow(), nil
	default:
		return permissionnode.Deny(), nil
	}
}

var policyModule = backend.NewModule("permission", "authors-and-owners", func(env *backend.ModuleEnv) backend.InitFunc {
	policies := permissionnode.Policies.From(env)
	return func(context.Context) error {
		return policies().SetPolicy(permissionnode.PolicyFunc(authorsAndOwners))
	}
})

func TestPolicy(t *testing.T) {
	t.Parallel()
	srv := backendtest.Start(t, permissionbackend.Plugin, policyModule, reportsPlugin,
		backendtest.YAML("permission: {enabled: true}"))
	srv.Client(t).As(backendtest.User("user:default/jane")).Get("/api/reports/spring").Expect(200)
	srv.Client(t).As(backendtest.User("user:default/joe")).Get("/api/reports/spring").Expect(403)
	srv.Client(t).As(backendtest.User("user:default/jane")).Get("/api/reports/autumn").Expect(403)
}
