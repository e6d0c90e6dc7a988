package scaffoldermoduleutils_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
	"github.com/flytower/flytower/plugins/scaffolder-node/actiontest"
)

func isText(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// FuzzPaths writes to a path: whatever it is, nothing appears outside.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{"a", "../a", "/a", "a/../../b", "./.", "out/a", "link", "a\\b", "\x00", strings.Repeat("a/", 100), "\xff", "..a"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if len(path) > 4096 {
			return
		}
		outside := t.TempDir()
		run := actiontest.Run(t, action(t, "roadiehq:utils:fs:append"), map[string]any{"path": path, "content": "x"}, actiontest.WithContext(func(c *scaffoldernode.ActionContext) {
			if err := c.Workspace.Symlink(outside, "out"); err != nil {
				t.Error(err)
			}
		}))
		left, err := os.ReadDir(outside)
		if err != nil || len(left) > 0 {
			t.Errorf("%q made %v outside: %v", path, left, err)
		}
		if run.Err == nil {
			name, _ := run.Outputs["path"].(string)
			if !filepath.IsAbs(name) || strings.Contains(name, "..") && !strings.Contains(path, "..") {
				t.Errorf("%q was written as %q", path, name)
			}
		}
	})
}

// FuzzReplace replaces with any expression: it ends, and the file stays whole.
func FuzzReplace(f *testing.F) {
	f.Add("a+", "b", "aaa", true)
	f.Add("(a|a)*$", "$1$&$`", strings.Repeat("a", 64)+"!", true)
	f.Add("$&", "$&$&", "x$&x", false)
	f.Add("", "", "", true)
	f.Fuzz(func(t *testing.T, find, with, text string, expression bool) {
		run := actiontest.Run(t, action(t, "roadiehq:utils:fs:replace"), map[string]any{"files": []any{
			map[string]any{"file": "f", "find": find, "replaceWith": with, "matchRegex": expression},
		}}, actiontest.WithFile("f", text))
		got := run.File("f")
		if run.Err != nil && got != text {
			t.Errorf("after %v the file is %q, was %q", run.Err, got, text)
		}
		if run.Err == nil && !expression && !strings.ContainsAny(with, "$") && isText(find, with, text) && got != strings.ReplaceAll(text, find, with) {
			t.Errorf("%q for %q in %q gives %q", with, find, text, got)
		}
	})
}

// FuzzMerge merges any content into any file: a second time changes nothing.
func FuzzMerge(f *testing.F) {
	f.Add("a: 1\n", "a: [2]\nb: {c: d}\n", true, true)
	f.Add("# c\na: &x [1]\nb: *x\n", "b: [2]\n", false, true)
	f.Add("---\n---\n", "a: 1", false, false)
	f.Add("{a: {b: [1, {c: 2}]}}", "a: {b: [{d: 1}]}", true, true)
	f.Fuzz(func(t *testing.T, file, content string, lists, comments bool) {
		input := map[string]any{"path": "f.yaml", "content": content, "mergeArrays": lists, "preserveYamlComments": comments}
		run := actiontest.Run(t, action(t, "roadiehq:utils:merge"), input, actiontest.WithFile("f.yaml", file))
		if run.Err != nil {
			if run.File("f.yaml") != file {
				t.Errorf("after %v the file is %q", run.Err, run.File("f.yaml"))
			}
			return
		}
		once := run.File("f.yaml")
		again := actiontest.Run(t, action(t, "roadiehq:utils:merge"), input, actiontest.After(run))
		if again.Err != nil || again.File("f.yaml") != once {
			t.Errorf("merging %q into %q gives %q, and then %q: %v", content, file, once, again.File("f.yaml"), again.Err)
		}
	})
}
