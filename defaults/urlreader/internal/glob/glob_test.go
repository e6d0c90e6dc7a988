package glob_test

import (
	"strings"
	"testing"

	"github.com/flytower/flytower/defaults/urlreader/internal/glob"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"catalog-info.yaml", []string{"catalog-info.yaml"}, []string{"a/catalog-info.yaml", "catalog-infoXyaml"}},
		{"*.yaml", []string{"a.yaml"}, []string{".yaml", ".a.yaml", "b/a.yaml", "a.yml"}},
		{"**/*.yaml", []string{"a.yaml", "b/a.yaml", "c/b/a.yaml"}, []string{".github/a.yaml", "b/.c/a.yaml", "b/.a.yaml"}},
		{".github/*", []string{".github/x"}, []string{".github", ".github/x/y", ".github/.x"}},
		{"**/.github/**", []string{"a/.github/x", ".github/x/y"}, []string{"a/b"}},
		{"a/**/b", []string{"a/b", "a/x/b", "a/x/y/b"}, []string{"a/xb", "b"}},
		{"{a,b/c}/*.y{a,}ml", []string{"a/x.yaml", "b/c/x.yml"}, []string{"b/x.yml", "c/x.yml"}},
		{"{x}", []string{"{x}"}, []string{"x"}},
		{"?.md", []string{"a.md", "é.md"}, []string{".md", "..md", "ab.md"}},
		{"[a-c]x", []string{"ax", "cx"}, []string{"dx", "x"}},
		{"[!a]x", []string{"bx"}, []string{"ax"}},
		{"+(ab|c).y?(a)ml", []string{"ab.yml", "abc.yaml", "ccab.yml"}, []string{".yml", "b.yml"}},
		{"@(a|b)", []string{"a", "b"}, []string{"ab", ""}},
		{`\*`, []string{"*"}, []string{"a"}},
		{"[", []string{"["}, []string{"a"}},
		{"*", []string{"a"}, []string{"", ".a", "a/b"}},
		{"a*", []string{"a", "ab"}, []string{"ba"}},
	} {
		g, err := glob.Compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, p := range c.yes {
			if !g.Match(p) {
				t.Errorf("%q does not match %q", c.pattern, p)
			}
		}
		for _, p := range c.no {
			if g.Match(p) {
				t.Errorf("%q matches %q", c.pattern, p)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		strings.Repeat("{a,b}", 20),
		strings.Repeat("**/a/", 20),
		strings.Repeat("a", 5000),
		"!(a)",
		"+(a",
	} {
		if _, err := glob.Compile(p); err == nil && p != "+(a" {
			t.Errorf("%.20q compiled", p)
		}
	}
}

func TestStaticPrefix(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"a/b/*.yaml": "a/b", "*.yaml": "", "a/{b,c}/d*": "a", "a/b": "a", "**": "",
	} {
		if got := glob.StaticPrefix(pattern); got != want {
			t.Errorf("StaticPrefix(%q) = %q, want %q", pattern, got, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"**/*.yaml", "{a,{b,c}}", "[!x]?(y|z)", "+(a|*(b))", "{,}", "[]a]"} {
		f.Add(s, "a/b.yaml")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		g, err := glob.Compile(pattern)
		if err != nil {
			return
		}
		g.Match(path)
		if !glob.IsPattern(pattern) && !strings.ContainsAny(pattern, "{}[]()\\!+@/") && pattern != "" && !g.Match(pattern) {
			t.Errorf("the literal %q does not match itself", pattern)
		}
	})
}
