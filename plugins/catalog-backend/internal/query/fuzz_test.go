package query_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
)

// checkPredicate demands that a predicate is within its bounds, and that it
// survives a way over the wire.
func checkPredicate(t *testing.T, p query.Predicate) {
	t.Helper()
	if p == nil {
		return
	}
	nodes, deepest := 0, 0
	var walk func(p query.Predicate, depth int)
	walk = func(p query.Predicate, depth int) {
		nodes++
		deepest = max(deepest, depth)
		switch p := p.(type) {
		case query.All:
			for _, m := range p {
				walk(m, depth+1)
			}
		case query.Any:
			for _, m := range p {
				walk(m, depth+1)
			}
		case query.Not:
			walk(p.Predicate, depth+1)
		case query.In:
			nodes += len(p.Values)
		}
	}
	walk(p, 0)
	if nodes > 100_000 || deepest > 200 {
		t.Fatalf("a predicate with %d conditions and values, %d deep", nodes, deepest)
	}
	text, err := json.Marshal(query.Encode(p))
	if err != nil {
		t.Fatalf("encoding %#v: %v", p, err)
	}
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if again, err := query.Parse(decoded); err == nil {
		if text2, err := json.Marshal(query.Encode(again)); err != nil || string(text2) != string(text) {
			t.Fatalf("%s becomes %s (%v)", text, text2, err)
		}
	}
}

func FuzzFilters(f *testing.F) {
	f.Add("kind=component,spec.type=service", "metadata.tags.java")
	f.Add("a=,a,=b", ",,")
	f.Add("$in=x", "A=Ä=İ")
	f.Add(strings.Repeat("a,b=c,", 500), strings.Repeat("a=b,", 500))
	f.Fuzz(func(t *testing.T, a, b string) {
		if p, err := query.ParseFilters([]string{a, b}); err == nil {
			checkPredicate(t, p)
		}
	})
}

func FuzzPredicates(f *testing.F) {
	for _, s := range []string{
		`{"kind":"component","spec.type":{"$in":["a",1,true]}}`, `{"$all":[{"$any":[]},{"$not":{"a":{"$exists":false}}}]}`,
		`{"relations":{"$contains":{"type":"ownedBy","targetRef":{"$in":["a"]}}}}`, `{"a":{"$hasPrefix":"x"},"b":{"$contains":1e300}}`,
		`{"$all":1}`, `{"$not":[]}`, `null`, `{"a":null}`, `{"a":{}}`, `{"":{"$in":[]}}`,
		strings.Repeat(`{"$not":`, 70) + `{}` + strings.Repeat(`}`, 70), `{"a":{"$in":[` + strings.Repeat(`"x",`, 999) + `1]}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		if p, err := query.Parse(v); err == nil {
			checkPredicate(t, p)
		}
		if p, err := query.ParseEntityFilter(v); err == nil {
			checkPredicate(t, p)
		}
	})
}

func FuzzCursors(f *testing.F) {
	for _, s := range []string{
		`{"orderFields":[],"isPrevious":false,"orderFieldValues":["component:default/a"],"totalItems":1}`,
		`{"orderFields":[{"field":"Metadata.Name","order":"desc"}],"isPrevious":true,"query":{"kind":"x"},"fullTextFilter":{"term":" A ","fields":["B",""]},"orderFieldValues":["a","b"],"firstSortFieldValues":["a","b"],"totalItems":-1}`,
		`{"orderFields":[{"field":"a"}],"filter":{"anyOf":[{"key":"K","values":["V"]},{"not":{"allOf":[]}}]},"orderFieldValues":["a","b"]}`,
		`{"orderFields":[{"field":"a","order":"up"}],"orderFieldValues":[null,"b"]}`, `{}`, `[]`, `{"orderFields":null,"orderFieldValues":[1]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := query.ParseCursor(text); err == nil && !strings.HasPrefix(text, "ey") {
			t.Logf("%q is taken for base64", text)
		}
		c, err := query.ParseCursor(base64.StdEncoding.EncodeToString([]byte(text)))
		if err != nil {
			return
		}
		checkPredicate(t, c.Query)
		again, err := query.ParseCursor(c.String())
		if err != nil {
			t.Fatalf("%s: its own text is refused: %v", text, err)
		}
		if again.String() != c.String() {
			t.Fatalf("%s becomes %s and then %s", text, c, again)
		}
		if again.Position != c.Position || again.First != c.First || again.Total != c.Total || !reflect.DeepEqual(again.FullText, c.FullText) {
			t.Fatalf("%+v becomes %+v", c, again)
		}
	})
}

func FuzzProjections(f *testing.F) {
	f.Add("kind,metadata.name", `{"kind":"a","metadata":{"name":"b\\"c"}}`)
	f.Add("a.b.c,a.b", `{"a.b":{"c":[1,{"d":"]"}]},"a":{"b.c":null}}`)
	f.Add(strings.Repeat("a.", 300), `{"a":{"a":{}}}`)
	f.Fuzz(func(t *testing.T, fields, text string) {
		p, err := query.ParseFields([]string{fields})
		if err != nil {
			return
		}
		// Entities are stored without white space.
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		entity, err := json.Marshal(v)
		if err != nil {
			return
		}
		out := p.Append(nil, entity)
		var kept any
		if err := json.Unmarshal(out, &kept); err != nil {
			t.Fatalf("%q of %s: %s: %v", fields, entity, out, err)
		}
		if _, isObject := v.(map[string]any); !isObject || p == nil {
			if diff := cmp.Diff(v, kept); diff != "" {
				t.Fatalf("%q of %s is something else:\n%s", fields, entity, diff)
			}
		}
	})
}

// TestHugeRequests has bounded time and memory for what no client sends.
func TestHugeRequests(t *testing.T) {
	t.Parallel()
	var many []any
	for i := range 1_000_000 {
		many = append(many, fmt.Sprint("value-", i))
	}
	nested := any(map[string]any{})
	for range 100_000 {
		nested = map[string]any{"$not": nested}
	}
	for name, v := range map[string]any{
		"values":     map[string]any{"kind": map[string]any{"$in": many}},
		"relations":  map[string]any{"relations": map[string]any{"$contains": map[string]any{"type": "a", "targetRef": map[string]any{"$in": many}}}},
		"depth":      nested,
		"conditions": map[string]any{"$any": slicesRepeat(map[string]any{"a": "b"}, 1_000_000)},
	} {
		if _, err := query.Parse(v); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := query.ParseFilters([]string{strings.Repeat("a=b,", 1_000_000)}); err == nil {
		t.Error("filters: accepted")
	}
	if _, err := query.ParseFilters(strings.Split(strings.Repeat("a=b ", 1_000_000), " ")); err == nil {
		t.Error("sets of filters: accepted")
	}
}

func slicesRepeat(v any, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}
