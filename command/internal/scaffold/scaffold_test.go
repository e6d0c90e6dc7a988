package scaffold

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"todo": "", "to-do2": "",
		"":                       "cannot be the id",
		"ToDo":                   "try to-do",
		"to_do":                  "try to-do",
		"to--do":                 "try to-do",
		"2do":                    "begins with a letter",
		"-":                      "cannot be the id",
		"../x":                   "try x",
		"func":                   "keyword of Go",
		"todo-backend":           "leave the ending out",
		"a-backend-module-b":     "leave the ending out",
		strings.Repeat("x", 100): "at most 40",
	} {
		switch err := checkID("plugin", id); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", id, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v; want %q", id, err, want)
		}
	}
}

func FuzzGuessID(f *testing.F) {
	for _, s := range []string{"", "toDo", "--", "Ünïcode", "a1B2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if guess := guessID(text); guess != "" && guess[0] >= 'a' && guess[0] <= 'z' && !idForm.MatchString(guess) {
			t.Errorf("guessID(%q) = %q, which is no id", text, guess)
		}
	})
}

func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"plugins/a-node/client.go": "package mine\n"})
	p, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if _, err := p.AddPlugin("a"); err == nil || !strings.Contains(err.Error(), "there is a folder plugins/a-node already") {
		t.Errorf("got %v", err)
	}
	if _, err := New(t.Context(), Backend{Name: "b", Dir: dir, Version: released}); err == nil || !strings.Contains(err.Error(), "there is a module already") {
		t.Errorf("got %v", err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "main.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Backend{Name: "b", Dir: empty, Version: released}); err == nil || !strings.Contains(err.Error(), "main.go would be overwritten") {
		t.Errorf("got %v", err)
	}
	if all := files(t, empty); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("files changed: %s", diff)
	}
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		there map[string]string
		want  string // the folder of the plugin b
	}{
		"nothing yet":    {nil, "plugins/b-backend"},
		"folder plugins": {map[string]string{"plugins/a-backend/a.go": "package abackend\n", "x-node/x.go": "package xnode\n"}, "plugins/b-backend"},
		"flat":           {map[string]string{"a-backend/a.go": "package abackend\n"}, "b-backend"},
		"one of several": {map[string]string{
			"plugins/a-backend/a.go": "package abackend\n",
			"deep/features.go":       "package main\n\nfunc features() []any { return []any{} }\n",
			"deep/below/notes.txt":   "",
		}, "deep/plugins/b-backend"},
		"flat with a node": {map[string]string{"a-node/a.go": "package anode\n"}, "b-backend"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := project(t, test.there)
			below := filepath.Join(dir, "deep", "below")
			if err := os.MkdirAll(below, 0o700); err != nil {
				t.Fatal(err)
			}
			p, err := Open(t.Context(), below)
			if err != nil {
				t.Fatal(err)
			}
			result, err := p.AddPlugin("b")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(result.Files, test.want+"/plugin.go") {
				t.Errorf("wrote %v", result.Files)
			}
			if slices.Contains(result.Files, "deep/features.go") {
				return
			}
			if len(result.Notes) != 1 || !strings.Contains(result.Notes[0], `Add bbackend.Plugin (import "example.com/p/`+test.want+`")`) {
				t.Errorf("notes: %v", result.Notes)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), project(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	_, outside := Open(t.Context(), t.TempDir())
	_, foreign := New(t.Context(), Backend{Name: "b", Dir: t.TempDir(), Replace: p.Root})
	_, nowhere := New(t.Context(), Backend{Name: "b", Dir: t.TempDir(), Replace: t.TempDir()})
	_, module := New(t.Context(), Backend{Name: "b", Dir: t.TempDir(), Module: "a b", Version: released})
	_, noPlugin := p.AddModule(t.Context(), "none", "m", "")
	_, noNode := p.AddModule(t.Context(), "none", "m", "example.com/none")
	for _, test := range []struct {
		err  error
		want string
	}{
		{outside, "is not in a Go module"},
		{foreign, "its module is example.com/p"},
		{nowhere, "is no checkout of Flytower"},
		{module, "cannot be the path of a Go module"},
		{noPlugin, "has a package none-node"},
		{noNode, "there is no package example.com/none"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("got %v, want %q", test.err, test.want)
		}
	}
}

func TestAddFeature(t *testing.T) {
	t.Parallel()
	add := feature{"xbackend", "example.com/p/x-backend", "Plugin"}
	for name, test := range map[string]struct{ text, want string }{
		"empty list": {`package main

import "github.com/flytower/flytower/backend"

func features() []backend.Feature { return []backend.Feature{} }
`, `package main

import "github.com/flytower/flytower/backend"
import xbackend "example.com/p/x-backend"

func features() []backend.Feature {
	return []backend.Feature{
		xbackend.Plugin,
	}
}
`},
		"comments stay": {`// Package distribution lists.
package distribution

import (
	_ "embed"

	"github.com/flytower/flytower/backend"
	zbackend "example.com/p/z-backend"
)

// Features are here.
func Features() []backend.Feature {
	return []backend.Feature{
		zbackend.Plugin, // one, two
		// the end
	}
}
`, `// Package distribution lists.
package distribution

import (
	_ "embed"

	xbackend "example.com/p/x-backend"
	zbackend "example.com/p/z-backend"
	"github.com/flytower/flytower/backend"
)

// Features are here.
func Features() []backend.Feature {
	return []backend.Feature{
		zbackend.Plugin, // one, two
		// the end
		xbackend.Plugin,
	}
}
`},
		"one line": {`package main

import (
	"github.com/flytower/flytower/backend"
	renamed "example.com/p/x-backend"
)

func features() []backend.Feature {
	return []backend.Feature{renamed.Module}
}
`, `package main

import (
	renamed "example.com/p/x-backend"
	"github.com/flytower/flytower/backend"
)

func features() []backend.Feature {
	return []backend.Feature{renamed.Module,
		renamed.Plugin,
	}
}
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := addFeature([]byte(test.text), add)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			again, err := addFeature(got, add)
			if err != nil || string(again) != string(got) {
				t.Errorf("added twice: %v\n%s", err, again)
			}
		})
	}
	taken := `package main

import xbackend "example.com/other"

func features() []any { return []any{} }
`
	if _, err := addFeature([]byte(taken), add); err == nil || !strings.Contains(err.Error(), "the name xbackend is taken") {
		t.Errorf("got %v", err)
	}
}

func released() (string, error) { return "v1.0.0", nil }

// project writes a module example.com/p with more files.
func project(t *testing.T, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"go.mod": "module example.com/p\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n"}
	maps.Copy(all, more)
	for name, text := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files returns the paths below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error { all = append(all, path); return err }); err != nil {
		t.Fatal(err)
	}
	return all
}
