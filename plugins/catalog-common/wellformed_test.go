package catalogcommon

import "testing"

func FuzzWellFormed(f *testing.F) {
	for _, seed := range []string{
		`{"apiVersion":"v1","kind":"A","metadata":{"name":"n","namespace":"x","title":"t","uid":"u","etag":"e","description":"","labels":{"a":""},"annotations":{"":"c"},"tags":["x"],"links":[{"url":"a:b","title":"t","icon":"i","type":"y","z":1}],"free":null},"spec":{}}`,
		`{"apiVersion":"v1","kind":"A","metadata":{"name":"n","tags":[""],"links":[{"url":null}]},"spec":null}`,
		`{"apiVersion":"","kind":1,"metadata":{"name":"","labels":[],"annotations":{"a":null},"tags":{}},"relations":[]}`,
		`{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseEntity(text)
		if err != nil {
			return
		}
		if !wellFormed(e) {
			return
		}
		if err := firstIssue(entitySchema(), e); err != nil {
			t.Fatalf("%s is well-formed, but the entity schema says: %v", text, err)
		}
		if err := firstIssue(envelopeSchema(), e); err != nil {
			t.Fatalf("%s is well-formed, but the envelope schema says: %v", text, err)
		}
	})
}

// The shortcut is worth nothing if the usual entity does not take it, and each
// of these faults must keep it from being taken.
func TestWellFormed(t *testing.T) {
	t.Parallel()
	usual := func() Entity {
		return Entity{
			"apiVersion": "v1", "kind": "A",
			"metadata": map[string]any{
				"name": "n", "labels": map[string]any{"a": "b"}, "tags": []any{"t"}, "links": []any{map[string]any{"url": "a:b"}}, "description": "", "x": 1.0,
			},
			"spec": map[string]any{},
		}
	}
	if !wellFormed(usual()) {
		t.Error("the usual entity does not take the shortcut")
	}
	for _, field := range []string{"apiVersion", "kind", "metadata"} {
		e := usual()
		delete(e, field)
		if wellFormed(e) {
			t.Errorf("without %s", field)
		}
		e[field] = nil
		if wellFormed(e) {
			t.Errorf("%s is null", field)
		}
	}
	for field, values := range map[string][]any{
		"name": {nil, "", 1.0}, "namespace": {nil, ""}, "title": {""}, "uid": {""}, "etag": {1.0}, "description": {nil}, "labels": {nil, map[string]any{"a": 1.0}},
		"annotations": {[]any{}}, "tags": {nil, []any{""}, []any{1.0}}, "links": {nil, []any{nil}, []any{map[string]any{}}, []any{map[string]any{"url": "x", "icon": nil}}},
	} {
		for _, value := range values {
			e := usual()
			e.SetMetadata(field, value)
			if wellFormed(e) {
				t.Errorf("metadata.%s = %v", field, value)
			}
		}
	}
	for field, value := range map[string]any{"spec": nil, "relations": []any{}, "status": map[string]any{}, "other": 1.0} {
		e := usual()
		e[field] = value
		if wellFormed(e) {
			t.Errorf("%s = %v", field, value)
		}
	}
}
