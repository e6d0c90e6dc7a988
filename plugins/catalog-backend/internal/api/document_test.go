package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/coretest"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/kinds"
	"github.com/flytower/flytower/plugins/catalog-common/model"
	"github.com/flytower/flytower/plugins/catalog-common/schema"
)

func TestTheDocumentDescribesAllRoutes(t *testing.T) {
	t.Parallel()
	router := coretest.NewRouter()
	(&Handler{}).Register(router)
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	documented := []string{"GET /openapi.json"}
	for path, methods := range doc.Paths {
		for method := range methods {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(documented)
	routes := slices.Clone(router.Routes())
	slices.Sort(routes)
	if diff := cmp.Diff(routes, documented); diff != "" {
		t.Errorf("routes (-there +documented):\n%s", diff)
	}
}

// documentOf returns the document of a catalog with the layers, as text.
func documentOf(t *testing.T, layers ...model.Layer) []byte {
	t.Helper()
	m, err := model.Compile(layers...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDocument(m)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
	if err := (&Handler{Document: d}).document(w, r); err != nil {
		t.Fatal(err)
	}
	return w.Body.Bytes()
}

// The document says nothing of its own about the fields of entities: what it
// says is what the catalog validates with, so both give the same verdicts.
func TestSchemasOfTheDocumentAreThoseOfTheModel(t *testing.T) {
	t.Parallel()
	var own struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(openAPI, &own); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Entity", "EntityMeta", "EntityEnvelope", "ComponentEntity", "SourceEntity"} {
		if own.Components.Schemas[name] != nil {
			t.Errorf("the file has a schema %s of its own", name)
		}
	}
	text := documentOf(t, model.Default(), model.AIResources())
	verdict := func(component string, e catalogcommon.Entity) bool {
		t.Helper()
		s, err := schema.Compile("doc#/components/schemas/"+component, schema.Resource{ID: "doc", Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return s.Valid(map[string]any(e))
	}
	entity := func(apiVersion, kind, spec string) catalogcommon.Entity {
		t.Helper()
		e, err := catalogcommon.ParseEntity([]byte(`{"apiVersion":"` + apiVersion + `","kind":"` + kind + `","metadata":{"name":"x"},"spec":` + spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	set := kinds.NewSet(kinds.Core()...)
	for _, k := range kinds.Core() {
		for _, apiVersion := range append(k.APIVersions(), "example.com/v1") {
			for _, spec := range []string{
				`{"type":"x","lifecycle":"y","owner":"z","definition":"d","children":[],"memberOf":[]}`, `{"owner":7}`, `{}`, `{"type":"x","owner":""}`, `{"owner":"z"}`,
			} {
				e := entity(apiVersion, k.Name(), spec)
				known, err := set.Validate(e)
				if want := known && err == nil; verdict(k.Name()+"Entity", e) != want {
					t.Errorf("%s %s %s: the document says %v", apiVersion, k.Name(), spec, !want)
				}
			}
		}
	}
	for _, c := range []struct {
		component string
		entity    catalogcommon.Entity
		want      bool
	}{
		{"AiResourceEntity.rule", entity("backstage.io/v1alpha1", "AiResource", `{"type":"rule","lifecycle":"x","owner":"y","category":"c","rationale":"r"}`), true},
		{"AiResourceEntity.rule", entity("backstage.io/v1alpha1", "AiResource", `{"type":"rule","lifecycle":"x","owner":"y"}`), false},
		{"Entity", entity("a/b", "Anything", `{}`), true},
		{"Entity", catalogcommon.Entity{"kind": "X"}, false},
		{"EntityOrParts", catalogcommon.Entity{"kind": "X"}, true},
		{"SourceEntity", entity("a/b", "Anything", `{}`), true},
		{"SourceEntity", catalogcommon.Entity{"kind": "X"}, false},
	} {
		if got := verdict(c.component, c.entity); got != c.want {
			t.Errorf("%s: %v is %v", c.component, c.entity, got)
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`).FindAllSubmatch(text, -1) {
		if !bytes.Contains(text, append(append([]byte(`"`), ref[1]...), `":{`...)) {
			t.Errorf("there is no schema %s", ref[1])
		}
	}
}

func TestMountOf(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"/api/catalog/openapi.json":         "/api/catalog",
		"/api/Catalog/OpenAPI.json?x=1":     "/api/Catalog",
		"/portal/api/catalog/openapi.json/": "/portal/api/catalog",
		"/openapi.json":                     "/api/catalog",
		"":                                  "/api/catalog",
	} {
		r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
		r.RequestURI = uri
		if got := mountOf(r); got != want {
			t.Errorf("mountOf(%q) = %q, want %q", uri, got, want)
		}
	}
}
