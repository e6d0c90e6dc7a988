package rootconfig_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/rootconfig"
)

func TestSources(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"package.json":                     `{"workspaces":["packages/*"]}`,
		"app-config.yaml":                  "v: base\nbase: 1",
		"app-config.production.yaml":       "v: production",
		"app-config.eu.yaml":               "v: eu\neu: 1",
		"app-config.local.yaml":            "v: local\nlocal: 1",
		"app-config.production.local.yaml": "v: production local",
		"packages/backend/package.json":    `{"name":"backend"}`,
		"packages/backend/x.yaml":          "v: x",
		"other.yaml":                       "v: other",
	}
	dir := t.TempDir()
	write(t, dir, files)
	below := filepath.Join(dir, "packages/backend")
	for _, tt := range []struct {
		name, dir string
		o         rootconfig.Options
		want      string
	}{
		{"default files, found from a package of the workspace", below, rootconfig.Options{}, "app-config.yaml app-config.local.yaml: local"},
		{"one environment", dir, rootconfig.Options{Env: []string{"BACKSTAGE_ENV=production"}}, "app-config.yaml app-config.production.yaml app-config.local.yaml app-config.production.local.yaml: production local"},
		{"several environments, absent ones skipped", dir, rootconfig.Options{Env: []string{"BACKSTAGE_ENV= eu ,none,"}}, "app-config.yaml app-config.eu.yaml app-config.local.yaml: local"},
		{"variables", dir, rootconfig.Options{Env: []string{"APP_CONFIG_v=env"}}, "app-config.yaml app-config.local.yaml environment (1 variable): env"},
		{"arguments", below, rootconfig.Options{Args: []string{"run", "--config", "../../other.yaml", "--config=x.yaml"}, Env: []string{"BACKSTAGE_ENV=eu"}}, "other.yaml x.yaml: x"},
		{"options", dir, rootconfig.Options{ConfigFiles: []string{filepath.Join(dir, "other.yaml")}}, "other.yaml: other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root, err := load(t, tt.dir, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := root.String("v")
			var names []string
			for _, s := range root.Sources() {
				names = append(names, filepath.Base(s))
			}
			if got := strings.Join(names, " ") + ": " + v; got != tt.want {
				t.Errorf("sources: %s\nwant: %s", got, tt.want)
			}
		})
	}
}

func TestSourceErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		o     rootconfig.Options
		want  string
	}{
		{"no file", nil, rootconfig.Options{}, "app-config.yaml: there is no such file in DIR; create it, or name the files to use with --config"},
		{"named file", nil, rootconfig.Options{Args: []string{"--config", "a.yaml", "--config=sub/b.yaml"}}, "a.yaml: there is no such file in DIR; create it, or name the files to use with --config\nb.yaml: there is no such file in DIR/sub; create it, or name the files to use with --config"},
		{"remote", nil, rootconfig.Options{Args: []string{"--config=https://example.com/c.yaml"}}, "https://example.com/c.yaml: remote configuration is not supported; download it to a file before the start"},
		{"argument without a name", nil, rootconfig.Options{Args: []string{"--config"}}, "--config needs the name of a file"},
		{"argument with an empty name", nil, rootconfig.Options{Args: []string{"--config="}}, "--config needs the name of a file"},
		{"directory", map[string]string{"app-config.yaml/x": ""}, rootconfig.Options{}, "app-config.yaml: the file cannot be read: it is a directory"},
		{"root is a list", map[string]string{"app-config.yaml": "\n- a"}, rootconfig.Options{}, "app-config.yaml:2: the file must hold an object, found a list"},
		{"root is a string", map[string]string{"app-config.yaml": "text"}, rootconfig.Options{}, "app-config.yaml:1: the file must hold an object, found a string"},
		{
			"all problems at once", map[string]string{
				"app-config.yaml":       "a: {$file: gone.txt}\nb:\n  c:\n    - $include: gone.yaml#x\n",
				"app-config.local.yaml": "x: 1\nx: 2\n",
			},
			rootconfig.Options{Env: []string{"APP_CONFIG_a__b=1"}},
			`app-config.yaml:1: config key "a" refers to the file gone.txt, which does not exist; create it or correct the path, which is relative to the file that names it
app-config.yaml:4: config key "b.c[0]" includes the file gone.yaml, which does not exist; create it or correct the path, which is relative to the file that names it
app-config.local.yaml:2: key "x" is already set in line 1; remove one of the two
env: the environment variable APP_CONFIG_a__b names no valid key: "a..b" is not one; parts are joined by _, so no part can have one itself`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, tt.files)
			_, err := load(t, dir, tt.o)
			if diff := cmp.Diff(tt.want, errorText(err, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	env := []string{"V1=  one  ", "EMPTY=", "SPACES=   ", "NAME=secret.txt", "INC=inc/db.yaml"}
	files := map[string]string{
		"secret.txt":         "line 1\nline 2 \n\n",
		"inc/db.yaml":        "host: ${V1}\npassword: {$file: pass.txt}\nmore: {$include: deep/more.json#a.b}\nlist: [{$env: V1}]\nnone: null\n",
		"inc/pass.txt":       "pw\n",
		"inc/deep/more.json": "{\n\t\"a\": {\"b\": {\"c\": \"${V1}!\", \"again\": {\"$include\": \"../db.yaml#host\"}}}\n}",
	}
	for _, tt := range []struct {
		in   string
		want any
	}{
		{`${V1}-x`, "one-x"},
		{`${MISSING:-def}`, "def"},
		{`${MISSING:-}`, nil},
		{`${MISSING}`, nil},
		{`a ${V1} ${MISSING}`, nil},
		{`$${V1}`, "${V1}"},
		{`$${V1} ${V1}`, "${V1} one"},
		{`"  ${ V1 }  "`, "  one  "},
		{`${EMPTY}`, ""},
		{`${EMPTY:-x}`, "x"},
		{`${SPACES:- y }`, "y"},
		{`${V1:-x}`, "one"},
		{`${V1`, "${V1"},
		{`${MISSING:-http://a:-b}`, "http://a:-b"},
		{`[a, "${MISSING}", b, null]`, []any{"a", "b", nil}},
		{`{a: "${MISSING}", b: 1}`, map[string]any{"b": 1.0}},
		{`{$env: V1}`, "  one  "},
		{`{$env: MISSING}`, nil},
		{`{$file: secret.txt}`, "line 1\nline 2"},
		{`{$file: "${NAME}"}`, "line 1\nline 2"},
		{`{$include: inc/db.yaml#host}`, "one"},
		{`{$include: "${INC}#password"}`, "pw"},
		{`{$include: inc/db.yaml#none}`, nil},
		{`{$include: inc/db.yaml#nothing}`, nil},
		{`{$include: inc/db.yaml#more.again}`, "one"},
		{`{$include: inc/db.yaml}`, map[string]any{
			"host": "one", "password": "pw", "more": map[string]any{"c": "one!", "again": "one"}, "list": []any{"  one  "},
		}},
		{`{$other: x}`, map[string]any{"$other": "x"}},
		{`{"${V1}": 1}`, map[string]any{"${V1}": 1.0}},
		{`80`, 80.0},
	} {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, files)
			write(t, dir, map[string]string{"app-config.yaml": "k: " + tt.in})
			root, err := load(t, dir, rootconfig.Options{Env: env})
			if err != nil {
				t.Fatal(err)
			}
			got, ok := root.Value("k")
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != nil) {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferenceErrors(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"a.yaml":      "x: {$include: b.yaml#y}\nok: 1\n",
		"b.yaml":      "y: {$include: a.yaml#x}\nz: {$file: gone.txt}\nbroken: {$include: broken.yaml}\n",
		"broken.yaml": "a: 1\nb: [\n",
		"c.txt":       "",
	}
	for _, tt := range []struct{ in, want string }{
		{`{$include: a.yaml#x}`, `b.yaml:1: config key "k" includes a.yaml#x, which includes itself, included from a.yaml:1, included from app-config.yaml:1; remove one of the includes`},
		{`{$include: b.yaml#z}`, `b.yaml:2: config key "k" refers to the file gone.txt, which does not exist, included from app-config.yaml:1; create it or correct the path, which is relative to the file that names it`},
		{`{$include: b.yaml#broken}`, `b.yaml:3: config key "k" includes a broken file: broken.yaml:3: is not valid YAML: did not find expected node content while parsing a flow node, included from app-config.yaml:1`},
		{`{$include: a.yaml#ok.x}`, `app-config.yaml:1: config key "k" includes a.yaml#ok.x, but there is no object at ok of that file`},
		{`{$include: c.txt}`, `app-config.yaml:1: config key "k" includes c.txt, which is no .yaml, .yml or .json file; use $file to include text`},
		{`{$include: a.yaml#ok, more: 1, and: 2}`, `app-config.yaml:1: config key "k" has $include beside ["more" "and"]; an object with $include has no other keys, because what it refers to replaces the object`},
		{`{$file: 5}`, `app-config.yaml:1: config key "k" must have a non-empty string at $file, found a number`},
		{`{$file: "${GONE}.txt"}`, `app-config.yaml:1: config key "k" has a $file whose argument has no value: the environment variable GONE is not set`},
	} {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, files)
			write(t, dir, map[string]string{"app-config.yaml": "k: " + tt.in})
			_, err := load(t, dir, rootconfig.Options{})
			if diff := cmp.Diff(tt.want, errorText(err, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingVariableIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app-config.yaml": "backend:\n  secret: ${PORTAL_SECRET}\n"})
	root, err := load(t, dir, rootconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = root.String("backend.secret")
	want := `app-config.yaml:2: config key "backend.secret" is missing: the environment variable PORTAL_SECRET is not set`
	if got := errorText(err, ""); got != want {
		t.Errorf("error:\n%s\nwant:\n%s", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
		want any
		err  string
	}{
		{"types", []string{"APP_CONFIG_n=5", "APP_CONFIG_b=true", `APP_CONFIG_o={"x":[1]}`, "APP_CONFIG_s=text: x", "APP_CONFIG_e=", `APP_CONFIG_q="5"`}, map[string]any{
			"n": 5.0, "b": true, "o": map[string]any{"x": []any{1.0}}, "s": "text: x", "q": "5",
		}, ""},
		{"into an object", []string{`APP_CONFIG_o_y=1`, `APP_CONFIG_o={"x":[1]}`}, map[string]any{"o": map[string]any{"x": []any{1.0}, "y": 1.0}}, ""},
		{"nested", []string{"APP_CONFIG_a_b-c_d:e=x"}, map[string]any{"a": map[string]any{"b-c": map[string]any{"d:e": "x"}}}, ""},
		{"not expanded", []string{"APP_CONFIG_a=${HOME}"}, map[string]any{"a": "${HOME}"}, ""},
		{"below a scalar", []string{"APP_CONFIG_a=1", "APP_CONFIG_a_b=2"}, nil, `env: the environment variable APP_CONFIG_a_b sets a key below "a", which another variable sets to a number`},
		{"set already", []string{`APP_CONFIG_a={"b":1}`, "APP_CONFIG_a_b=2"}, nil, `env: the environment variable APP_CONFIG_a_b sets the key "a.b", which another variable sets already`},
		{"null", []string{"APP_CONFIG_a=null"}, nil, "env: the environment variable APP_CONFIG_a must not be null; remove the variable instead"},
		{"no key", []string{"APP_CONFIG_=1"}, nil, `env: the environment variable APP_CONFIG_ names no valid key: "" is not one; parts are joined by _, so no part can have one itself`},
		{"two problems", []string{"APP_CONFIG_a=null", "APP_CONFIG_b=null"}, nil, "env: the environment variable APP_CONFIG_a must not be null; remove the variable instead\nenv: the environment variable APP_CONFIG_b must not be null; remove the variable instead"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, map[string]string{"app-config.yaml": "{}"})
			root, err := load(t, dir, rootconfig.Options{Env: tt.env})
			if got := errorText(err, dir); got != tt.err {
				t.Fatalf("error:\n%s\nwant:\n%s", got, tt.err)
			}
			if err != nil {
				return
			}
			got, _ := root.Value("")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFS(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"conf/app-config.yaml": {Data: []byte("a: {$include: inc.yaml#x}\nb: {$file: /root.txt}\n")},
		"conf/inc.yaml":        {Data: []byte("x: 1")},
		"root.txt":             {Data: []byte("text\n")},
	}
	root, err := rootconfig.Load(context.Background(), rootconfig.Options{FS: files, Dir: "conf", Args: []string{}, Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := root.Value("")
	if diff := cmp.Diff(map[string]any{"a": 1.0, "b": "text"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := root.Position("a"); got != (core.Position{Source: "inc.yaml", Line: 1}) {
		t.Errorf("position = %v", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("a: ${X}\nb: {$include: app-config.yaml#a}", "APP_CONFIG_a_b=1")
	f.Add("a: {$file: app-config.yaml}", "APP_CONFIG_=x")
	f.Add("a: &a [*a]", "X=1")
	f.Add("${X:-${X}}: '$${${X}}'", "APP_CONFIG_x={\"a\":[1]}")
	f.Fuzz(func(t *testing.T, text, variable string) {
		files := fstest.MapFS{"app-config.yaml": {Data: []byte(text)}}
		root, err := rootconfig.Load(context.Background(), rootconfig.Options{FS: files, Args: []string{}, Env: []string{"X=x", variable}})
		if err != nil {
			return
		}
		v, ok := root.Value("")
		if _, isObject := v.(map[string]any); ok && !isObject {
			t.Errorf("the configuration is a %T", v)
		}
		if err := root.Print(&strings.Builder{}); err != nil {
			t.Error(err)
		}
	})
}
