package jsonvalue_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flytower/flytower/internal/jsonvalue"
)

func TestAppendLikeKeepsTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	many := func(format string, from, to, step int) string {
		var b strings.Builder
		for i := from; i != to; i += step {
			fmt.Fprintf(&b, format, i, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for name, tt := range map[string]struct{ value, like, want string }{
		"nothing to go by":       {`{"b":1,"a":2}`, ``, `{"a":2,"b":1}`},
		"another kind of value":  {`{"b":1,"a":2}`, `[1]`, `{"a":2,"b":1}`},
		"as there":               {`{"b":1,"a":2}`, `{"b":0,"a":0}`, `{"b":1,"a":2}`},
		"more":                   {`{"b":1,"a":2,"d":3,"c":4}`, `{"d":0,"b":0}`, `{"d":3,"b":1,"a":2,"c":4}`},
		"less":                   {`{"a":2}`, `{"d":{"x":["}"]},"b":"\"]}","a":0}`, `{"a":2}`},
		"below objects":          {`{"p":{"z":1,"y":{"n":1,"m":2}}}`, `{"p":{"z":0,"y":{"n":[],"m":{}}}}`, `{"p":{"z":1,"y":{"n":1,"m":2}}}`},
		"below lists":            {`[{"b":1,"a":2},{"b":1,"a":2},{"b":1,"a":2}]`, `[{"b":0,"a":0},0,{"b":0}]`, `[{"b":1,"a":2},{"a":2,"b":1},{"b":1,"a":2}]`},
		"a shorter list":         {`{"l":[{"b":1,"a":2}],"k":1}`, `{"l":[{"b":0,"a":0},{"x":[[]]},3],"k":0}`, `{"l":[{"b":1,"a":2}],"k":1}`},
		"a longer list":          {`{"l":[{"b":1,"a":2},{"b":1,"a":2}],"k":1}`, `{"l":[{"b":0}],"k":0}`, `{"l":[{"b":1,"a":2},{"a":2,"b":1}],"k":1}`},
		"an object for a scalar": {`{"b":{"d":1,"c":2},"a":1}`, `{"b":true,"a":{"c":1}}`, `{"b":{"c":2,"d":1},"a":1}`},
		"escapes":                {`{"é\"\n":1,"a\\":2}`, `{"\u00e9\"\n":0,"a\\":0}`, `{"é\"\n":1,"a\\":2}`},
		"white space":            {`{"b":1,"a":[2]}`, " { \"b\" : 1 ,\n\t\"a\" : [ ] } ", `{"b":1,"a":[2]}`},
		"a key twice":            {`{"b":1,"a":2}`, `{"b":0,"a":0,"b":0}`, `{"b":1,"a":2}`},
		"many keys":              {"{" + many(`"k%d":%d,`, 0, 40, 1) + "}", "{" + many(`"k%d":%d,`, 39, -1, -1) + `,"k3":0}`, "{" + many(`"k%d":%d,`, 39, -1, -1) + "}"},
		"no JSON":                {`{"b":{"x":1},"a":2,"c":[1,2]}`, `{"b":}{,"c":[`, `{"b":{"x":1},"a":2,"c":[1,2]}`},
		"null and empty":         {`{"b":null,"a":{},"c":[]}`, `{"c":null,"b":{},"a":[]}`, `{"c":[],"b":null,"a":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := jsonvalue.Parse([]byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(jsonvalue.AppendLike(nil, v, tt.like)); got != tt.want {
				t.Errorf("AppendLike(%s, %s)\n got %s\nwant %s", tt.value, tt.like, got, tt.want)
			}
		})
	}
}

func FuzzAppendLike(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"b":[{"d":1,"c":"x"}],"a":{}}`, `{"a":{"x":1},"b":[{"c":1},2]}`}, {`[[1]]`, `[[`}, {`{"":""}`, `{"":"`}, {`{"a":1}`, `{"\ud800":1,"a":`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, like string) {
		v, err := jsonvalue.Parse([]byte(text))
		if err != nil {
			t.Skip()
		}
		want := string(jsonvalue.Append(nil, v))
		got := jsonvalue.AppendLike(nil, v, like)
		if back, err := jsonvalue.Parse(got); err != nil || string(jsonvalue.Append(nil, back)) != want {
			t.Fatalf("AppendLike(%s, %q) = %s, another value than %s (%v)", text, like, got, want, err)
		}
		// What was written is an order of its own, and written alike again.
		if again := jsonvalue.AppendLike(nil, v, string(got)); string(again) != string(got) {
			t.Fatalf("AppendLike(%s) = %s at first, and %s like that", text, got, again)
		}
	})
}

func BenchmarkAppendLike(b *testing.B) {
	text := `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"service-1","title":"Service 1","description":"One of many","annotations":{"backstage.io/source-location":"url:https://example.com/","backstage.io/managed-by-location":"url:https://example.com/a"},"tags":["go","java"]},"spec":{"type":"service","owner":"team-a","lifecycle":"production","dependsOn":["component:default/b","resource:default/c"]}}`
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 2*len(text))
	for name, like := range map[string]string{"like": text, "sorted": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = jsonvalue.AppendLike(buf[:0], v, like)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	const text = `{"a":1,"l":[0,{"x":[1],"y":{"z":2}}],"e\"":3}`
	for path, want := range map[string]string{
		"":           `N`,
		"a":          `{"a":N,"l":[0,{"x":[1],"y":{"z":2}}],"e\"":3}`,
		"l/1/y":      `{"a":1,"l":[0,{"x":[1],"y":N}],"e\"":3}`,
		"l/1/x/0":    `{"a":1,"l":[0,{"x":[N],"y":{"z":2}}],"e\"":3}`,
		"e\"":        `{"a":1,"l":[0,{"x":[1],"y":{"z":2}}],"e\"":N}`,
		"b":          text,
		"l/2":        text,
		"l/x":        text,
		"a/b":        text,
		"l/1/y/z/zz": text,
	} {
		var keys []string
		if path != "" {
			keys = strings.Split(path, "/")
		}
		if got := jsonvalue.Replace(text, keys, "N"); got != want {
			t.Errorf("Replace(%q) = %s, want %s", path, got, want)
		}
	}
	for _, broken := range []string{``, `{`, `{"a`, `{"a":`, `[`, `{"a":}`, `nonsense`} {
		_ = jsonvalue.Replace(broken, []string{"a", "b"}, "N") // no panic
	}
}
