package index_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/index"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
)

var (
	words = []string{"service", "Service", "SERVICE", "website", "Web_site", "we%b", "true", "", "äö", "Ä", "a.b", "a", strings.Repeat("long ", 50)}
	keys  = []string{
		"kind", "metadata.name", "metadata.namespace", "metadata.title", "metadata.tags", "metadata.uid", "metadata.tags.service", "metadata.tags.a.b",
		"spec.type", "spec.many", "spec.many.true", "spec.number", "spec.deep.er", "relations.ownedby", "relations.ownedby.x", "nothing", "nothing.at.all",
	}
)

func drawEntity(t *rapid.T) catalogcommon.Entity {
	word := rapid.SampledFrom(words)
	scalar := rapid.OneOf(rapid.Map(word, func(s string) any { return s }), rapid.SampledFrom([]any{nil, true, 1.5, 12.0}))
	list := rapid.Map(rapid.SliceOfN(word, 0, 3), func(in []string) any {
		out := []any{}
		for _, s := range in {
			out = append(out, s)
		}
		return out
	})
	metadata := map[string]any{
		"name":      fmt.Sprint("n", rapid.IntRange(0, 9).Draw(t, "name")),
		"namespace": rapid.SampledFrom([]string{"default", "other"}).Draw(t, "namespace"),
	}
	spec := map[string]any{}
	for _, m := range []struct {
		in   map[string]any
		name string
		gen  *rapid.Generator[any]
	}{
		{metadata, "title", scalar}, {metadata, "tags", list}, {spec, "type", scalar}, {spec, "many", list}, {spec, "number", scalar},
		{spec, "deep", rapid.Map(scalar, func(v any) any { return map[string]any{"er": v} })},
	} {
		if rapid.IntRange(0, 3).Draw(t, m.name+"?") > 0 {
			m.in[m.name] = m.gen.Draw(t, m.name)
		}
	}
	e := catalogcommon.Entity{"apiVersion": "v1", "kind": rapid.SampledFrom([]string{"Component", "API"}).Draw(t, "kind"), "metadata": metadata, "spec": spec}
	var relations []catalogcommon.EntityRelation
	for _, target := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 3, rapid.ID).Draw(t, "relations") {
		relations = append(relations, catalogcommon.EntityRelation{Type: "ownedBy", TargetRef: fmt.Sprint("group:default/g", target)})
	}
	e.SetRelations(relations)
	return e
}

func drawPredicate(t *rapid.T, depth int) query.Predicate {
	key := func() string { return rapid.SampledFrom(keys).Draw(t, "key") }
	value := rapid.OneOf(rapid.Map(rapid.SampledFrom(words), strings.ToLower),
		rapid.SampledFrom([]string{"component", "default", "n1", "n2", "group:default/g1", "1.5", "tru", "w", "_"}))
	var members []query.Predicate
	kind := rapid.IntRange(0, 8).Draw(t, "predicate")
	if depth > 0 && kind < 4 {
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			members = append(members, drawPredicate(t, depth-1))
		}
	}
	switch {
	case depth > 0 && kind < 2:
		return query.All(members)
	case depth > 0 && kind < 4:
		return query.Any(members)
	case depth > 0 && kind == 4:
		return query.Not{Predicate: drawPredicate(t, depth-1)}
	case kind == 5:
		return query.HasPrefix{Key: key(), Prefix: value.Draw(t, "prefix")}
	case kind == 6:
		return query.Exists{Key: key()}
	default:
		return query.In{Key: key(), Values: rapid.SliceOfN(value, 1, 3).Draw(t, "values")}
	}
}

func drawRequest(t *rapid.T) read.Request {
	q := read.Request{
		KeepUnordered: rapid.Bool().Draw(t, "keep"),
		Limit:         rapid.IntRange(0, 12).Draw(t, "limit"), Offset: rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "offset"),
	}
	if rapid.IntRange(0, 3).Draw(t, "filtered") > 0 {
		q.Filter = drawPredicate(t, 3)
	}
	fields := []int{0, 1}
	if q.KeepUnordered {
		fields = []int{0, 1, 2}
	}
	for range rapid.SampledFrom(fields).Draw(t, "order") {
		q.Order = append(q.Order, query.Order{Field: rapid.SampledFrom(keys).Draw(t, "by"), Descending: rapid.Bool().Draw(t, "descending")})
	}
	if rapid.IntRange(0, 2).Draw(t, "full text") == 0 {
		q.FullText = query.NewFullText(rapid.SampledFrom([]string{"e", "n1", "_", "%", "4000", "0", "ä", "Web_"}).Draw(t, "term"),
			rapid.SliceOfN(rapid.SampledFrom(keys), 0, 2).Draw(t, "fields"))
	}
	return q
}

// same compares the answers of the index, of the tables and of the model.
func (w *world) same(t *rapid.T, ctx context.Context) {
	m, tables := w.model(), w.tables.Tables
	asked := w.tables.asked.Load()
	compare := func(what string, want, have, sql any, err1, err2 error) {
		t.Helper()
		if err1 != nil || err2 != nil {
			t.Fatalf("%s: %v, %v", what, err1, err2)
		}
		for by, got := range map[string]any{"tables": sql, "index": have} {
			if reflect.DeepEqual(want, got) {
				continue // as fast as it should be most of the time
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s (-model +%s):\n%s", what, by, diff)
			}
		}
	}
	q := drawRequest(t)
	all := m.list(q)
	behind := -1
	if len(all) > 0 && !q.KeepUnordered && rapid.Bool().Draw(t, "from a place") {
		behind = rapid.IntRange(0, len(all)-1).Draw(t, "place")
		q.After, q.Before = &all[behind].Position, rapid.Bool().Draw(t, "before")
	}
	have, err1 := w.reader.List(ctx, q)
	sql, err2 := tables.List(ctx, q)
	compare(fmt.Sprintf("list %+v", q), page(all, q, behind), have, sql, err1, err2)

	n, err1 := w.reader.Count(ctx, q)
	sqlN, err2 := tables.Count(ctx, q)
	compare(fmt.Sprintf("count %+v", q), len(all), n, sqlN, err1, err2)

	type counted struct {
		Items []read.Item
		Total int
	}
	var havePage, sqlPage counted
	havePage.Items, havePage.Total, err1 = w.reader.Page(ctx, q)
	sqlPage.Items, sqlPage.Total, err2 = tables.Page(ctx, q)
	compare(fmt.Sprintf("page %+v", q), counted{page(all, q, behind), len(all)}, havePage, sqlPage, err1, err2)

	// The same with some fields only, of which what was kept may be used.
	projected := q
	projected.Bare, projected.Once = rapid.Bool().Draw(t, "bare"), rapid.Bool().Draw(t, "once")
	fields, err := query.ParseFields([]string{rapid.SampledFrom([]string{"", "kind,metadata.name", "metadata.tags,nothing", "spec"}).Draw(t, "fields")})
	if err != nil {
		t.Fatalf("fields: %v", err)
	}
	projected.Fields = fields
	wantItems := page(all, q, behind)
	for i := range wantItems {
		wantItems[i].Entity = fields.Append(nil, wantItems[i].Entity)
	}
	haveItems, err1 := w.reader.List(ctx, projected)
	sqlItems, err2 := tables.List(ctx, projected)
	if projected.Bare {
		for _, items := range [][]read.Item{wantItems, haveItems, sqlItems} {
			for i := range items {
				if i > 0 && i < len(items)-2 {
					items[i].Position, items[i].HasValue = query.Position{}, false
				}
			}
		}
	}
	compare(fmt.Sprintf("list %+v", projected), wantItems, haveItems, sqlItems, err1, err2)

	facetKeys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"kind", "Metadata.Tags", "spec.type", "spec.many", "relations.ownedby", "nothing", "metadata.name"}), 1, 3, rapid.ID).Draw(t, "facets")
	wantFacets := map[string][]read.Facet{}
	for _, k := range facetKeys {
		wantFacets[k] = m.facets(strings.ToLower(k), q.Filter)
	}
	haveFacets, err1 := w.reader.Facets(ctx, facetKeys, q.Filter)
	sqlFacets, err2 := tables.Facets(ctx, facetKeys, q.Filter)
	compare(fmt.Sprintf("facets %v %+v", facetKeys, q.Filter), wantFacets, haveFacets, sqlFacets, err1, err2)

	refs := append(slices.Sorted(maps.Keys(w.now)), "component:default/none")
	refs = rapid.SliceOfN(rapid.SampledFrom(refs), 1, 5).Draw(t, "refs")
	wantRefs := make([][]byte, len(refs))
	for i, ref := range refs {
		for _, e := range m.entities {
			if e.ref == ref && e.meets(q.Filter) {
				wantRefs[i] = []byte(e.text)
			}
		}
	}
	haveRefs, err1 := w.reader.ByRefs(ctx, refs, q.Filter)
	sqlRefs, err2 := tables.ByRefs(ctx, refs, q.Filter)
	compare(fmt.Sprintf("by refs %v %+v", refs, q.Filter), wantRefs, haveRefs, sqlRefs, err1, err2)

	if len(m.entities) > 0 {
		e := rapid.SampledFrom(m.entities).Draw(t, "entity")
		var want []byte
		if e.meets(q.Filter) {
			want = []byte(e.text)
		}
		have, err1 := w.reader.ByUID(ctx, e.uid, q.Filter)
		sql, err2 := tables.ByUID(ctx, e.uid, q.Filter)
		compare("by uid "+e.uid, want, have, sql, err1, err2)
	}
	items := slices.ContainsFunc(q.Order, func(o query.Order) bool { return strings.Count(o.Field, ".") > 1 })
	if n := w.tables.asked.Load() - asked; n != 0 && !items {
		t.Fatalf("the index left %d questions to the tables", n)
	}
	// A facet over items is answered by either.
	key := rapid.SampledFrom([]string{"metadata.tags.service", "spec.many.true", "metadata.tags.a.b"}).Draw(t, "item")
	haveFacets, err1 = w.reader.Facets(ctx, []string{key}, q.Filter)
	sqlFacets, err2 = tables.Facets(ctx, []string{key}, q.Filter)
	compare("facet "+key, map[string][]read.Facet{key: m.facets(key, q.Filter)}, haveFacets, sqlFacets, err1, err2)
}

// TestHistories changes catalogs at random, and asks the index, the tables and
// a model the same questions all the while.
func TestHistories(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		w := newWorld(t, db)
		ctx := t.Context()
		rapid.Check(t, func(t *rapid.T) {
			for _, table := range []string{"entity", "entity_search", "search_behind", "search_key", "entity_change"} {
				if _, err := db.DB.ExecContext(ctx, "DELETE FROM "+table); err != nil {
					t.Fatalf("emptying %s: %v", table, err)
				}
			}
			// The log is never empty once there were changes.
			if _, err := db.DB.ExecContext(ctx, "INSERT INTO entity_change (entity_id, deleted) VALUES (0, true)"); err != nil {
				t.Fatalf("beginning the log: %v", err)
			}
			clear(w.now)
			clear(w.keys)
			w.index = nil
			// None are behind, some, or all.
			share := rapid.IntRange(0, 2).Draw(t, "share of entities whose rows are behind")
			w.behind = func() bool { return share == 2 || share == 1 && rapid.Bool().Draw(t, "behind") }
			w.put(t, ctx, rapid.SliceOfN(rapid.Custom(drawEntity), 0, 8).Draw(t, "at first")...)
			stop := w.follow(t, ctx, index.Options{})
			defer func() { stop() }()
			w.awaitSync(t)
			t.Repeat(map[string]func(*rapid.T){
				"put": func(t *rapid.T) {
					w.put(t, ctx, rapid.SliceOfN(rapid.Custom(drawEntity), 1, 4).Draw(t, "entities")...)
				},
				"remove": func(t *rapid.T) {
					if len(w.now) == 0 {
						t.Skip("nothing to remove")
					}
					w.remove(t, ctx, rapid.SampledFrom(slices.Sorted(maps.Keys(w.now))).Draw(t, "ref"))
				},
				"write rows": func(t *rapid.T) {
					if _, err := store.New(db.Service, store.Options{}).WriteRows(ctx, rapid.IntRange(1, 4).Draw(t, "entities")); err != nil {
						t.Fatalf("writing search rows: %v", err)
					}
				},
				"restart": func(t *rapid.T) {
					stop()
					stop = w.follow(t, ctx, index.Options{})
					w.awaitSync(t)
				},
				"": func(t *rapid.T) {
					if rapid.Bool().Draw(t, "ask") { // asking is what takes the time
						w.same(t, ctx)
					}
				},
			})
		})
	})
}
