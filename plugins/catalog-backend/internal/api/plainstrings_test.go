package api

import (
	"encoding/json"
	"slices"
	"testing"
)

// FuzzPlainStrings compares the short way with the long one.
func FuzzPlainStrings(f *testing.F) {
	for _, body := range []string{
		`{"entityRefs":["component:default/a","b"]}`, ` { "entityRefs" : [ "a" , "b" ] } `, `{"entityRefs":[]}`, `{"entityRefs":["a"],"fields":["kind"]}`,
		`{"entityRefs":["a"]`, `{"entityRefs":["a",]}`, `{"entityRefs":["a"]}}`, `{"entityRefs":["\u0061"]}`, "{\"entityRefs\":[\"\xff\"]}", `{"entityRefs":["a" "b"]}`,
		`{"entityrefs":["a"]}`, `{"entityRefs":["a]}`, `[]`, ``, `{"entityRefs":["ä"]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		refs, ok := plainStrings(body, "entityRefs")
		if !ok {
			return
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", body, err)
		}
		m, isObject := v.(map[string]any)
		if !isObject || len(m) != 1 {
			t.Fatalf("%q is taken, and is %v", body, v)
		}
		want, _, err := stringsMember(m, "entityRefs")
		if err != nil || !slices.Equal(refs, want) {
			t.Errorf("%q: %q, want %q, %v", body, refs, want, err)
		}
	})
}

func TestPlainStrings(t *testing.T) {
	t.Parallel()
	refs, ok := plainStrings([]byte(`{"entityRefs":["component:default/a","b"]}`), "entityRefs")
	if want := []string{"component:default/a", "b"}; !ok || !slices.Equal(refs, want) {
		t.Errorf("%q, %v", refs, ok)
	}
}
