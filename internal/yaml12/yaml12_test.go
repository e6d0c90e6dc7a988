package yaml12_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/flytower/flytower/internal/jsonvalue"
	"github.com/flytower/flytower/internal/yaml12"
)

// read writes each document as its line and JSON text, or as its line and error.
func read(text string, opts yaml12.Options) []string {
	var out []string
	for doc := range yaml12.Documents([]byte(text), opts) {
		if doc.Err != nil {
			out = append(out, fmt.Sprintf("%d! %v", doc.Line, doc.Err))
		} else {
			out = append(out, fmt.Sprintf("%d: %s", doc.Line, jsonvalue.Append(nil, doc.Value)))
		}
	}
	return out
}

// one reads a single document; an error reads "! line N".
func one(t *testing.T, text string, opts yaml12.Options) string {
	t.Helper()
	var out []string
	for doc := range yaml12.Documents([]byte(text), opts) {
		var syntax *yaml12.Error
		switch {
		case errors.As(doc.Err, &syntax):
			out = append(out, fmt.Sprintf("! line %d", syntax.Line))
		case doc.Err != nil:
			t.Errorf("%q: error %v is no *Error", text, doc.Err)
		default:
			out = append(out, string(jsonvalue.Append(nil, doc.Value)))
		}
	}
	return strings.Join(out, " | ")
}

func TestScalars(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// strings that other rules take for something else
		"yes": `"yes"`, "on": `"on"`, "off": `"off"`, "2001-01-01": `"2001-01-01"`, "2001-12-14t21:59:43.10-05:00": `"2001-12-14t21:59:43.10-05:00"`,
		"1_000": `"1_000"`, "0b101": `"0b101"`, "1:30": `"1:30"`, "1.0.0": `"1.0.0"`, "tRue": `"tRue"`, "nULL": `"nULL"`, "0xg": `"0xg"`, "0o8": `"0o8"`, "+0x1": `"+0x1"`,
		".": `"."`, "-": `! line 1`, "+": `"+"`, "1e": `"1e"`, "e3": `"e3"`, ".e3": `".e3"`, "1e+": `"1e+"`, "infinity": `"infinity"`, "NaN": `"NaN"`,
		// numbers
		"0777": "777", "0o17": "15", "0x1F": "31", "+1": "1", "-0": "0", "007": "7", "1.0": "1", "1.50": "1.5", "1.": "1", ".5": "0.5", "-.5": "-0.5",
		"1e3": "1000", "1E+2": "100", "1.5e-3": "0.0015", "12345678901234567890": "12345678901234567000", "0xffffffffffffffffffff": "1.2089258196146292e+24", "1e21": "1e+21",
		// no JSON form
		".inf": "null", "-.INF": "null", ".nan": "null", "1e400": "null",
		// null and booleans
		"": "null", "~": "null", "null": "null", "Null": "null", "NULL": "null", "true": "true", "True": "true", "FALSE": "false",
		// quoted and block scalars are strings
		`"1"`: `"1"`, `'true'`: `"true"`, "|\n  1": `"1\n"`, ">-\n  ~": `"~"`,
		// tags
		"!!str 12": `"12"`, "!!int '12'": "12", "!!int x": `"x"`, "!!float 1": `"1"`, "!!float 1.5": "1.5", "!!bool 'true'": "true", "!!null ''": "null",
		"!foo bar": `"bar"`, "!foo 12": `"12"`, "! 12": `"12"`, "!!str": `""`, "!foo": `""`, "!!timestamp 2001-01-01": `"2001-01-01"`,
		"!!binary aGk=": `{"data":[104,105],"type":"Buffer"}`, "!!binary '?'": "! line 1", "!foo [1]": "[1]", "!!set {b}": `{"b":null}`,
		"!<tag:yaml.org,2002:str> 3": `"3"`,
	} {
		want := `{"a":` + want + `}`
		if strings.Contains(want, "! line") {
			want = "! line 1"
		}
		if got := one(t, "a: "+in, yaml12.Options{}); got != want {
			t.Errorf("a: %s\n got  %s\n want %s", in, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"{1: x}", `{"1":"x"}`},
		{"{1.50: x}", `{"1.5":"x"}`},
		{"{0x10: x}", `{"16":"x"}`},
		{"{true: x}", `{"true":"x"}`},
		{"{~: x}", `{"":"x"}`},
		{": x", `{"":"x"}`},
		{"{.inf: x, -.inf: y, .nan: z}", `{"-Infinity":"y","Infinity":"x","NaN":"z"}`},
		{"'null': x", `{"null":"x"}`},
		{"&k key: 1\n*k : 2", `{"key":2}`},
		{"<<: {a: 1}", `{"<<":{"a":1}}`},
		{"1: a\n'1': b", `{"1":"b"}`},

		// collections become text
		{"- {{ foo }}", `[{"{ foo }":null}]`},
		{"a: {{ cookiecutter.name | jsonify }}", `{"a":{"{ cookiecutter.name | jsonify }":null}}`},
		{"? [a, 'b', \"c\"]\n: d", `{"[ a, 'b', \"c\" ]":"d"}`},
		{"{? {a: 1, b: [c, {d: e}]} : f}", `{"{ a: 1, b: [ c, { d: e } ] }":"f"}`},
		{"- &k {a: b}\n- {*k : c}", `[{"a":"b"},{"*k":"c"}]`},
		{"{[]: 1, {}: 2}", `{"[]":1,"{}":2}`},
		{"{{}: 1}", `{"{}":1}`},
		{
			"- {{aaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccccccccccccccccccc, d}}",
			`[{"{\n  aaaaaaaaaaaaaaaaaaaaaaaa,\n  bbbbbbbbbbbbbbbbbbbbbbbbbbb,\n  cccccccccccccccccccccccccccccc,\n  d\n}":null}]`,
		},

		// equal keys
		{"a: 1\nb: 2\na: 3", "! line 3"},
		{"{a: 1, 'a': 2}", "! line 1"},
		{"1: a\n0x1: b", "! line 2"},
		{"~: 1\nnull: 2", "! line 2"},
		{".nan: 1\n.nan: 2", `{"NaN":2}`},
		{"x:\n  - b: 1\n    b: 2", "! line 3"},
		{strings.Repeat("k", 3) + ": 0\n" + manyKeys(40) + "k7: again", "! line 42"},
	} {
		if got := one(t, tc.in, yaml12.Options{}); got != tc.want {
			t.Errorf("%s\n got  %s\n want %s", tc.in, got, tc.want)
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: %d\n", i, i)
	}
	return b.String()
}

func TestMergeKeys(t *testing.T) {
	t.Parallel()
	merge := yaml12.Options{MergeKeys: true}
	for _, tc := range []struct{ in, want string }{
		{"x: &x {a: 1, c: 3}\ny:\n  <<: *x\n  a: 2", `{"x":{"a":1,"c":3},"y":{"a":2,"c":3}}`},
		{"x: &x {a: 1}\ny:\n  a: 2\n  <<: *x", `{"x":{"a":1},"y":{"a":2}}`},
		{"y:\n  <<: [{a: 1, b: 1}, {b: 2, c: 2}]", `{"y":{"a":1,"b":1,"c":2}}`},
		{"y:\n  <<: {a: 1}\n  <<: {b: 1}", `{"y":{"a":1,"b":1}}`},
		{"y:\n  '<<': {a: 1}", `{"y":{"<<":{"a":1}}}`},
		{"y:\n  <<: 1", "! line 2"},
		{"y:\n  <<: [1]", "! line 2"},
	} {
		if got := one(t, tc.in, merge); got != tc.want {
			t.Errorf("%s\n got  %s\n want %s", tc.in, got, tc.want)
		}
	}
	if got := one(t, "y:\n  <<: {a: 1}\n  <<: {b: 1}", yaml12.Options{}); got != "! line 3" {
		t.Errorf("without merging, << twice gives %s", got)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"comments only", "# a\n\n# b\n", nil},
		{"one, bare", "a: 1\n", []string{`1: {"a":1}`}},
		{"several", "---\na: 1\n---\nb: 2\n--- # c\nc: 3", []string{`1: {"a":1}`, `3: {"b":2}`, `5: {"c":3}`}},
		{"content on the marker line", "--- {a: 1}\n--- |\n  x\n", []string{`1: {"a":1}`, `2: "x\n"`}},
		{"end markers", "a: 1\n...\n# c\nb: 2\n...\n...\n---\nc: 3\n", []string{`1: {"a":1}`, `3: {"b":2}`, `7: {"c":3}`}},
		{"empty ones", "---\n---\na: 1\n---\n# nothing\n---\n", []string{`1: null`, `2: {"a":1}`, `4: null`, `6: null`}},
		{"comment before the first", "# licence\n---\na: 1\n", []string{`1: {"a":1}`}},
		{"no markers", "---a: 1\n...b: 2\n -- -: 3\n", []string{`1! ` + "did not find expected <document start>"}},
		{"directives", "%YAML 1.2\n%FOO x\n---\na: 0777\n...\n%YAML 1.1\n---\nb: yes\n", []string{`1: {"a":777}`, `6: {"b":"yes"}`}},
		{"tag directive", "%TAG !e! tag:example.com,2000:\n---\na: !e!x b\n", []string{`1: {"a":"b"}`}},
		{"directive without document", "%YAML 1.2\na: 1\n", []string{"1! Directives must end with a line of --- at line 1, column 1"}},
		{"percent inside of a document", "a: |\n  x\n%b\n", nil},
		{"byte order mark", "\ufeff---\na: 1\n", []string{`1: {"a":1}`}},
		{"CRLF", "---\r\na: |\r\n  x\r\n  y\r\nb: 'q\r\n  r'\r\n---\r\nc: 3\r\n", []string{`1: {"a":"x\ny\n","b":"q r"}`, `7: {"c":3}`}},
		{
			"a broken one stands alone", "a: 1\n---\nb: c: d\n---\n  - [\n---\ne: {% if %}\n---\nf: 2\n",
			[]string{`1: {"a":1}`, "2! line 3", "4! line 6", "6! line 7", `8: {"f":2}`},
		},
		{"a quote does not swallow the next one", "a: 'x\n---\nb: 2\n", []string{"1! line 2", `2: {"b":2}`}},
		{"junk behind the root", "[a]\nb\n", []string{"1! line 2"}},
		{"anchors end with their document", "a: &x 1\n---\nb: *x\n", []string{`1: {"a":1}`, "2! line 3"}},
	} {
		got := read(tc.in, yaml12.Options{})
		if tc.name == "no markers" || tc.name == "percent inside of a document" {
			if len(got) != 1 || !strings.HasPrefix(got[0], "1!") {
				t.Errorf("%s: got %q, want one error", tc.name, got)
			}
			continue
		}
		for i := range got {
			if i < len(tc.want) && strings.Contains(tc.want[i], "! line") {
				_, line, _ := strings.Cut(tc.want[i], "! ")
				if strings.Contains(got[i], "at "+line+",") {
					got[i] = tc.want[i]
				}
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestStoppingEarly(t *testing.T) {
	t.Parallel()
	n := 0
	for range yaml12.Documents([]byte("a: 1\n---\nb: 2\n---\nc: 3\n"), yaml12.Options{}) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("read %d documents, want 2", n)
	}
}

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for in, line := range map[string]int{
		"a:\n\tb: c": 2, "\ta: b": 1, "a: 1\n\tb: 2": 2, "a:\n  - b\n\t- c": 3,
		"a: [b": 2, "a: {b: c": 2, "a: b: c": 1, "a: b\n}": 2, "a: 'b' c": 1, "- a\nb: c": 2, "a:\n  b: 1\n c: 2": 3,
		"a: @x": 1, "a: `x": 1, "a: %x": 1, "metadata:\n  name: {%- x -%}": 2, "a: *unknown": 1, "a: &x [*x]": 1, "a: &x {b: {c: *x}}": 1,
		`a: "\q"`: 1, "a: \"x": 2, "{a b: c, d": 2,
	} {
		if got, want := one(t, in, yaml12.Options{}), fmt.Sprintf("! line %d", line); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// Characters that YAML 1.2 lets through and the scanner underneath does not.
func TestUncommonCharacters(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"a: 'x\u0085y'", "{\"a\":\"x\u0085y\"}"},
		{"a: x\u2028y # \u2029", "{\"a\":\"x\u2028y\"}"},
		{"a: |\n  x\u2028y\n  z\u2029\n", "{\"a\":\"x\u2028y\\nz\u2029\\n\"}"},
		{"\x01k: \"\x00\x1f\x7f\u009f\"", "{\"\\u0001k\":\"\\u0000\\u001f\x7f\u009f\"}"},
		{"a: b\rc", `{"a":"b\rc"}`},
		{"a: \ufffe\uffff\ufeff", "{\"a\":\"\ufffe\uffff\ufeff\"}"},
		{"a: bad\xff\xfe!", "{\"a\":\"bad\ufffd!\"}"},
		{`a: "\uD83D\uDE00\n"`, `{"a":"😀\n"}`},
		{`a: "\ud83d\ude00" # \ud83d`, `{"a":"😀"}`},
		{`a: "\uD83Dx\uDE00"`, "{\"a\":\"\ufffdx\ufffd\"}"},
		{`a: "\\uD83D\uD83D\uDE00"`, `{"a":"\\uD83D😀"}`},
		{`a: '\uD83D\uDE00'`, `{"a":"\\uD83D\\uDE00"}`},
		{`a: \uD83D\uDE00`, `{"a":"\\uD83D\\uDE00"}`},
		{"a: |\n  \\uD83D\\uDE00\n", `{"a":"\\uD83D\\uDE00\n"}`},
		{`{"json":"\u00e9\/\"","n":[1,2]}`, `{"json":"é/\"","n":[1,2]}`},
		{"a: \U0010C005\x05", "{\"a\":\"\U0010C005\\u0005\"}"},
	} {
		if got := one(t, tc.in, yaml12.Options{}); got != tc.want {
			t.Errorf("%q\n got  %q\n want %q", tc.in, got, tc.want)
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	if got, want := one(t, "a: &x {b: [1]}\nc: *x\nd: [*x, &x 2, *x]", yaml12.Options{}), `{"a":{"b":[1]},"c":{"b":[1]},"d":[{"b":[1]},2,2]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for doc := range yaml12.Documents([]byte("a: &x {b: 1}\nc: *x"), yaml12.Options{}) {
		v := doc.Value.(map[string]any)
		v["a"].(map[string]any)["b"] = "changed"
		if got := v["c"].(map[string]any)["b"]; got != 1.0 {
			t.Errorf("the alias shares the anchor's value: %v", got)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	deep := strings.Repeat("[", 150) + strings.Repeat("]", 150)
	for name, tc := range map[string]struct {
		in   string
		opts yaml12.Options
		bad  bool
	}{
		"billion laughs":        {laughs.String(), yaml12.Options{}, true},
		"a thousand aliases":    {"a: &x y\nb: [" + strings.Repeat("*x, ", 1000) + "]", yaml12.Options{}, false},
		"alias nodes":           {"a: &x [1, 2]\nb: [*x, *x]", yaml12.Options{MaxAliasNodes: 5}, true},
		"alias nodes, enough":   {"a: &x [1, 2]\nb: [*x, *x]", yaml12.Options{MaxAliasNodes: 6}, false},
		"alias bytes":           {"a: &x " + strings.Repeat("y", 100) + "\nb: [*x, *x]", yaml12.Options{MaxAliasBytes: 199}, true},
		"deep":                  {deep, yaml12.Options{}, false},
		"too deep":              {deep, yaml12.Options{MaxDepth: 149}, true},
		"too deep by default":   {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), yaml12.Options{}, true},
		"too deep in blocks":    {strings.Repeat("- ", 5000) + "x", yaml12.Options{}, true},
		"too deep behind alias": {"a: &x [[[1]]]\nb: [[*x]]", yaml12.Options{MaxDepth: 5}, true},
		"too long":              {"a: 12345", yaml12.Options{MaxBytes: 7}, true},
		"long enough":           {"a: 12345", yaml12.Options{MaxBytes: 8}, false},
		"keys of keys":          {strings.Repeat("{", 15) + strings.Repeat("}", 15), yaml12.Options{}, false},
		"too many keys of keys": {strings.Repeat("{", 100) + strings.Repeat("}", 100), yaml12.Options{}, true},
		"huge key":              {"{[" + strings.Repeat("x, ", 30_000) + "]: y}", yaml12.Options{}, true},
	} {
		got := one(t, tc.in, tc.opts)
		if strings.HasPrefix(got, "! line") != tc.bad {
			t.Errorf("%s: got %.80s, want an error: %t", name, got, tc.bad)
		}
	}
}

func TestParseKeepsPositions(t *testing.T) {
	t.Parallel()
	root, err := yaml12.Parse([]byte("\ufeff# head\r\n%YAML 1.2\r\n---\r\napp:\r\n  title: \"x\u2028\"\r\n  port: 0777\r\n"), yaml12.Options{})
	if err != nil {
		t.Fatal(err)
	}
	app := root.Content[1]
	title, port := app.Content[1], app.Content[3]
	if title.Line != 5 || title.Column != 10 || title.Value != "x\u2028" {
		t.Errorf("title is %q at %d:%d", title.Value, title.Line, title.Column)
	}
	if v, err := yaml12.Scalar(port); err != nil || v != 777.0 || port.Line != 6 {
		t.Errorf("port is %v, %v at line %d", v, err, port.Line)
	}
	v, err := yaml12.Value(app, yaml12.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"title": "x\u2028", "port": 777.0}, v); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseDemandsOneDocument(t *testing.T) {
	t.Parallel()
	if n, err := yaml12.Parse([]byte("# nothing\n"), yaml12.Options{}); n != nil || err != nil {
		t.Errorf("empty text: %v, %v", n, err)
	}
	for in, line := range map[string]int{"a: 1\n---\nb: 2\n": 2, "a: [\n": 2, "a: 1\n---\n": 2} {
		_, err := yaml12.Parse([]byte(in), yaml12.Options{})
		var syntax *yaml12.Error
		if !errors.As(err, &syntax) || syntax.Line != line {
			t.Errorf("%q: error %v, want one at line %d", in, err, line)
		}
	}
	if _, err := yaml12.Parse([]byte("a: 1"), yaml12.Options{MaxBytes: 1}); err == nil {
		t.Error("a text beyond the limit passed")
	}
}

func TestValueOfADocumentNode(t *testing.T) {
	t.Parallel()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("a: [yes, 0777]"), &doc); err != nil {
		t.Fatal(err)
	}
	v, err := yaml12.Value(&doc, yaml12.Options{})
	if diff := cmp.Diff(map[string]any{"a": []any{"yes", 777.0}}, v); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if v := yaml12.Plain("-.inf"); v != math.Inf(-1) {
		t.Errorf("Plain(-.inf) = %v", v)
	}
	if v, err := yaml12.Scalar(&yaml.Node{Kind: yaml.ScalarNode, Value: ".inf"}); v != nil || err != nil {
		t.Errorf("Scalar(.inf) = %v, %v", v, err)
	}
}

func TestOrderOfKeys(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"no object":     {"- 1\n- [a, b]\n", ""},
		"an object":     {"b: 1\na: {d: [1, 2], c: x}\n", `{"b":0,"a":{"d":0,"c":0}}`},
		"below lists":   {"- 1\n- {b: 1, a: 2}\n", `[0,{"b":0,"a":0}]`},
		"names":         {"1: x\nnull: x\n\"q\\\"\": {}\n? [a, b]\n: x\n", `{"1":0,"":0,"q\"":{},"[ a, b ]":0}`},
		"aliases":       {"x: &x {b: 1, a: 2}\ny: *x\n", `{"x":{"b":0,"a":0},"y":{"b":0,"a":0}}`},
		"merged":        {"x: &x {b: 1, a: 2}\ny: {d: 1, <<: *x, a: 3, c: 4}\n", `{"x":{"b":0,"a":0},"y":{"d":0,"b":0,"a":0,"a":0,"c":0}}`},
		"merged twice":  {"y: {<<: [{b: 1}, {a: 2}], c: 4}\n", `{"y":{"b":0,"a":0,"c":0}}`},
		"an empty list": {"a: []\nb: {}\n", `{"a":0,"b":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for doc := range yaml12.Documents([]byte(tt.text), yaml12.Options{MergeKeys: true}) {
				if doc.Err != nil || doc.Order != tt.want {
					t.Errorf("Order = %s (%v), want %s", doc.Order, doc.Err, tt.want)
				}
			}
		})
	}
}
