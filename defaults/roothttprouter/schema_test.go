package roothttprouter_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/flytower/flytower/defaults/httprouter"
	"github.com/flytower/flytower/defaults/roothttprouter"
)

func TestSchemasDescribeEveryKey(t *testing.T) {
	t.Parallel()
	for _, text := range []string{roothttprouter.ConfigSchema, httprouter.ConfigSchema} {
		var schema map[string]any
		if err := json.Unmarshal([]byte(text), &schema); err != nil {
			t.Fatal(err)
		}
		checkDescriptions(t, "", schema)
	}
}

func checkDescriptions(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	for name, v := range properties {
		child, _ := v.(map[string]any)
		if _, ok := child["description"]; !ok && child["properties"] == nil {
			t.Errorf("%s.%s has no description", path, name)
		}
		checkDescriptions(t, path+"."+name, child)
		for _, alternative := range child {
			list, _ := alternative.([]any)
			for _, a := range list {
				if m, ok := a.(map[string]any); ok {
					checkDescriptions(t, path+"."+name, m)
				}
			}
		}
	}
}

func TestMiddlewareOption(t *testing.T) {
	t.Parallel()
	mark := func(name string) roothttprouter.Option {
		return roothttprouter.WithMiddleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("X-Order", name)
				next.ServeHTTP(w, r)
			})
		})
	}
	s := start(t, "backend:\n", mark("outer"), mark("inner"))
	if resp, _ := s.do("GET", "/x"); len(resp.Header["X-Order"]) != 2 || resp.Header["X-Order"][0] != "outer" {
		t.Errorf("got %q", resp.Header["X-Order"])
	}
}
