package catalogbench

import (
	"fmt"
	"iter"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Numbers of entities in [Sources] that do not grow with the catalog.
const (
	sourceGroups  = 50
	sourceSystems = 200
	// MinSources is the least number of entities that [Sources] makes.
	MinSources = 300
)

// Sources returns n entities as a provider hands them in, at least
// [MinSources]: 50 groups, 200 systems, and three components per API. Each has
// an owner; a component also has a system, provides an API and consumes two.
// So a group is related to a fiftieth of the catalog. In another revision than
// 0 every hundredth entity has another description.
func Sources(n, revision int) iter.Seq[catalogcommon.Entity] {
	return func(yield func(catalogcommon.Entity) bool) {
		n := max(n, MinSources)
		apis := (n - sourceGroups - sourceSystems) / 4
		for i := range n {
			e := source(i, apis)
			e.SetAnnotation(catalogcommon.AnnotationLocation, sourceLocation)
			e.SetAnnotation(catalogcommon.AnnotationOriginLocation, sourceLocation)
			if revision != 0 && i%100 == 0 {
				e.SetMetadata("description", fmt.Sprintf("%s, revision %d", e.Description(), revision))
			}
			if !yield(e) {
				return
			}
		}
	}
}

const sourceLocation = "url:https://git.example.com/catalog/all.yaml"

var languages = []string{"go", "java", "typescript", "python", "rust"}

func source(i, apis int) catalogcommon.Entity {
	group := func(n int) string { return fmt.Sprintf("group-%03d", n%sourceGroups) }
	system := func(n int) string { return fmt.Sprintf("system-%03d", n%sourceSystems) }
	api := func(n int) string { return fmt.Sprintf("api-%06d", n%apis) }
	make := func(kind, name string, metadata, spec map[string]any) catalogcommon.Entity {
		metadata["name"] = name
		return catalogcommon.Entity{"apiVersion": catalogcommon.APIVersionV1alpha1, "kind": kind, "metadata": metadata, "spec": spec}
	}
	switch {
	case i < sourceGroups:
		return make("Group", group(i), map[string]any{"description": fmt.Sprint("The group with the number ", i)}, map[string]any{
			"type": "team", "children": []any{}, "profile": map[string]any{"displayName": fmt.Sprint("Group ", i), "email": fmt.Sprintf("group-%d@example.com", i)},
		})
	case i < sourceGroups+sourceSystems:
		i -= sourceGroups
		return make("System", system(i), map[string]any{
			"description": fmt.Sprint("The system with the number ", i), "tags": []any{languages[i%5]},
		}, map[string]any{"owner": group(i)})
	case i < sourceGroups+sourceSystems+apis:
		i -= sourceGroups + sourceSystems
		return make("API", api(i), map[string]any{
			"description": fmt.Sprint("The API with the number ", i), "tags": []any{"rest", languages[i%5]},
		}, map[string]any{
			"type": "openapi", "lifecycle": lifecycles[i%3], "owner": group(3 * i), "system": system(7 * i),
			"definition": fmt.Sprintf("openapi: 3.0.0\ninfo:\n  title: API %d\n  version: 1.0.%d\npaths: {}\n", i, i),
		})
	default:
		i -= sourceGroups + sourceSystems + apis
		e := make("Component", fmt.Sprintf("component-%06d", i), map[string]any{
			"title":       fmt.Sprint("Component ", i),
			"description": fmt.Sprintf("The component with the number %d, which is here so that it can be measured what many of them take", i),
			"labels":      map[string]any{"tier": []string{"gold", "silver", "bronze"}[i%3], "example.com/shard": fmt.Sprint(i % 16)},
			"tags":        []any{languages[i%5], fmt.Sprint("team-", i%50), []string{"even", "odd"}[i%2]},
			"links":       []any{map[string]any{"url": fmt.Sprint("https://example.com/component/", i), "title": "Home", "icon": "web"}},
		}, map[string]any{
			"type": types[i%3], "lifecycle": lifecycles[i/4%3], "owner": group(i), "system": system(i),
			"providesApis": []any{api(i)}, "consumesApis": []any{api(i + 1), api(i + 2 + i%7)},
		})
		e.SetAnnotation("github.com/project-slug", fmt.Sprint("acme/component-", i))
		e.SetAnnotation("example.com/cost-center", fmt.Sprint(1000+i%20))
		return e
	}
}
