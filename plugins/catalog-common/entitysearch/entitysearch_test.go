package entitysearch_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entitysearch"
)

func rows(t *testing.T, text string) ([]entitysearch.Row, []string) {
	t.Helper()
	e, err := catalogcommon.ParseEntity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return entitysearch.Rows(e)
}

// show writes rows as key=value or key=value(Original), and key=NULL.
func show(in []entitysearch.Row) []string {
	var out []string
	for _, r := range in {
		switch {
		case r.Null:
			out = append(out, r.Key+"=NULL")
		case r.Value == r.Original:
			out = append(out, r.Key+"="+r.Value)
		default:
			out = append(out, r.Key+"="+r.Value+"("+r.Original+")")
		}
	}
	return out
}

func TestRows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 201)
	for _, tc := range []struct {
		name, text string
		want       []string // but the rows for name, namespace and uid at the end
	}{
		{"scalars", `{"kind":"Component","spec":{"a":"X","b":1.50,"c":true,"d":null,"e":"","f":12345678901234567890}}`,
			[]string{"kind=component(Component)", "spec.a=x(X)", "spec.b=1.5", "spec.c=true", "spec.d=NULL", "spec.e=", "spec.f=12345678901234567000"}},
		{"empty collections", `{"spec":{"o":{},"l":[],"n":[[],{}]}}`, nil},
		{"dots in keys are not escaped", `{"spec":{"a.b":{"c":1}},"metadata":{"annotations":{"backstage.io/Orphan":"true"}}}`,
			[]string{"metadata.annotations.backstage.io/orphan=true", "spec.a.b.c=1"}},
		{"arrays", `{"spec":{"arr":["x",1,"Q",{"a":"b"},["y"],true,null,"X"]}}`,
			[]string{"spec.arr=x", "spec.arr.x=true", "spec.arr=1", "spec.arr=q(Q)", "spec.arr.q=true", "spec.arr.a=b", "spec.arr=y", "spec.arr.y=true", "spec.arr=true", "spec.arr=NULL"}},
		{"special paths", `{"attachments":{"a":1},"status":{"items":[{"type":"x"}]},"metadata":{"etag":"e","name":"N"},"spec":{"etag":"kept","relations":"kept"}}`,
			[]string{"spec.etag=kept", "spec.relations=kept"}},
		{"long values keep the key", `{"spec":{"ok":"` + long[1:] + `","long":"` + long + `","smile":"` + strings.Repeat("😀", 101) + `","umlaut":"` + strings.Repeat("ä", 200) + `"}}`,
			[]string{"spec.long=NULL", "spec.ok=" + long[1:], "spec.smile=NULL", "spec.umlaut=" + strings.Repeat("ä", 200)}},
		{"long keys vanish", `{"spec":{"` + long[:195] + `":1,"` + long[:196] + `":2,"tags":["` + long + `"]}}`,
			[]string{"spec.tags=NULL", "spec." + long[:195] + "=1"}},
		{"duplicates", `{"spec":{"l":["Go","go","GO"],"m":[1,1]}}`, []string{"spec.l=go(Go)", "spec.l.go=true", "spec.m=1"}},
	} {
		got, conflicts := rows(t, tc.text)
		if len(conflicts) > 0 {
			t.Errorf("%s: conflicts %v", tc.name, conflicts)
		}
		if diff := cmp.Diff(tc.want, show(got[:len(got)-3])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRowsOfIdentityAndRelations(t *testing.T) {
	t.Parallel()
	got, _ := rows(t, `{"metadata":{"name":"Web","uid":"U1"},"relations":[{"type":"ownedBy","targetRef":"group:default/team-a"},{"type":"ownedBy","targetRef":"group:default/b"}]}`)
	want := []string{"metadata.name=web(Web)", "metadata.namespace=default", "metadata.uid=u1(U1)", "relations.ownedby=group:default/team-a", "relations.ownedby=group:default/b"}
	if diff := cmp.Diff(want, show(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, _ = rows(t, `{"metadata":{"namespace":"Dev"}}`)
	if diff := cmp.Diff([]string{"metadata.name=NULL", "metadata.namespace=dev(Dev)", "metadata.uid=NULL"}, show(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKeysThatDifferInCase(t *testing.T) {
	t.Parallel()
	got, conflicts := rows(t, `{"spec":{"Foo":"a","foo":"b","FOO":"A","bar":{"X":1},"Bar":{"x":1}}}`)
	if diff := cmp.Diff([]string{"spec.foo", "spec.bar.x"}, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"spec.bar.x=1", "spec.foo=a(A)", "spec.foo=b"}, show(got[:len(got)-3])); diff != "" {
		t.Errorf("merged rows (-want +got):\n%s", diff)
	}
}

func TestRowsAreDeterministic(t *testing.T) {
	t.Parallel()
	const text = `{"kind":"A","apiVersion":"v","metadata":{"name":"n","labels":{"c":"1","a":"2","b":"3"}},"spec":{"z":1,"y":{"k":2,"j":3},"x":["p","o"]}}`
	first, _ := rows(t, text)
	for range 20 {
		again, _ := rows(t, text)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("rows change (-first +again):\n%s", diff)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"n","tags":["a","A"]},"spec":{"a":[1,"x",{"b":null}],"İ":"Σ"},"relations":[{"type":"t","targetRef":"r"},1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := catalogcommon.ParseEntity(text)
		if err != nil {
			return
		}
		got, _ := entitysearch.Rows(e)
		seen := map[[2]string]bool{}
		for _, r := range got {
			if len([]rune(r.Key)) > entitysearch.MaxLength || len([]rune(r.Value)) > entitysearch.MaxLength {
				t.Fatalf("row %+v is too long", r)
			}
			id := [2]string{r.Key, r.Value}
			if r.Null {
				id[1] = "\x00null"
			}
			if seen[id] {
				t.Fatalf("row %+v is there twice", r)
			}
			seen[id] = true
			if r.Key != entitysearch.Fold(r.Key) {
				t.Fatalf("key %q is not folded", r.Key)
			}
		}
	})
}
