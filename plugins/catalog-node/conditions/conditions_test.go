package conditions_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flytower/flytower/backendtest"
	"github.com/flytower/flytower/core"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	"github.com/flytower/flytower/plugins/catalog-node/conditions"
	permissionnode "github.com/flytower/flytower/plugins/permission-node"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const entity = `
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: ticketing, tags: [java], labels: {tier: gold, bare: ""}, annotations: {example.com/team: stage}}
spec: {type: service, lifecycle: production, owner: box-office}
`

// The catalog understands every condition.
func TestTheCatalogAppliesThem(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "entity.yaml")
	if err := os.WriteFile(path, []byte(entity), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := backendtest.Start(t, catalogbackend.Plugin, backendtest.YAML("catalog: {locations: [{type: file, target: '"+path+"'}]}"))
	c := srv.Client(t).As(backendtest.Caller(""))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r := c.Get("/api/catalog/entities/by-name/component/default/ticketing"); r.Status == 200 && strings.Contains(r.Text(), "ownedBy") {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(r.Text())
		}
	}
	for _, tt := range []struct {
		name string
		c    core.PermissionCriteria
		want bool
	}{
		{"annotation", conditions.HasAnnotation("example.com/team"), true},
		{"no annotation", conditions.HasAnnotation("example.com/other"), false},
		{"value of an annotation", conditions.HasAnnotationValue("example.com/team", "Stage"), true},
		{"another value of an annotation", conditions.HasAnnotationValue("example.com/team", "x"), false},
		{"label", conditions.HasLabel("tier"), true},
		{"no label", conditions.HasLabel("x"), false},
		{"value of a label", conditions.HasLabelValue("tier", "gold"), true},
		{"an empty value of a label", conditions.HasLabelValue("bare", ""), true},
		{"an empty value that is none", conditions.HasLabelValue("tier", ""), false},
		{"metadata", conditions.HasMetadata("tags"), true},
		{"no metadata", conditions.HasMetadata("links"), false},
		{"value of metadata", conditions.HasMetadataValue("tags", "java"), true},
		{"another value of metadata", conditions.HasMetadataValue("name", "x"), false},
		{"spec", conditions.HasSpec("type"), true},
		{"no spec", conditions.HasSpec("x"), false},
		{"value of spec", conditions.HasSpecValue("lifecycle", "production"), true},
		{"another value of spec", conditions.HasSpecValue("lifecycle", "x"), false},
		{"kind", conditions.IsEntityKind("api", "component"), true},
		{"another kind", conditions.IsEntityKind("api"), false},
		{"no kind", conditions.IsEntityKind(), false},
		{"owner", conditions.IsEntityOwner("user:default/x", "group:default/box-office"), true},
		{"another owner", conditions.IsEntityOwner("group:default/stage"), false},
		{"no owner", conditions.IsEntityOwner(), false},
		{"not", permissionnode.Not(conditions.IsEntityOwner()), true},
		{"all", permissionnode.AllOf(conditions.HasLabel("tier"), conditions.HasLabel("x")), false},
		{"any", permissionnode.AnyOf(conditions.HasLabel("tier"), conditions.HasLabel("x")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := conditions.Entity.When(tt.c)
			if err := d.Conditions.Validate(); err != nil || d.Result != core.Conditional || d.PluginID != "catalog" {
				t.Fatalf("%+v: %v", d, err)
			}
			var answer struct {
				Items []struct{ Result core.AuthorizeResult }
			}
			text := c.Post("/api/catalog/.well-known/backstage/permissions/apply-conditions", map[string]any{"items": []any{map[string]any{
				"id": "1", "resourceRef": "component:default/ticketing", "resourceType": d.ResourceType, "conditions": d.Conditions,
			}}}).Expect(200).Body
			if err := json.Unmarshal(text, &answer); err != nil {
				t.Fatal(err)
			}
			if got := answer.Items[0].Result == core.Allowed; got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
