package catalogbackend_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/backendtest"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// storage is a module with a provider of fixed entities.
func storage(t *testing.T, texts ...string) backend.Feature {
	t.Helper()
	p := fixed{}
	for _, text := range texts {
		e, err := catalogcommon.ParseEntity([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		e.SetAnnotation(catalogcommon.AnnotationLocation, "url:https://x/y")
		e.SetAnnotation(catalogcommon.AnnotationOriginLocation, "url:https://x/y")
		p = append(p, catalognode.DeferredEntity{Entity: e})
	}
	return backend.NewModule("catalog", "storage", func(env *backend.ModuleEnv) backend.InitFunc {
		processing := catalognode.Processing.From(env)
		return func(context.Context) error { return processing().AddProvider(p) }
	})
}

type fixed []catalognode.DeferredEntity

func (fixed) ProviderName() string { return "storage" }

func (f fixed) Connect(ctx context.Context, c catalognode.ProviderConnection) error {
	_, err := c.ApplyDelta(ctx, catalognode.Delta{Added: f})
	return err
}

func TestModelLayers(t *testing.T) {
	t.Parallel()
	robots := model.Layer{ID: "robots", Ops: slices.Concat(
		model.AddKind(model.Kind{Group: "acme.example", Kind: "Robot", Singular: "robot", Plural: "robots", Versions: []model.Version{{
			Names: []string{"v1"}, Schema: model.MustParseSchema([]byte(`{"properties":{"spec":{"type":"object","required":["legs"]}}}`)),
			RelationFields: []model.RelationField{
				{Path: "spec.owner", Relation: "ownedBy", DefaultKind: "Group", AllowedKinds: []string{"group"}},
				{Path: "spec.friends.best", Relation: "likes"},
				{Path: "spec.master", Relation: "obeys", DefaultKind: "User", InDefaultNamespace: true},
			},
		}}}),
		model.AddRelationPair(model.RelationPair{
			FromKinds: []string{"Robot"}, ToKinds: []string{"User"}, Forward: model.Direction{Type: "obeys"}, Reverse: model.Direction{Type: "obeyedBy"},
		}),
		model.UpdateRelationPair(model.RelationPairUpdate{FromKinds: []string{"Robot"}, ToKinds: []string{"Group"}, Forward: "ownedBy", Reverse: new("ownerOf")}),
		[]model.Op{model.UpdateKindVersion{Kind: "Component", Name: "v1alpha1", Schema: model.MustParseSchema([]byte(`{"properties":{"spec":{"properties":{"type":{"enum":["service"]}}}}}`))}},
	)}
	srv := backendtest.Start(t, catalogbackend.Plugin, catalognode.ProvideStaticModel(robots), backendtest.Silent(), backendtest.YAML("catalog: {processingInterval: {seconds: 1}}"), storage(t,
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"r","namespace":"lab"},"spec":{"legs":2,"owner":"makers","master":"ann","friends":{"best":["user:bob","robot:zed"]}}}`,
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"legless"},"spec":{}}`,
		`{"apiVersion":"acme.example/v2","kind":"Robot","metadata":{"name":"new"},"spec":{"legs":2}}`,
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"orphan"},"spec":{"legs":2,"owner":"user:ann","master":"thing"}}`,
		`{"apiVersion":"acme.example/v1","kind":"Robot","metadata":{"name":"vague"},"spec":{"legs":2,"friends":{"best":"bob"}}}`,
		`{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"good"},"spec":{"type":"service","lifecycle":"l","owner":"makers","dependsOn":["component:b","component:a"]}}`,
		`{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"bad"},"spec":{"type":"website","lifecycle":"l","owner":"makers"}}`,
		`{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"ann"},"spec":{"memberOf":[]}}`,
	))
	client := srv.Client(t).As(backendtest.User("user:default/ann"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	want := []string{
		"component:default/good dependsOn component:default/a dependsOn component:default/b ownedBy group:default/makers",
		"robot:default/orphan obeys user:default/thing",
		"robot:lab/r likes robot:lab/zed likes user:lab/bob obeys user:default/ann ownedBy group:lab/makers",
		"user:default/ann obeyedBy robot:lab/r",
	}
	for {
		var entities []catalogcommon.Entity
		client.Get("/api/catalog/entities").Expect(200).JSON(&entities)
		var have []string
		for _, e := range entities {
			line := e.Ref().String()
			for _, r := range e.Relations() {
				line += " " + r.Type + " " + r.TargetRef
			}
			have = append(have, line)
		}
		slices.Sort(have)
		d := cmp.Diff(want, have)
		if d == "" {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
}

func TestModelProblems(t *testing.T) {
	t.Parallel()
	layers := []model.Layer{model.AIResources()}
	srv := backendtest.Start(t, catalogbackend.Plugin, catalognode.ProvideStaticModel(layers...), backendtest.Silent())
	client := srv.Client(t).As(backendtest.User("user:default/ann"))
	for _, tc := range []struct{ version, kind, spec, want string }{
		{"v1alpha1", "AiResource", `{"type":"rule","lifecycle":"l","owner":"o"}`, "Validation of AiResource entity failed: /spec must have required property 'category' - missingProperty: category; /spec must have required property 'rationale' - missingProperty: rationale"},
		{"v9", "AiResource", `{}`, `Kind "AiResource" exists, but has no version matching apiVersion "backstage.io/v9"`},
		{"v1alpha1", "Component", `{"type":"t","lifecycle":"l","owner":"o","dependsOn":["x"]}`, `spec.dependsOn: Entity reference "x" had missing or empty kind`},
		{"v1alpha1", "Ghost", `{}`, "No processor recognized the entity ghost:default/x as valid"},
		{"v1alpha1", "AiResource", `{"type":"rule","lifecycle":"l","owner":"o","category":"c","rationale":"r"}`, ""},
	} {
		body := map[string]any{
			"location": "url:https://x/y",
			"entity":   map[string]any{"apiVersion": "backstage.io/" + tc.version, "kind": tc.kind, "metadata": map[string]any{"name": "x"}, "spec": tc.spec},
		}
		spec, err := catalogcommon.ParseEntity([]byte(tc.spec))
		if err != nil {
			t.Fatal(err)
		}
		body["entity"].(map[string]any)["spec"] = map[string]any(spec)
		status := 400
		if tc.want == "" {
			status = 200
		}
		if text := client.Post("/api/catalog/validate-entity", body).Expect(status).Text(); !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), tc.want) {
			t.Errorf("%s %s: %s", tc.kind, tc.spec, text)
		}
	}
}

func TestModelThatDoesNotCompile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		source catalognode.ModelSource
		want   string
	}{
		{func(context.Context) ([]model.Layer, error) { return nil, errors.New("the file is gone") }, "the file is gone"},
		{func(context.Context) ([]model.Layer, error) {
			return []model.Layer{model.Default(), {ID: "x", Ops: []model.Op{model.RemoveKind{Kind: "Ghost"}}}}, nil
		}, `Cannot remove unknown kind "Ghost"`},
	} {
		srv := backendtest.Start(t, catalogbackend.Plugin, backendtest.Silent(),
			backendtest.YAML("backend: {startup: {plugins: {catalog: {onPluginBootFailure: continue}}}}"),
			backend.NewModule("catalog", "source", func(env *backend.ModuleEnv) backend.InitFunc {
				point := catalognode.Model.From(env)
				return func(context.Context) error { return point().AddModelSource(tc.source) }
			}))
		status := srv.Backend().Status()
		have := status.Plugins[slices.IndexFunc(status.Plugins, func(p backend.PluginStatus) bool { return p.ID == "catalog" })].Error
		if !strings.Contains(have, tc.want) {
			t.Errorf("the plugin failed with %q, want %s", have, tc.want)
		}
	}
}
