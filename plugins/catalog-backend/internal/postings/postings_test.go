package postings_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/postings"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/read"
)

// play interprets bytes as changes of 256 entities, and compares what is left
// with a map.
func play(t *testing.T, script []byte) {
	t.Helper()
	x := postings.New()
	type state struct {
		ref    string
		values [3]byte
	}
	model := map[int64]state{}
	for len(script) >= 4 {
		op, id, a, b := script[0], int64(script[1])+1, script[2], script[3]
		script = script[4:]
		switch op % 8 {
		case 0, 1:
			if err := x.Apply(nil, []int64{id}); err != nil {
				t.Fatal(err)
			}
			delete(model, id)
		case 2:
			x.Compact()
		default:
			s := state{ref: fmt.Sprintf("component:default/%03d", id), values: [3]byte{a % 3, b, a ^ b}}
			d := postings.Document{ID: id, Ref: s.ref, Mark: uint32(a)}
			for i, v := range s.values {
				text := fmt.Sprintf("value-%03d", v)
				row := postings.Row{Field: x.Field(fmt.Sprint("key", i)), Value: text, Item: a%2 == 0}
				if b%2 == 0 {
					row.Original = strings.ToUpper(text[:1]) + text[1:]
				}
				d.Rows = append(d.Rows, row)
			}
			if err := x.Apply([]postings.Document{d}, nil); err != nil {
				t.Fatal(err)
			}
			model[id] = s
		}
	}
	for key := range 3 {
		field := fmt.Sprint("key", key)
		var want []string
		counts := map[string]int{}
		for _, s := range model {
			text := fmt.Sprintf("value-%03d", s.values[key])
			counts[text]++
			want = append(want, text+" "+s.ref)
		}
		slices.Sort(want)
		hits, _ := x.List(read.Request{Order: []query.Order{{Field: field}}, Limit: 1000})
		var have []string
		for _, h := range hits {
			have = append(have, h.Value+" "+h.Ref)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("list by %s (-want +have):\n%s", field, diff)
		}
		for v, n := range counts {
			if have, _ := x.Count(read.Request{Filter: query.In{Key: field, Values: []string{v}}}); have != n {
				t.Errorf("%d entities have %s %s, want %d", have, field, v, n)
			}
		}
		facets, _ := x.Facets([]string{field}, query.Exists{Key: field})
		total := 0
		for _, f := range facets[field] {
			total += f.Count
		}
		if total != len(model) {
			t.Errorf("the facets of %s count %d entities, want %d", field, total, len(model))
		}
	}
	if m := x.Memory(); m.Entities != len(model) || m.Entities != x.Len() {
		t.Errorf("memory is that of %d entities, want %d", m.Entities, len(model))
	}
}

func FuzzChanges(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3, 3, 1, 4, 5, 0, 1, 0, 0, 3, 2, 2, 2, 2, 0, 0, 0, 3, 2, 9, 9})
	f.Fuzz(play)
}

// TestManyMembers has sets grow from one member over lists to bitmaps, and
// shrink again.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	for _, shrink := range []int{0, 100, 170, 190, 239, 240} {
		var script []byte
		for id := range 240 {
			script = append(script, 3, byte(id), byte(id%4*3), byte(id%2))
		}
		script = append(script, 2, 0, 0, 0)
		for id := range shrink {
			script = append(script, 0, byte(id*7%240), 0, 0)
		}
		play(t, script)
	}
}

// TestTextIsReclaimed changes entities without end.
func TestTextIsReclaimed(t *testing.T) {
	t.Parallel()
	x := postings.New()
	field := x.Field("metadata.description")
	most := 0
	for i := range 40_000 {
		text := fmt.Sprint(strings.Repeat("text ", 40), i)
		d := postings.Document{ID: int64(i%10) + 1, Ref: fmt.Sprint("component:default/", i%10), Rows: []postings.Row{{Field: field, Value: text}}}
		if err := x.Apply([]postings.Document{d}, nil); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			most = max(most, x.Memory().Bytes)
		}
	}
	if most > 4<<20 {
		t.Errorf("ten entities took %d bytes after 40,000 changes of 200 bytes each", most)
	}
}

// TestText looks for texts in values of many chunks, in front of, within and
// behind what was compacted.
func TestText(t *testing.T) {
	t.Parallel()
	x := postings.New()
	name, title := x.Field("metadata.name"), x.Field("metadata.title")
	document := func(i int) postings.Document {
		text := fmt.Sprintf("name-%d-%s", i, strings.Repeat("x", i%50))
		return postings.Document{ID: int64(i) + 1, Ref: fmt.Sprintf("component:default/%05d", i), Rows: []postings.Row{
			{Field: name, Value: text, Original: strings.ToUpper(text)}, {Field: title, Value: fmt.Sprint("title of ", i)},
		}}
	}
	const n = 6000
	values := map[int]string{}
	put := func(from, to int) {
		t.Helper()
		var documents []postings.Document
		for i := from; i < to; i++ {
			d := document(i)
			values[i] = d.Rows[0].Value + "\n" + d.Rows[1].Value
			documents = append(documents, d)
		}
		if err := x.Apply(documents, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(0, n)
	x.Compact()
	put(n, n+300)
	if err := x.Apply(nil, []int64{11, 1001, 4002}); err != nil {
		t.Fatal(err)
	}
	delete(values, 10)
	delete(values, 1000)
	delete(values, 4001)
	for _, term := range []string{"name-1", "-77", "xxxxxxx", "6100", "title of 59", "4001", "name-4001-", "nothing", "e", "\x01"} {
		for _, limit := range []int{3, 1 << 20} {
			q := read.Request{Limit: limit, FullText: query.NewFullText(term, []string{"metadata.name", "metadata.title"})}
			var want []string
			for i := range n + 300 {
				if strings.Contains(values[i], term) && len(want) < limit {
					want = append(want, fmt.Sprintf("component:default/%05d", i))
				}
			}
			hits, ok := x.List(q)
			var have []string
			for _, h := range hits {
				have = append(have, h.Ref)
			}
			if diff := cmp.Diff(want, have); diff != "" || !ok {
				t.Errorf("%q, at most %d (-want +have):\n%s", term, limit, diff)
			}
			for _, descending := range []bool{false, true} {
				q.Order = []query.Order{{Field: "metadata.name", Descending: descending}}
				q.FullText.Fields = q.FullText.Fields[:1]
				var want []string
				for i := range n + 300 {
					if name, _, _ := strings.Cut(values[i], "\n"); strings.Contains(name, term) {
						want = append(want, name)
					}
				}
				slices.Sort(want)
				if descending {
					slices.Reverse(want)
				}
				want = want[:min(limit, len(want))]
				hits, _ := x.List(q)
				var have []string
				for _, h := range hits {
					have = append(have, h.Value)
				}
				if diff := cmp.Diff(want, have); diff != "" {
					t.Errorf("%q in names, at most %d, descending %v (-want +have):\n%s", term, limit, descending, diff)
				}
			}
		}
	}
	for i := range n + 300 {
		ref := fmt.Sprintf("component:default/%05d", i)
		if _, there := values[i]; (x.ByRefs([]string{ref}, nil)[0].ID == int64(i)+1) != there {
			t.Errorf("%s is there: %v", ref, !there)
		}
	}
}

// TestTextBehindAnUnknownOrder searches a field that the list is ordered by
// only after one that nobody has.
func TestTextBehindAnUnknownOrder(t *testing.T) {
	t.Parallel()
	x := postings.New()
	d := postings.Document{ID: 1, Ref: "component:default/a", Rows: []postings.Row{{Field: x.Field("metadata.name"), Value: "a"}}}
	if err := x.Apply([]postings.Document{d}, nil); err != nil {
		t.Fatal(err)
	}
	hits, ok := x.List(read.Request{
		KeepUnordered: true, Limit: 10, Order: []query.Order{{Field: "nothing"}, {Field: "metadata.name"}},
		FullText: query.NewFullText("a", []string{"metadata.name"}),
	})
	if len(hits) != 1 || !ok {
		t.Errorf("%v, %v", hits, ok)
	}
}

// TestTextInOneOfSeveralValues searches a field that the list is ordered by,
// of which an entity has several values: another one may be what it is ordered
// by.
func TestTextInOneOfSeveralValues(t *testing.T) {
	t.Parallel()
	x := postings.New()
	tagged := func(id int64, ref string, tags ...string) postings.Document {
		d := postings.Document{ID: id, Ref: ref}
		for _, tag := range tags {
			d.Rows = append(d.Rows, postings.Row{Field: x.Field("metadata.tags"), Value: tag})
		}
		return d
	}
	for _, step := range []struct {
		change postings.Document
		want   string
	}{
		{tagged(1, "component:default/a", "service"), "component:default/a"},
		{tagged(2, "component:default/b", "a", "website"), "component:default/b"},
		{tagged(2, "component:default/b", "website"), "component:default/a"},
		{tagged(2, "component:default/b", "a", "website"), "component:default/b"},
	} {
		if err := x.Apply([]postings.Document{step.change}, nil); err != nil {
			t.Fatal(err)
		}
		hits, ok := x.List(read.Request{Limit: 1, Order: []query.Order{{Field: "metadata.tags"}}, FullText: query.NewFullText("e", []string{"metadata.tags"})})
		if len(hits) != 1 || !ok || hits[0].Ref != step.want {
			t.Errorf("after %v: %v, %v, want %s", step.change.Rows, hits, ok, step.want)
		}
		x.Compact()
	}
}
