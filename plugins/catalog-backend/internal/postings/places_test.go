package postings_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// TestPagesOfSets cuts pages out of sets that the index keeps, and out of the
// same sets where they are the results of a union, which takes another way.
func TestPagesOfSets(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	x := postings.New()
	document := func(id int64) postings.Document {
		kind := "group"
		if n := r.IntN(10); n > 3 {
			kind = "component"
		} else if n == 0 {
			kind = "api"
		}
		d := postings.Document{ID: id, Ref: fmt.Sprintf("%s:default/%04d", kind, id), Mark: uint32(id)}
		d.Rows = append(d.Rows, postings.Row{Field: x.Field("kind"), Value: kind})
		if r.IntN(3) > 0 {
			d.Rows = append(d.Rows, postings.Row{Field: x.Field("name"), Value: fmt.Sprint("n", r.IntN(500))})
		}
		return d
	}
	var all []postings.Document
	for id := range int64(1500) {
		all = append(all, document(id+1))
	}
	if err := x.Apply(all, nil); err != nil {
		t.Fatal(err)
	}
	nobody := query.In{Key: "kind", Values: []string{"nobody"}}
	for round := range 600 {
		if round%50 == 49 {
			if err := x.Apply([]postings.Document{document(r.Int64N(1500) + 1)}, []int64{r.Int64N(1500) + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if round == 300 {
			x.Compact()
		}
		var filter query.Predicate = query.In{Key: "kind", Values: []string{[]string{"component", "group", "api"}[r.IntN(3)]}}
		if r.IntN(5) == 0 {
			filter = query.Exists{Key: "name"}
		}
		q := read.Request{Filter: filter, Limit: 1 + r.IntN(100), KeepUnordered: r.IntN(3) == 0}
		if r.IntN(2) == 0 {
			q.Offset = r.IntN(1200)
		}
		if r.IntN(3) > 0 {
			q.Order = []query.Order{{Field: "name", Descending: r.IntN(2) == 0}}
		}
		if !q.KeepUnordered && r.IntN(2) == 0 {
			q.After, q.Before = &query.Position{Value: fmt.Sprint("n", r.IntN(600)), Ref: "component:default/0700"}, r.IntN(2) == 0
		}
		got, ok := x.List(q)
		q.Filter = query.Any{filter, nobody}
		want, ok2 := x.List(q)
		if d := cmp.Diff(want, got); d != "" || !ok || !ok2 {
			t.Fatalf("%+v (-union +kept):\n%s", q, d)
		}
	}
}

// TestTextsFollowChanges searches for the same text before and after a change.
func TestTextsFollowChanges(t *testing.T) {
	t.Parallel()
	x := postings.New()
	put := func(id int64, name string) {
		t.Helper()
		d := postings.Document{ID: id, Ref: fmt.Sprint("component:default/", id), Rows: []postings.Row{{Field: x.Field("name"), Value: name}}}
		if err := x.Apply([]postings.Document{d}, nil); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		n, _ := x.Count(read.Request{FullText: query.NewFullText("pay", []string{"name"})})
		return n
	}
	put(1, "payments")
	put(2, "orders")
	if n := count(); n != 1 || count() != 1 {
		t.Errorf("%d have the text, want 1", n)
	}
	put(2, "repayments")
	if n := count(); n != 2 {
		t.Errorf("%d have the text after a change, want 2", n)
	}
	if err := x.Apply(nil, []int64{1}); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d have the text after a removal, want 1", n)
	}
}
