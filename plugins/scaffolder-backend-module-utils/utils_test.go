package scaffoldermoduleutils_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	scaffoldermoduleutils "github.com/flytower/flytower/plugins/scaffolder-backend-module-utils"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func action(t testing.TB, id string) scaffoldernode.Action {
	t.Helper()
	all := scaffoldermoduleutils.Actions(nil)
	i := slices.IndexFunc(all, func(a scaffoldernode.Action) bool { return a.ID == id })
	if i < 0 {
		t.Fatalf("there is no action %s", id)
	}
	return all[i]
}

func do(t *testing.T, id string, input map[string]any, options ...actiontest.Option) *actiontest.Result {
	t.Helper()
	run := actiontest.Run(t, action(t, id), input, options...)
	if run.Err != nil {
		t.Fatalf("%s: %v", id, run.Err)
	}
	return run
}

func TestFilesAreChanged(t *testing.T) {
	t.Parallel()
	type files = map[string]string
	for name, tt := range map[string]struct {
		id    string
		input map[string]any
		given files
		want  files
	}{
		"write": {
			"roadiehq:utils:fs:write", map[string]any{"path": "a/b.txt", "content": "x"}, nil, files{"a/b.txt": "x"},
		},
		"write in place of a file": {
			"roadiehq:utils:fs:write", map[string]any{"path": "./a.txt", "content": ""}, files{"a.txt": "long"}, files{"a.txt": ""},
		},
		"write JSON": {
			"roadiehq:utils:fs:write", map[string]any{"path": "a", "content": `{"b":[1],"a":{}}`, "preserveFormatting": true}, nil,
			files{"a": "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}"},
		},
		"write what is no JSON": {
			"roadiehq:utils:fs:write", map[string]any{"path": "a", "content": `{b}`, "preserveFormatting": true}, nil, files{"a": "{b}"},
		},
		"append": {
			"roadiehq:utils:fs:append", map[string]any{"path": "a", "content": "two\n"}, files{"a": "one\n"}, files{"a": "one\ntwo\n"},
		},
		"append to nothing": {
			"roadiehq:utils:fs:append", map[string]any{"path": "b/a", "content": "one"}, nil, files{"b/a": "one"},
		},
		"replace": {
			"roadiehq:utils:fs:replace", map[string]any{"files": []any{
				map[string]any{"file": "**/*.md", "find": "$x.y", "replaceWith": "<$&>"},
				map[string]any{"file": "a.md", "find": "<", "replaceWith": "("},
			}},
			files{"a.md": "$x.y $xzy $x.y", "d/b.md": "$x.y", ".c.md": "$x.y", "d.txt": "$x.y"},
			files{"a.md": "($x.y> $xzy ($x.y>", "d/b.md": "<$x.y>", ".c.md": "$x.y", "d.txt": "$x.y"},
		},
		"replace an expression": {
			"roadiehq:utils:fs:replace", map[string]any{"files": []any{
				map[string]any{"file": "*", "find": `v(\d+)(?=;)`, "matchRegex": true, "replaceWith": "w$1", "includeDotFiles": true},
			}},
			files{".a": "v12; v13", "[id].ts": "v1;"}, files{".a": "w12; v13", "[id].ts": "w1;"},
		},
		"replace in a name like a pattern, with nothing": {
			"roadiehq:utils:fs:replace", map[string]any{"files": []any{map[string]any{"file": "[id].ts", "find": "a", "replaceWith": ""}}},
			files{"[id].ts": "banana", "i.ts": "a"}, files{"[id].ts": "bnn", "i.ts": "a"},
		},
		"merge JSON": {
			"roadiehq:utils:json:merge", map[string]any{"path": "p.json", "content": map[string]any{"b": map[string]any{"y": 2}, "l": []any{9}, "n": nil}},
			files{"p.json": `{"z":1,"b":{"x":1},"l":[1,2],"n":{"a":1}}`},
			files{"p.json": "{\n  \"z\": 1,\n  \"b\": {\n    \"x\": 1,\n    \"y\": 2\n  },\n  \"l\": [\n    9,\n    2\n  ],\n  \"n\": null\n}"},
		},
		"merge JSON with its indentation, and lists": {
			"roadiehq:utils:json:merge", map[string]any{"path": "p.json", "content": `{"l":[2,{"a":1}]}`, "mergeArrays": true, "matchFileIndent": true},
			files{"p.json": "{\n\t\"l\": [1, 2]\n}"},
			files{"p.json": "{\n\t\"l\": [\n\t\t1,\n\t\t2,\n\t\t{\n\t\t\t\"a\": 1\n\t\t}\n\t]\n}"},
		},
		"merge JSON into nothing": {
			"roadiehq:utils:json:merge", map[string]any{"path": "d/p.json", "content": map[string]any{"__proto__": 1, "constructor": map[string]any{"prototype": 2}}}, nil,
			files{"d/p.json": "{\n  \"__proto__\": 1,\n  \"constructor\": {\n    \"prototype\": 2\n  }\n}"},
		},
		"merge a .json file": {
			"roadiehq:utils:merge", map[string]any{"path": "p.json", "content": map[string]any{"a": 1}}, files{"p.json": "{}"}, files{"p.json": "{\n  \"a\": 1\n}"},
		},
		"merge YAML": {
			"roadiehq:utils:merge", map[string]any{"path": "c.yaml", "content": "metadata: {annotations: {b: '2'}}\n"},
			files{"c.yaml": "# gone\nkind: Component\nmetadata:\n    annotations:\n        a: \"1\"\n    tags:\n    - x\n"},
			files{"c.yaml": "kind: Component\nmetadata:\n  annotations:\n    a: \"1\"\n    b: \"2\"\n  tags:\n    - x\n"},
		},
		"merge into one of several documents": {
			"roadiehq:utils:merge", map[string]any{
				"path": "c.yml", "content": map[string]any{"x": 1}, "options": map[string]any{"indentSeq": false, "noRefs": true},
				"useDocumentIncludingField": map[string]any{"key": "metadata.name", "value": "b"},
			},
			files{"c.yml": "metadata: {name: a}\nl: [1]\n---\nmetadata: {name: b}\n"},
			files{"c.yml": "metadata:\n  name: a\nl:\n- 1\n---\nmetadata:\n  name: b\nx: 1\n"},
		},
		"merge and keep comments": {
			"roadiehq:utils:merge", map[string]any{
				"path": "c.yaml", "preserveYamlComments": true, "mergeArrays": true,
				"content": map[string]any{"a": 2, "l": []any{"two"}, "n": map[string]any{"y": "z"}},
			},
			files{"c.yaml": "# head\na: 1 # one\n# of l\nl:\n  - one # first\nn: {x: 'q'}\n"},
			files{"c.yaml": "# head\na: 2 # one\n# of l\nl:\n  - one # first\n  - two\nn: {x: 'q', y: z}\n"},
		},
		"merge into an empty file": {
			"roadiehq:utils:merge", map[string]any{"path": "c.yaml", "preserveYamlComments": true, "content": map[string]any{"a": 2}},
			files{"c.yaml": "---\n"}, files{"c.yaml": "a: 2\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var options []actiontest.Option
			for path, content := range tt.given {
				options = append(options, actiontest.WithFile(path, content))
			}
			run := do(t, tt.id, tt.input, options...)
			again := do(t, tt.id, tt.input, actiontest.After(run)) // as after a crash at the end
			for path, want := range tt.want {
				if diff := cmp.Diff(want, again.File(path)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			}
		})
	}
}

// TestItemsOfEachAreAppendedOnce repeats all items of a step after a crash.
func TestItemsOfEachAreAppendedOnce(t *testing.T) {
	t.Parallel()
	run := do(t, "roadiehq:utils:fs:append", map[string]any{"path": "f", "content": "0"})
	for range 2 {
		for _, item := range []string{"1", "2", "2"} {
			run = do(t, "roadiehq:utils:fs:append", map[string]any{"path": "f", "content": item}, actiontest.After(run), actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
				c.Iteration = item
			}))
		}
	}
	if got := run.File("f"); got != "012" {
		t.Errorf("the file is %q", got)
	}
}

func TestFilesAreParsed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		parser, text string
		want         any
	}{
		{"", "a\xff", "a\uFFFD"},
		{"json", `{"a":[1,null]}`, map[string]any{"a": []any{1.0, nil}}},
		{"yaml", "a: 0777\nb: yes\n", map[string]any{"a": 777.0, "b": "yes"}},
		{"yaml", "", nil},
		{"multiyaml", "a: 1\n---\n- b\n", []any{map[string]any{"a": 1.0}, []any{"b"}}},
	} {
		input := map[string]any{"path": "f"}
		if tt.parser != "" {
			input["parser"] = tt.parser
		}
		run := do(t, "roadiehq:utils:fs:parse", input, actiontest.WithFile("f", tt.text))
		if diff := cmp.Diff(tt.want, run.Outputs["content"]); diff != "" {
			t.Errorf("%q as %s (-want +got):\n%s", tt.text, tt.parser, diff)
		}
	}
}

func TestValuesAreSerialized(t *testing.T) {
	t.Parallel()
	data := map[string]any{"b": map[string]any{"a": "x", "c": "<1>"}, "a": []any{true}}
	for _, tt := range []struct {
		id    string
		input map[string]any
		want  string
	}{
		{"json", nil, `{"a":[true],"b":{"a":"x","c":"<1>"}}`},
		{"json", map[string]any{"replacer": []string{"b", "c"}}, `{"b":{"c":"<1>"}}`},
		{"json", map[string]any{"space": "--", "replacer": []string{"a"}}, "{\n--\"a\": [\n----true\n--]\n}"},
		{"yaml", nil, "a:\n  - true\nb:\n  a: x\n  c: <1>\n"},
		{"yaml", map[string]any{"options": map[string]any{"indent": 4, "lineWidth": -1, "quotingType": "'"}}, "a:\n    - true\nb:\n    a: x\n    c: <1>\n"},
	} {
		input := map[string]any{"data": data}
		for k, v := range tt.input {
			input[k] = v
		}
		run := do(t, "roadiehq:utils:serialize:"+tt.id, input)
		if diff := cmp.Diff(tt.want, run.Outputs["serialized"]); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", tt.id, tt.input, diff)
		}
	}
}

func TestFoldersAreZipped(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	links := actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
		if err := c.Workspace.Symlink(outside, "app/link"); err != nil {
			t.Error(err)
		}
	})
	input := map[string]any{"path": ".", "outputPath": "out/app.zip"}
	run := do(t, "roadiehq:utils:zip", input, actiontest.WithFile("app/a.txt", "a"), actiontest.WithFile("app/d/b.txt", "b"), links)
	first := run.File("out/app.zip")
	run = do(t, "roadiehq:utils:zip", input, actiontest.After(run))
	if run.Outputs["outputPath"] != "out/app.zip" || run.File("out/app.zip") != first {
		t.Errorf("the second archive is another one; outputs %v", run.Outputs)
	}
	if diff := cmp.Diff(map[string]string{"app/a.txt": "a", "app/d/b.txt": "b"}, unzip(t, first)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	run = do(t, "roadiehq:utils:zip", map[string]any{"path": "app/d/b.txt", "outputPath": "b.zip"}, actiontest.After(run))
	if diff := cmp.Diff(map[string]string{"b.txt": "b"}, unzip(t, run.File("b.zip"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func unzip(t *testing.T, text string) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
	}
	return files
}

func TestSleepEndsWithTheTask(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrDeadlineExceeded)
	a := action(t, "roadiehq:utils:sleep")
	c := &scaffoldernode.ActionContext{}
	actiontest.Run(t, a, map[string]any{"amount": 0.001}, actiontest.WithContext(func(made *scaffoldernode.ActionContext) { c.Logger = made.Logger }))
	if err := a.Run(ctx, c, []byte(`{"amount":3600}`)); err != os.ErrDeadlineExceeded {
		t.Errorf("got %v", err)
	}
	run := do(t, a.ID, map[string]any{"amount": 3600}, actiontest.WithContext(func(c *scaffoldernode.ActionContext) { c.DryRun = true }))
	if !strings.Contains(run.Log, "Waiting 3600 seconds") {
		t.Errorf("the log is %q", run.Log)
	}
}

func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		prev, next := string(rune('a'+i)), string(rune('b'+i))
		bomb += next + ": &" + next + " [" + strings.TrimSuffix(strings.Repeat("*"+prev+",", 10), ",") + "]\n"
	}
	replace := func(file, find string) map[string]any {
		return map[string]any{"files": []any{map[string]any{"file": file, "find": find, "matchRegex": true, "replaceWith": "x"}}}
	}
	content := map[string]any{"a": 1}
	for name, tt := range map[string]struct {
		id    string
		input map[string]any
		want  string
	}{
		"writing above":          {"fs:write", map[string]any{"path": "../x", "content": ""}, "outside its parent"},
		"writing an absolute":    {"fs:write", map[string]any{"path": "/etc/x", "content": ""}, "outside its parent"},
		"writing the workspace":  {"fs:write", map[string]any{"path": ".", "content": ""}, "is a folder"},
		"writing behind a link":  {"fs:write", map[string]any{"path": "out/x", "content": ""}, "escapes"},
		"appending above":        {"fs:append", map[string]any{"path": "a/../../x", "content": ""}, "outside its parent"},
		"appending to a link":    {"fs:append", map[string]any{"path": "secret", "content": ""}, "escapes"},
		"parsing a link":         {"fs:parse", map[string]any{"path": "secret"}, "escapes"},
		"parsing a folder":       {"fs:parse", map[string]any{"path": "."}, "is no file"},
		"parsing above":          {"fs:parse", map[string]any{"path": "../../etc/passwd"}, "outside its parent"},
		"parsing bad JSON":       {"fs:parse", map[string]any{"path": "bad", "parser": "json"}, "cannot be read as json"},
		"parsing two documents":  {"fs:parse", map[string]any{"path": "two.yaml", "parser": "yaml"}, "multiyaml"},
		"parsing a YAML bomb":    {"fs:parse", map[string]any{"path": "bomb.yaml", "parser": "yaml"}, "aliases"},
		"parsing deep JSON":      {"fs:parse", map[string]any{"path": "deep.json", "parser": "json"}, "deeper"},
		"replacing above":        {"fs:replace", replace("../*", "a"), "outside its parent"},
		"replacing nothing":      {"fs:replace", replace("x", ""), "find and replaceWith"},
		"a regular bomb":         {"fs:replace", replace("aaa", `^(?=((a+)+)$)\1b`), "too many steps"},
		"a broken expression":    {"fs:replace", replace("aaa", `(`), "cannot be read"},
		"a broken pattern":       {"fs:replace", replace("[", `a`), "cannot be read"},
		"merging above":          {"json:merge", map[string]any{"path": "../p.json", "content": content}, "outside its parent"},
		"merging a link":         {"json:merge", map[string]any{"path": "secret", "content": content}, "escapes"},
		"merging a list":         {"json:merge", map[string]any{"path": "list.json", "content": content}, "does not contain an object"},
		"merging text":           {"json:merge", map[string]any{"path": "p.json", "content": "[1]"}, "has to be an object"},
		"merging into nothing":   {"merge", map[string]any{"path": "none.yaml", "content": content}, "does not exist"},
		"merging into any file":  {"merge", map[string]any{"path": "aaa", "content": content}, "neither"},
		"merging a bomb":         {"merge", map[string]any{"path": "bomb.yaml", "content": content}, "aliases"},
		"merging into a bomb":    {"merge", map[string]any{"path": "bomb.yaml", "preserveYamlComments": true, "content": content}, "aliases"},
		"merging an anchor":      {"merge", map[string]any{"path": "anchor.yaml", "preserveYamlComments": true, "content": content}, "anchors"},
		"merging without choice": {"merge", map[string]any{"path": "two.yaml", "content": content}, "Multiple documents"},
		"zipping above":          {"zip", map[string]any{"path": "..", "outputPath": "a.zip"}, "outside its parent"},
		"zipping to above":       {"zip", map[string]any{"path": "aaa", "outputPath": "../a.zip"}, "outside its parent"},
		"zipping through a link": {"zip", map[string]any{"path": "out", "outputPath": "out/a.zip"}, "escapes"},
		"zipping nothing":        {"zip", map[string]any{"path": "none", "outputPath": "a.zip"}, "does not exist"},
		"sleeping for a year":    {"sleep", map[string]any{"amount": 31536000}, "greater than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			run := actiontest.Run(t, action(t, "roadiehq:utils:"+tt.id), tt.input,
				actiontest.WithFile("bad", "{"), actiontest.WithFile("two.yaml", "a: 1\n---\nb: 1\n"), actiontest.WithFile("bomb.yaml", bomb),
				actiontest.WithFile("deep.json", strings.Repeat("[", 100_000)), actiontest.WithFile("aaa", strings.Repeat("a", 50)+"!"),
				actiontest.WithFile("list.json", "[]"), actiontest.WithFile("anchor.yaml", "a: &x 2\nb: *x\n"),
				actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
					if err := c.Workspace.Symlink(outside, "out"); err != nil {
						t.Error(err)
					}
					if err := c.Workspace.Symlink(filepath.Join(outside, "secret"), "secret"); err != nil {
						t.Error(err)
					}
				}))
			if run.Err == nil || !strings.Contains(run.Err.Error(), tt.want) {
				t.Errorf("got %v, want %q", run.Err, tt.want)
			}
			left, err := os.ReadDir(outside)
			if err != nil || len(left) != 1 {
				t.Errorf("outside there is %v, %v", left, err)
			}
			if content, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || !bytes.Equal(content, []byte("{}")) {
				t.Errorf("the secret is %q, %v", content, err)
			}
		})
	}
}
