//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flytower/flytower/internal/bench/catalog/shape"
)

// question is what clients ask, in some variations.
type question struct {
	measure, name string
	// most bounds how many variations there are; 0 is one.
	most int
	ask  func(i int) (method, path string, body any)
}

const api = "/api/catalog"

// requests renders the variations for a target.
func (q question) requests(t *target) ([]request, error) {
	var out []request
	for i := range max(q.most, 1) {
		method, path, body := q.ask(i)
		var text []byte
		if body != nil {
			var err error
			if text, err = json.Marshal(body); err != nil {
				return nil, err
			}
		}
		out = append(out, t.newRequest(method, api+path, text))
	}
	return out, nil
}

func get(path string, query ...string) func(int) (string, string, any) {
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		v.Add(query[i], query[i+1])
	}
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return func(int) (string, string, any) { return http.MethodGet, path, nil }
}

// questions returns all that can be asked of a catalog.
func questions(c shape.Catalog) []question {
	const (
		byQuery  = "/entities/by-query"
		variants = 5000
	)
	byName := func(behind string) func(int) (string, string, any) {
		samples := refs(c, variants)
		return func(i int) (string, string, any) {
			return http.MethodGet, "/entities/by-name/" + strings.Replace(samples[i%len(samples)], ":", "/", 1) + behind, nil
		}
	}
	sample := refs(c, variants)
	return []question{
		// The battery, by its numbers; what is no question of a client (9, the
		// count of incoming references) is asked as the next best one.
		{"battery", "1 list of 20 components by name", 0, get(byQuery, "filter", "kind=component", "orderField", "metadata.name,asc", "limit", "20", "totalItems", "exclude")},
		{"battery", "2 count of components", 0, get(byQuery, "filter", "kind=component", "limit", "0")},
		{"battery", "3 list of 20", 0, get(byQuery, "limit", "20", "totalItems", "exclude")},
		{"battery", "4 facets spec.type of templates", 0, get("/entity-facets", "facet", "spec.type", "filter", "kind=template")},
		{"battery", "5 facets spec.type of components", 0, get("/entity-facets", "facet", "spec.type", "filter", "kind=component")},
		{"battery", "6 entity by ref", variants, byName("")},
		{"battery", "7 text in names of components, 20", 0, get(byQuery, "filter", "kind=component", "fullTextFilterTerm", c.Term(), "fullTextFilterFields", "metadata.name", "orderField", "metadata.name,asc", "limit", "20", "totalItems", "exclude")},
		{"battery", "8 ancestry", variants, byName("/ancestry")},
		{"battery", "9 count of references to a group", 0, get(byQuery, "filter", "relations.ownedBy="+c.Group(3).String(), "limit", "0")},
		{"battery", "10 count of everything", 0, get(byQuery, "limit", "0")},
		{"battery", "11 orphans", 0, get("/entities", "filter", "metadata.annotations.backstage.io/orphan=true")},
		{"battery", "12 one of two by name, 2000", 0, func(int) (string, string, any) {
			return http.MethodPost, byQuery, map[string]any{
				"query": map[string]any{"$any": []any{
					map[string]any{"relations.ownedBy": c.Group(0).String()},
					map[string]any{"relations.partOf": c.System(1).String()},
				}},
				"orderBy": []any{map[string]any{"field": "metadata.name", "order": "asc"}}, "limit": 2000, "totalItems": "exclude",
			}
		}},

		{"queries", "entity by name", variants, byName("")},
		{"queries", "50 entities by refs", variants / 10, func(i int) (string, string, any) {
			from := i * 50 % (len(sample) - 49)
			return http.MethodPost, "/entities/by-refs", map[string]any{"entityRefs": sample[from : from+50]}
		}},
		{"queries", "ancestry", variants, byName("/ancestry")},
		{"queries", "20 components", 0, get("/entities", "filter", "kind=component", "limit", "20")},
		{"queries", "20 components by name, counted", 0, get(byQuery, "filter", "kind=component", "orderField", "metadata.name,asc", "limit", "20")},
		{"queries", "20 services by title, counted", 0, get(byQuery, "filter", "kind=component,spec.type=service", "orderField", "metadata.title,asc", "limit", "20")},
		{"queries", "facets kind", 0, get("/entity-facets", "facet", "kind")},
		{"queries", "facets spec.type of components", 0, get("/entity-facets", "facet", "spec.type", "filter", "kind=component")},
		{"queries", "20 owned by a group, counted", 0, get(byQuery, "filter", "relations.ownedBy="+c.Group(7).String(), "orderField", "metadata.name,asc", "limit", "20")},
		{"queries", "20 with text, counted", 0, get(byQuery, "filter", "kind=component", "fullTextFilterTerm", c.Term(), "fullTextFilterFields", "metadata.name,metadata.title", "orderField", "metadata.name,asc", "limit", "20")},
		{"queries", "everything, three fields", 0, get("/entities", "fields", "kind,metadata.name,metadata.namespace")},
	}
}

// refs returns the refs of components all over the catalog.
func refs(c shape.Catalog, n int) []string {
	out := make([]string, 0, n)
	for ref := range c.Components() {
		out = append(out, ref.String())
	}
	if step := len(out) / n; step > 1 {
		for i := range n {
			out[i] = out[i*step]
		}
		out = out[:n]
	}
	return out
}

func (q question) String() string { return fmt.Sprint(q.measure, ": ", q.name) }
