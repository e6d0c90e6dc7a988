package httprouter

import (
	"net/url"
	"strings"
	"testing"
)

func TestPolicyPaths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		policy string
		match  []string
		not    []string
	}{
		{"/", []string{"/", "/a", "/a/b"}, nil},
		{"*", []string{"/", "/a"}, nil},
		{"/static", []string{"/static", "/static/", "/static/x/y", "/STATIC/x"}, []string{"/staticx", "/", "/x/static", "/stati"}},
		{"/static/", []string{"/static", "/static/x"}, []string{"/staticx"}},
		{"/a b", []string{"/a%20b/c"}, []string{"/a/b"}},
		{"/:provider/start", []string{"/guest/start", "/guest/start/x"}, []string{"/start", "/a/b/start", "/guest/starting"}},
		{"/file-:id.js", []string{"/file-12.js", "/FILE-a.js/map"}, []string{"/file-.js", "/file-1/2.js"}},
		{"/*rest", []string{"/a", "/a/b"}, []string{"/", ""}},
		{"/docs/*path/raw", []string{"/docs/a/b/raw", "/docs/a/raw/x"}, []string{"/docs/raw"}},
		{"/v1{/beta}/x", []string{"/v1/x", "/v1/beta/x"}, []string{"/v1/alpha/x"}},
		{`/a\:b`, []string{"/a:b"}, []string{"/axb"}},
		{"/a.b", []string{"/a.b"}, []string{"/axb"}},
	}
	for _, tt := range tests {
		m, err := parsePolicyPath(tt.policy)
		if err != nil {
			t.Errorf("%s: %v", tt.policy, err)
			continue
		}
		for _, p := range tt.match {
			if !m.match(p) {
				t.Errorf("%s does not match %s", tt.policy, p)
			}
		}
		for _, p := range tt.not {
			if m.match(p) {
				t.Errorf("%s matches %s", tt.policy, p)
			}
		}
	}
	for _, p := range []string{"", "a", "//", "/*", "/:", "/a(b)", "/a+", "/{a", "/a}", `/a\`, "/a?", "/[a]", "/" + strings.Repeat(":a", 600), strings.Repeat("/{a", 20)} {
		if _, err := parsePolicyPath(p); err == nil {
			t.Errorf("%.40q is accepted", p)
		}
	}
}

// FuzzPolicyPath checks that a literal policy opens what lies at or below its
// path, and nothing else.
func FuzzPolicyPath(f *testing.F) {
	for _, s := range []string{"/a", "/:a/b", "/*a", "/{a}", `/\`, "/a%2f", "/é"} {
		f.Add(s, "/a/b")
	}
	f.Fuzz(func(t *testing.T, policy, path string) {
		m, err := parsePolicyPath(policy)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		got := m.match(path)
		if m.prefix == "" {
			return
		}
		prefix := strings.ToLower((&url.URL{Path: strings.TrimRight(policy, "/")}).EscapedPath())
		want := strings.HasPrefix(strings.ToLower(path)+"/", prefix+"/")
		if got && !want && strings.ToLower(path) == path {
			t.Errorf("policy %q matches %q", policy, path)
		}
	})
}
