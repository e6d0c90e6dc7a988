package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixture is a file in the shapes that real ones have.
type fixture struct {
	name, text string
	want       []verdict
	values     []string // JSON per document, "" for one that does not parse
}

func fixtures() []fixture {
	const help = ` To learn more about catalog file format, visit: https://github.com/backstage/backstage/blob/master/docs/architecture-decisions/adr002-default-catalog-file-format.md`
	const v1 = "apiVersion: backstage.io/v1alpha1\n"
	return []fixture{
		{
			"several.yaml",
			"# people\n" + v1 + "kind: Group\nmetadata: {name: Crew}\nspec: {type: team, children: []}\n---\n---\n" + v1 + "kind: User\nmetadata:\n  name: ann\n  namespace: staff\nspec:\n  memberOf: [crew]\n",
			[]verdict{
				{Result: "ok", Kind: "Group", APIVersion: "backstage.io/v1alpha1", Ref: "group:default/crew"},
				{Result: "ok", Kind: "User", Ref: "user:staff/ann"},
			},
			[]string{
				`{"apiVersion":"backstage.io/v1alpha1","kind":"Group","metadata":{"name":"Crew"},"spec":{"type":"team","children":[]}}`,
				`{"apiVersion":"backstage.io/v1alpha1","kind":"User","metadata":{"name":"ann","namespace":"staff"},"spec":{"memberOf":["crew"]}}`,
			},
		},
		{
			"windows.yaml",
			strings.ReplaceAll(v1+"kind: Component\nmetadata:\n  name: dos\n  description: |\n    two\n    lines\n  annotations:\n    since: 2020-01-02\n    build: '0777'\nspec:\n  type: service\n  lifecycle: yes\n  owner: ops\n  port: 0777\n  ratio: 1.0\n", "\n", "\r\n"),
			[]verdict{{Result: "ok", Ref: "component:default/dos"}},
			[]string{`{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"dos","description":"two\nlines\n","annotations":{"since":"2020-01-02","build":"0777"}},"spec":{"type":"service","lifecycle":"yes","owner":"ops","port":777,"ratio":1}}`},
		},
		{
			"template.yaml",
			"apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: new-service\nspec:\n  type: service\n  parameters:\n    - title: Name\n  steps:\n    - id: fetch\n      action: fetch:template\n      each: ${{ parameters.parts }}\n      input:\n        hosts:\n          - {{ git_host }}\n  output:\n    links:\n      - url: ${{ steps.fetch.output.url }}\n",
			[]verdict{{Result: "ok", Kind: "Template", Ref: "template:default/new-service"}},
			[]string{`{"apiVersion":"scaffolder.backstage.io/v1beta3","kind":"Template","metadata":{"name":"new-service"},"spec":{"type":"service","parameters":[{"title":"Name"}],"steps":[{"id":"fetch","action":"fetch:template","each":"${{ parameters.parts }}","input":{"hosts":[{"{ git_host }":null}]}}],"output":{"links":[{"url":"${{ steps.fetch.output.url }}"}]}}}`},
		},
		{
			"skeleton.yaml", // a template for a future file, and one that a loop makes unreadable
			v1 + "kind: Component\nmetadata:\n  name: ${{ values.name | dump }}\nspec: {type: a, lifecycle: b, owner: c}\n---\n" + v1 + "kind: Component\nmetadata:\n  tags:\n    {%- for t in tags %}\n    - x\n    {%- endfor %}\n---\n" + v1 + "kind: Location\nmetadata: {name: last}\nspec: {target: ./x.yaml}\n",
			[]verdict{
				{Result: "policy-error", Kind: "Component", Message: `"metadata.name" is not valid; expected a string that is sequences of [a-zA-Z0-9] separated by any of [-_.], at most 63 characters in total but found "${{ values.name | dump }}".` + help},
				{Result: "parse-error", Message: "Plain value cannot start with % at line 11, column 6:"},
				{Result: "ok", Ref: "location:default/last"},
			},
			[]string{
				`{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"name":"${{ values.name | dump }}"},"spec":{"type":"a","lifecycle":"b","owner":"c"}}`,
				"",
				`{"apiVersion":"backstage.io/v1alpha1","kind":"Location","metadata":{"name":"last"},"spec":{"target":"./x.yaml"}}`,
			},
		},
		{
			"go.yaml.tmpl",
			"metadata:\n  name: {{ .Values.name }}-app\n",
			[]verdict{{Result: "parse-error", Message: "Unexpected scalar at line 2, column 1:"}},
			[]string{""},
		},
		{
			"kinds.yaml",
			v1 + "kind: API\nmetadata: {name: a}\nspec: {type: openapi, lifecycle: x, owner: y, definition: {$text: ./openapi.yaml}}\n---\napiVersion: example.com/v1\nkind: Robot\nmetadata: {name: r2, namespace: far}\n---\njust text\n---\n" + v1 + "metadata: {name: a}\n",
			[]verdict{
				{Result: "kind-error", Kind: "API", Ref: "api:default/a", Message: "/spec/definition must be string - type: string"},
				{Result: "no-builtin-kind", Kind: "Robot", APIVersion: "example.com/v1", Ref: "robot:far/r2"},
				{Result: "parse-error", Message: "Expected object at root, got string"},
				{Result: "policy-error", Message: "<root> must have required property 'kind' - missingProperty: kind"},
			},
			[]string{
				`{"apiVersion":"backstage.io/v1alpha1","kind":"API","metadata":{"name":"a"},"spec":{"type":"openapi","lifecycle":"x","owner":"y","definition":{"$text":"./openapi.yaml"}}}`,
				`{"apiVersion":"example.com/v1","kind":"Robot","metadata":{"name":"r2","namespace":"far"}}`,
				"",
				`{"apiVersion":"backstage.io/v1alpha1","metadata":{"name":"a"}}`,
			},
		},
	}
}

// writeDataSet lays fixtures out as the command expects them.
func writeDataSet(t *testing.T, fixtures []fixture) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	manifest, parsed := "file\trepo\n", ""
	var expected []any
	for _, f := range fixtures {
		write(filepath.Join("files", f.name), f.text)
		manifest += f.name + "\texample/repo\n"
		expected = append(expected, map[string]any{"file": f.name, "documents": f.want})
		for i, value := range f.values {
			if value != "" {
				line, err := json.Marshal(map[string]any{"file": f.name, "index": i, "entity": json.RawMessage(value)})
				if err != nil {
					t.Fatal(err)
				}
				parsed += string(line) + "\n"
			}
		}
	}
	write("MANIFEST.tsv", manifest)
	write("PARSED.jsonl", parsed)
	text, err := json.Marshal(expected)
	if err != nil {
		t.Fatal(err)
	}
	write("EXPECTED.json", string(text))
	return dir
}

func runTool(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestNoDeviations(t *testing.T) {
	t.Parallel()
	code, out, errs := runTool(t, writeDataSet(t, fixtures()))
	if code != 0 || errs != "" || !strings.Contains(out, "files 6, documents 12, values compared 9\n") || !strings.HasSuffix(out, "deviations 0, unexplained 0\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestDeviationsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func([]fixture)
		want   string
	}{
		{"verdict", func(f []fixture) { f[0].want[0].Result = "kind-error" }, "DEVIATION several.yaml#0 verdict: ok , expected kind-error"},
		{"ref", func(f []fixture) { f[0].want[1].Ref = "user:x/y" }, "DEVIATION several.yaml#1 verdict: ref user:staff/ann, expected user:x/y"},
		{"kind", func(f []fixture) { f[1].want[0].Kind = "API" }, "DEVIATION windows.yaml#0 verdict: kind Component, expected API"},
		{"version", func(f []fixture) { f[1].want[0].APIVersion = "v2" }, "DEVIATION windows.yaml#0 verdict: apiVersion backstage.io/v1alpha1, expected v2"},
		{"message", func(f []fixture) { f[5].want[0].Message = "other" }, `DEVIATION kinds.yaml#0 message: "/spec/definition must be string - type: string", expected "other"`},
		{"line", func(f []fixture) { f[4].want[0].Message = "x at line 7, column 1:" }, `is at line "2", expected "7"`},
		{"scalar", func(f []fixture) { f[1].values[0] = strings.Replace(f[1].values[0], `"port":777`, `"port":511`, 1) }, "DEVIATION windows.yaml#0 value: differs at .spec.port: 777, expected 511"},
		{"member", func(f []fixture) { f[1].values[0] = strings.Replace(f[1].values[0], `"port":777,`, "", 1) }, "differs at .spec.port (unexpected)"},
		{"missing member", func(f []fixture) { f[1].values[0] = strings.Replace(f[1].values[0], `"port"`, `"a":1,"port"`, 1) }, "differs at .spec.a (missing)"},
		{"item", func(f []fixture) { f[0].values[1] = strings.Replace(f[0].values[1], `"crew"`, `"other"`, 1) }, `differs at .spec.memberOf[0]: "crew", expected "other"`},
		{"parsed", func(f []fixture) { f[4].values[0] = `{}` }, "DEVIATION go.yaml.tmpl#0 value: parsed is false, expected true"},
		{"document too few", func(f []fixture) { f[4].want = append(f[4].want, verdict{Result: "ok"}) }, "DEVIATION go.yaml.tmpl#1 verdict: document is missing, expected ok"},
		{"document too many", func(f []fixture) { f[1].want = nil }, "DEVIATION windows.yaml#0 verdict: unexpected document: ok"},
	} {
		data := fixtures()
		tc.change(data)
		code, out, errs := runTool(t, writeDataSet(t, data))
		if code != 1 || errs != "" || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, want 1 with %q\n%s%s", tc.name, code, tc.want, out, errs)
		}
	}
}

func TestExplainedDeviations(t *testing.T) {
	t.Parallel()
	data := fixtures()
	data[0].want[0].Result = "kind-error"
	dir := writeDataSet(t, data)
	list := filepath.Join(dir, "explained.tsv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# file\tindex\taspect\treason\n\nseveral.yaml\t0\tverdict\twe are kinder\n")
	if code, out, _ := runTool(t, "-explained", list, dir); code != 0 || !strings.Contains(out, "explained several.yaml#0 verdict") || !strings.Contains(out, "(we are kinder)") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	write("several.yaml\t1\tverdict\tanother document\n")
	if code, out, _ := runTool(t, "-explained", list, dir); code != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, broken := range []string{"several.yaml\t0\n", "several.yaml\tx\tverdict\treason\n"} {
		write(broken)
		if code, _, errs := runTool(t, "-explained", list, dir); code != 2 || !strings.Contains(errs, "line 1") {
			t.Errorf("%q: exit code %d, %s", broken, code, errs)
		}
	}
}

func TestUnreadableData(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"no manifest":  func(dir string) error { return os.Remove(filepath.Join(dir, "MANIFEST.tsv")) },
		"no expected":  func(dir string) error { return os.Remove(filepath.Join(dir, "EXPECTED.json")) },
		"no parsed":    func(dir string) error { return os.Remove(filepath.Join(dir, "PARSED.jsonl")) },
		"no file":      func(dir string) error { return os.Remove(filepath.Join(dir, "files", "kinds.yaml")) },
		"bad expected": func(dir string) error { return os.WriteFile(filepath.Join(dir, "EXPECTED.json"), []byte("{"), 0o600) },
		"unknown file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "EXPECTED.json"), []byte(`[{"file":"x"}]`), 0o600)
		},
		"bad parsed": func(dir string) error { return os.WriteFile(filepath.Join(dir, "PARSED.jsonl"), []byte("x\n"), 0o600) },
		"escaping path": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "MANIFEST.tsv"), []byte("h\n../x\n"), 0o600)
		},
	} {
		dir := writeDataSet(t, fixtures())
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := runTool(t, dir); code != 2 || errs == "" {
			t.Errorf("%s: exit code %d, want 2\n%s%s", name, code, out, errs)
		}
	}
	if code, _, errs := runTool(t); code != 2 || !strings.Contains(errs, "usage:") {
		t.Errorf("without arguments: exit code %d, %s", code, errs)
	}
	if code, _, _ := runTool(t, "-h"); code != 0 {
		t.Errorf("-h: exit code %d", code)
	}
}
