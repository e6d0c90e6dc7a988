package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/coretest"
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
