// Package catalogbench makes catalogs of any size that look like those of
// large companies, for benchmarks.
//
//	for e := range catalogbench.Entities(74_000) {
//		rows, _ := entitysearch.Rows(e)
//		…
//	}
//
// An entity has about 25 values and 8 relations. Six of ten are components;
// most owners have few entities and some have thousands; names repeat in
// several namespaces. The same number gives the same catalog.
package catalogbench

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

// kinds and how many of a thousand entities are of each.
var kinds = []struct {
	kind  string
	share int
}{
	{"Component", 620}, {"API", 200}, {"Resource", 55}, {"User", 60}, {"Group", 20}, {"Location", 20}, {"System", 20}, {"Domain", 3}, {"Template", 2},
}

var (
	types      = []string{"service", "website", "library", "documentation", "data-pipeline", "mobile-app", "Service"}
	lifecycles = []string{"production", "experimental", "deprecated", "Production"}
	nouns      = []string{"playback", "billing", "search", "artist", "player", "catalog", "ingest", "event", "user", "report", "ledger", "session"}
	roles      = []string{"api", "service", "worker", "ui", "gateway", "lib", "batch", "proxy"}
)

// Entities returns n final entities.
func Entities(n int) iter.Seq[catalogcommon.Entity] {
	return func(yield func(catalogcommon.Entity) bool) {
		m := &maker{Rand: rand.New(rand.NewPCG(7, uint64(n))), n: n}
		for i := range n {
			if !yield(m.entity(i)) {
				return
			}
		}
	}
}

// KindOf returns the kind of the entity with the number.
func KindOf(i int) string {
	at := i * 7919 % 1000 // so that kinds are mixed
	for _, k := range kinds {
		if at -= k.share; at < 0 {
			return k.kind
		}
	}
	return kinds[0].kind
}

// Name returns the name of the entity with the number. Every twentieth has the
// name of another one, in another namespace.
func Name(i int) string {
	if i%20 == 19 {
		i -= 19
	}
	return fmt.Sprintf("%s-%s-%d", nouns[i%len(nouns)], roles[i/len(nouns)%len(roles)], i)
}

// Namespace returns the namespace of the entity with the number.
func Namespace(i int) string {
	if i%20 == 19 {
		return fmt.Sprint("team-", i/20%20)
	}
	return "default"
}

type maker struct {
	*rand.Rand
	n int
}

// skewed returns a number below max, small ones far more often than others.
func (m *maker) skewed(max int) int {
	return int(math.Pow(float64(max+1), m.Float64())) - 1
}

func (m *maker) owner() string { return fmt.Sprint("group:default/team-", m.skewed(max(m.n/50, 2))) }

func (m *maker) system() string {
	return fmt.Sprint("system:default/system-", m.skewed(max(m.n/50, 2)))
}

// neighbour returns the ref of another component.
func (m *maker) neighbour() string {
	i := m.IntN(m.n)
	for KindOf(i) != "Component" {
		i = (i + 1) % max(m.n, 1000)
	}
	return fmt.Sprint("component:", Namespace(i), "/", Name(i))
}

func (m *maker) entity(i int) catalogcommon.Entity {
	kind, name, owner := KindOf(i), Name(i), m.owner()
	repository := fmt.Sprintf("https://git.example.com/org-%d/repo-%d", m.skewed(40), i/3)
	source := fmt.Sprintf("url:%s/tree/main/%s", repository, name)
	metadata := map[string]any{
		"name": name, "namespace": Namespace(i),
		"uid":         fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", m.Uint32(), m.IntN(1<<16), m.IntN(1<<12), m.IntN(1<<12), m.Int64N(1<<48)),
		"description": fmt.Sprintf("The %s of the %s domain, number %d, kept by %s", roles[i%len(roles)], nouns[i%len(nouns)], i, owner),
		"annotations": map[string]any{
			"backstage.io/managed-by-location":        source + "/catalog-info.yaml",
			"backstage.io/managed-by-origin-location": source + "/catalog-info.yaml",
			"backstage.io/source-location":            source + "/",
			"backstage.io/techdocs-ref":               "dir:.",
			"git.example.com/project-slug":            fmt.Sprint("org/", name),
		},
		"labels": map[string]any{"tier": fmt.Sprint(m.IntN(4)), "cost-center": fmt.Sprint("cc-", m.skewed(200))},
		"tags":   []any{fmt.Sprint("tag-", m.skewed(60)), fmt.Sprint("lang-", m.skewed(12))},
	}
	if i%2 == 0 {
		metadata["title"] = fmt.Sprintf("%s %s %d", nouns[i%len(nouns)], roles[i%len(roles)], i)
	}
	dependencies := []string{m.neighbour(), m.neighbour()}
	system := m.system()
	e := catalogcommon.Entity{
		"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": metadata,
		"spec": map[string]any{
			"type": types[m.skewed(len(types))], "lifecycle": lifecycles[m.skewed(len(lifecycles))], "owner": owner, "system": system,
		},
	}
	relations := []catalogcommon.EntityRelation{
		{Type: catalogcommon.RelationOwnedBy, TargetRef: owner},
		{Type: catalogcommon.RelationPartOf, TargetRef: system},
		{Type: catalogcommon.RelationDependsOn, TargetRef: dependencies[0]},
		{Type: catalogcommon.RelationDependsOn, TargetRef: dependencies[1]},
		{Type: catalogcommon.RelationProvidesAPI, TargetRef: fmt.Sprint("api:default/", Name(m.IntN(m.n)))},
		{Type: catalogcommon.RelationConsumesAPI, TargetRef: fmt.Sprint("api:default/api-", m.skewed(m.n))},
		{Type: catalogcommon.RelationDependencyOf, TargetRef: m.neighbour()},
		{Type: catalogcommon.RelationDependencyOf, TargetRef: m.neighbour()},
	}
	if kind == "Group" {
		// Some groups have thousands of members.
		for range m.skewed(max(m.n/20, 2)) {
			relations = append(relations, catalogcommon.EntityRelation{Type: catalogcommon.RelationHasMember, TargetRef: fmt.Sprint("user:default/user-", m.IntN(m.n))})
		}
	}
	e.SetRelations(relations)
	return e
}
