package read_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/testdb"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/schema"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/store"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

// entity is a final entity with its search rows.
type entity struct {
	ref, uid, text string
	rows           []entitysearch.Row
}

// randomEntity has values of every sort at the keys that the tests ask about.
func randomEntity(r *rand.Rand, i int) catalogcommon.Entity {
	pick := func(of ...any) any { return of[r.IntN(len(of))] }
	spec := map[string]any{}
	if v := pick("Service", "service", "website", "Library", nil, 7.0, 1.5, true, "", strings.Repeat("long", 60), "a%b_c\\d", "état"); v != "" || r.IntN(2) == 0 {
		spec["type"] = v
	}
	if r.IntN(2) == 0 {
		spec["mixed.key"] = map[string]any{"sub": pick("X", "y")}
	}
	if r.IntN(2) == 0 {
		spec["list"] = []any{pick("one", "TWO", "two.three", strings.Repeat("x", 198)), pick("one", 3.0, true, "four")}
	}
	metadata := map[string]any{"name": fmt.Sprintf("E%03d", i), "namespace": pick("default", "other")}
	if r.IntN(3) > 0 {
		var tags []any
		for _, t := range []string{"java", "go", "c++"} {
			if r.IntN(2) == 0 {
				tags = append(tags, t)
			}
		}
		metadata["tags"] = tags
	}
	return catalogcommon.Entity{"apiVersion": "v1", "kind": pick("Component", "API", "Group"), "metadata": metadata, "spec": spec}
}

// fill stores entities, and returns them as they are stored. Their search rows
// are behind.
func fill(t *testing.T, db *testdb.Database, entities []catalogcommon.Entity) []entity {
	t.Helper()
	ctx := t.Context()
	if err := db.Service.Migrate(ctx, schema.Migrations()); err != nil {
		t.Fatal(err)
	}
	s := store.New(db.Service, store.Options{})
	_, err := s.ApplyFull(ctx, "p", func(yield func(store.Deferred, error) bool) {
		for _, e := range entities {
			body := e.AppendJSON(nil)
			if !yield(store.Deferred{Ref: e.Ref().String(), Body: string(body), Hash: catalogcommon.HashJSON(body)}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		work, err := s.Claim(ctx, 500, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(work) == 0 {
			break
		}
		results := make([]store.Result, len(work))
		for i, w := range work {
			e, err := catalogcommon.ParseEntity([]byte(w.Unprocessed))
			if err != nil {
				t.Fatal(err)
			}
			e.SetMetadata("uid", w.UID)
			owner, err := catalogcommon.ParseRef("group:default/team-"+w.Ref[len(w.Ref)-1:], catalogcommon.RefDefaults{})
			if err != nil {
				t.Fatal(err)
			}
			results[i] = store.Result{
				Work: w, Hash: w.Hash, OK: true, Processed: string(e.AppendJSON(nil)),
				Relations: []catalogcommon.Relation{{Source: e.Ref(), Type: "ownedBy", Target: owner}},
			}
		}
		if _, err := s.Save(ctx, results); err != nil {
			t.Fatal(err)
		}
	}
	var out []entity
	rows, err := db.DB.QueryContext(ctx, "SELECT ref, uid, final FROM entity")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e entity
		if err := rows.Scan(&e.ref, &e.uid, &e.text); err != nil {
			t.Fatal(err)
		}
		parsed, err := catalogcommon.ParseEntity([]byte(e.text))
		if err != nil {
			t.Fatal(err)
		}
		e.rows, _ = entitysearch.Rows(parsed)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out, func(a, b entity) int { return strings.Compare(a.ref, b.ref) })
	return out
}

// holds is what a predicate means.
func holds(p query.Predicate, e entity) bool {
	some := func(key string, matches func(entitysearch.Row) bool) bool {
		return slices.ContainsFunc(e.rows, func(r entitysearch.Row) bool { return r.Key == key && matches(r) })
	}
	switch p := p.(type) {
	case nil:
		return true
	case query.All:
		return !slices.ContainsFunc(p, func(m query.Predicate) bool { return !holds(m, e) })
	case query.Any:
		return slices.ContainsFunc(p, func(m query.Predicate) bool { return holds(m, e) })
	case query.Not:
		return !holds(p.Predicate, e)
	case query.Exists:
		return some(p.Key, func(entitysearch.Row) bool { return true })
	case query.In:
		return some(p.Key, func(r entitysearch.Row) bool { return !r.Null && slices.Contains(p.Values, r.Value) })
	case query.HasPrefix:
		return some(p.Key, func(r entitysearch.Row) bool { return !r.Null && strings.HasPrefix(r.Value, p.Prefix) })
	}
	panic("an unknown predicate")
}

// value is what an entity is sorted by.
func value(e entity, o query.Order) (string, bool) {
	var values []string
	for _, r := range e.rows {
		if r.Key == o.Field && !r.Null {
			values = append(values, r.Value)
		}
	}
	if len(values) == 0 {
		return "", false
	}
	if o.Descending {
		return slices.Max(values), true
	}
	return slices.Min(values), true
}

var keys = []string{
	"kind", "spec.type", "spec.mixed.key.sub", "spec.list", "spec.list.one", "spec.list.two", "spec.list.two.three", "spec.list.four",
	"metadata.tags", "metadata.tags.java", "metadata.tags.c++", "metadata.name", "metadata.namespace", "relations.ownedby", "nothing", "spec.nothing.at.all",
	"spec.list." + strings.Repeat("x", 198),
}

var values = []string{
	"component", "api", "service", "website", "7", "1.5", "true", "t", "", "a%b_c\\d", "a", "a%", "one", "two", "x", "e00", "e001", "java", "group:default/team-1", "état", "other", "3",
}

func predicates(depth int) *rapid.Generator[query.Predicate] {
	return rapid.Custom(func(t *rapid.T) query.Predicate {
		kinds := 6
		if depth == 0 {
			kinds = 3
		}
		key := rapid.SampledFrom(keys).Draw(t, "key")
		switch rapid.IntRange(0, kinds-1).Draw(t, "sort") {
		case 0:
			return query.Exists{Key: key}
		case 1:
			return query.In{Key: key, Values: rapid.SliceOfN(rapid.SampledFrom(values), 1, 3).Draw(t, "values")}
		case 2:
			return query.HasPrefix{Key: key, Prefix: rapid.SampledFrom(values).Draw(t, "prefix")}
		case 3:
			return query.All(rapid.SliceOfN(predicates(depth-1), 0, 3).Draw(t, "all"))
		case 4:
			return query.Any(rapid.SliceOfN(predicates(depth-1), 0, 3).Draw(t, "any"))
		default:
			return query.Not{Predicate: predicates(depth-1).Draw(t, "not")}
		}
	})
}

func refs(items []read.Item) []string {
	out := []string{}
	for _, it := range items {
		out = append(out, it.Ref)
	}
	return out
}

// TestAnswers compares answers with what the search rows of the entities say,
// with the rows of all, some and none of them behind.
func TestAnswers(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		var source []catalogcommon.Entity
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 60 {
			source = append(source, randomEntity(r, i))
		}
		all := fill(t, db, source)
		ctx := t.Context()
		for _, step := range []int{0, 20, 60} {
			if n, err := store.New(db.Service, store.Options{}).WriteRows(ctx, max(step, 1)); err != nil || n == 0 {
				t.Fatalf("writing search rows: %d, %v", n, err)
			}
			checkAnswers(t, ctx, read.New(db.Service), all)
		}
		var n int
		if err := db.DB.QueryRowContext(ctx, "SELECT count(*) FROM search_behind").Scan(&n); err != nil || n != 0 {
			t.Errorf("the rows of %d entities are behind at the end (%v)", n, err)
		}
	})
}

func checkAnswers(t *testing.T, ctx context.Context, reader *read.Reader, all []entity) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.OneOf(rapid.Just[query.Predicate](nil), predicates(2)).Draw(t, "predicate")
		var want []entity
		for _, e := range all {
			if holds(p, e) {
				want = append(want, e)
			}
		}
		checkRefs(t, ctx, reader, all, want, p)
		checkFacets(t, ctx, reader, want, p)
		checkOrder(t, ctx, reader, want, p)
		checkPages(t, ctx, reader, want, p)
	})
}

func checkRefs(t *rapid.T, ctx context.Context, reader *read.Reader, all, want []entity, p query.Predicate) {
	asked := []string{"component:default/none"}
	for _, e := range all {
		asked = append(asked, e.ref)
	}
	found, err := reader.ByRefs(ctx, asked, p)
	if err != nil {
		t.Fatalf("ByRefs: %v", err)
	}
	var have []string
	for i, text := range found {
		if text != nil {
			have = append(have, asked[i])
		}
	}
	var wantRefs []string
	for _, e := range want {
		wantRefs = append(wantRefs, e.ref)
	}
	if diff := cmp.Diff(wantRefs, have); diff != "" {
		t.Fatalf("entities for which %v holds (-want +have):\n%s", query.Encode(p), diff)
	}
	one := all[rapid.IntRange(0, len(all)-1).Draw(t, "uid")]
	text, err := reader.ByUID(ctx, one.uid, p)
	if err != nil || (text != nil) != holds(p, one) {
		t.Fatalf("ByUID = %s, %v; want it to be there: %v", text, err, holds(p, one))
	}
}

func checkFacets(t *rapid.T, ctx context.Context, reader *read.Reader, want []entity, p query.Predicate) {
	have, err := reader.Facets(ctx, keys, p)
	if err != nil {
		t.Fatalf("Facets: %v", err)
	}
	for _, key := range keys {
		counts := map[string]int{}
		for _, e := range want {
			for _, r := range e.rows {
				if r.Key == key && !r.Null {
					counts[r.Original]++
				}
			}
		}
		facets := []read.Facet{}
		for _, v := range slices.Sorted(maps.Keys(counts)) {
			facets = append(facets, read.Facet{Value: v, Count: counts[v]})
		}
		if diff := cmp.Diff(facets, have[key]); diff != "" {
			t.Fatalf("facet %s (-want +have):\n%s", key, diff)
		}
	}
}

func drawOrder(t *rapid.T) query.Order {
	return query.Order{Field: rapid.SampledFrom(keys).Draw(t, "field"), Descending: rapid.Bool().Draw(t, "descending")}
}

// checkOrder sorts by several fields, and keeps those that lack them.
func checkOrder(t *rapid.T, ctx context.Context, reader *read.Reader, want []entity, p query.Predicate) {
	var order []query.Order
	for range rapid.IntRange(0, 2).Draw(t, "orders") {
		order = append(order, drawOrder(t))
	}
	sorted := slices.Clone(want)
	slices.SortStableFunc(sorted, func(a, b entity) int {
		for _, o := range order {
			va, okA := value(a, o)
			vb, okB := value(b, o)
			switch {
			case okA != okB && okA:
				return -1
			case okA != okB:
				return 1
			case va != vb && (va < vb) == !o.Descending:
				return -1
			case va != vb:
				return 1
			}
		}
		return 0
	})
	offset, limit := rapid.IntRange(0, 5).Draw(t, "offset"), rapid.IntRange(0, 70).Draw(t, "limit")
	items, err := reader.List(ctx, read.Request{Filter: p, Order: order, KeepUnordered: true, Offset: offset, Limit: limit})
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	wantRefs := []string{}
	for i, e := range sorted {
		if i >= offset && i < offset+limit {
			wantRefs = append(wantRefs, e.ref)
		}
	}
	if diff := cmp.Diff(wantRefs, refs(items)); diff != "" {
		t.Fatalf("list by %v (-want +have):\n%s", order, diff)
	}
	if n, err := reader.Count(ctx, read.Request{Filter: p, Order: order, KeepUnordered: true}); err != nil || n != len(want) {
		t.Fatalf("Count = %d, %v; want %d", n, err, len(want))
	}
}

// checkPages walks a list forward and backward.
func checkPages(t *rapid.T, ctx context.Context, reader *read.Reader, want []entity, p query.Predicate) {
	q := read.Request{Filter: p, Limit: rapid.IntRange(1, 9).Draw(t, "page")}
	if rapid.Bool().Draw(t, "ordered") {
		q.Order = []query.Order{drawOrder(t)}
	}
	if rapid.Bool().Draw(t, "searched") {
		q.FullText = query.NewFullText(rapid.SampledFrom(values).Draw(t, "term"), rapid.SliceOfN(rapid.SampledFrom([]string{"spec.type", "metadata.name", "metadata.tags"}), 0, 2).Draw(t, "fields"))
	}
	var matching []entity
	for _, e := range want {
		if len(q.Order) > 0 {
			if _, ok := value(e, q.Order[0]); !ok {
				continue
			}
		}
		if contains(e, q) {
			matching = append(matching, e)
		}
	}
	slices.SortStableFunc(matching, func(a, b entity) int {
		c, sign := strings.Compare(a.ref, b.ref), 1
		if len(q.Order) > 0 {
			va, _ := value(a, q.Order[0])
			vb, _ := value(b, q.Order[0])
			if va != vb {
				c = strings.Compare(va, vb)
			}
			if q.Order[0].Descending {
				sign = -1
			}
		}
		return c * sign
	})
	wantRefs := []string{}
	for _, e := range matching {
		wantRefs = append(wantRefs, e.ref)
	}
	if n, err := reader.Count(ctx, q); err != nil || n != len(matching) {
		t.Fatalf("Count = %d, %v; want %d", n, err, len(matching))
	}
	forward := []read.Item{}
	for {
		items, err := reader.List(ctx, q)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		forward = append(forward, items...)
		if len(items) < q.Limit {
			break
		}
		q.After = &items[len(items)-1].Position
	}
	if diff := cmp.Diff(wantRefs, refs(forward)); diff != "" {
		t.Fatalf("pages forward (-want +have):\n%s", diff)
	}
	if len(forward) == 0 {
		return
	}
	q.Before, q.After = true, &forward[len(forward)-1].Position
	backward := forward[len(forward)-1:]
	for {
		items, err := reader.List(ctx, q)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		backward = append(slices.Clone(items), backward...)
		if len(items) < q.Limit {
			break
		}
		q.After = &items[0].Position
	}
	if diff := cmp.Diff(wantRefs, refs(backward)); diff != "" {
		t.Fatalf("pages backward (-want +have):\n%s", diff)
	}
}

// contains is what a full text search means.
func contains(e entity, q read.Request) bool {
	if q.FullText.Term == "" {
		return true
	}
	fields := q.FullText.Fields
	if len(fields) == 0 && len(q.Order) > 0 {
		fields = []string{q.Order[0].Field}
	}
	if len(fields) == 0 {
		return strings.Contains(e.uid, q.FullText.Term)
	}
	return slices.ContainsFunc(e.rows, func(r entitysearch.Row) bool {
		return slices.Contains(fields, r.Key) && !r.Null && !r.Derived && strings.Contains(r.Value, q.FullText.Term)
	})
}

func TestAncestry(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		names := []string{"root", "left", "right", "leaf"}
		var source []catalogcommon.Entity
		for _, n := range names {
			source = append(source, catalogcommon.Entity{"apiVersion": "v1", "kind": "Location", "metadata": map[string]any{"name": n, "namespace": "default"}})
		}
		fill(t, db, source)
		for _, edge := range [][2]string{{"root", "left"}, {"root", "right"}, {"left", "leaf"}, {"right", "leaf"}, {"leaf", "root"}} {
			statement := fmt.Sprintf("INSERT INTO entity_edge (parent_id, target_id) SELECT p.id, t.id FROM entity p, entity t WHERE p.ref = 'location:default/%s' AND t.ref = 'location:default/%s'", edge[0], edge[1])
			if _, err := db.DB.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		nodes, err := read.New(db.Service).Ancestry(t.Context(), "location:default/leaf")
		if err != nil {
			t.Fatal(err)
		}
		have := map[string][]string{}
		for _, n := range nodes {
			have[n.Ref] = n.Parents
		}
		want := map[string][]string{
			"location:default/leaf": {"location:default/left", "location:default/right"}, "location:default/left": {"location:default/root"},
			"location:default/right": {"location:default/root"}, "location:default/root": {"location:default/leaf"},
		}
		if diff := cmp.Diff(want, have); diff != "" || nodes[0].Ref != "location:default/leaf" {
			t.Errorf("ancestry (-want +have):\n%s", diff)
		}
		if none, err := read.New(db.Service).Ancestry(t.Context(), "location:default/none"); err != nil || none != nil {
			t.Errorf("ancestry of nothing = %v, %v", none, err)
		}
	})
}

// TestManyConditions asks for more than a database should be asked.
func TestManyConditions(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		fill(t, db, []catalogcommon.Entity{{"apiVersion": "v1", "kind": "Component", "metadata": map[string]any{"name": "a", "namespace": "default"}}})
		reader := read.New(db.Service)
		var some query.Any
		for range 500 {
			some = append(some, query.Exists{Key: "metadata.name"})
		}
		values := query.In{Key: "metadata.name", Values: []string{"a"}}
		for i := range 20_000 {
			values.Values = append(values.Values, fmt.Sprint("value-", i))
		}
		for name, p := range map[string]query.Predicate{"conditions": some, "values": values} {
			if n, err := reader.Count(t.Context(), read.Request{Filter: p}); n != 1 || err != nil {
				t.Errorf("many %s: %d, %v", name, n, err)
			}
		}
		if _, err := reader.Count(t.Context(), read.Request{Filter: append(some, values)}); apierr.KindOf(err) != apierr.KindServiceUnavailable {
			t.Errorf("too many conditions: %v", err)
		}
	})
}

// TestOneConnection asks for pages where the pool has one connection: a page
// that held one and waited for another would wait for ever, and so would many
// at once in a larger pool.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *testdb.Database) {
		fill(t, db, []catalogcommon.Entity{{"apiVersion": "v1", "kind": "Component", "metadata": map[string]any{"name": "a", "namespace": "default"}}})
		db.DB.SetMaxOpenConns(1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		// No entity has the key metadata, nor no.such.
		request := read.Request{
			Filter: query.Not{Predicate: query.Exists{Key: "no.such.key"}}, Order: []query.Order{{Field: "metadata.name"}}, Limit: 5,
			FullText: query.NewFullText("a", []string{"metadata.name", "metadata.title"}),
		}
		items, total, err := read.New(db.Service).Page(ctx, request)
		if err != nil || len(items) != 1 || total != 1 {
			t.Errorf("%d entities of %d, %v", len(items), total, err)
		}
	})
}
