package conftree_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/internal/conftree"
)

func TestParseYAML(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"a: yes", `{"a":"yes"}`},
		{"a: [on, off, no, y]", `{"a":["on","off","no","y"]}`},
		{"a: [true, True, TRUE, false, tRue]", `{"a":[true,true,true,false,"tRue"]}`},
		{"a: [010, 0777, 0o17, 0x10, 0xfF, 1_000, 0b101, +12, -7]", `{"a":[10,777,15,16,255,"1_000","0b101",12,-7]}`},
		{"a: [1e3, 1.0, .5, 5., -1.5E-1, 1.0.0, 1:30]", `{"a":[1000,1,0.5,5,-0.15,"1.0.0","1:30"]}`},
		{"a: 2001-01-01", `{"a":"2001-01-01"}`},
		{"a: 2001-12-14t21:59:43.10-05:00", `{"a":"2001-12-14t21:59:43.10-05:00"}`},
		{"a: 12345678901234567890", `{"a":12345678901234567000}`},
		{"a: [~, null, Null, NULL, , nULL]", ``},
		{"a: [~, null, Null, NULL, nULL]", `{"a":[null,null,null,null,"nULL"]}`},
		{"a: ['1', \"true\", '~', ok]", `{"a":["1","true","~","ok"]}`},
		{"a: |\n  1\nb: >\n  x\n  y\n", `{"a":"1\n","b":"x y\n"}`},
		{"a: !!str 1\nb: !!int 2\nc: !foo bar\nd: !foo 1\ne: !!float 1\nf: !!str", `{"a":"1","b":2,"c":"bar","d":"1","e":"1","f":""}`},
		{"x: &x {k: 1}\ny: *x\nz:\n  <<: *x\n  l: 2", `{"x":{"k":1},"y":{"k":1},"z":{"<<":{"k":1},"l":2}}`},
		{"1: a\ntrue: b\n~: c\n1.0e1: d", `{"1":"a","10":"d","true":"b","":"c"}`},
		{"- {{ foo }}", `[{"{ foo }":null}]`},
		{"{[a, 1]: x}", `{"[ a, 1 ]":"x"}`},
		{"\ufeffa: 1\r\nb: 2\r\n", `{"a":1,"b":2}`},
		{`{"a": {"b": [1, "x"]}}`, `{"a":{"b":[1,"x"]}}`},
		{"a: https://x:1/y#z # comment", `{"a":"https://x:1/y#z"}`},
	} {
		n, err := conftree.ParseYAML("f.yaml", []byte(tt.in))
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q is accepted", tt.in)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, complete(n)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
}

// complete returns the value of a node with its nulls.
func complete(n *conftree.Node) any {
	switch n.Kind {
	case conftree.Object:
		m := map[string]any{}
		for _, name := range n.Names() {
			m[name] = complete(n.Get(name))
		}
		return m
	case conftree.Array:
		list := []any{}
		for _, item := range n.Items {
			list = append(list, complete(item))
		}
		return list
	default:
		return n.Value()
	}
}

func TestParseYAMLErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a: 1\nb: 2\na: 3":       `f.yaml:3: key "a" is already set in line 1; remove one of the two`,
		"a: 1\n---\nb: 2":        `f.yaml:2: a second YAML document begins here, a configuration file has only one`,
		"a:\n\tb: 1":             `f.yaml:2: is not valid YAML: found character that cannot start any token while scanning for the next token`,
		"a: 1\n b: 2":            `f.yaml:2: is not valid YAML: mapping values are not allowed in this context`,
		"a: *x":                  `f.yaml:1: is not valid YAML: unknown anchor 'x' referenced`,
		"a: &a [1, *a]":          `f.yaml:1: alias *a refers to a value that contains it`,
		"a: \"x":                 `f.yaml:2: is not valid YAML: found unexpected end of stream while scanning a quoted scalar`,
		strings.Repeat("[", 300): `f.yaml:1: is not valid YAML: exceeded max depth of 200 while increasing flow level`,
	} {
		_, err := conftree.ParseYAML("f.yaml", []byte(in))
		if err == nil || err.Error() != want {
			t.Errorf("%.40q:\n%v\nwant:\n%s", in, err, want)
		}
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "*" + p + "]\n"
	}
	if _, err := conftree.ParseYAML("f.yaml", []byte(bomb)); err == nil {
		t.Error("a document of a billion values is accepted")
	}
	deep := strings.Repeat("[", 250) + strings.Repeat("]", 250)
	if _, err := conftree.ParseYAML("f.yaml", []byte(deep)); err == nil || err.Error() != "f.yaml:1: is not valid YAML: exceeded max depth of 200 while increasing flow level" {
		t.Errorf("a deep document: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "\n", "# only\n", "---\n", "null", "---\n# x\n"} {
		if n, err := conftree.ParseYAML("f.yaml", []byte(in)); n != nil || err != nil {
			t.Errorf("%q = %v, %v", in, n, err)
		}
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	base, err := conftree.ParseYAML("a.yaml", []byte("x:\n  y: 1\n  z:\n    - p\n    - q\nm: |\n  text\n"))
	if err != nil {
		t.Fatal(err)
	}
	over, err := conftree.ParseYAML("b.yaml", []byte("# comment\nx:\n  y: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	merged := conftree.Merge(base, over)
	x := merged.Get("x")
	for what, got := range map[string]core.Position{
		"b.yaml:2": x.Pos, "b.yaml:3": x.Get("y").Pos, "a.yaml:3": x.Get("z").Pos,
		"a.yaml:5": x.Get("z").Items[1].Pos, "a.yaml:6": merged.Get("m").Pos,
	} {
		if got.String() != what {
			t.Errorf("position = %s, want %s", got, what)
		}
	}
	if base.Get("x").Get("y").Num != 1 {
		t.Error("merging changed the base")
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	parse := func(s string) *conftree.Node {
		n, err := conftree.ParseYAML("f", []byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a: 1\nb: 2", "b: 2\n\na: 1", true},
		{"a: 1", "a: '1'", false},
		{"a: [1, 2]", "a: [1]", false},
		{"a: [1, 2]", "a: [1, 3]", false},
		{"a: 1", "{a: 1, b: null}", true},
		{"a: 1", "{a: 1, b: 2}", false},
		{"{a: 1, b: 2}", "a: 1", false},
		{"a: .nan", "a: .nan", true},
		{"a: true", "a: false", false},
		{"a: {b: {c: x}}", "a: {b: {c: y}}", false},
	} {
		if got := conftree.Equal(parse(tt.a), parse(tt.b)); got != tt.want {
			t.Errorf("Equal(%s | %s) = %v", tt.a, tt.b, got)
		}
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	n, err := conftree.ParseJSON(core.Position{Source: "env"}, []byte(`{"b":1,"a":[null,true,"x",{}],"b":2}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "a"}, n.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"b": 2.0, "a": []any{nil, true, "x", map[string]any{}}}, complete(n)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, in := range []string{"", "{", "1 2", "{\"a\"}", "[1,]", strings.Repeat("[", 300), "text"} {
		if _, err := conftree.ParseJSON(core.Position{}, []byte(in)); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{"a: 1", "- {{ x }}", "a: &a [*a]", "? [a]\n: b", "a: !!int x", "<<: {a: 1}", "\t", "%YAML 1.2\n---\na: |2\n  x", "{\"a\": 1}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := conftree.ParseYAML("f.yaml", []byte(text))
		if err != nil || n == nil {
			return
		}
		if !conftree.Equal(n, n) || !conftree.Equal(n, conftree.Merge(n, n)) {
			t.Error("a document differs from itself")
		}
		if _, err := json.Marshal(n.Value()); err != nil {
			t.Errorf("the value has no JSON form: %v", err)
		}
	})
}
