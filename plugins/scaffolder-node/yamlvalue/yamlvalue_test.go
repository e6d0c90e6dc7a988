package yamlvalue_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/plugins/scaffolder-node/template"
	"github.com/flytower/flytower/plugins/scaffolder-node/yamlvalue"
)

func TestDocumentsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	documents, err := yamlvalue.Parse([]byte("z: 0777\na: &x [yes, 1.0, ~, '1']\nb: *x\n10: ten\nd: 2001-01-01\n---\n---\ntext\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"10":"ten","z":777,"a":["yes",1,null,"1"],"b":["yes",1,null,"1"],"d":"2001-01-01"},null,"text"]`
	if diff := cmp.Diff(want, string(template.AppendJSON(nil, template.NewArray(documents...)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 30)
	v, err := template.ParseJSON([]byte(`{"b":[{"a":1,"c":[]},"yes",null,true],"long":"` + long + `","lines":"a\nb\n","1":1e21,"empty":{},"on":"on"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		options yamlvalue.Options
		want    string
	}{
		{yamlvalue.Options{}, "\"1\": 1e+21\nb:\n  - a: 1\n    c: []\n  - \"yes\"\n  - null\n  - true\nlong: '" + long + "'\nlines: |\n  a\n  b\nempty: {}\non: \"on\"\n"},
		{yamlvalue.Options{FlushLists: true}, "\"1\": 1e+21\nb:\n- a: 1\n  c: []\n- \"yes\"\n- null\n- true\nlong: '" + long + "'\nlines: |\n  a\n  b\nempty: {}\non: \"on\"\n"},
	} {
		text, err := yamlvalue.Append(nil, v, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(text)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.options, diff)
		}
	}
	folded, err := yamlvalue.Append(nil, v, yamlvalue.Options{LineWidth: 40})
	if err != nil || !strings.Contains(string(folded), "word\n") {
		t.Errorf("nothing is folded: %v\n%s", err, folded)
	}
	if _, err := yamlvalue.Append(nil, v, yamlvalue.Options{Indent: 1}); err == nil {
		t.Error("an indentation of one was used")
	}
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		next := string(rune('b' + i))
		bomb += next + ": &" + next + " [" + strings.TrimSuffix(strings.Repeat("*"+string(rune('a'+i))+",", 10), ",") + "]\n"
	}
	for name, text := range map[string]string{
		"aliases": bomb, "an alias of itself": "a: &a [*a]", "an alias of nothing": "a: *b", "the same key twice": "a: 1\na: 2", "deep": strings.Repeat("[", 10_000), "tabs": "a:\n\t- b",
	} {
		if v, err := yamlvalue.Parse([]byte(text)); err == nil {
			t.Errorf("%s gives %.100s", name, template.AppendJSON(nil, v[0]))
		}
	}
}

// FuzzParse writes what it read, and reads the same again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"a: 1\nb: [x, {c: d}]\n", "- 'x'\n- \"\\u2028\"\n", "? [a]\n: b\n", "{1: 2, 0: 3}", "a: !!binary aGk=", "---\n...\n---\n", "x: |+\n  a\n\n", "a: -0\nb: .nan\nc: 0x1f"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := yamlvalue.Parse([]byte(text))
		if err != nil {
			return
		}
		for _, v := range documents {
			written, err := yamlvalue.Append(nil, v, yamlvalue.Options{})
			if err != nil {
				t.Fatalf("%q cannot be written: %v", template.AppendJSON(nil, v), err)
			}
			again, err := yamlvalue.Parse(written)
			if err != nil || len(again) != 1 {
				t.Fatalf("%q was written as %q, which gives %d documents: %v", template.AppendJSON(nil, v), written, len(again), err)
			}
			if diff := cmp.Diff(string(template.AppendJSON(nil, v)), string(template.AppendJSON(nil, again[0]))); diff != "" {
				t.Errorf("%q (-read +read again):\n%s", written, diff)
			}
		}
	})
}
