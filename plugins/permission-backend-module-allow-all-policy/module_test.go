package permissionmoduleallowallpolicy_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	permissionbackend "github.com/flytower/flytower/plugins/permission-backend"
	permissionmoduleallowallpolicy "github.com/flytower/flytower/plugins/permission-backend-module-allow-all-policy"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

var denyAll = backend.NewModule("permission", "deny-all", func(env *backend.ModuleEnv) backend.InitFunc {
	policies := permissionnode.Policies.From(env)
	return func(context.Context) error {
		return policies().SetPolicy(permissionnode.PolicyFunc(func(context.Context, permissionnode.Query, *permissionnode.User) (core.Decision, error) {
			return permissionnode.Deny(), nil
		}))
	}
})

func TestModule(t *testing.T) {
	t.Parallel()
	const body = `{"id":"1","resourceRef":"x","permission":{"type":"resource","name":"a","attributes":{},"resourceType":"t"}}`
	for _, tt := range []struct {
		name     string
		features []backend.Feature
		want     string
	}{
		{"alone", nil, `{"items":[{"id":"1","result":"ALLOW"}]}`},
		{"beside another", []backend.Feature{denyAll}, `{"items":[{"id":"1","result":"DENY"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := backendtest.Start(t, append(tt.features, permissionbackend.Plugin, permissionmoduleallowallpolicy.Module, backendtest.YAML("permission: {enabled: true}"))...)
			got := srv.Client(t).As(backendtest.User("")).Header("Content-Type", "application/json").
				Post("/api/permission/authorize", map[string]any{"items": []any{raw(body)}}).Expect(200).Text()
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// raw is JSON as it is.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }
