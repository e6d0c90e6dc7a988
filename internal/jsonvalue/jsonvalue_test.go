package jsonvalue_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/internal/jsonvalue"
)

func TestAppendWritesNumbersAsJavaScriptDoes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   float64
		want string
	}{
		{0, "0"},
		{math.Copysign(0, -1), "0"},
		{1.0, "1"},
		{-1.50, "-1.5"},
		{0.1, "0.1"},
		{1e-6, "0.000001"},
		{1e-7, "1e-7"},
		{1.5e-10, "1.5e-10"},
		{5e-324, "5e-324"},
		{1e20, "100000000000000000000"},
		{1e21, "1e+21"},
		{-1.25e300, "-1.25e+300"},
		{12345678901234567890, "12345678901234567000"},
		{1 << 53, "9007199254740992"},
		{math.Inf(1), "null"},
		{math.Inf(-1), "null"},
		{math.NaN(), "null"},
	} {
		if got := string(jsonvalue.Append(nil, tc.in)); got != tc.want {
			t.Errorf("Append(%v) = %s, want %s", tc.in, got, tc.want)
		}
	}
	if got := jsonvalue.FormatNumber(math.Inf(-1)); got != "-Infinity" {
		t.Errorf("FormatNumber(-Inf) = %s, want -Infinity", got)
	}
}

func TestAppendEscapesOnlyWhatJSONDemands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"<a href='x'>&", `"<a href='x'>&"`},
		{"q\" b\\ \b\f\n\r\t\x00\x1f", `"q\" b\\ \b\f\n\r\t\u0000\u001f"`},
		{"\u2028\u2029\x7fé😀", "\"\u2028\u2029\x7fé😀\""},
		{"bad\xff!", "\"bad\uFFFD!\""},
	} {
		if got := string(jsonvalue.Append(nil, tc.in)); got != tc.want {
			t.Errorf("Append(%q) = %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestAppendIsCanonical(t *testing.T) {
	t.Parallel()
	v := map[string]any{
		"\uFF5E": 1.0, "😀": 2.0, "b": []any{nil, true, map[string]any{}, []any{}}, "a": "x", "B": map[string]any{"z": 1.0, "y": 2.0},
	}
	want := "{\"B\":{\"y\":2,\"z\":1},\"a\":\"x\",\"b\":[null,true,{},[]],\"😀\":2,\"\uFF5E\":1}"
	for range 20 { // map order must not show
		if got := string(jsonvalue.Append(nil, v)); got != want {
			t.Fatalf("Append = %s, want %s", got, want)
		}
	}
}

func TestAppendTakesGoValues(t *testing.T) {
	t.Parallel()
	type link struct {
		URL string `json:"url"`
	}
	v := map[string]any{
		"i": 3, "s": []string{"a"}, "m": map[string]string{"k": "<v>"}, "t": link{"u"}, "nil": []any(nil), "ch": make(chan int),
	}
	want := `{"ch":null,"i":3,"m":{"k":"<v>"},"nil":null,"s":["a"],"t":{"url":"u"}}`
	if got := string(jsonvalue.Append(nil, v)); got != want {
		t.Errorf("Append = %s, want %s", got, want)
	}
}

func TestCompareKeysIsUTF16Order(t *testing.T) {
	t.Parallel()
	keys := []string{"", "a", "aa", "b", "B", "é", "\u2028", "\uD7FF", "\uE000", "\uFEFF", "\uFFFF", "\U00010000", "😀", "\U0010FFFF", "a😀", "a\uFFFD"}
	for _, a := range keys {
		for _, b := range keys {
			want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
			if got := jsonvalue.CompareKeys(a, b); sign(got) != want {
				t.Errorf("CompareKeys(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func sign(n int) int {
	return max(-1, min(1, n))
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	type owner struct {
		Name string `json:"name"`
		Size int    `json:"size"`
	}
	in := map[string]any{
		"int": 1, "i64": int64(-2), "u64": uint64(3), "f32": float32(0.5), "number": json.Number("4.50"),
		"inf": math.Inf(1), "strings": []string{"a", "b"}, "labels": map[string]string{"k": "v"},
		"objects": []map[string]any{{"n": 1}}, "struct": owner{"x", 2}, "nilmap": map[string]any(nil), "keep": []any{"s", true, nil},
	}
	want := map[string]any{
		"int": 1.0, "i64": -2.0, "u64": 3.0, "f32": 0.5, "number": 4.5,
		"inf": nil, "strings": []any{"a", "b"}, "labels": map[string]any{"k": "v"},
		"objects": []any{map[string]any{"n": 1.0}}, "struct": map[string]any{"name": "x", "size": 2.0}, "nilmap": nil, "keep": []any{"s", true, nil},
	}
	got, err := jsonvalue.Normalize(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Normalize (-want +got):\n%s", diff)
	}
}

func TestNormalizeNamesThePlaceOfTheFault(t *testing.T) {
	t.Parallel()
	_, err := jsonvalue.Normalize(map[string]any{"spec": map[string]any{"list": []any{1, make(chan int)}}})
	if err == nil || !strings.Contains(err.Error(), "spec.list[1]") {
		t.Errorf("error = %v, want one that names spec.list[1]", err)
	}
	loop := map[string]any{}
	loop["self"] = loop
	if _, err := jsonvalue.Normalize(loop); !errors.Is(err, jsonvalue.ErrTooDeep) {
		t.Errorf("error = %v, want ErrTooDeep", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "{", "1 2", `{"a":1}x`, "nul", `{"a":}`} {
		if v, err := jsonvalue.Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", bad, v)
		}
	}
	deep := strings.Repeat("[", jsonvalue.MaxDepth) + strings.Repeat("]", jsonvalue.MaxDepth)
	if _, err := jsonvalue.Parse([]byte(deep)); err != nil {
		t.Errorf("Parse of %d levels: %v", jsonvalue.MaxDepth, err)
	}
	if _, err := jsonvalue.Parse([]byte("[" + deep + "]")); !errors.Is(err, jsonvalue.ErrTooDeep) {
		t.Errorf("Parse of one level more: %v, want ErrTooDeep", err)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	in := map[string]any{"a": []any{map[string]any{"b": "c"}}}
	out := jsonvalue.CloneObject(in)
	if !jsonvalue.Equal(in, out) {
		t.Fatalf("clone %v differs from %v", out, in)
	}
	out["a"].([]any)[0].(map[string]any)["b"] = "changed"
	if got := in["a"].([]any)[0].(map[string]any)["b"]; got != "c" {
		t.Errorf("changing the clone changed the original to %v", got)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b any
		want bool
	}{
		{map[string]any{"a": 1.0}, map[string]any{"a": 1.0}, true},
		{map[string]any{"a": nil}, map[string]any{"b": nil}, false},
		{map[string]any{"a": nil}, map[string]any{}, false},
		{[]any{1.0, "x"}, []any{1.0, "x"}, true},
		{[]any{1.0}, []any{1.0, 2.0}, false},
		{"1", 1.0, false},
		{nil, false, false},
		{[]string{"a"}, []any{"a"}, true},
	} {
		if got := jsonvalue.Equal(tc.a, tc.b); got != tc.want {
			t.Errorf("Equal(%v, %v) = %t, want %t", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzParseAppend(f *testing.F) {
	for _, seed := range []string{`{"b":[1.50,null,true],"a":{"<":"\u2028"}}`, `"\ud83d\ude00"`, "1e21", "-0", "[]", "{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := jsonvalue.Parse(text)
		if err != nil {
			return
		}
		canonical := jsonvalue.Append(nil, v)
		if !json.Valid(canonical) || !utf8.Valid(canonical) {
			t.Fatalf("Append wrote invalid JSON: %s", canonical)
		}
		again, err := jsonvalue.Parse(canonical)
		if err != nil {
			t.Fatalf("own text %s: %v", canonical, err)
		}
		if !jsonvalue.Equal(v, again) {
			t.Fatalf("%s reads as %v, want %v", canonical, again, v)
		}
		if second := jsonvalue.Append(nil, again); string(second) != string(canonical) {
			t.Fatalf("second text %s, first %s", second, canonical)
		}
	})
}
