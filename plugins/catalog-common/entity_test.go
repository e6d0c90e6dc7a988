package catalogcommon_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

const website = `{
	"apiVersion": "backstage.io/v1alpha1",
	"kind": "Component",
	"metadata": {
		"name": "WebSite", "title": "Web Site", "description": "<b>shop</b> & more",
		"uid": "u-1", "etag": "e-1",
		"labels": {"tier": "1"},
		"annotations": {"backstage.io/managed-by-location": "url:https://git.example/shop/catalog-info.yaml"},
		"tags": ["go", "web"],
		"custom": {"kept": [1.50, null]}
	},
	"spec": {"type": "website", "lifecycle": "production", "owner": "shop", "providesApis": ["b", "a"], "extra": {"deep": true}}
}`

func parse(t testing.TB, text string) catalogcommon.Entity {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEntityAccessors(t *testing.T) {
	t.Parallel()
	e := parse(t, website)
	got := map[string]any{
		"kind": e.Kind(), "apiVersion": e.APIVersion(), "name": e.Name(), "namespace": e.Namespace(), "title": e.Title(),
		"description": e.Description(), "uid": e.UID(), "etag": e.Etag(), "type": e.Type(), "ref": e.Ref().String(),
		"label": e.Label("tier"), "tags": e.Tags(), "owner": e.SpecString("owner"), "apis": e.SpecStrings("providesApis"),
		"location": e.Annotation(catalogcommon.AnnotationLocation),
	}
	want := map[string]any{
		"kind": "Component", "apiVersion": "backstage.io/v1alpha1", "name": "WebSite", "namespace": "default", "title": "Web Site",
		"description": "<b>shop</b> & more", "uid": "u-1", "etag": "e-1", "type": "website", "ref": "component:default/website",
		"label": "1", "tags": []string{"go", "web"}, "owner": "shop", "apis": []string{"b", "a"},
		"location": "url:https://git.example/shop/catalog-info.yaml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accessors (-want +got):\n%s", diff)
	}
}

func TestEntityAccessorsTolerateAnyShape(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"metadata":null,"spec":[]}`, `{"kind":1,"metadata":{"name":[],"annotations":"x","labels":[],"tags":{}},"spec":"s"}`} {
		e := parse(t, text)
		if s := e.Kind() + e.Name() + e.Type() + e.Annotation("a") + e.Label("l"); s != "" {
			t.Errorf("%s: accessors yield %q, want nothing", text, s)
		}
		if tags := e.Tags(); len(tags) != 0 {
			t.Errorf("%s: Tags() = %v", text, tags)
		}
		if ns := e.Namespace(); ns != catalogcommon.DefaultNamespace {
			t.Errorf("%s: Namespace() = %q", text, ns)
		}
		e.DeleteAnnotation("a")
	}
}

func TestParseEntityDemandsAnObject(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`[]`, `"x"`, `1`, `null`, `{`, ``} {
		if e, err := catalogcommon.ParseEntity([]byte(text)); err == nil {
			t.Errorf("ParseEntity(%s) = %v, want an error", text, e)
		}
	}
}

func TestEntityTextIsCanonicalAndComplete(t *testing.T) {
	t.Parallel()
	e := parse(t, website)
	text := e.AppendJSON(nil)
	want := `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"annotations":{"backstage.io/managed-by-location":"url:https://git.example/shop/catalog-info.yaml"},` +
		`"custom":{"kept":[1.5,null]},"description":"<b>shop</b> & more","etag":"e-1","labels":{"tier":"1"},"name":"WebSite","tags":["go","web"],"title":"Web Site","uid":"u-1"},` +
		`"spec":{"extra":{"deep":true},"lifecycle":"production","owner":"shop","providesApis":["b","a"],"type":"website"}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	if got := bytes.TrimSpace(buf.Bytes()); !bytes.Equal(got, text) {
		t.Errorf("through encoding/json: %s", got)
	}
}

func TestHashFollowsContentOnly(t *testing.T) {
	t.Parallel()
	a := parse(t, `{"kind":"A","metadata":{"name":"n","x":1.0}}`)
	b := parse(t, `{"metadata":{"x":1,"name":"n"},"kind":"A"}`)
	if a.Hash() != b.Hash() {
		t.Error("notation changes the hash")
	}
	if got, want := a.Hash(), catalogcommon.HashJSON(a.AppendJSON(nil)); got != want {
		t.Errorf("Hash() = %s, HashJSON = %s", got, want)
	}
	if got, want := (catalogcommon.Entity{}).Hash(), "bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f"; got != want {
		t.Errorf("hash of {} = %s, want %s", got, want)
	}
	b.SetSpec("type", "y")
	if a.Hash() == b.Hash() {
		t.Error("a change of content does not change the hash")
	}
}

func TestCloneIsIndependent(t *testing.T) {
	t.Parallel()
	e := parse(t, website)
	before := e.Hash()
	c := e.Clone()
	c.SetAnnotation("new", "x")
	c.DeleteAnnotation(catalogcommon.AnnotationLocation)
	c.SetMetadata("name", "other")
	c.AddStatus(catalogcommon.StatusItem{Type: "t", Level: catalogcommon.StatusInfo})
	if e.Hash() != before {
		t.Error("changing the clone changed the original")
	}
	if c.Annotation("new") != "x" || c.Name() != "other" {
		t.Errorf("the clone did not take the changes: %v", c)
	}
}

func TestSettersCreateWhatIsMissing(t *testing.T) {
	t.Parallel()
	e := catalogcommon.Entity{"metadata": map[string]any{"annotations": map[string]string{"kept": "1"}}}
	e.SetAnnotation("a", "b")
	e.SetSpec("type", "x")
	want := `{"metadata":{"annotations":{"a":"b","kept":"1"}},"spec":{"type":"x"}}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("entity = %s, want %s", got, want)
	}
}

func TestNormalizeEntity(t *testing.T) {
	t.Parallel()
	in := catalogcommon.Entity{"metadata": map[string]any{"labels": map[string]string{"a": "b"}}, "spec": map[string]any{"n": 1, "children": []string{"x"}}}
	out, err := catalogcommon.NormalizeEntity(in)
	if err != nil {
		t.Fatal(err)
	}
	want := catalogcommon.Entity{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}, "spec": map[string]any{"n": 1.0, "children": []any{"x"}}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("NormalizeEntity (-want +got):\n%s", diff)
	}
	if _, err := catalogcommon.NormalizeEntity(catalogcommon.Entity{"f": func() {}}); err == nil {
		t.Error("a function passed for a JSON value")
	}
}

func TestRelationsAreDistinctAndSorted(t *testing.T) {
	t.Parallel()
	e := catalogcommon.Entity{}
	e.SetRelations([]catalogcommon.EntityRelation{
		{"partOf", "system:default/s"}, {"ownedBy", "group:default/b"}, {"ownedBy", "group:default/a"}, {"ownedBy", "user:x/u"}, {"partOf", "system:default/s"},
	})
	want := []catalogcommon.EntityRelation{{"ownedBy", "group:default/a"}, {"ownedBy", "group:default/b"}, {"ownedBy", "user:x/u"}, {"partOf", "system:default/s"}}
	if diff := cmp.Diff(want, e.Relations()); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
	groups := e.RelatedTo("OwnedBy", "Group")
	if diff := cmp.Diff([]catalogcommon.Ref{{"group", "default", "a"}, {"group", "default", "b"}}, groups); diff != "" {
		t.Errorf("RelatedTo (-want +got):\n%s", diff)
	}
	odd := parse(t, `{"relations":[1,{"type":"x"},{"type":"ownedBy","targetRef":"group:default/a"}]}`)
	if got := odd.Relations(); len(got) != 1 {
		t.Errorf("odd items: Relations() = %v, want the one that is whole", got)
	}
}

func TestReverseRelation(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"ownedBy", "ownerOf"}, {"consumesApi", "apiConsumedBy"}, {"providesApi", "apiProvidedBy"}, {"dependsOn", "dependencyOf"},
		{"parentOf", "childOf"}, {"memberOf", "hasMember"}, {"partOf", "hasPart"}, {"invented", ""},
	} {
		if got := catalogcommon.ReverseRelation(pair[0]); got != pair[1] {
			t.Errorf("ReverseRelation(%s) = %q, want %q", pair[0], got, pair[1])
		}
		if pair[1] != "" && catalogcommon.ReverseRelation(pair[1]) != pair[0] {
			t.Errorf("ReverseRelation(%s) does not lead back", pair[1])
		}
	}
}

func TestStatusIsAppended(t *testing.T) {
	t.Parallel()
	e := parse(t, `{"status":{"kept":1,"items":[{"type":"own","level":"info","message":"m"}]}}`)
	e.AddStatus(catalogcommon.ProcessingStatus(map[string]any{"name": "InputError", "message": "bad", "stack": "s"}))
	want := `{"status":{"items":[{"level":"info","message":"m","type":"own"},` +
		`{"error":{"message":"bad","name":"InputError","stack":"s"},"level":"error","message":"InputError: bad","type":"backstage.io/catalog-processing"}],"kept":1}}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("entity = %s, want %s", got, want)
	}
	if items := e.Status(); len(items) != 2 || items[1].Level != catalogcommon.StatusError || items[0].Type != "own" {
		t.Errorf("Status() = %+v", items)
	}
	untouched := catalogcommon.Entity{}
	untouched.AddStatus()
	if len(untouched) != 0 {
		t.Errorf("adding nothing made %v", untouched)
	}
}
