package reading_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/defaults/urlreader/internal/reading"
	"github.com/flytower/flytower/internal/configtest"
)

const rules = `
backend:
  reading:
    allow:
      - host: example.com
        paths: [/exact, /below/]
      - host: "*.example.org"
      - host: ports.example.net:8000-8010
      - host: one.example.net:8443
      - host: Upper.example.net
      - host: "[::1]:7007"
      - host: old.example.net:80
`

func load(t testing.TB, yaml string) *reading.Rules {
	t.Helper()
	r, err := reading.FromConfig(configtest.FromYAML(t, yaml))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAllows(t *testing.T) {
	t.Parallel()
	r := load(t, rules)
	for u, want := range map[string]bool{
		"https://example.com/exact":             true,
		"https://example.com/exact/x":           true,
		"http://example.com/exact?q=1":          true,
		"https://example.com:443/exact":         true,
		"https://example.com/exactly":           false,
		"https://example.com/":                  false,
		"https://example.com/below":             false,
		"https://example.com/below/":            false,
		"https://example.com/below/x":           true,
		"https://example.com/below//x":          true,
		"https://example.com/below/../x":        false,
		"https://example.com/x/../exact":        true,
		"https://example.com:8080/exact":        false,
		"https://sub.example.com/exact":         false,
		"https://a.example.org/x":               true,
		"https://a.b.example.org/x":             true,
		"https://example.org/x":                 false,
		"https://evilexample.org/x":             false,
		"https://a.example.org:8443/x":          false,
		"https://ports.example.net:8000/":       true,
		"http://ports.example.net:8010/":        true,
		"https://ports.example.net:8011/":       false,
		"https://ports.example.net/":            false,
		"https://one.example.net:8443/x":        true,
		"https://upper.example.net/x":           true,
		"https://UPPER.example.net/x":           true,
		"http://[::1]:7007/x":                   true,
		"http://[::1]/x":                        false,
		"http://old.example.net/":               true,
		"https://old.example.net/":              false,
		"https://user@example.com.evil.net/x":   false,
		"ftp://example.com/exact":               false,
		"https://example.com@evil.net/exact":    false,
		"https://other.example.net/example.com": false,
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Allows(parsed); got != want {
			t.Errorf("%s: %t", u, got)
		}
	}
	if load(t, "app: {}").Allows(&url.URL{Scheme: "https", Host: "example.com"}) {
		t.Error("no rules open something")
	}
	if !r.AllowsHost("ports.example.net") || r.AllowsHost("example.org") {
		t.Error("hosts do not follow the rules")
	}
}

func TestWrongRules(t *testing.T) {
	t.Parallel()
	for _, host := range []string{`"*"`, `"*example.com"`, `"a.com:"`, "a.com:0", "a.com:70000", "a.com:9-8", "a.com:x", "https://a.com", "a.com/x", `"a b"`, `"*."`} {
		_, err := reading.FromConfig(configtest.FromYAML(t, "backend:\n  reading:\n    allow:\n      - host: "+host+"\n"))
		var ce *core.ConfigError
		if !errors.As(err, &ce) || ce.Position.Line == 0 || !strings.HasPrefix(ce.Key, "backend.reading.allow[0]") {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, yaml := range []string{"[{paths: [/x]}]", "[{host: a.com, paths: [x]}]", "[{host: a.com, paths: x}]", "x"} {
		if _, err := reading.FromConfig(configtest.FromYAML(t, "backend: {reading: {allow: "+yaml+"}}")); err == nil {
			t.Errorf("%s is taken", yaml)
		}
	}
}

func FuzzAllows(f *testing.F) {
	r := load(f, rules)
	for _, s := range []string{"https://example.com/exact", "https://example.com/below/../x", "https://a.example.org", "http://[::1]:7007", "https://example.com/%2e%2e/exact"} {
		f.Add(s)
	}
	known := []string{"example.com", ".example.org", "ports.example.net", "one.example.net", "upper.example.net", "::1", "old.example.net"}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || !r.Allows(u) {
			return
		}
		host := strings.ToLower(u.Hostname())
		for _, k := range known {
			if host == k || strings.HasPrefix(k, ".") && strings.HasSuffix(host, k) {
				return
			}
		}
		t.Errorf("%q is open", raw)
	})
}
