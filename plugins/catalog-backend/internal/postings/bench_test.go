package postings_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/catalogbench"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

func document(x *postings.Index, id int64, e catalogcommon.Entity) postings.Document {
	d := postings.Document{ID: id, Ref: entitysearch.Fold(e.Kind() + ":" + e.Namespace() + "/" + e.Name()), Mark: uint32(id)}
	rows, _ := entitysearch.Rows(e)
	for _, r := range rows {
		if !r.Derived {
			d.Rows = append(d.Rows, postings.Row{Field: x.Field(r.Key), Value: r.Value, Original: r.Original, Null: r.Null, Item: r.Item})
		}
	}
	return d
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func load(b *testing.B, n int) *postings.Index {
	b.Helper()
	before := heap()
	x := postings.New()
	var batch []postings.Document
	apply := func() {
		if err := x.Apply(batch, nil); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	id := int64(0)
	for e := range catalogbench.Entities(n) {
		id++
		if batch = append(batch, document(x, id, e)); len(batch) == 1000 {
			apply()
		}
	}
	apply()
	batch = nil
	x.Compact()
	b.Cleanup(func() { runtime.KeepAlive(x) })
	m := x.Memory()
	real := float64(heap() - before)
	b.Logf("%d entities, %d keys, %d terms: heap %.0f bytes per entity, of which text %.0f; counted %.0f",
		m.Entities, m.Keys, m.Terms, real/float64(n), float64(m.Text)/float64(n), float64(m.Bytes)/float64(n))
	b.ReportMetric((real-float64(m.Text))/float64(n), "B/entity")
	return x
}

// BenchmarkBattery asks the questions of Backstage's own battery. The first
// result tells the memory of the index beyond the texts.
func BenchmarkBattery(b *testing.B) {
	component := query.In{Key: "kind", Values: []string{"component"}}
	byName := []query.Order{{Field: "metadata.name"}}
	disjunction := query.Any{
		query.In{Key: "relations.ownedby", Values: []string{"group:default/team-1", "group:default/team-3"}},
		query.In{Key: "metadata.labels.tier", Values: []string{"2"}},
	}
	for _, n := range []int{10_000, 74_000, 739_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := load(b, n)
			list := func(q read.Request) func() int {
				return func() int { hits, _ := x.List(q); return len(hits) }
			}
			facets := func(p query.Predicate, keys ...string) func() int {
				return func() int { f, _ := x.Facets(keys, p); return len(f[keys[0]]) }
			}
			for _, c := range []struct {
				name string
				ask  func() int
			}{
				{"list 20 by name", list(read.Request{Filter: component, Order: byName, Limit: 21})},
				{"list 20 of few by name", list(read.Request{Filter: query.In{Key: "relations.ownedby", Values: []string{"group:default/team-9"}}, Order: byName, Limit: 21})},
				{"list 20", list(read.Request{Limit: 21})},
				{"list 20 at offset 40%", list(read.Request{Filter: component, Order: byName, Limit: 20, Offset: n * 4 / 10})},
				{"next page", list(read.Request{Filter: component, Order: byName, Limit: 21, After: &query.Position{Value: "ledger", Ref: ""}})},
				{"any of two by name 2000", list(read.Request{Filter: disjunction, Order: byName, Limit: 2000})},
				{"text in name", list(read.Request{Filter: component, Order: byName, Limit: 21, FullText: query.NewFullText("player", []string{"metadata.name"})})},
				{"count component", func() int { n, _ := x.Count(read.Request{Filter: component}); return n }},
				{"count all", func() int { n, _ := x.Count(read.Request{}); return n }},
				{"facet spec.type of components", facets(component, "spec.type")},
				{"facet kind", facets(nil, "kind")},
				{"facet owner of components", facets(component, "relations.ownedby")},
				{"facet tags of components", facets(component, "metadata.tags")},
				{"facet five keys of components", facets(component, "spec.type", "spec.lifecycle", "metadata.tags", "metadata.namespace", "relations.ownedby")},
				{"by ref", func() int {
					return len(x.ByRefs([]string{"component:default/" + catalogbench.Name(0)}, nil))
				}},
			} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if c.ask() == 0 {
							b.Fatal("nothing found")
						}
					}
				})
			}
			b.Run("change one", func(b *testing.B) {
				documents := map[int64]postings.Document{}
				id := int64(0)
				for e := range catalogbench.Entities(1000) {
					id++
					documents[id] = document(x, id, e)
				}
				i := int64(0)
				for b.Loop() {
					i++
					d := documents[i%1000+1]
					d.Ref = fmt.Sprint("component:default/changed-", i)
					if err := x.Apply([]postings.Document{d}, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
