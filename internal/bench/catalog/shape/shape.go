// Package shape makes synthetic catalogs for whole-process benchmarks: the
// entities as providers hand them in, before they are processed.
//
//	c := shape.Catalog{Form: shape.Large, Entities: 74_000}
//	for e := range c.All() {
//		…
//	}
//
// The same catalog is made each time.
package shape

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// Form is what a catalog looks like.
type Form string

const (
	// Large is like the catalogs of large companies: nine kinds, about 25 search
	// terms and 8 relations per entity, names that repeat in several
	// namespaces. Most groups own little and some own thousands of entities.
	Large Form = "large"
	// Regular is evenly distributed: 50 groups, 200 systems, and four
	// components for each API. Of each component lead relations to an owner, a
	// system, one API that it provides and two that it consumes.
	Regular Form = "regular"
)

// Catalog is a catalog of a size.
type Catalog struct {
	Form     Form
	Entities int
	// Changed puts the label [ChangeLabel] with that value on every hundredth
	// entity; empty does not.
	Changed string
}

// ChangeLabel is the label of changed entities.
const ChangeLabel = "bench-change"

// changeStep is that one of how many entities changes.
const changeStep = 100

// MinRegular is the least size of a regular catalog.
const MinRegular = 300

// ChangedEntities returns how many entities Changed concerns.
func (c Catalog) ChangedEntities() int { return (c.Entities + changeStep - 1) / changeStep }

// All returns the entities.
func (c Catalog) All() iter.Seq[catalogcommon.Entity] {
	at := c.maker()
	return func(yield func(catalogcommon.Entity) bool) {
		for i := range c.Entities {
			e := at(i)
			if c.Changed != "" && i%changeStep == 0 {
				labels, _ := e.Metadata()["labels"].(map[string]any)
				if labels == nil {
					labels = map[string]any{}
				}
				labels[ChangeLabel] = c.Changed
				e.SetMetadata("labels", labels)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// Component returns the ref of a component.
func (c Catalog) Component(i int) catalogcommon.Ref {
	if c.Form == Regular {
		_, components := c.regularCounts()
		return catalogcommon.Ref{Kind: "component", Namespace: "default", Name: pad("component-", i%components, 6)}
	}
	l := c.large()
	all := l.numbers["Component"]
	n := all[i%len(all)]
	return catalogcommon.Ref{Kind: "component", Namespace: l.namespace(n), Name: l.name(n)}
}

// Group returns the ref of a group; those with low numbers own most.
func (c Catalog) Group(i int) catalogcommon.Ref {
	if c.Form == Regular {
		return catalogcommon.Ref{Kind: "group", Namespace: "default", Name: pad("group-", i%regularGroups, 3)}
	}
	return c.large().ref("Group", i)
}

// System returns the ref of a system; those with low numbers have most parts.
func (c Catalog) System(i int) catalogcommon.Ref {
	if c.Form == Regular {
		return catalogcommon.Ref{Kind: "system", Namespace: "default", Name: pad("system-", i%regularSystems, 3)}
	}
	return c.large().ref("System", i)
}

// Term is a part of the names of some components.
func (c Catalog) Term() string {
	if c.Form == Regular {
		return "0042"
	}
	return "player"
}

func (c Catalog) maker() func(i int) catalogcommon.Entity {
	if c.Form == Regular {
		return c.regular
	}
	return c.large().entity
}

func pad(prefix string, i, width int) string { return fmt.Sprintf("%s%0*d", prefix, width, i) }

// shares are the kinds of a large catalog, with how many of a thousand entities are of each.
var shares = []struct {
	kind  string
	share int
}{
	{"Component", 620}, {"API", 200}, {"User", 60}, {"Resource", 55}, {"Group", 20}, {"Location", 20}, {"System", 20}, {"Domain", 3}, {"Template", 2},
}

var (
	types      = []string{"service", "website", "library", "documentation", "data-pipeline", "mobile-app", "Service"}
	lifecycles = []string{"production", "experimental", "deprecated", "Production"}
	nouns      = []string{"playback", "billing", "search", "artist", "player", "catalog", "ingest", "event", "user", "report", "ledger", "session"}
	roles      = []string{"api", "service", "worker", "ui", "gateway", "lib", "batch", "proxy"}
)

// large makes the entities of a large catalog.
type large struct {
	n       int
	numbers map[string][]int // of the entities of each kind
}

func (c Catalog) large() large {
	l := large{n: c.Entities, numbers: map[string][]int{}}
	for i := range c.Entities {
		k := kindOf(i)
		l.numbers[k] = append(l.numbers[k], i)
	}
	return l
}

// kindOf mixes the kinds.
func kindOf(i int) string {
	at := i * 7919 % 1000
	for _, k := range shares {
		if at -= k.share; at < 0 {
			return k.kind
		}
	}
	return shares[0].kind
}

// name returns the name of an entity: every twentieth has the name of another
// one, in another namespace.
func (l large) name(i int) string {
	if i%20 == 19 {
		i -= 19
	}
	return nouns[i%len(nouns)] + "-" + roles[i/len(nouns)%len(roles)] + "-" + strconv.Itoa(i)
}

func (l large) namespace(i int) string {
	if i%20 == 19 {
		return "team-" + strconv.Itoa(i/20%20)
	}
	return "default"
}

// ref returns the ref of the entity of a kind with a number among them.
func (l large) ref(kind string, i int) catalogcommon.Ref {
	of := l.numbers[kind]
	if len(of) == 0 {
		return catalogcommon.Ref{Kind: strings.ToLower(kind), Namespace: "default", Name: "none"}
	}
	n := of[i%len(of)]
	return catalogcommon.Ref{Kind: strings.ToLower(kind), Namespace: l.namespace(n), Name: l.name(n)}
}

// skewed returns a number below max, small ones more often: with many to choose
// from, the first is chosen about a hundred times as often as the average.
func skewed(r *rand.Rand, max int) int {
	const flat = 20 // the first ones are about equally frequent
	return min(int(flat*(math.Pow(float64(max)/flat+1, r.Float64())-1)), max-1)
}

func (l large) pick(r *rand.Rand, kind string) string {
	return l.ref(kind, skewed(r, max(len(l.numbers[kind]), 1))).String()
}

func (l large) any(r *rand.Rand, kind string) string {
	return l.ref(kind, r.IntN(max(len(l.numbers[kind]), 1))).String()
}

func (l large) entity(i int) catalogcommon.Entity {
	// An entity depends on its own number only, so that they can be made in any
	// order and one by one.
	r := rand.New(rand.NewPCG(7, uint64(i)))
	kind, name := kindOf(i), l.name(i)
	repository := fmt.Sprintf("https://git.example.com/org-%d/repo-%d", skewed(r, 40), i/3)
	source := "url:" + repository + "/tree/main/" + name
	metadata := map[string]any{
		"name": name, "namespace": l.namespace(i),
		"description": fmt.Sprintf("The %s of the %s domain, number %d", roles[i%len(roles)], nouns[i%len(nouns)], i),
		"annotations": map[string]any{
			"backstage.io/managed-by-location":        source + "/catalog-info.yaml",
			"backstage.io/managed-by-origin-location": source + "/catalog-info.yaml",
			"backstage.io/source-location":            source + "/",
			"backstage.io/techdocs-ref":               "dir:.",
			"git.example.com/project-slug":            "org/" + name,
		},
		"labels": map[string]any{"tier": strconv.Itoa(r.IntN(4)), "cost-center": fmt.Sprint("cc-", skewed(r, 200))},
		"tags":   []any{fmt.Sprint("tag-", skewed(r, 60)), fmt.Sprint("lang-", skewed(r, 12))},
	}
	if i%2 == 0 {
		metadata["title"] = fmt.Sprintf("%s %s %d", nouns[i%len(nouns)], roles[i%len(roles)], i)
	}
	e := catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": l.spec(r, kind, i),
	}
	if kind == "Template" {
		e["apiVersion"] = "scaffolder.backstage.io/v1beta3"
	}
	return e
}

func (l large) spec(r *rand.Rand, kind string, i int) map[string]any {
	typ, lifecycle := types[skewed(r, len(types))], lifecycles[skewed(r, len(lifecycles))]
	owner, system := l.pick(r, "Group"), l.pick(r, "System")
	switch kind {
	case "Component":
		return map[string]any{
			"type": typ, "lifecycle": lifecycle, "owner": owner, "system": system,
			"dependsOn":    []any{l.any(r, "Component")},
			"providesApis": []any{l.any(r, "API")},
			"consumesApis": []any{l.any(r, "API"), l.pick(r, "API")}[:1+i%2],
		}
	case "API":
		return map[string]any{
			"type": "openapi", "lifecycle": lifecycle, "owner": owner, "system": system,
			"definition": fmt.Sprintf("openapi: 3.1.0\ninfo:\n  title: %s\n  version: 1.%d.0\n", l.name(i), i%50) +
				strings.Repeat("# The paths of a real document would follow here, one by one.\n", 2+i%20),
		}
	case "Resource":
		return map[string]any{"type": "database", "owner": owner, "system": system, "dependsOn": []any{l.any(r, "Component"), l.any(r, "Resource")}}
	case "User":
		return map[string]any{
			"profile":  map[string]any{"displayName": fmt.Sprint("User ", i), "email": fmt.Sprintf("user-%d@example.com", i)},
			"memberOf": []any{owner, l.any(r, "Group")},
		}
	case "Group":
		spec := map[string]any{
			"type": "team", "children": []any{},
			"profile": map[string]any{"displayName": fmt.Sprint("Team ", i), "email": fmt.Sprintf("team-%d@example.com", i)},
		}
		if at := i / 50; at > 0 { // groups lie some fifty numbers apart
			spec["parent"] = l.ref("Group", at/8).String()
		}
		return spec
	case "System":
		return map[string]any{"owner": owner, "domain": l.pick(r, "Domain")}
	case "Domain":
		return map[string]any{"owner": owner}
	case "Location":
		return map[string]any{"type": "url", "targets": []any{}}
	default:
		return map[string]any{
			"type": typ, "owner": owner,
			"parameters": []any{map[string]any{"title": "Name", "properties": map[string]any{"name": map[string]any{"type": "string"}}}},
			"steps":      []any{map[string]any{"id": "log", "name": "Log", "action": "debug:log", "input": map[string]any{"message": "done"}}},
		}
	}
}

const (
	regularGroups  = 50
	regularSystems = 200
)

func (c Catalog) regularCounts() (apis, components int) {
	rest := c.Entities - regularGroups - regularSystems
	apis = (rest + 2) / 4
	return apis, rest - apis
}

// regular returns an entity of a regular catalog: first the groups, then the
// systems, the APIs and the components.
func (c Catalog) regular(i int) catalogcommon.Entity {
	apis, components := c.regularCounts()
	languages := []string{"go", "java", "typescript", "python", "rust"}
	stages := []string{"production", "experimental", "deprecated"}
	entity := func(kind, name, description string, tags []any, spec map[string]any) catalogcommon.Entity {
		const from = "url:https://example.com/synthetic/catalog-info.yaml"
		metadata := map[string]any{
			"name": name, "description": description,
			"annotations": map[string]any{"backstage.io/managed-by-location": from, "backstage.io/managed-by-origin-location": from},
		}
		if len(tags) > 0 {
			metadata["tags"] = tags
		}
		return catalogcommon.Entity{"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
	}
	group := func(i int) string { return pad("group-", i%regularGroups, 3) }
	system := func(i int) string { return pad("system-", i%regularSystems, 3) }
	api := func(i int) string { return pad("api-", i%apis, 6) }

	if i < regularGroups {
		return entity("Group", group(i), fmt.Sprint("Group with the number ", i), nil, map[string]any{
			"type": "team", "children": []any{},
			"profile": map[string]any{"displayName": fmt.Sprint("Group ", i), "email": fmt.Sprintf("group-%d@example.com", i)},
		})
	}
	if i -= regularGroups; i < regularSystems {
		return entity("System", system(i), fmt.Sprint("System with the number ", i), []any{languages[i%5]}, map[string]any{"owner": group(i)})
	}
	if i -= regularSystems; i < apis {
		return entity("API", api(i), fmt.Sprint("API with the number ", i), []any{"rest", languages[i%5]}, map[string]any{
			"type": "openapi", "lifecycle": stages[i%3], "owner": group(3 * i), "system": system(7 * i),
			"definition": fmt.Sprintf("openapi: \"3.0.0\"\ninfo:\n  title: API %d\n  version: 1.0.%d\npaths: {}\n", i, i),
		})
	}
	i = (i - apis) % components
	parity := "even"
	if i%2 == 1 {
		parity = "odd"
	}
	e := entity("Component", pad("component-", i, 6),
		fmt.Sprintf("Component with the number %d, there to see how a catalog does when it has a great many of its kind", i),
		[]any{languages[i%5], "team-" + strconv.Itoa(i%50), parity},
		map[string]any{
			"type": []string{"service", "website", "library"}[i%3], "lifecycle": stages[i/4%3], "owner": group(i), "system": system(i),
			"providesApis": []any{api(i)}, "consumesApis": []any{api(i + 1), api(i + 2 + i%7)},
		})
	e.SetMetadata("title", "Component "+strconv.Itoa(i))
	e.SetMetadata("labels", map[string]any{"tier": []string{"gold", "silver", "bronze"}[i%3], "example.com/shard": strconv.Itoa(i % 16)})
	e.SetAnnotation("github.com/project-slug", "acme/component-"+strconv.Itoa(i))
	e.SetAnnotation("example.com/cost-center", strconv.Itoa(1000+i%20))
	e.SetMetadata("links", []any{map[string]any{"url": "https://example.com/component/" + strconv.Itoa(i), "title": "Home", "icon": "web"}})
	return e
}

// Components returns the refs of all components.
func (c Catalog) Components() iter.Seq[catalogcommon.Ref] {
	return func(yield func(catalogcommon.Ref) bool) {
		if c.Form == Regular {
			_, components := c.regularCounts()
			for i := range components {
				if !yield(catalogcommon.Ref{Kind: "component", Namespace: "default", Name: pad("component-", i, 6)}) {
					return
				}
			}
			return
		}
		l := c.large()
		for i := range l.numbers["Component"] {
			if !yield(l.ref("Component", i)) {
				return
			}
		}
	}
}
