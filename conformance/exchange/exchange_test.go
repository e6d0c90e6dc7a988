package exchange_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/conformance/exchange"
)

func TestNormalise(t *testing.T) {
	t.Parallel()
	x := exchange.Exchange{Unordered: []string{"body.*.relations", "body.tags"}, Ignore: []string{"body.a.loose", "body.deep.**.text"}}
	got := x.Normalise(exchange.Answer{
		Status:  200,
		Headers: map[string]any{"date": "today", "link": "<http://127.0.0.1:7/x?cursor=eyJhIjoxfQ%3D%3D>", "set-cookie": []any{"a=1; Expires=Mon, 01 Jan 2024 00:00:00 GMT"}},
		Body: map[string]any{
			"tags": []any{"b", "a"},
			"a": map[string]any{
				"uid": "8c2a7b1e-0000-4000-8000-000000000000", "relations": []any{"z", "y"}, "loose": 1.0,
				"text": "at 2024-01-01T00:00:00.000Z in /in/put/x", "at": 1700000000000.0, "count": 3.0,
			},
			"error": map[string]any{"name": "InputError", "message": "any words"},
			"other": map[string]any{"message": "these count"},
			"deep":  map[string]any{"text": "a", "more": []any{map[string]any{"text": "b", "kept": "c"}}},
		},
	}, exchange.Places{"http://127.0.0.1:7": "{{base}}", "/in/put": "{{inputDir}}"})
	want := exchange.Response{
		Status:  200,
		Headers: map[string]any{"link": "<{{base}}/x?cursor=<cursor>>", "set-cookie": []any{"a=1; Expires=<date>"}},
		Body: map[string]any{
			"tags": []any{"a", "b"},
			"a": map[string]any{
				"uid": "<uid>", "relations": []any{"y", "z"}, "loose": "<ignored>",
				"text": "at <time> in {{inputDir}}/x", "at": "<time>", "count": 3.0,
			},
			"error": map[string]any{"name": "InputError", "message": "<message>"},
			"other": map[string]any{"message": "these count"},
			"deep":  map[string]any{"text": "<ignored>", "more": []any{map[string]any{"text": "<ignored>", "kept": "c"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadWrite(t *testing.T) {
	t.Parallel()
	all := []exchange.Exchange{
		{Name: "a", Group: "g", Request: exchange.Request{Method: "GET", Path: "/x?<y>"}, Response: exchange.Response{Status: 204}},
		{Name: "b", Group: "g", Request: exchange.Request{Method: "POST", Path: "/", Body: []byte(`{"k":1}`)}, Response: exchange.Response{Status: 200, Body: "text"}, Capture: map[string]string{"v": "body.x"}},
	}
	var file bytes.Buffer
	if err := exchange.Write(&file, all); err != nil {
		t.Fatal(err)
	}
	got, err := exchange.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
	if _, err := exchange.Read(bytes.NewBufferString("{}\n{")); err == nil {
		t.Error("a broken line was read")
	}
}
