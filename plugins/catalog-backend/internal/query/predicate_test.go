package query_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/plugins/catalog-backend/internal/query"
)

func TestParseFilters(t *testing.T) {
	t.Parallel()
	in := func(key string, values ...string) query.Predicate { return query.In{Key: key, Values: values} }
	for _, c := range []struct {
		name   string
		values []string
		want   query.Predicate
		err    string
	}{
		{name: "none"},
		{name: "empty set is ignored", values: []string{" , "}},
		{name: "equality", values: []string{"kind=Component"}, want: in("kind", "component")},
		{name: "existence", values: []string{"Metadata.Title"}, want: query.Exists{Key: "metadata.title"}},
		{name: "comma is and", values: []string{"kind=api, spec.type = openapi"}, want: query.All{in("kind", "api"), in("spec.type", "openapi")}},
		{name: "repetition is or", values: []string{"kind=api", "kind=component,a"}, want: query.Any{in("kind", "api"), query.All{in("kind", "component"), query.Exists{Key: "a"}}}},
		{name: "same key is or", values: []string{"kind=a,kind=b"}, want: in("kind", "a", "b")},
		{name: "values absorb existence", values: []string{"kind,kind=b"}, want: in("kind", "b")},
		{name: "empty value", values: []string{"a="}, want: in("a", "")},
		{name: "value with equals sign", values: []string{"a=b=c"}, want: in("a", "b=c")},
		{name: "no key", values: []string{"=b"}, err: "'=b' is not a valid statement"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := query.ParseFilters(c.values)
			wantError(t, err, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	case want != "" && apierr.KindOf(err) != apierr.KindInput:
		t.Errorf("error kind %s, want an input error", apierr.KindOf(err))
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"$not":`, 80) + `{}` + strings.Repeat(`}`, 80)
	for _, c := range []struct {
		name, text string
		want       query.Predicate
		err        string
	}{
		{name: "everything", text: `{}`, want: query.All{}},
		{name: "fields are and-ed", text: `{"Kind":"API","n":1.50}`, want: query.All{query.In{Key: "kind", Values: []string{"api"}}, query.In{Key: "n", Values: []string{"1.5"}}}},
		{name: "operators", text: `{"$all":[{"$any":[]},{"$not":{"a":{"$exists":false}}}]}`, want: query.All{query.Any{}, query.Not{Predicate: query.Not{Predicate: query.Exists{Key: "a"}}}}},
		{name: "in", text: `{"a":{"$in":["X",true,2]}}`, want: query.In{Key: "a", Values: []string{"x", "true", "2"}}},
		{name: "in nothing", text: `{"a":{"$in":[]}}`, want: query.Any{}},
		{name: "prefix", text: `{"a":{"$hasPrefix":"Ab%"}}`, want: query.HasPrefix{Key: "a", Prefix: "ab%"}},
		{name: "contains a scalar", text: `{"metadata.tags":{"$contains":"Java"}}`, want: query.In{Key: "metadata.tags", Values: []string{"java"}}},
		{name: "contains a relation", text: `{"relations":{"$contains":{"TYPE":"ownedBy","targetRef":{"$in":["Group:default/a","b"]}}}}`, want: query.In{Key: "relations.ownedby", Values: []string{"group:default/a", "b"}}},
		{name: "contains a relation of any target", text: `{"relations":{"$contains":{"type":"ownedBy"}}}`, want: query.Exists{Key: "relations.ownedby"}},
		{name: "contains another object", text: `{"spec":{"$contains":{"a":"b"}}}`, err: "not supported"},
		{name: "two operators", text: `{"$all":[],"$any":[]}`, err: "must stand alone"},
		{name: "operator beside a field", text: `{"$all":[],"a":1}`, err: "must stand alone"},
		{name: "unknown operator", text: `{"$nor":[]}`, err: "unknown operator"},
		{name: "null", text: `{"a":null}`, err: "expects"},
		{name: "array", text: `[]`, err: "expected an object"},
		{name: "too deep", text: deep, err: "nests deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var v any
			if err := json.Unmarshal([]byte(c.text), &v); err != nil {
				t.Fatal(err)
			}
			got, err := query.Parse(v)
			wantError(t, err, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestProjection(t *testing.T) {
	t.Parallel()
	const entity = `{"apiVersion":"v1","kind":"Component","metadata":{"annotations":{"a.b/c":"x\"}","plain":"y"},"name":"n","tags":["a","b"]},"spec":{"null":null,"nested":{"dotted.key":1.5},"list":[{"a":1},[2]]}}`
	for _, c := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"none", nil, entity},
		{"top level", []string{"kind"}, `{"kind":"Component"}`},
		{"in the order of the fields", []string{"metadata.name,kind"}, `{"metadata":{"name":"n"},"kind":"Component"}`},
		{"merged below one parent", []string{"metadata.name", "metadata.tags"}, `{"metadata":{"name":"n","tags":["a","b"]}}`},
		{"member names with dots", []string{"metadata.annotations.a.b/c", "spec.nested.dotted.key"}, `{"metadata":{"annotations":{"a.b/c":"x\"}"}},"spec":{"nested":{"dotted.key":1.5}}}`},
		{"null", []string{"spec.null"}, `{"spec":{"null":null}}`},
		{"nothing found", []string{"spec.nope.deeper", "nope"}, `{}`},
		{"case matters", []string{"Kind"}, `{}`},
		{"a scalar has no members", []string{"kind.length"}, `{}`},
		{"whole before part", []string{"spec.nested", "spec.nested.dotted.key"}, `{"spec":{"nested":{"dotted.key":1.5}}}`},
		{"part before whole", []string{"metadata.name", "metadata"}, `{"metadata":{"annotations":{"a.b/c":"x\"}","plain":"y"},"name":"n","tags":["a","b"]}}`},
		{"lists are copied", []string{"spec.list"}, `{"spec":{"list":[{"a":1},[2]]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := query.ParseFields(c.fields)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(p.Append(nil, []byte(entity))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := string(p.Append(nil, []byte("null"))); got != "null" {
				t.Errorf("null became %s", got)
			}
		})
	}
	if _, err := query.ParseFields([]string{"metadata.tags[0]"}); err == nil {
		t.Error("an array index was accepted")
	}
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	p, err := query.ParseFilters([]string{"kind=component,a", "b=1,b=2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]query.Cursor{
		"unordered": {Query: p, Position: query.Position{Ref: "r"}, First: query.Position{Ref: "f"}, Total: 3},
		"ordered": {
			Order: []query.Order{{Field: "metadata.name", Descending: true}}, Previous: true, Query: query.Not{Predicate: query.HasPrefix{Key: "k", Prefix: "p"}},
			FullText: query.NewFullText(" Term ", []string{"A"}), Position: query.Position{Value: "v", Ref: "r"}, First: query.Position{Value: "", Ref: "f"},
		},
	} {
		got, err := query.ParseCursor(c.String())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c, got, cmp.Transformer("order", func(o []query.Order) []query.Order { return append([]query.Order{}, o...) })); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestParseCursorRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "%%%", "e30=", "bm9wZQ==", "eyJvcmRlckZpZWxkcyI6W10sIm9yZGVyRmllbGRWYWx1ZXMiOltudWxsXX0="} {
		_, err := query.ParseCursor(text)
		wantError(t, err, "ursor")
		if err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
